"""``astune.data.check`` and ``astune data check``."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from astune.backbone.load import load_front_end
from astune.cli import app
from astune.data import Clip, load_data
from astune.data.audio import read_audio
from astune.data.check import CLIPPED, MOSTLY_SILENT, OTHER_LEVEL, check
from astune.data.check_report import LogMel
from astune.data.hold_out import NOTHING_HELD_OUT
from astune.data.without_clips import find_without_clips, without_clips_notices
from astune.errors import ConfigError, OutputError
from astune.reporting.check_picture import draw_check, refuse_picture
from astune.tasks import MULTI_LABEL
from tests.example_layouts import write_csv, write_text, write_tone

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from astune.data.splits import SplitName


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
    assert "broken      0 of 5 clips" in result.stdout
    (line,) = [line for line in result.stderr.splitlines() if "no score says" not in line]
    assert line.startswith(
        "Note: the log-Mel energies"
    )  # of bare tones, which are nothing like what the backbone knows


def test_broken_files_fail_the_command_and_leaks_warn(tmp_path: Path) -> None:
    splits(tmp_path)
    write_text(tmp_path / "train" / "dog" / "text.wav", "no audio")
    write_tone(tmp_path / "test" / "rain" / "copy.wav", 2.0, 500)
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert result.exit_code == 1
    assert "1 of 7 clips cannot be read" in result.stderr
    assert "text.wav: it cannot be decoded" in result.stderr
    assert "so scores may be too good: 1 time, test/rain/copy.wav = train/rain/c.wav among them" in result.stderr


def test_a_leak_alone_is_no_failure(tmp_path: Path) -> None:
    write_tone(splits(tmp_path) / "test" / "rain" / "copy.wav", 2.0, 500)
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["leaks"] == [["test/rain/copy.wav", "train/rain/c.wav"]]


def test_the_command_prints_json_alone(tmp_path: Path) -> None:
    write_text(splits(tmp_path) / "train" / "dog" / "text.wav", "no audio")
    command = [sys.executable, "-m", "astune", "data", "check", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    record = json.loads(done.stdout)
    assert record["counts"]["rain"] == {"train": 1, "validation": 1, "test": 0}
    assert record["broken"][0]["name"] == "train/dog/text.wav"
    assert done.returncode == 1
    assert "torch" not in done.stderr


def test_without_a_front_end_no_torch_is_imported(tmp_path: Path) -> None:
    """Only the log-Mel energies need it."""
    code = (
        "import sys; from astune.data import load_data; from astune.data.check import check;"
        "print(check(load_data(sys.argv[1])).log_mel, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(splits(tmp_path))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "None False\n"


def test_the_log_mel_energies_are_those_of_all_frames(tmp_path: Path) -> None:
    """Beside the front end's own features of the whole files, and their mean and deviation by NumPy."""
    front_end = load_front_end("bundled", 98)
    dataset = load_data(splits(tmp_path))
    every = np.concatenate([front_end.energies(read_audio(path)).ravel() for path in dataset.paths])
    found = check(dataset, front_end, quiet=True).log_mel
    assert found is not None
    assert found.mean == pytest.approx(every.mean(dtype=np.float64), abs=2e-3)
    assert found.std == pytest.approx(every.std(dtype=np.float64), abs=2e-3)
    assert (found.backbone_mean, found.backbone_std) == (front_end.mean, front_end.std)
    assert found.far


@pytest.mark.parametrize(
    ("mean", "std", "far"),
    [(-4.0, 4.0, False), (-7.9, 4.0, False), (-8.1, 4.0, True), (-4, 1.9, True), (-4, 8.1, True)],
)
def test_far_is_a_deviation_or_twice_the_spread(mean: float, std: float, far: bool) -> None:
    assert LogMel(mean, std, -4.0, 4.0).far == far


def test_lengths_say_what_they_cut(tmp_path: Path) -> None:
    """Clips of 1, 1, 2, 4 and 0.5 s; those that are not test decide: the 95th percentile is 4 s, 398 frames, and the median 1 s, 98."""
    lengths = check(load_data(splits(tmp_path)), quiet=True).lengths
    assert [(one.name, one.max_length) for one in lengths] == [("suggested", 398), ("median clip", 98)]
    assert lengths[0].cut.longer_clips == 0
    assert lengths[1].cut.longer_clips == 2
    assert lengths[1].cut.seconds == pytest.approx((2 - 0.995) + (4 - 0.995))
    assert lengths[1].cut.share == pytest.approx((6 - 2 * 0.995) / 8.5)


