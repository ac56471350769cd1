"""Review: an unseen sound comes out on top, what is chosen and why, and a folder that Audacity and training read."""

from __future__ import annotations

import csv
import gc
import json
import resource
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import astune
from astune import AudioClassifier, Predictor, TrainConfig, load_data
from astune.cli import app
from astune.data.generated import write_generated
from astune.errors import AudioError, ConfigError, DataError, OutputError
from astune.folder_lock import lock_folder
from astune.inference import review as review_module
from astune.inference import review_folder
from astune.inference.known_clips import KnownClips, known_clips
from astune.inference.review import Review, review

RATE = 16_000  # Hz
SLOT = 0.5  # seconds of a generated clip
UNSEEN = "filling_bottle"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes; one of them is held back from training."""
    folder = write_generated(tmp_path_factory.mktemp("sounds") / "all", clips_per_class=(8, 2, 6), seconds=SLOT)
    shutil.copytree(folder, folder.parent / "known", ignore=shutil.ignore_patterns(UNSEEN))
    return folder.parent


@pytest.fixture(scope="module")
def adapter(sounds: Path) -> Path:
    folder = sounds / "adapter"
    astune.train(
        TrainConfig(
            data=str(sounds / "known"), method="linear", output_dir=folder, num_train_epochs=20, learning_rate=0.005
        ),
        quiet=True,
    )
    return folder


@pytest.fixture(scope="module")
def recordings(sounds: Path) -> tuple[Path, dict[str, list[str]]]:
    """Test clips of all classes one after the other, in two recordings: 16 kHz mono, and 48 kHz stereo; and the class of each slot."""
    folder = sounds / "recordings"
    folder.mkdir()
    clips = sorted((sounds / "all" / "test").rglob("*.wav"))
    order = np.random.default_rng(0).permutation(len(clips))
    truth = {}
    for name, some in (("one.wav", order[::2]), ("two.flac", order[1::2])):
        sound = np.concatenate([soundfile.read(clips[number], dtype="float32")[0] for number in some])
        if name == "two.flac":
            soundfile.write(folder / name, np.repeat(np.repeat(sound, 3)[:, None], 2, axis=1), 3 * RATE)
        else:
            soundfile.write(folder / name, sound, RATE)
        truth[str(folder / name)] = [clips[number].parent.name for number in some]
    return folder, truth


def class_of(row: dict[str, Any], truth: dict[str, list[str]]) -> str:
    slot = round(float(row["start"]) / SLOT)
    return truth[str(row["recording"])][slot]


def of(found: Review, criterion: str) -> list[dict[str, Any]]:
    return [row for row in found.rows if row["criterion"] == criterion]


def test_an_unseen_class_comes_out_on_top(
    adapter: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    folder, truth = recordings
    windows = sum(map(len, truth.values()))
    found = review(
        adapter, folder, tmp_path / "r", criteria=["unlike"], count=windows, hop=SLOT, margin=0, per_recording=windows
    )
    assert len(found.rows) == found.windows == windows == 36
    unseen = [class_of(row, truth) == UNSEEN for row in found.rows]
    values = [row["value"] for row in found.rows]
    assert values == sorted(values, reverse=True)
    assert sum(unseen[:3]) >= 2
    assert roc_auc_score(unseen, values) > 0.9


def test_the_most_confident_of_each_class_and_the_least_certain(
    adapter: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    folder, _ = recordings
    found = review(adapter, folder, tmp_path / "r", count=4, per_class=2, hop=SLOT, margin=0)
    timelines = list(Predictor(adapter).timelines(sorted(folder.iterdir()), hop=SLOT))
    scores = np.concatenate([timeline.scores for timeline in timelines])
    labels, best = timelines[0].labels, scores.argmax(axis=1)
    spans = [(timeline.name, start) for timeline in timelines for start in timeline.starts]
    taken = {(row["recording"], row["start"]) for row in [*of(found, "unlike"), *of(found, "uncertain")]}
    margins = np.diff(np.sort(scores, axis=1)[:, -2:])[:, 0]
    outer = {(row["recording"], row["start"]) for row in of(found, "unlike")}
    order = [number for number in np.argsort(margins, kind="stable") if spans[number] not in outer]
    assert {(row["recording"], row["start"]) for row in of(found, "uncertain")} == {spans[n] for n in order[:4]}
    for column, label in enumerate(labels):
        mine = np.flatnonzero((best == column) & (scores[:, column] >= 0.5))
        free = [n for n in mine[np.argsort(-scores[mine, column], kind="stable")] if spans[n] not in taken]
        rows = [row for row in of(found, "confident") if row["label"] == label]
        assert [(row["recording"], row["start"]) for row in rows] == [spans[n] for n in free[:2]]
        assert [row["score"] for row in rows] == pytest.approx([scores[n, column] for n in free[:2]], abs=1e-4)
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert len({(row["recording"], row["start"]) for row in found.rows}) == len(found.rows)


def parsed(track: Path) -> list[tuple[float, float, str]]:
    rows = [line.split("\t") for line in track.read_text(encoding="utf-8").splitlines()]
    return [(float(start), float(end), label) for start, end, label in rows]


def test_clips_hold_the_sound_of_their_recording_and_tracks_lie_on_the_window(
    adapter: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    """At the file's own rate and channels, bit for bit, with the margin around the window where the recording has it."""
    folder, _ = recordings
    out = tmp_path / "r"
    found = review(adapter, folder, out, count=3, per_class=1, margin=0.7)
    with (out / "review.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [row["file"] for row in table] == [row["file"] for row in found.rows]
    assert sorted(path.stem for path in (out / "clips").glob("*.wav")) == sorted(
        path.stem for path in (out / "clips").glob("*.txt")
    )
    spans: dict[str, list[tuple[float, float]]] = {}
    for row in found.rows:
        clip, rate = soundfile.read(out / row["file"], dtype="int16", always_2d=True)
        whole, own = soundfile.read(row["recording"], dtype="int16", always_2d=True)
        assert rate == own
        first = int(max(0, row["start"] - 0.7) * rate)
        np.testing.assert_array_equal(clip, whole[first : first + len(clip)])
        assert len(clip) / rate == pytest.approx(min(row["end"] + 0.7, len(whole) / rate) - first / rate, abs=2 / rate)
        ((start, end, label),) = parsed((out / row["file"]).with_suffix(".txt"))
        assert label == row["label"]
        assert first / rate + start == pytest.approx(row["start"], abs=1e-5)
        assert end - start == pytest.approx(row["end"] - row["start"], abs=1e-5)
        spans.setdefault(row["recording"], []).append((row["start"] - 0.7, row["end"] + 0.7))
    for some in spans.values():
        ordered = sorted(some)
        assert all(before[1] <= after[0] + 1e-6 for before, after in pairwise(ordered))
    assert json.loads((out / "review.json").read_text())["margin"] == 0.7


def test_corrected_tracks_are_read_back(
    adapter: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    """As Audacity writes them after a label was edited, one added and one deleted; a second review leaves out what was heard."""
    folder, truth = recordings
    out = tmp_path / "r"
    found = review(adapter, folder, out, criteria="unlike", count=4, hop=SLOT, margin=0, per_recording=4)
    for row in found.rows:
        track = (out / row["file"]).with_suffix(".txt")
        ((start, end, _),) = parsed(track)
        track.write_text(f"{start:.6f}\t{end:.6f}\t{class_of(row, truth)}\n")
    tracks = {path.stem: parsed(path) for path in (out / "clips").glob("*.txt")}
    assert [tracks[Path(row["file"]).stem][0][2] for row in found.rows] == [class_of(row, truth) for row in found.rows]
    with pytest.raises(ConfigError, match="already holds a review, whose labels may have been corrected"):
        review(adapter, folder, out)
    again = review(adapter, folder, tmp_path / "s", criteria="unlike", count=4, hop=SLOT, margin=0, reviewed=[out])
    before = {(row["recording"], row["start"]) for row in found.rows}
    assert not before & {(row["recording"], row["start"]) for row in again.rows}
    assert max(row["value"] for row in again.rows) <= min(row["value"] for row in found.rows)
    assert "Note: 4 windows that were reviewed before were passed over" in again.notices
    with pytest.raises(DataError, match=r"has no review\.csv"):
        review(adapter, folder, tmp_path / "t", reviewed=[tmp_path])


def test_corrected_tracks_train(adapter: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path) -> None:
    """Each clip is named by hand, as a person would; what was trained on them knows the class that the first adapter never heard."""
    folder, truth = recordings
    found = review(adapter, folder, tmp_path / "r", count=36, hop=SLOT, margin=0.1, per_class=4, per_recording=36)
    spans_of: dict[str, list[tuple[float, float]]] = {}
    for row in found.rows:
        track = (tmp_path / "r" / row["file"]).with_suffix(".txt")
        start, end, _ = track.read_text().split("\t")
        track.write_text(f"{start}\t{end}\t{class_of(row, truth)}\n")
        spans_of.setdefault(class_of(row, truth), []).append((float(start), float(end)))
    dataset = load_data(f"audacity:{tmp_path / 'r' / 'clips'}")
    assert {label: len(spans) for label, spans in spans_of.items()} == {
        label: sum(clip.label == label for clip in dataset.clips) for label in dataset.labels
    }
    assert UNSEEN in dataset.labels
    config = TrainConfig(
        data=f"audacity:{tmp_path / 'r' / 'clips'}", method="linear", output_dir=tmp_path / "again", num_train_epochs=30,
        learning_rate=0.005, selection="last",
    )  # fmt: skip
    astune.train(config, quiet=True)
    held_back = sorted((adapter.parent / "all" / "train" / UNSEEN).glob("*.wav"))
    named = [labels[0]["label"] for labels in Predictor(tmp_path / "again").predict(held_back)]
    assert named.count(UNSEEN) >= len(held_back) - 2


def test_training_clips_are_those_that_trained_and_are_unchanged(adapter: Path, sounds: Path, tmp_path: Path) -> None:
    predictor = Predictor(adapter)
    known = known_clips(predictor, None, 0)
    assert isinstance(known, KnownClips)
    assert known.names == tuple(c.name for c in load_data(sounds / "known").clips if c.split == "train")
    assert known.notices == ()
    rows = predictor.embed([sounds / "known" / known.names[0], sounds / "known" / known.names[7]]).numpy()
    distances, nearest = known.nearest(rows)
    assert nearest.tolist() == [0, 7]
    assert distances == pytest.approx([0, 0], abs=1e-5)
    moved = tmp_path / "moved"
    shutil.copytree(sounds / "known", moved)
    (moved / known.names[0]).unlink()
    shutil.copy(moved / known.names[3], moved / known.names[2])
    found = known_clips(predictor, str(moved), 0)
    assert isinstance(found, KnownClips)
    assert set(known.names) - set(found.names) == {known.names[0], known.names[2]}
    assert found.notices == ("Warning: 2 of 40 training clips are gone or changed",)
    with pytest.raises(DataError, match="has none of the 40 clips that the adapter was trained on"):
        known_clips(predictor, f"folder:{sounds / 'all' / 'test'}", 0)


def test_training_clips_that_cannot_be_found(
    adapter: Path, sounds: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    folder, _ = recordings
    lone = tmp_path / "lone"
    lone.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copy(adapter / name, lone / name)
    config = json.loads((lone / "adapter_config.json").read_text())
    config["training"]["data"] = "not/here"
    (lone / "adapter_config.json").write_text(json.dumps(config))
    found = review(lone, folder, tmp_path / "r", count=2, per_class=1)
    assert not of(found, "unlike")
    assert any("'unlike' is left out; give data for them" in notice for notice in found.notices)
    with pytest.raises(DataError, match=r"cannot be found \(there is no 'not/here'"):
        review(lone, folder, tmp_path / "s", criteria="unlike")
    given = review(lone, folder, tmp_path / "t", criteria="unlike", count=2, data=str(sounds / "known"))
    assert len(given.rows) == 2
    assert any("the adapter has no list of training clips" in notice for notice in given.notices)
    model = AudioClassifier.from_pretrained(adapter)
    with pytest.raises(DataError, match="does not record what it was trained on"):
        review(model, folder, tmp_path / "u", criteria="unlike")


def test_broken_recordings_change_nothing_in_what_is_chosen(
    adapter: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    """They are no recordings that windows could be spread over."""
    broken = [tmp_path / f"{number}.wav" for number in range(6)]
    for path in broken:
        path.write_bytes(b"no sound")
    settings: dict[str, Any] = {"criteria": ["random"], "count": 4, "hop": SLOT, "margin": 0}
    for seed in range(4):
        alone = review(adapter, recordings[0], tmp_path / f"alone{seed}", **settings, seed=seed)
        beside = review(adapter, [recordings[0], *broken], tmp_path / f"beside{seed}", **settings, seed=seed)
        assert len(beside.errors) == 6
        assert beside.rows == alone.rows


def test_silence_is_passed_over_and_broken_recordings_are_named(adapter: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "half.wav", np.concatenate([noise, np.zeros(5 * RATE)]), RATE)
    (folder / "bad.wav").write_bytes(b"no sound")
    arguments = ["review", str(adapter), str(folder), "--count", "5", "--margin", "0", "--hop", "0.5"]
    outcome = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "r"), "--json"])
    assert outcome.exit_code == 1
    record = json.loads(outcome.stdout)
    assert record["recordings"] == 1
    assert record["windows"] == 16
    assert all(row["start"] < 3 for row in record["rows"])
    assert "Note: 10 windows of digital silence were passed over" in outcome.stderr
    assert "1 of 2 files could not be read" in outcome.stderr
    assert "bad.wav" in outcome.stderr
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    with pytest.raises(DataError, match=r"nothing to review: no window meets a criterion; .* digital silence"):
        review(adapter, tmp_path / "silent.wav", tmp_path / "s")
    with pytest.raises(AudioError, match="1 file cannot be read"):
        review(adapter, folder / "bad.wav", tmp_path / "s")
    with pytest.raises(DataError, match="no window meets a criterion"):
        review(adapter, folder / "half.wav", tmp_path / "s", criteria="confident", threshold=1.0)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"criteria": ("unlik",)}, "unknown criterion 'unlik'.*did you mean 'unlike'"),
        ({"criteria": ()}, "criteria is empty"),
        ({"count": 0}, "count=0: give a whole number of 1 or more"),
        ({"per_class": 1.5}, r"per_class=1\.5"),
        ({"per_recording": 0}, "per_recording=0"),
        ({"threshold": 2}, "threshold=2: give a score from 0 to 1"),
        ({"margin": -1}, "margin=-1: give seconds"),
        ({"margin": float("nan")}, "margin=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"window": 9}, "window=9 is longer than the adapter's input"),
        ({"hop": 0}, "hop=0"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], fault: str, adapter: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(RATE) / 2, RATE)
    with pytest.raises(ConfigError, match=fault):
        review(adapter, tmp_path / "a.wav", tmp_path / "r", **settings)


