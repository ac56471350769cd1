"""Every command with labels, file names, settings and files that are code: what a terminal gets, what programs read, what is written."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import soundfile
import yaml

from astune import Predictor
from astune.adapter_file import read_config
from astune.card_front import body_of
from astune.cli import VERBS, main
from astune.csv_text import csv_text
from astune.inference.embeddings import Embeddings
from astune.printable import printable
from astune.training.data_record import DataRecord
from tests.faults.injection.parsers import rendered, shown
from tests.faults.injection.payloads import CONTROLS, NAMES, TEXTS

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 16_000  # Hz
SPLITS = ("train", "validation", "test")
FORGED = "error: forged"
EVIL = f"a\n{FORGED}\r\x1b[31m\x1b]52;c;aGFja2Vk\x07\x9b2J\u202e\u2028M\udce9<b>[red]"
"""A name of a file with everything that a terminal could obey."""
TRAIN = (
    "--method",
    "linear",
    "--backbone",
    "random:tiny",
    "--max-length",
    16,
    "--num-train-epochs",
    1,
    "--recipe",
    "paper",
)


class Ended(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


def command(*arguments: object) -> Ended:
    """Run a command in this process, as the console script would."""
    out, err = io.StringIO(newline=""), io.StringIO(newline="")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["astune", *map(str, arguments)])
        patch.delenv("COLUMNS", raising=False)  # tests that run side by side have it, and lines would be folded
        with pytest.raises(SystemExit) as ended:
            main()
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def tone(path: Path, number: int) -> None:
    with path.open("wb") as file:  # soundfile takes no name that is not UTF-8
        soundfile.write(file, 0.3 * np.sin(np.arange(RATE // 5) * (0.05 + 0.001 * number)), RATE, format="WAV")


class World(NamedTuple):
    """Made once, because its parts take seconds."""

    folder: Path
    data: Path
    """A CSV data set whose labels are the texts."""
    adapter: Path
    """Trained on it."""
    trained: Ended
    recordings: Path
    """A folder of recordings with such names."""
    table: Path
    """An experiment whose rows and columns have such names."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    data, recordings, table = folder / "data", folder / "in", folder / "a table.yaml"
    data.mkdir()
    recordings.mkdir()
    rows = [("file_name", "label", "split")]
    for number, text in enumerate(TEXTS):
        for split in SPLITS:
            rows.append((f"{number}-{split}.wav", text, split))
            tone(data / rows[-1][0], number)
    (data / "metadata.csv").write_text(csv_text(rows), encoding="utf-8")
    for number, name in enumerate(NAMES):
        tone(recordings / f"{name}.wav", number)
    trained = command("train", data, *TRAIN, "--output-dir", folder / "adapter", "--overwrite-output-dir")
    assert trained.code == 0, trained.err
    content = {
        "title": "".join(TEXTS[:3]), "rows": [{"name": text, "method": "linear"} for text in TEXTS],
        "datasets": [{"name": text, "data": f"csv:{data}", "settings": {"max_length": 16}} for text in TEXTS[:2]],
    }  # fmt: skip
    table.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return World(folder, data, folder / "adapter", trained, recordings, table)


def folded(lines: Sequence[str]) -> str:
    """Lines without what frames tables."""
    return "\n".join(line.strip("┃│ ") for line in lines)


def missing(texts: Sequence[str], shown_text: str) -> list[str]:
    return [text for text in texts if printable(text).strip() not in shown_text]


def test_train(world: World) -> None:
    shown(world.trained.out)
    shown(world.trained.err)
    assert read_config(world.adapter / "adapter_config.json").labels == tuple(sorted(TEXTS))
    record = DataRecord.read(world.adapter, sorted(TEXTS))
    assert record is not None
    assert {used.label for used in record.clips.values()} == {*TEXTS}
    assert json.loads((world.adapter / "results.json").read_text(encoding="utf-8"))["labels"] == sorted(TEXTS)
    page = rendered(body_of((world.adapter / "README.md").read_text(encoding="utf-8")))
    assert page.of("h2") == ["Scores", "Limits", "Licence"]
    assert missing(sorted(TEXTS)[:20], page.of("td")[page.of("td").index("labels") + 1]) == []