def test_quality_is_told_for_each_clip_and_for_all(tmp_path: Path) -> None:
    """One clip each that is clipped, mostly silent, 26 dB quieter than the others, and above 8 kHz."""
    rate, times = 32_000, np.arange(32_000) / 32_000

    def tone(name: str, samples: NDArray[np.float64]) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, samples, rate)

    for number in range(4):
        tone(f"a/{number}.wav", 0.2 * np.sin(2 * np.pi * (300 + 40 * number) * times))
    tone("b/clipped.wav", (0.3 * np.sin(2 * np.pi * 700 * times)).clip(-0.1, 0.1) * 10)
    tone("b/padded.wav", np.concatenate([0.2 * np.sin(2 * np.pi * 900 * times), np.zeros(3 * rate)]))
    tone("b/quiet.wav", 0.01 * np.sin(2 * np.pi * 1100 * times))
    tone("b/whistle.wav", 0.2 * np.sin(2 * np.pi * 12_000 * times))
    report = check(load_data(tmp_path), quiet=True)
    assert [(doubt.name, doubt.reason.partition(":")[0]) for doubt in report.doubts] == [
        ("b/clipped.wav", CLIPPED), ("b/padded.wav", MOSTLY_SILENT), ("b/quiet.wav", OTHER_LEVEL),
    ]  # fmt: skip
    figures = {clip.name: clip for clip in report.measures}
    assert figures["a/0.wav"].level_dbfs == pytest.approx(10 * math.log10(0.02), abs=0.01)
    # Of a sine of 0.3 cut at 0.1, what is beyond asin(1/3) is clipped.
    assert figures["b/clipped.wav"].clipped_share == pytest.approx(1 - math.asin(1 / 3) / (math.pi / 2), abs=0.01)
    assert report.clipped_clips == 1
    assert figures["b/padded.wav"].silent_share == pytest.approx(0.75)
    assert report.silent_share == pytest.approx(3 / 11, abs=1e-3)
    assert report.levels["min"] == pytest.approx(10 * math.log10(0.01**2 / 2), abs=0.01)
    assert figures["b/whistle.wav"].above_8_khz_share == pytest.approx(1)
    assert report.above_8_khz.clips_over_half == 1
    assert report.above_8_khz.median_share == pytest.approx(0, abs=1e-4)
    (line,) = [line for line in report.sentences() if "above 8 kHz" in line]
    assert "more than half of it in 1 clip;" in line


def test_labels_and_groups_in_doubt_are_data(tmp_path: Path) -> None:
    rows = []
    for number, label in enumerate(["dog", "rain", "dog+rain", "dog", "rain"]):
        write_tone(tmp_path / f"{number}.wav", pitch=300 + 50 * number)
        rows.append(f"{number}.wav,{label},{'train' if number < 3 else 'test'},site {number % 3}")
    table = write_text(tmp_path / "a.csv", "file_name,label,split,group", *rows)
    result = CliRunner().invoke(app, ["data", "check", str(table), "--json"])
    record = json.loads(result.stdout)
    assert record["doubtful_labels"] == {"several": ["dog+rain"]}
    assert record["crossing_groups"] == {"site 0": ["test", "train"], "site 1": ["test", "train"]}
    assert "looks like several labels in one" in result.stderr


def test_a_data_set_of_broken_files_is_reported_too(tmp_path: Path) -> None:
    for label in "ab":
        write_text(tmp_path / label / "x.wav", "no audio")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--json"])
    record = json.loads(result.stdout)
    assert result.exit_code == 1
    assert len(record["broken"]) == 2
    assert (record["seconds"], record["levels"], record["lengths"], record["log_mel"]) == ({}, {}, [], None)