def test_folders_that_are_refused(adapter: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    for folder, fault in (
        (tmp_path, "is not empty; give another folder"),
        (tmp_path / "a.wav", "is a file"),
        (tmp_path / "no" / "r", "is not a folder; make it"),
    ):
        with pytest.raises(ConfigError, match=fault):
            review(adapter, tmp_path / "a.wav", folder)


@pytest.mark.parametrize("kind", ["empty", "link", "current", "new"])
def test_folders_that_are_taken(kind: str, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    folder = tmp_path / "r"
    if kind != "new":
        folder.mkdir()
        inode = folder.stat().st_ino
    if kind == "current":
        monkeypatch.chdir(folder)
        folder = Path()
    if kind == "link":
        folder = tmp_path / "link"
        folder.symlink_to("r")
    assert review(adapter, tmp_path / "a.wav", folder, margin=0).rows
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["clips", "review.csv", "review.json"]
    if kind != "new":  # the shell that is in it, and the disk that is mounted there, stay
        assert (tmp_path / "r").stat().st_ino == inode


def test_a_folder_takes_one_run_at_a_time_and_is_tried_before_anything_is_heard(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    with lock_folder(tmp_path / "r"), pytest.raises(ConfigError, match="another run is writing into"):
        review(adapter, tmp_path / "a.wav", tmp_path / "r")
    assert not (tmp_path / "r").exists()
    monkeypatch.setattr(review_module, "_reviewed", lambda *_: pytest.fail("it was heard"))
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OutputError, match="cannot be written: File exists; give another folder"):
        review(adapter, tmp_path / "a.wav", tmp_path / "dangling")


def test_a_full_disk_leaves_nothing_and_says_so(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    write = review_folder._write_clip

    def on_a_full_disk(*arguments: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, usual[1]))
        try:
            write(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    monkeypatch.setattr(review_folder, "_write_clip", on_a_full_disk)
    with pytest.raises(
        OutputError,
        match=r"/r cannot be written: File too large \(\S+ MB of its disk are free\); free some disk, or give another folder",
    ):
        review(adapter, tmp_path / "a.wav", tmp_path / "r")
    gc.collect()  # which must find nothing that Python cannot take apart
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_the_short_rest_of_a_recording_is_not_what_is_most_unlike(adapter: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", rng.normal(0, 0.1, round(2.53 * RATE)), RATE)
    soundfile.write(tmp_path / "short.wav", rng.normal(0, 0.1, RATE // 4), RATE)
    found = review(adapter, sorted(tmp_path.glob("*.wav")), tmp_path / "r", window=0.5 - 0.005, hop=0.5, margin=0)
    spans = {(Path(row["recording"]).name, round(row["end"] - row["start"], 3)) for row in found.rows}
    assert spans == {*((f"{number}.wav", 0.495) for number in range(3)), ("short.wav", 0.25)}
    assert "Note: 3 windows that the end of a recording cuts short were passed over" in found.notices


def test_what_is_suspicious_of_a_recording_is_said(adapter: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 4 * RATE), RATE)
    path.write_bytes(path.read_bytes()[: 4 * RATE])
    assert any(
        note.startswith("Warning: cut short: 1 of 1 file") for note in review(adapter, path, tmp_path / "r").notices
    )


def test_a_killed_run_leaves_no_review_and_the_next_one_clears_up(adapter: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 9 * RATE), RATE)
    code = (
        "import os, sys, signal\nfrom astune.inference import review, review_folder\n"
        "review_folder._write_clip = lambda path, *_: (path.touch(), os.kill(os.getpid(), signal.SIGKILL))\n"
        "review.review(*sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, str(adapter), str(tmp_path / "a.wav"), str(tmp_path / "r")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    assert {path.name for path in (tmp_path / "r").iterdir()} <= {".partial", ".astune.lock"}
    review(adapter, tmp_path / "a.wav", tmp_path / "r")
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "r"}
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"clips", "review.csv", "review.json"}


@pytest.mark.parametrize("named", [1, 2])
def test_a_review_that_was_killed_while_it_was_named_is_completed(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], named: int
) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 9 * RATE), RATE)
    folder = tmp_path / "r"
    review(adapter, tmp_path / "a.wav", folder)
    (folder / ".partial").mkdir()
    for name in ("clips", "review.json", "review.csv")[named:]:
        (folder / name).rename(folder / ".partial" / name)
    with pytest.raises(ConfigError, match="already holds a review"):
        review(adapter, tmp_path / "a.wav", folder)
    assert "the review is now complete" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"clips", "review.csv", "review.json"}
    assert review_folder.reviewed_spans([folder])


def test_names_of_clips_are_safe_and_differ() -> None:
    assert review_folder._name("/x/gar\tden/../wald: früh.flac", 83.5, set()) == "wald_ früh_00083.50.wav"
    first = review_folder._name("/x/a.wav", 1, set())
    assert review_folder._name("/y/a.wav", 1, {first}) == "a_00001.00_2.wav"
    assert len(review_folder._name("ä" * 300, 0, set()).encode()) < 130


def test_the_command_prints_what_it_chose(
    adapter: Path, recordings: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    folder, _ = recordings
    arguments = [
        "review",
        str(adapter),
        str(folder),
        "-o",
        str(tmp_path / "r"),
        "--criterion",
        "random",
        "--count",
        "2",
    ]
    outcome = CliRunner().invoke(app, [*arguments, "--margin", "0"])
    assert outcome.exit_code == 0, outcome.output
    assert f"2 clips of 38 windows of 2 recordings, with label tracks, in {tmp_path / 'r'}/clips" in outcome.stdout
    assert outcome.stdout.count("random") == 2