def test_evaluate(world: World) -> None:
    ended = command("evaluate", world.adapter, world.data)
    assert ended.code == 0
    assert missing(TEXTS, folded(shown(ended.out))) == []
    assert json.loads(command("evaluate", world.adapter, world.data, "--json").out)["labels"] == sorted(TEXTS)


def test_data_check(world: World, tmp_path: Path) -> None:
    ended = command("data", "check", world.data, "--plot", tmp_path / "a.svg")
    assert ended.code == 0
    assert missing(TEXTS, folded(shown(ended.out))) == []
    shown(ended.err)
    found = json.loads(command("data", "check", f"folder:{world.data}", "--json").out or "{}")
    assert found == {} or set(found["counts"])
    assert set(json.loads(command("data", "check", world.data, "--json").out)["counts"]) == {*TEXTS}


def test_predict_for_people(world: World) -> None:
    ended = command("predict", world.adapter, world.recordings, "--top-k", len(TEXTS))
    assert ended.code == 0, ended.err
    lines = shown(ended.out.replace("\t", " | "))
    assert len(lines) == len(NAMES) + 1
    assert missing(NAMES, ended.out) == []
    assert missing(TEXTS, lines[0]) == []


def test_predict_for_programs(world: World) -> None:
    paths = {f"{world.recordings}/{name}.wav" for name in NAMES}
    found = json.loads(command("predict", world.adapter, world.recordings, "--json", "--top-k", len(TEXTS)).out)
    assert {one["file"] for one in found} == paths
    assert all({entry["label"] for entry in one["labels"]} == {*TEXTS} for one in found)
    for kind in ("csv", "jsonl"):
        ended = command("predict", world.adapter, world.recordings, "--top-k", len(TEXTS), "--format", kind)
        lines = [json.loads(line) for line in ended.out.splitlines()] if kind == "jsonl" else list(csv.DictReader(io.StringIO(ended.out, newline=""), strict=True))  # fmt: skip # noqa: E501
        assert {line["file_name"] for line in lines} == paths
        assert {line["label"] for line in lines} == {*TEXTS}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "audacity", "raven"])
