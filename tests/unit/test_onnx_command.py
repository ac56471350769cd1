"""``astune predict`` on an exported graph: every mode of it, without importing torch, not even in its workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from astune import AudioClassifier, OnnxPredictor, load_backbone
from astune.adapter_digest import adapter_digest
from astune.cli import app
from astune.errors import ConfigError
from astune.inference.events import Finder
from astune.inference.findings import of_events, of_windows
from tests.graphs import LABELS, info, write_graph

RATE = 16_000  # Hz
HEAVY = ("torch", "transformers", "accelerate", "sklearn", "scipy", "safetensors")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "made.onnx")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number, seconds in enumerate((0.3, 0.4, 2.3)):
        sound = np.random.default_rng(number).uniform(-0.2, 0.2, round(seconds * RATE))
        soundfile.write(folder / f"{number}.wav", sound, RATE)
    return folder


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages of those names that cannot be imported and leave a file behind where somebody tries, in whatever process."""
    folder = tmp_path_factory.mktemp("without")
    for name in HEAVY:
        (folder / f"{name}.py").write_text(
            f"import pathlib\npathlib.Path({str(folder)!r}, 'imported').touch()\nraise ImportError('{name} is not here')\n"
        )
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert ended.exception is None or isinstance(ended.exception, SystemExit | ConfigError), ended.exception
    return ended.exit_code, ended.stdout, ended.stderr + str(ended.exception or "")


MODES = {
    "labels": [],
    "json": ["--json", "--top-k", "2", "--threads", "1"],
    "beginning": ["--pool", "first", "--batch-size", "1"],
    "windows": ["--window", "0.3", "--hop", "0.1"],
    "events": ["--events", "--threshold", "dog=0.3", "--low", "0.2", "--min-length", "0.1", "--format", "jsonl"],
    "tables": ["--format", "raven", "--output-dir", "tables"],
    "track": ["--events", "--format", "audacity", "--output-dir", "tracks"],
    "workers": ["--workers", "2"],
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_runs_without_torch(
    mode: str, graph: Path, recordings: Path, without_torch: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "astune", "predict", graph, recordings, *MODES[mode]]
    paths = os.pathsep.join([str(without_torch), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    ended = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert not (without_torch / "imported").exists()
    code, out, _ = run(graph, recordings, *MODES[mode][: -2 if "--output-dir" in MODES[mode] else None])
    if "--output-dir" in MODES[mode]:
        assert len([path for path in (tmp_path / MODES[mode][-1]).iterdir() if path.suffix == ".txt"]) == 3
    else:
        assert code == 0
        assert ended.stdout == out


def test_python_labels_without_torch(graph: Path, recordings: Path) -> None:
    code = (
        "import sys, astune; found = astune.predict(sys.argv[1], sys.argv[2]); print(found == astune.OnnxPredictor(sys.argv[1])"
        f".predict(sys.argv[2]), [name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(graph), str(recordings / "0.wav")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "True []\n"


def test_the_command_prints_what_python_gives(graph: Path, recordings: Path) -> None:
    predictor, paths = OnnxPredictor(graph), sorted(recordings.iterdir())
    _, out, _ = run(graph, recordings, "--json", "--top-k", "3")
    assert json.loads(out) == [one.record() for one in predictor.predictions(paths, top_k=3)]
    _, out, _ = run(graph, recordings, "--window", "0.3", "--top-k", "1", "--format", "jsonl")
    rows = [row for one in predictor.timelines(paths, window=0.3) for row in of_windows(one, 1).rows]
    assert [json.loads(line)["label"] for line in out.splitlines()] == [row.label for row in rows]
    _, out, _ = run(graph, recordings, "--events", "--threshold", "0.3", "--hop", "0.1", "--format", "jsonl")
    rows = [row for one in predictor.timelines(paths, hop=0.1) for row in of_events(one, Finder(0.3)).rows]
    assert rows
    found = [json.loads(line) for line in out.splitlines()]
    assert [(one["start"], one["end"], one["score"]) for one in found] == [
        (round(row.start, 6), round(row.end, 6), round(row.score, 6)) for row in rows
    ]


def test_standard_input_is_heard(graph: Path, recordings: Path) -> None:
    _, expected, _ = run(graph, recordings / "0.wav")
    with (recordings / "0.wav").open("rb") as stdin:
        command = [sys.executable, "-m", "astune", "predict", str(graph), "-"]
        ended = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=True)
    assert ended.stdout == expected.replace(str(recordings / "0.wav"), "-")


def test_thresholds_of_the_file_decide(tmp_path: Path, recordings: Path) -> None:
    about = info(task="multi-label", thresholds={"dog": 0.5, "rain": 1.0, "siren": 0.5}, negatives=("siren",))
    graph = write_graph(tmp_path / "several.onnx", about)
    code, out, said = run(graph, recordings / "2.wav")
    assert code == 0
    assert "\tdog " in out
    assert "rain" not in out
    assert "siren" not in out
    assert "each label has a threshold of its own" in said


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--device", "cuda:1"], "--device 'cuda:1' is for torch"),
        (["--precision", "bfloat16"], "--precision 'bfloat16' is for torch"),
        (["--backbone", "random:tiny"], "--backbone 'random:tiny' is for torch"),
        (["--runtime", "torch"], "for runtime torch give the adapter folder"),
        (["--top-k", "9"], "--top-k 9: the adapter has 3 labels"),
    ],
)
def test_options_that_mean_torch_are_refused(options: list[str], fault: str, graph: Path, recordings: Path) -> None:
    code, _, said = run(graph, recordings, *options)
    assert code != 0
    assert fault in said


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with a graph of its weights, which gives other scores so that one sees what computes."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    AudioClassifier(load_backbone("random:tiny", 48), "lora", LABELS).save_pretrained(folder)
    write_graph(folder / "model.onnx", adapter_digest=adapter_digest(folder))
    return folder


def test_a_graph_in_the_folder_is_said_and_used(adapter: Path, recordings: Path) -> None:
    _, of_file, said = run(adapter / "model.onnx", recordings)
    assert "onnxruntime" not in said
    _, of_folder, said = run(adapter, recordings)
    assert of_folder == of_file
    assert said.count("onnxruntime computes with") == 1
    _, of_torch, said = run(adapter, recordings, "--runtime", "torch")
    assert of_torch != of_file
    assert "onnxruntime" not in said
    _, of_workers, said = run(adapter, recordings, "--workers", "2")
    assert of_workers == of_file
    assert said.count("onnxruntime computes with") == 1


def test_a_folder_of_tables_is_not_continued_by_another_runtime(
    adapter: Path, recordings: Path, tmp_path: Path
) -> None:
    tables = tmp_path / "tables"
    assert run(adapter, recordings, "-o", tables)[0] == 0
    code, _, said = run(adapter, recordings, "-o", tables)
    assert code == 0
    assert "3 files finished before" in said
    code, _, said = run(adapter, recordings, "-o", tables, "--runtime", "torch")
    assert code != 0
    assert "holds results of runtime onnx, whose scores differ from those of torch" in said
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    write_graph(other / "model.onnx", adapter_digest=adapter_digest(other), exported="again")
    code, _, said = run(other, recordings, "-o", tables)
    assert code != 0
    assert "holds results of another adapter" in said
