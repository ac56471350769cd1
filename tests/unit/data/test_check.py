"""``astune.data.check`` and ``astune data check``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from typer.testing import CliRunner

from astune.cli import app
from astune.data import load_data
from astune.data.check import check
from tests.example_layouts import write_csv, write_text, write_tone

if TYPE_CHECKING:
    from pathlib import Path


def splits(folder: Path) -> Path:
    """Five whole clips of two classes: 1, 1, 2, 4 and 0.5 s, one in stereo, one at 16 kHz."""
    write_tone(folder / "train" / "dog" / "a.wav", 1.0, 300)
    write_tone(folder / "train" / "dog" / "b.wav", 1.0, 400, channels=2)
    write_tone(folder / "train" / "rain" / "c.wav", 2.0, 500)
    write_tone(folder / "validation" / "rain" / "d.wav", 4.0, 600, rate=16_000)
    write_tone(folder / "test" / "dog" / "e.wav", 0.5, 700)
    return folder


def test_counts_durations_rates_and_channels(tmp_path: Path) -> None:
    report = check(load_data(splits(tmp_path)), quiet=True)
    assert report.clips == 5
    assert report.parts == ["train", "validation", "test"]
    assert report.counts == {
        "dog": {"train": 2, "validation": 0, "test": 1},
        "rain": {"train": 1, "validation": 1, "test": 0},
    }
    assert report.seconds == {"min": 0.5, "median": 1.0, "percentile_95": 4.0, "max": 4.0}
    assert report.sampling_rates == {8000: 4, 16000: 1}
    assert report.channels == {1: 4, 2: 1}
    assert (report.broken, report.leaks, report.duplicates, report.contradictions) == ([], [], [], [])


def test_folds_are_parts(tmp_path: Path) -> None:
    report = check(load_data(write_csv(tmp_path)), quiet=True)
    assert report.counts == {label: {"fold 1": 4, "fold 2": 4, "fold 3": 4} for label in ("no", "yes")}


def test_files_are_really_decoded(tmp_path: Path) -> None:
    """A FLAC file cut in half has a whole header: only its samples tell."""
    splits(tmp_path)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    cut = tmp_path / "train" / "dog" / "cut.flac"
    soundfile.write(cut, noise, 16_000)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    write_text(tmp_path / "train" / "dog" / "text.wav", "no audio")
    (tmp_path / "test" / "dog" / "empty.wav").touch()
    assert soundfile.info(cut).frames == 32_000
    report = check(load_data(tmp_path), quiet=True)
    assert [fault.name for fault in report.broken] == ["test/dog/empty.wav", "train/dog/cut.flac", "train/dog/text.wav"]
    assert "the file is empty" in report.broken[0].reason
    assert sum(report.sampling_rates.values()) == 5


def test_the_same_sound_is_found_under_other_names_and_encodings(tmp_path: Path) -> None:
    splits(tmp_path)
    samples, rate = soundfile.read(tmp_path / "train" / "dog" / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "test" / "dog" / "again.flac", samples, rate)
    write_tone(tmp_path / "train" / "rain" / "c2.wav", 2.0, 500)
    write_tone(tmp_path / "validation" / "dog" / "d2.wav", 4.0, 600, rate=16_000)
    report = check(load_data(tmp_path), quiet=True)
    assert report.leaks == [["test/dog/again.flac", "train/dog/a.wav"]]
    assert report.duplicates == [
        ["train/rain/c.wav", "train/rain/c2.wav"],
        ["validation/dog/d2.wav", "validation/rain/d.wav"],
    ]
    assert report.contradictions == [["validation/dog/d2.wav", "validation/rain/d.wav"]]


def test_esc10_is_whole(real_audio: Path) -> None:
    """400 clips of about 5 s, 44.1 kHz mono, 10 classes in 5 folds (data/README.md); 8 of each class in each fold."""
    report = check(load_data(real_audio / "esc10"), quiet=True)
    assert report.broken == []
    assert (report.sampling_rates, report.channels) == ({44100: 400}, {1: 400})
    assert {count for counts in report.counts.values() for count in counts.values()} == {8}
    assert abs(report.seconds["median"] - 5.0) < 0.01


def test_the_command_shows_a_table(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "check", str(splits(tmp_path))], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    rows = [line.replace("│", " ").split() for line in result.stdout.splitlines()]
    assert ["dog", "2", "0", "1", "3"] in rows
    assert ["2", "classes", "3", "1", "1", "5"] in rows
    assert "broken      0 of 5 files" in result.stdout
    assert result.stderr == ""


def test_broken_files_fail_the_command_and_leaks_warn(tmp_path: Path) -> None:
    splits(tmp_path)
    write_text(tmp_path / "train" / "dog" / "text.wav", "no audio")
    write_tone(tmp_path / "test" / "rain" / "copy.wav", 2.0, 500)
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert result.exit_code == 1
    assert "1 of 7 files cannot be read" in result.stderr
    assert "text.wav: it cannot be decoded" in result.stderr
    assert "so scores may be too good: once, test/rain/copy.wav = train/rain/c.wav among them" in result.stderr


def test_a_leak_alone_is_no_failure(tmp_path: Path) -> None:
    write_tone(splits(tmp_path) / "test" / "rain" / "copy.wav", 2.0, 500)
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["leaks"] == [["test/rain/copy.wav", "train/rain/c.wav"]]


def test_the_command_imports_no_torch_and_prints_json_alone(tmp_path: Path) -> None:
    write_text(splits(tmp_path) / "train" / "dog" / "text.wav", "no audio")
    code = "import sys; from astune.cli import app; app(standalone_mode=False); sys.exit(9 if 'torch' in sys.modules else 0)"
    command = [sys.executable, "-c", code, "data", "check", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    record = json.loads(done.stdout)
    assert record["counts"]["rain"] == {"train": 1, "validation": 1, "test": 0}
    assert record["broken"][0]["name"] == "train/dog/text.wav"
    assert "torch" not in done.stderr
    assert done.returncode == 0  # standalone_mode=False returns the exit code; 9 would mean torch
    real = subprocess.run([sys.executable, "-m", "astune", *command[3:]], capture_output=True, text=True, check=False)
    assert (real.returncode, real.stdout) == (1, done.stdout)


def test_data_that_are_not_there_leave_stdout_empty(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "astune", "data", "check", str(tmp_path / "nowhere"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Known layouts:" in done.stderr
