"""The main job on real recordings, from files to a labelled clip."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from astune.cli import main
from astune.training.config import TrainConfig
from astune.training.cross_validation import cross_validate
from astune.training.loop import train

DIGITS = ("0", "1", "7")


def some_digits(real_audio: Path, tmp_path: Path) -> Path:
    """Three digits, ten takes each by two of the speakers; a fold a speaker."""
    with (real_audio / "spoken_digits" / "metadata.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["label"] in DIGITS and row["fold"] in ("1", "2")]
    kept = [row for row in rows if int(Path(row["file_name"]).stem.rpartition("_")[2]) < 10]
    lines = [f"{real_audio / 'spoken_digits' / row['file_name']},{row['label']},{row['fold']}" for row in kept]
    (tmp_path / "digits.csv").write_text("\n".join(["file_name,label,fold", *lines]) + "\n")
    assert len(lines) == 60
    return tmp_path / "digits.csv"


def test_spoken_digits_by_speaker(
    real_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(
        data=str(some_digits(real_audio, tmp_path)),
        method="full-ft",
        backbone="random:tiny",
        output_dir=tmp_path / "out",
        learning_rate=1e-3,
        num_train_epochs=15,
        per_device_train_batch_size=4,
        max_length=64,
    )
    results = cross_validate(config, quiet=True)
    assert sum(run.scores["test"]["clips"] for run in results) == 60
    assert all(run.history[-1]["train_loss"] < 0.8 * run.history[0]["train_loss"] for run in results)
    file = real_audio / "spoken_digits" / "audio" / "7_george_3.wav"
    monkeypatch.setattr(sys, "argv", ["astune", "predict", str(tmp_path / "out" / "fold-2"), str(file), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)[0]["labels"][0]["label"] in DIGITS


@pytest.mark.slow
def test_a_fold_of_esc10(real_audio: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=str(real_audio / "esc10"),
        method="linear",
        backbone="random:tiny",
        output_dir=tmp_path,
        num_train_epochs=1,
        fold=3,
    )
    result = train(config, quiet=True)
    assert result.recipe["max_length"] == 500
    assert (result.recipe["freq_mask"], result.recipe["time_mask"]) == (24, 80)
    assert {name: scores["clips"] for name, scores in result.scores.items()} == {"validation": 80, "test": 80}