def test_predict_into_a_folder(kind: str, world: World, tmp_path: Path) -> None:
    names = NAMES[:: len(NAMES) // 8]
    paths = [world.recordings / f"{name}.wav" for name in names]
    ended = command(
        "predict", world.adapter, "--top-k", len(TEXTS), "--format", kind, "-o", tmp_path / "out", "--", *paths
    )
    assert ended.code == 0, ended.err
    shown(ended.err)
    tables = [path for path in (tmp_path / "out").iterdir() if path.name != "predictions.jsonl"]
    assert len(tables) == len(names)
    labels = {text for text in TEXTS if all(text in path.read_text(encoding="utf-8") for path in tables)}
    assert labels == {*TEXTS} or kind in {"csv", "jsonl"}  # those two quote, and are parsed by other tests


@pytest.mark.slow
def test_review_embed_and_export(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reviewed = command(
        "review", world.adapter, world.recordings, "-o", "review", "--criterion", "random", "--count", 20, "--margin", 0
    )
    assert reviewed.code == 0, reviewed.err
    shown(reviewed.out)
    shown(reviewed.err)
    with Path("review/review.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, strict=True))
    assert len(rows) == 20
    assert {row["label"] for row in rows} <= {*TEXTS}
    assert {row["recording"] for row in rows} <= {printable(f"{world.recordings}/{name}.wav") for name in NAMES}
    assert all(Path("review", row["file"]).is_file() for row in rows)
    embedded = command("embed", world.adapter, world.recordings, "-o", "a.npz")
    assert embedded.code == 0, embedded.err
    embeddings = Embeddings.load("a.npz")
    assert {*embeddings.columns["names"]} == {printable(f"{world.recordings}/{name}.wav") for name in NAMES}
    nasty = tmp_path / "[x](http:a)<b> #"
    shutil.copytree(world.adapter, nasty)
    for kind, target in (("onnx", "a.onnx"), ("transformers", "whole")):
        exported = command("export", nasty, "--format", kind, "-o", target)
        assert exported.code == 0, exported.err
        shown(exported.out + exported.err)
    assert rendered(body_of(Path("whole/README.md").read_text(encoding="utf-8"))).of("h1") == [nasty.name]
    assert json.loads(Path("whole/config.json").read_text(encoding="utf-8"))["id2label"] == {
        str(number): text for number, text in enumerate(sorted(TEXTS))
    }
    assert list(Predictor(world.adapter).labels) == sorted(TEXTS)
    labelled = json.loads(
        command("predict", "a.onnx", world.recordings / "狗.wav", "--json", "--top-k", len(TEXTS)).out
    )
    assert {entry["label"] for entry in labelled[0]["labels"]} == {*TEXTS}


def test_plans(world: World, tmp_path: Path) -> None:
    planned = command("reproduce", world.table, "--dry-run", "--backbone", "random:tiny", "--store", tmp_path)
    assert planned.code == 0, planned.err
    assert missing(TEXTS, folded(shown(planned.out))) == []
    planned = command("reproduce", world.table, "--dry-run", "--json", "--backbone", "random:tiny", "--store", tmp_path)
    assert {entry["row"] for entry in json.loads(planned.out)} == {*TEXTS}
    budget = command("plan", world.data, "--backbone", "random:tiny", "--parameters", 5_000, "--max-length", 16)
    assert budget.code == 0, budget.err
    shown(budget.out + budget.err)
    compared = command(
        "compare", world.data, "--dry-run", "--store", tmp_path, "--backbone", "random:tiny", "--max-length", 16
    )
    assert compared.code == 0, compared.err
    shown(compared.out + compared.err)


PATHS: dict[str, tuple[object, ...]] = {
    "train": (EVIL, "--output-dir", "out"), "compare": (EVIL,),
    "search": (EVIL, "--parameters", "250k"), "validate": (EVIL,), "evaluate": (EVIL, EVIL), "predict": (EVIL, EVIL),
    "embed": (EVIL, EVIL, "-o", f"{EVIL}.npz"), "export": (EVIL, "-o", EVIL), "info": (EVIL,), "import-backbone": (EVIL, "-o", EVIL),
    "import-peft": (EVIL, "-o", EVIL),
    "push-to-hub": (EVIL, EVIL),
    "review": (EVIL, EVIL, "-o", EVIL), "serve": (EVIL,), "data": ("check", EVIL), "methods": (EVIL,), "plan": (EVIL,),
    "reproduce": (EVIL,), "report": (EVIL,), "demo": (EVIL,),
}  # fmt: skip
"""Arguments of each command that name files that are not there."""


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("what", ["argument", "option", "choice", "file in its way"])
def test_no_command_can_be_made_to_write_lines_of_others(
    verb: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = PATHS[verb]
    if what == "option":
        arguments = (f"--{EVIL}", *arguments)
    elif what == "choice":
        arguments = (*arguments, "--device", EVIL, "--seed", EVIL)
    elif what == "file in its way":
        Path(EVIL).write_text(EVIL, encoding="utf-8", errors="replace")
    ended = command(verb, *arguments)
    assert ended.code not in {0, None}
    shown(ended.out, forged=FORGED)
    lines = shown(ended.err, forged=FORGED)
    assert any(line.strip() for line in lines)


HOSTILE = f"a\\n{FORGED}\\r\\u001b[31m\\u202e"  # as YAML and JSON write it
SELECTIONS = "Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n"
FILES: dict[str, tuple[str, str, tuple[object, ...]]] = {
    "settings: key": ("a.yaml", f'data: x\n"{HOSTILE}": 1\n', ("validate", "a.yaml")),
    "settings: value": ("a.yaml", f'data: "{HOSTILE}"\noutput_dir: out\nmethod: "{HOSTILE}"\n', ("validate", "a.yaml")),
    "experiment": ("a.yaml", f'title: "{HOSTILE}"\nrows: [{{name: "{HOSTILE}", method: "{HOSTILE}"}}]\n', ("reproduce", "a.yaml")),
    "experiment: key": ("a.yaml", f'"{HOSTILE}": 1\nextends: "{HOSTILE}"\n', ("reproduce", "a.yaml")),
    "adapter: labels": ("a/adapter_config.json", f'{{"labels": ["{HOSTILE}"], "spec": "{HOSTILE}"}}', ("evaluate", "a", "b")),
    "adapter: keys": ("a/adapter_config.json", f'{{"peft_type": "{HOSTILE}", "spec": 2, "{HOSTILE}": 2}}', ("evaluate", "a", "b")),
    "labels": ("a/metadata.csv", f'file_name,label\na.wav,"a\n{FORGED}\x1b[31m"\nb.wav,"b\n{FORGED}"\n', ("data", "check", "a")),
    "header": ("a/metadata.csv", f'"a\n{FORGED}\x1b[31m",label\na.wav,b\n', ("data", "check", "a")),
    "file names": ("a/metadata.csv", f'file_name,label\n"a\n{FORGED}\x1b[31m.wav",a\n"b\n{FORGED}.wav",b\n', ("data", "check", "a")),
    "selections": ("a/a.Table.1.selections.txt", f"{SELECTIONS}1\t0\tx\x1b[31m\ta\x1b]8;;\x07\r{FORGED}\n", ("data", "check", "raven:a")),
    "plan of a store": ("s/plans/a.json", f'{{"{HOSTILE}": "{HOSTILE}"}}', ("report", "a", "--store", "s")),
}  # fmt: skip
"""What stands in a file, and the command that reads it."""


@pytest.mark.parametrize("what", FILES)
def test_no_file_can_write_lines_of_others(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, content, arguments = FILES[what]
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(content, encoding="utf-8")
    ended = command(*arguments)
    assert ended.code == 1, ended.err
    shown(ended.out, forged=FORGED)
    shown(ended.err, forged=FORGED)


def test_a_terminal_gets_escapes_and_a_pipe_the_text() -> None:
    code = "import sys; from astune.console import print_exact; print_exact(sys.argv[1])"
    control, end = pty.openpty()
    text = "".join(CONTROLS).replace("\n", " ").replace("\t", " ")
    words: list[str | bytes] = [sys.executable, "-c", code, os.fsencode(text)]
    subprocess.run(words, stdout=end, check=True)
    os.close(end)
    assert os.read(control, 100_000).decode() == printable(text)
    os.close(control)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:surrogateescape"}
    assert subprocess.run(words, capture_output=True, check=True, env=environment).stdout == os.fsencode(text)


def test_every_command_is_tried() -> None:
    assert [*PATHS] == [*VERBS]


@pytest.mark.slow
def test_results_of_an_experiment(world: World, tmp_path: Path) -> None:
    content: dict[str, Any] = yaml.safe_load(world.table.read_text(encoding="utf-8"))
    content["rows"], content["datasets"] = content["rows"][:2], content["datasets"][:1]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    options = ("--backbone", "random:tiny", "--num-train-epochs", 1, "--seeds", 1, "--store", tmp_path / "it's")
    ended = command("reproduce", tmp_path / "a.yaml", *options)
    assert ended.code == 0, ended.err
    assert missing(TEXTS[:2], folded(shown(ended.out))) == []
    assert f"astune report a --store '{tmp_path}/it'\"'\"'s'" in "\n".join(shown(ended.err))
    ended = command("report", "a", "--store", tmp_path / "it's")
    assert ended.code == 0, ended.err
    shown(ended.out + ended.err)
