"""One adapter by both runtimes: ``astune predict`` says the same of short, long, silent, stereo and 44.1 kHz recordings, in every mode."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from astune import AudioClassifier, OnnxPredictor, Predictor, load_backbone
from astune.cli import app
from astune.export import export_adapter
from astune.inference.runtime import labeller
from astune.tasks import TASKS

RATE = 16_000  # Hz
APART = 1e-4
LABELS = ("dog", "rain", "siren", "none")
LENGTH = 48  # frames, 0.495 s


@pytest.fixture(scope="module", params=[pytest.param("single-label", marks=pytest.mark.slow), "multi-label"])
def adapter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter whose scores differ from sound to sound, and its graph."""
    folder: Path = tmp_path_factory.mktemp("adapter") / "birds"
    torch.manual_seed(1)
    negatives = ("none",) if request.param == "multi-label" else ()
    model = AudioClassifier(
        load_backbone("random:tiny", LENGTH), "lora", LABELS, task=TASKS[request.param], negatives=negatives
    )
    if request.param == "multi-label":
        model.thresholds = dict.fromkeys(LABELS, 0.4)
    with torch.no_grad():
        model.head.weight.mul_(30)
    model.save_pretrained(folder)
    export_adapter(folder, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)

    def write(name: str, seconds: float, rate: int = RATE, channels: int = 1, level: float = 0.1, **more: Any) -> None:
        shape = (round(seconds * rate), channels)
        loudness = np.interp(np.arange(shape[0]), [0, shape[0] / 3, shape[0]], [0.01, 1, 0.1])[:, None]
        soundfile.write(folder / name, level * loudness * random.normal(0, 1, shape), rate, **more)

    write("tiny.wav", 0.01)  # less than a frame
    write("short.wav", 0.2)
    write("whole.flac", 0.495)
    write("long.wav", 7.3)
    write("silent.wav", 1.2, level=0.0)
    write("stereo.ogg", 1.7, channels=2)
    write("cd.wav", 2.2, rate=44_100, channels=2, subtype="PCM_16")
    write("telephone.wav", 1.1, rate=8_000, subtype="ULAW")
    return folder


def run(*arguments: object) -> str:
    ended = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert ended.exit_code == 0, ended.stderr + str(ended.exception)
    return ended.stdout


def alike(one: object, other: object) -> bool:
    """Whether two JSON values are the same but for scores, which may differ by rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= APART
    return one == other


def by_file(records: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The score of each label; equal ones may change places."""
    return {one["file"]: {entry["label"]: entry["score"] for entry in one["labels"]} for one in records}


@pytest.mark.parametrize("pool", ["mean", "max", "first"])
def test_whole_recordings(pool: str, adapter: Path, recordings: Path) -> None:
    of = {
        runtime: json.loads(run(adapter, recordings, "--json", "--top-k", "4", "--pool", pool, "--runtime", runtime))
        for runtime in ("torch", "onnx")
    }
    assert alike(by_file(of["torch"]), by_file(of["onnx"]))
    assert len(by_file(of["onnx"])) == 8
    for records in of.values():
        for record in records:
            del record["labels"]
    assert alike(of["torch"], of["onnx"])


@pytest.mark.parametrize(("window", "hop"), [(None, None), (0.3, 0.1), (0.2, 0.5)])
def test_windows(window: float | None, hop: float | None, adapter: Path, recordings: Path) -> None:
    paths = sorted(recordings.iterdir())
    predictors = [labeller(adapter, runtime=runtime, batch_size=5) for runtime in ("torch", "onnx")]
    assert [type(one) for one in predictors] == [Predictor, OnnxPredictor]
    both = [one.timelines(paths, window=window, hop=hop) for one in predictors]
    for ours, graphs in zip(*both, strict=True):
        assert ours.error is graphs.error is None
        for what in ("name", "labels", "task", "window", "hop", "seconds", "sampling_rate", "doubts", "negatives"):
            assert getattr(ours, what) == getattr(graphs, what)
        assert np.array_equal(ours.starts, graphs.starts)
        assert np.array_equal(ours.ends, graphs.ends)
        np.testing.assert_allclose(ours.scores, graphs.scores, atol=APART)


def test_events_and_tables(adapter: Path, recordings: Path, tmp_path: Path) -> None:
    """The threshold lies where no score is near, so that rounding decides nothing."""
    every = [one.scores for one in Predictor(adapter).timelines(sorted(recordings.iterdir()), hop=0.25)]
    threshold = str(_between(np.concatenate(every)))
    options = ["--events", "--hop", "0.25", "--threshold", threshold]
    for table in ("csv", "jsonl"):
        of = [run(adapter, recordings, *options, "--format", table, "--runtime", one) for one in ("torch", "onnx")]
        ours, graphs = ([_plain(row) for row in _rows(text, table)] for text in of)
        assert len(ours) > 3
        assert alike(ours, graphs)
    for table in ("audacity", "raven"):
        tables = [tmp_path / f"{table}-{runtime}" for runtime in ("torch", "onnx")]
        for folder in tables:
            runtime = folder.name.rpartition("-")[2]
            run(adapter, recordings, *options, "--format", table, "--runtime", runtime, "-o", folder)
        written = [{one.name: _cells(one) for one in folder.glob("*.txt")} for folder in tables]
        assert len(written[0]) == 8
        assert alike(*written)


def _between(scores: NDArray[np.float32]) -> float:
    """The middle of the widest gap between scores, away from the ends."""
    ranked = np.sort(scores.ravel())
    ranked = ranked[(ranked > 0.1) & (ranked < 0.9)]
    widest = int(np.diff(ranked).argmax())
    assert ranked[widest + 1] - ranked[widest] > 4 * APART
    return round(float(ranked[widest] + ranked[widest + 1]) / 2, 6)


def _rows(text: str, table: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text))) if table == "csv" else [json.loads(one) for one in text.splitlines()]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _number(value) for name, value in row.items()}


def _cells(path: Path) -> list[list[Any]]:
    return [[_number(cell) for cell in line.split("\t")] for line in path.read_text().splitlines()]


def _number(value: Any) -> Any:  # noqa: ANN401 - a cell
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
