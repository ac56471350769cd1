"""What ``predict`` writes is corrected in a text editor and trained on: the loop that a person with recordings goes through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from typer.testing import CliRunner

from astune.cli import app
from astune.data import load_data

RATE = 16_000  # Hz
STEP = 0.5  # seconds of a window, and from one to the next
EVENTS = {
    "one.wav": [(1.0, 2.5, "low"), (4.0, 5.0, "high"), (8.0, 9.5, "low")],
    "sub/two.wav": [(2.0, 3.0, "high"), (6.0, 8.0, "low")],
    "three.wav": [(0.5, 1.5, "low"), (3.0, 4.5, "high"), (7.0, 7.5, "high")],
}
LENGTH = 10.0  # seconds of a recording
PITCH = {"low": 400.0, "high": 3_000.0}  # Hz


def command(*arguments: object) -> str:
    """What a command that succeeds says on standard error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stderr


def noise(seconds: float, draw: np.random.Generator) -> NDArray[np.float64]:
    return 0.01 * draw.standard_normal(round(seconds * RATE))


def tone(label: str, seconds: float) -> NDArray[np.float64]:
    return np.asarray(0.3 * np.sin(2 * np.pi * PITCH[label] * np.arange(round(seconds * RATE)) / RATE))


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders, an adapter trained on them, and recordings in which it is known what sounds when."""
    folder, draw = tmp_path_factory.mktemp("field"), np.random.default_rng(0)
    for label in (*PITCH, "background"):
        (folder / "classes" / label).mkdir(parents=True)
        for take in range(10):
            sound = noise(STEP, draw) + (tone(label, STEP) if label in PITCH else 0.0)
            soundfile.write(folder / "classes" / label / f"{take}.wav", sound, RATE)
    for name, events in EVENTS.items():
        sound = noise(LENGTH, draw)
        for start, end, label in events:
            sound[round(start * RATE) : round(end * RATE)] += tone(label, end - start)
        (folder / "recordings" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "recordings" / name, sound, RATE)
    command(
        "train",
        folder / "classes",
        "--method",
        "linear",
        "--num-train-epochs",
        20,
        "--max-length",
        49,
        "--output-dir",
        folder / "adapter",
    )
    return folder


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("csv", ".csv"), ("jsonl", ".jsonl"), ("audacity", ".txt"), ("raven", ".Table.1.selections.txt")],
)
def test_corrected_events_train(field: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    folder = tmp_path / "events"
    command(
        "predict", field / "adapter", field / "recordings", "--events", "--window", STEP, "--hop", STEP, "--threshold", 0.5,
        "--format", kind, "-o", folder,
    )  # fmt: skip
    layout = "csv" if kind == "jsonl" else kind
    found = load_data(f"{layout}:{folder}", window=STEP)
    for name, events in EVENTS.items():
        for start, end, label in events:
            regions = [
                clip.region for clip in found.clips
                if clip.label == label and clip.path == field / "recordings" / name and start <= clip.region.start < end
            ]  # fmt: skip
            assert sum((region.end or LENGTH) - region.start for region in regions) == pytest.approx(
                end - start, abs=STEP
            )
    table = folder / f"two{suffix}" if (folder / f"two{suffix}").is_file() else folder / "sub" / f"two{suffix}"
    corrected = table.read_text(encoding="utf-8").replace("low", "owl")
    assert "owl" in corrected
    table.write_text(corrected, encoding="utf-8")
    command(
        "train", f"{layout}:{folder}", "--window", STEP, "--method", "linear", "--num-train-epochs", 1,
        "--output-dir", tmp_path / "again",
    )  # fmt: skip
    dataset = load_data(folder, window=STEP)
    assert dataset.source == f"{layout}:{folder}"
    assert dataset.labels == ("background", "high", "low", "owl")
    owls = [clip for clip in dataset.clips if clip.label == "owl"]
    assert {clip.path for clip in owls} == {field / "recordings" / "sub" / "two.wav"}
    assert not [clip for clip in dataset.clips if clip.label == "low" and clip.path == owls[0].path]
    assert '"owl"' in (tmp_path / "again" / "adapter_config.json").read_text(encoding="utf-8")