def test_windows_of_one_recording_are_copies_only_across_splits(tmp_path: Path) -> None:
    """Windows that overlap share sound. Within one split that is meant; across splits it is a leak."""
    soundfile.write(tmp_path / "r.wav", np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    dataset = load_data(splits(tmp_path / "other"))
    splits_given: list[SplitName] = ["train", "train", "train", "test"]
    windows = [
        Clip(f"w{number}", tmp_path / "r.wav", ("dog",), start=number / 2, end=number / 2 + 1, split=split)
        for number, split in enumerate(splits_given)
    ]
    groups = check(replace(dataset, clips=tuple(windows)), quiet=True).near_duplicates
    assert [(pair.first, pair.second, pair.offset_seconds) for group in groups for pair in group.pairs] == [
        ("w2", "w3", -0.5)
    ]


def test_the_picture_is_whole_or_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, runner = splits(tmp_path / "data"), CliRunner()
    done = runner.invoke(app, ["data", "check", str(data), "--plot", str(tmp_path / "check.PNG")])
    assert done.exit_code == 0
    assert (tmp_path / "check.PNG").read_bytes().startswith(b"\x89PNG")
    with monkeypatch.context() as full:
        full.setattr("astune.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        done = runner.invoke(app, ["data", "check", str(data), "--plot", str(tmp_path / "full.png")])
        assert isinstance(done.exception, OutputError)
        assert "full.png cannot be written: No space left on device (" in str(done.exception)
        assert " MB are wanted); free some disk, or" in str(done.exception)
    monkeypatch.setattr("astune.data.check.measure", lambda *_: pytest.fail("it was decoded"))
    for name, reason in (("check.gif", "'.gif'"), ("nowhere/check.png", "there is no folder")):
        refused = runner.invoke(app, ["data", "check", str(data), "--plot", str(tmp_path / name)])
        assert isinstance(refused.exception, ConfigError)
        assert reason in str(refused.exception)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install .*\[plots\]'"):
        refuse_picture(tmp_path / "check.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check.PNG", "data"]


def test_the_picture_shows_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = check(load_data(splits(tmp_path)), quiet=True)
    durations, levels, counts = draw_check(report).axes
    assert sum(bar.get_height() for bar in durations.containers[0]) == 5
    assert sum(bar.get_height() for bar in levels.containers[0]) == 5
    assert [label.get_text() for label in counts.get_yticklabels()] == ["dog", "rain"]
    bars = {container.get_label(): [bar.get_width() for bar in container] for container in counts.containers}
    assert bars == {"train": [2, 1], "validation": [0, 1], "test": [1, 0]}
    assert durations.get_lines()[0].get_xdata() == [report.lengths[0].cut.input_seconds] * 2


def test_data_that_are_not_there_leave_stdout_empty(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "astune", "data", "check", str(tmp_path / "nowhere"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no" in done.stderr


def one_of_a_class(folder: Path) -> Path:
    """Two classes of twelve clips, and one with a single clip."""
    for number in range(12):
        write_tone(folder / "dog" / f"{number}.wav", 0.2, 300 + number)
        write_tone(folder / "rain" / f"{number}.wav", 0.2, 500 + number)
    write_tone(folder / "rare" / "only.wav", 0.2, 700)
    return folder


def test_a_class_that_no_held_out_clip_can_be_of_is_named(tmp_path: Path) -> None:
    """In the words of training, which holds a tenth of the clips out."""
    report = check(load_data(one_of_a_class(tmp_path)), quiet=True)
    said = "Note: 1 of 3 classes has no validation clip, and no score says anything of it: rare"
    assert said in report.sentences()
    assert report.record()["without_clips"] == [{"split": "validation", "fold": None, "classes": ["rare"]}]
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--json"])
    assert said in json.loads(result.stdout)["notices"]
    assert said in " ".join(result.stderr.split())


def test_classes_that_a_split_of_the_data_has_not_are_named(tmp_path: Path) -> None:
    report = check(load_data(splits(tmp_path)), quiet=True)
    assert [line for line in report.sentences() if "no score says" in line] == [
        "Note: 1 of 2 classes has no validation clip, and no score says anything of it: dog",
        "Note: 1 of 2 classes has no test clip, and no score says anything of it: rain",
    ]
    whole = check(load_data(write_csv(tmp_path / "folds")), quiet=True)
    assert (whole.without_clips, [line for line in whole.sentences() if "no score" in line]) == ([], [])


def test_classes_that_a_fold_has_not_are_named(tmp_path: Path) -> None:
    """One clip of a class: where its fold tests, no clip of the class trains; elsewhere, none tests or validates."""
    folds = {"dog": (1, 2, 3), "rain": (1, 2, 3), "rare": (2,), "two": (1, 3)}
    dataset = load_data(one_of_a_class(tmp_path))
    clips = tuple(
        replace(dataset.clips[0], name=f"{label}{fold}{n}", labels=(label,), fold=fold, split=None)
        for label, found in folds.items()
        for fold in found
        for n in range(1 if label == "rare" else 12)
    )
    dataset = replace(dataset, clips=clips, labels=tuple(folds))
    found = find_without_clips(dataset)
    assert [(one.split, one.fold, one.classes) for one in found] == [
        ("validation", 1, ["rare"]),
        ("test", 1, ["rare"]),
        ("train", 2, ["rare"]),
        ("validation", 2, ["rare"]),
        ("test", 2, ["two"]),
        ("validation", 3, ["rare"]),
        ("test", 3, ["rare"]),
    ]
    assert without_clips_notices(dataset, found) == [
        "Warning: 1 class has no training clip where fold 2 tests, and training refuses that: rare",
        "Note: 1 of 4 classes has no validation clip, and no score says anything of it: rare",
        "Note: 2 of 4 classes have no test clip where one of the folds 1, 2, 3 tests, and no score says anything of them: rare, two",
    ]


def test_where_nothing_can_be_held_out_nothing_chooses_the_epoch(tmp_path: Path) -> None:
    """A class with one clip keeps it for training."""
    for number, label in enumerate("abc"):
        write_tone(tmp_path / label / "one.wav", pitch=300 + 100 * number)
    dataset = load_data(tmp_path)
    split = dataset.split()
    assert (len(split.train), split.validation) == (3, ())
    assert split.notice == NOTHING_HELD_OUT
    notices = check(dataset, quiet=True).notices
    assert f"Warning: {NOTHING_HELD_OUT}" in notices
    assert not [notice for notice in notices if "a tenth of training" in notice]


def test_labels_that_no_clip_has_are_named_as_their_task_does(tmp_path: Path) -> None:
    dataset = replace(load_data(one_of_a_class(tmp_path)), task=MULTI_LABEL)
    assert without_clips_notices(dataset, find_without_clips(dataset)) == [
        "Note: 1 of 3 labels has no validation clip, and mAP, AUC and macro F1 leave it out: rare"
    ]
