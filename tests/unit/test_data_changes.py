"""Data that changed under a run: resumed, asked for again, scored."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner
from typing_extensions import override

from astune import AudioClassifier, adapter_file, load_backbone
from astune.cli import app
from astune.data import AudioDataset, load_data
from astune.data.digests import content_digests
from astune.errors import CheckpointError, ConfigError, DataError, Interrupted
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.runner import execute, pending_runs
from astune.experiments.store import Store
from astune.experiments.table import Table
from astune.training.callbacks import Callback
from astune.training.config import TrainConfig
from astune.training.cross_validation import cross_validate
from astune.training.data_record import DataRecord, UsedClip, trained_among
from astune.training.engine import Engine
from astune.training.loop import train
from astune.training.progress import Progress
from tests.stopping import PowerCut, StopAfter

RATE = 16_000
CLASSES = {"high": 3000, "low": 300, "noise": 0}


def write_tone(path: Path, frequency: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    samples = 0.1 * generator.normal(size=4000)
    if frequency:
        samples = 0.3 * np.sin(2 * np.pi * frequency * np.arange(4000) / RATE + seed) + 0.01 * samples
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for number, (label, frequency) in enumerate(CLASSES.items()):
        for clip in range(4):
            write_tone(tmp_path / "rec" / label / f"{clip}.wav", frequency, 10 * number + clip)
    return tmp_path / "rec"


def settings(data: Path | str, folder: Path, **more: Any) -> TrainConfig:
    usual = {"backbone": "random:tiny", "method": "linear", "num_train_epochs": 2, "max_length": 24, "recipe": "paper"}
    return TrainConfig(data=str(data), output_dir=folder, **{**usual, **more})


def stopped_run(config: TrainConfig) -> TrainConfig:
    """A run that stopped right after its first checkpoint; the same, to go on."""
    with pytest.raises(PowerCut):
        train(config, quiet=True, callbacks=[StopAfter(1)])
    return config.model_copy(update={"resume": True})


def rename_a_class(data: Path) -> str:
    (data / "high").rename(data / "zz_high")
    return "class 'high' is gone; class 'zz_high' is new; 4 clips are gone, high/0.wav among them"


def add_a_clip(data: Path) -> str:
    write_tone(data / "low" / "new.wav", 310, 99)
    return r"1 clip is new \(low/new.wav\)"


def lose_half(data: Path) -> str:
    for clip in (0, 1):
        for label in CLASSES:
            (data / label / f"{clip}.wav").unlink()
    return "6 clips are gone, high/0.wav among them"


def swap_two_files(data: Path) -> str:
    one, other, spare = data / "high" / "0.wav", data / "low" / "0.wav", data / "spare"
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    return "2 files hold something else, high/0.wav among them"


def replace_a_file(data: Path) -> str:
    write_tone(data / "noise" / "2.wav", 0, 1234)
    return r"1 file holds something else \(noise/2.wav\)"


CHANGES = [rename_a_class, add_a_clip, lose_half, swap_two_files, replace_a_file]


@pytest.mark.parametrize("change", CHANGES)
def test_a_stopped_run_does_not_go_on_with_other_data(
    change: Callable[[Path], str], recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = stopped_run(settings(recordings, tmp_path / "out"))
    weights = (tmp_path / "out" / "checkpoint-1" / "trained.safetensors").read_bytes()
    message = change(recordings)
    with pytest.raises(CheckpointError, match=message) as refusal:
        train(again, quiet=True)
    assert "overwrite_output_dir=True" in str(refusal.value)
    assert (tmp_path / "out" / "checkpoint-1" / "trained.safetensors").read_bytes() == weights
    anew = train(again.model_copy(update={"resume": False, "overwrite_output_dir": True}), quiet=True)
    assert anew.labels == list(load_data(recordings).labels)  # as the message says, it can be trained anew


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_run_is_not_finished_on_other_data(
    change: Callable[[Path], str], recordings: Path, tmp_path: Path
) -> None:
    config = settings(recordings, tmp_path / "out", num_train_epochs=1)
    finished = train(config, quiet=True)
    again = config.model_copy(update={"resume": True})
    assert train(again, quiet=True) == finished
    message = change(recordings)
    with pytest.raises(CheckpointError, match=message):
        train(again, quiet=True)


def relabelled(table: Path, change: Callable[[list[list[str]]], None]) -> None:
    rows = list(csv.reader(table.read_text().splitlines()))
    change(rows)
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")


@pytest.fixture
def table(recordings: Path, tmp_path: Path) -> Path:
    clips = sorted(recordings.rglob("*.wav"))
    rows = [
        f"rec/{clip.parent.name}/{clip.name},{clip.parent.name},{'test' if clip.stem == '3' else 'train'}"
        for clip in clips
    ]
    (tmp_path / "table.csv").write_text("\n".join(["file_name,label,split", *rows]) + "\n")
    return tmp_path / "table.csv"


def test_labels_swapped_in_a_table_are_named(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = stopped_run(settings(table, tmp_path / "out", selection="last"))

    def swap(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[1] = {"high": "low", "low": "high"}.get(row[1], row[1])

    relabelled(table, swap)
    with pytest.raises(CheckpointError, match=r"8 clips have other labels, rec/high/0.wav \('high' then, 'low' now\)"):
        train(again, quiet=True)


def test_another_split_is_named(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = stopped_run(settings(table, tmp_path / "out", selection="last"))

    def move(rows: list[list[str]]) -> None:
        rows[4][2] = "train"

    relabelled(table, move)
    with pytest.raises(
        CheckpointError, match=r"1 clip is in another split, rec/high/3.wav \('test' then, 'train' now\)"
    ):
        train(again, quiet=True)


def test_the_same_data_go_on_wherever_times_and_inodes_changed(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(settings(recordings, tmp_path / "whole"), quiet=True)
    again = stopped_run(settings(recordings, tmp_path / "out"))
    shutil.copytree(recordings, tmp_path / "copy")
    shutil.rmtree(recordings)
    (tmp_path / "copy").rename(recordings)
    assert train(again, quiet=True).scores == whole.scores


def test_the_same_data_in_another_place_go_on(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a cluster copies them to the disk of whichever machine a run goes on; without a digest nothing says that they are the same."""
    whole = train(settings(recordings, tmp_path / "whole"), quiet=True)
    again = stopped_run(settings(recordings, tmp_path / "out"))
    old = shutil.copytree(tmp_path / "out", tmp_path / "old")
    recordings.rename(tmp_path / "elsewhere")
    there = again.model_copy(update={"data": str(tmp_path / "elsewhere")})
    result = train(there, quiet=True)
    assert (result.scores, result.data_digest) == (whole.scores, whole.data_digest)
    assert train(there, quiet=True) == result
    state = json.loads((old / "checkpoint-1" / "trainer_state.json").read_text())
    del state["data"]
    (old / "checkpoint-1" / "trainer_state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"other settings \(data: .*rec' then, .*elsewhere' now"):
        train(there.model_copy(update={"output_dir": old}), quiet=True)


def test_checkpoint_result_and_adapter_know_the_data(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = stopped_run(settings(recordings, tmp_path / "out"))
    state = json.loads((tmp_path / "out" / "checkpoint-1" / "trainer_state.json").read_text())
    result = train(again, quiet=True)
    adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    dataset = load_data(recordings)
    expected = DataRecord.of(dataset, dataset.split())
    assert state["data"] == {"digest": expected.digest, "labels": ["high", "low", "noise"]}
    assert result.data_digest == adapter["training"]["data_digest"] == expected.digest
    assert DataRecord.read(tmp_path / "out", result.labels) == expected
    rows = list(csv.DictReader((tmp_path / "out" / "clips.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert {row["name"]: row["sha256"] for row in rows} == dict(
        zip([clip.name for clip in dataset.clips], content_digests(dataset.paths), strict=True)
    )
    assert {row["split"] for row in rows} == {"train", "validation"}


def test_runs_of_older_versions_go_on_with_a_note(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = stopped_run(settings(recordings, tmp_path / "out"))
    file = tmp_path / "out" / "checkpoint-1" / "trainer_state.json"
    state = json.loads(file.read_text())
    del state["data"]
    file.write_text(json.dumps(state))
    (tmp_path / "out" / "clips.csv").unlink()
    train(again)
    assert "does not say which clips it was trained on" in capsys.readouterr().err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    del results["data_digest"]
    (tmp_path / "out" / "results.json").write_text(json.dumps(results))
    train(again)
    assert "does not say which clips it was trained on" in capsys.readouterr().err


def test_a_lost_list_still_refuses_by_digest(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = stopped_run(settings(recordings, tmp_path / "out"))
    add_a_clip(recordings)
    for spoil in ("missing", "damaged"):
        (tmp_path / "out" / "clips.csv").unlink(missing_ok=True)
        if spoil == "damaged":
            (tmp_path / "out" / "clips.csv").write_text("name,lab")
        with pytest.raises(CheckpointError, match=r"their digest was [0-9a-f]{32} and is [0-9a-f]{32}"):
            train(again, quiet=True)


def test_a_finished_run_whose_data_are_gone_is_given_with_a_note(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(recordings, tmp_path / "out", num_train_epochs=1)
    finished = train(config, quiet=True)
    shutil.rmtree(recordings)
    assert train(config.model_copy(update={"resume": True})) == finished
    assert "not compared with its data, which cannot be read now" in capsys.readouterr().err


def test_the_digest_covers_each_part() -> None:
    clips = {"a": UsedClip("x", "train", "1"), "b": UsedClip("y", "test", "2")}
    records = [
        DataRecord(("x", "y"), clips),
        DataRecord(("y", "x"), clips),
        DataRecord(("x", "y"), {**clips, "c": UsedClip("x", "train", "3")}),
        DataRecord(("x", "y"), {**clips, "a": UsedClip("y", "train", "1")}),
        DataRecord(("x", "y"), {**clips, "a": UsedClip("x", "validation", "1")}),
        DataRecord(("x", "y"), {**clips, "a": UsedClip("x", "train", "9")}),
    ]
    assert len({record.digest for record in records}) == len(records)
    assert records[0].digest == DataRecord(("x", "y"), dict(reversed(clips.items()))).digest
    assert records[0].differences(records[0]) == []
    assert [records[0].differences(other) for other in records[1:]] == [
        ["the classes have another order"],
        ["1 clip is new (c)"],
        ["1 clip has another label, a ('x' then, 'y' now)"],
        ["1 clip is in another split, a ('train' then, 'validation' now)"],
        ["1 file holds something else (a)"],
    ]


def trained(folder: Path, dataset: AudioDataset, clips: Sequence[int]) -> list[str]:
    config = adapter_file.read(folder.parent / "out").config
    return trained_among(folder, config, dataset, clips)


def test_evaluate_warns_of_clips_the_adapter_was_trained_on(recordings: Path, tmp_path: Path) -> None:
    """Under other names, too: a clip added moves the draw, and copies of training clips are no test."""
    train(settings(recordings, tmp_path / "out", num_train_epochs=1), quiet=True)
    dataset = load_data(recordings)
    split = dataset.split()
    assert trained(tmp_path / "out", dataset, split.validation) == []
    assert trained(tmp_path / "out", dataset, split.train) == [dataset.clips[n].name for n in split.train]
    assert trained(tmp_path / "elsewhere", dataset, split.train) == []
    other = tmp_path / "other"
    for label in CLASSES:
        (other / "test" / label).mkdir(parents=True)
        (other / "train" / label).mkdir(parents=True)
        write_tone(other / "train" / label / "t.wav", 100, 77)
        write_tone(other / "test" / label / "fresh.wav", CLASSES[label], 55)
    clip = dataset.clips[split.train[0]]
    shutil.copy(clip.path, other / "test" / clip.label / "copy.wav")
    arguments = ["evaluate", str(tmp_path / "out"), str(other), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["trained_on"] == 1
    assert "trained on 1 of the 4 clips scored" in result.stderr
    AudioClassifier(load_backbone("random:tiny", 24), "linear", list(CLASSES)).save_pretrained(tmp_path / "out")
    assert trained(tmp_path / "out", dataset, split.train) == []  # another adapter took the place of the run's


def test_evaluate_is_silent_where_nothing_was_trained_on(recordings: Path, tmp_path: Path) -> None:
    train(settings(recordings, tmp_path / "out", num_train_epochs=1), quiet=True)
    clean = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "out"), str(recordings), "--split", "validation", "--json"]
    )
    assert json.loads(clean.stdout)["trained_on"] == 0
    assert "Warning" not in clean.stderr


def test_training_clips_are_said_to_be_where_they_were_asked_for(recordings: Path, tmp_path: Path) -> None:
    train(settings(recordings, tmp_path / "out", num_train_epochs=1), quiet=True)
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "out"), str(recordings), "--split", "train", "--json"])
    clips = len(load_data(recordings).split().train)
    assert json.loads(result.stdout)["trained_on"] == clips
    assert f"trained on {clips} of the {clips} clips scored" in result.stderr


def test_a_class_that_no_score_speaks_of_is_named(recordings: Path, tmp_path: Path) -> None:
    write_tone(recordings / "rare" / "only.wav", 700, 99)
    result = train(settings(recordings, tmp_path / "out", num_train_epochs=1), quiet=True)
    said = f"Note: 1 of {len(CLASSES) + 1} classes has no validation clip, and no score says anything of it: rare"
    assert said in result.notices
    scored = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "out"), str(recordings), "--split", "validation", "--json"]
    )
    assert said in json.loads(scored.stdout)["notices"]
    whole = CliRunner().invoke(app, ["evaluate", str(tmp_path / "out"), str(recordings), "--split", "all", "--json"])
    assert not [note for note in json.loads(whole.stdout)["notices"] if "no score says" in note]


def test_an_experiment_runs_again_where_its_audio_changed(
    table: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that grew no shorter and is not among those sampled by the plan's digest: its name stays, the record is stale."""
    mine = Table.model_validate(
        {
            "title": "test",
            "datasets": [{"name": "tones", "data": f"csv:{table}", "settings": {"max_length": 24}}],
            "settings": {"num_train_epochs": 1, "selection": "last"},
            "rows": [{"name": "linear", "method": "linear"}],
        }
    )
    store = Store(tmp_path / "store")
    (before,) = plan("test", mine, PlanOptions(backbone="random:tiny"))
    record = execute(before, store)
    assert record.content is not None
    assert pending_runs([before], store, {}) == []
    victim = recordings / "noise" / "2.wav"
    content = bytearray(victim.read_bytes())
    content[-2:] = b"\x01\x02"  # not in the middle, of which the plan's digest takes bytes
    victim.write_bytes(bytes(content))
    (after,) = plan("test", mine, PlanOptions(backbone="random:tiny"))
    assert after.key == before.key
    assert store.status(after, {}) == "stale"
    assert pending_runs([after], store, {}) == [after]
    assert "audio files have changed since" in capsys.readouterr().err
    assert store.status(after, {}) == "missing"
    assert len(list((tmp_path / "store" / "stale").iterdir())) == 1


def test_overwriting_wins_over_going_on(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who adds overwrite_output_dir=True may keep resume=True."""
    again = stopped_run(settings(recordings, tmp_path / "out"))
    add_a_clip(recordings)
    anew = again.model_copy(update={"overwrite_output_dir": True})
    assert train(anew, quiet=True).data_digest == train(again, quiet=True).data_digest
    (tmp_path / "out" / "results.json").unlink()
    (tmp_path / "out" / "checkpoint-9").mkdir()
    (tmp_path / "out" / "checkpoint-9" / "trainer_state.json").write_text("{")
    assert len(train(anew, quiet=True).history) == 2


def test_a_finished_run_that_was_moved_says_where_it_is(recordings: Path, tmp_path: Path) -> None:
    config = settings(recordings, tmp_path / "out", num_train_epochs=1, resume=True)
    train(config, quiet=True)
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    assert train(config.model_copy(update={"output_dir": moved}), quiet=True).output_dir == str(moved)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_finished_run_without_its_adapter_is_not_finished(name: str, recordings: Path, tmp_path: Path) -> None:
    config = settings(recordings, tmp_path / "out", num_train_epochs=1, resume=True)
    train(config, quiet=True)
    (tmp_path / "out" / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}.*overwrite_output_dir=True"):
        train(config, quiet=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"labels"', '"names"', "does not know names"),
        ('"seed"', '"sede"', "settings that this version cannot read"),
        ("{", "[", "cannot be read"),
    ],
)
def test_results_that_cannot_be_read_are_named(
    old: str, new: str, message: str, recordings: Path, tmp_path: Path
) -> None:
    config = settings(recordings, tmp_path / "out", num_train_epochs=1, resume=True)
    train(config, quiet=True)
    file = tmp_path / "out" / "results.json"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=rf"results.json [\s\S]*{message}"):
        train(config, quiet=True)


def test_classes_of_an_older_versions_result_are_compared(recordings: Path, tmp_path: Path) -> None:
    config = settings(recordings, tmp_path / "out", num_train_epochs=1, resume=True)
    train(config, quiet=True)
    file = tmp_path / "out" / "results.json"
    result = json.loads(file.read_text())
    del result["data_digest"]
    file.write_text(json.dumps(result))
    rename_a_class(recordings)
    with pytest.raises(CheckpointError, match="were high, low, noise and are low, noise, zz_high"):
        train(config, quiet=True)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"step": 99}, {"epoch": -1}, {"epoch": "1"}, {"history": []}, {"best_epoch": 7}, {"clips": None},
]  # fmt: skip


@pytest.mark.parametrize("state", IMPOSSIBLE)
def test_a_checkpoint_where_no_run_can_stand_is_damaged(
    state: dict[str, Any], recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an older version and half of its clips, too: its step is beyond the epoch's last."""
    again = stopped_run(settings(recordings, tmp_path / "out"))
    file = tmp_path / "out" / "checkpoint-1" / "trainer_state.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "progress": {**record["progress"], **state}}))
    with pytest.raises(CheckpointError, match=r"checkpoint-1 is damaged: .*start again with overwrite_output_dir=True"):
        train(again, quiet=True)


@pytest.mark.parametrize("name", ["best", "trained", "optimizer", "random-0"])
@pytest.mark.parametrize("by", ["nothing", "another"])
def test_a_checkpoint_with_a_file_lost_or_mixed_up_is_damaged(
    name: str, by: str, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its best weights a run would keep its last ones and call them the best."""
    again = stopped_run(settings(recordings, tmp_path / "out"))
    folder = tmp_path / "out" / "checkpoint-1"
    other = "optimizer" if name != "optimizer" else "trained"
    content = (folder / f"{other}.safetensors").read_bytes()
    (folder / f"{name}.safetensors").unlink()
    if by == "another":
        (folder / f"{name}.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint-1 is damaged: .+; start again"):
        train(again, quiet=True)


def folds_of(recordings: Path, folds: int = 3) -> Path:
    clips = sorted(recordings.rglob("*.wav"))
    rows = [f"{clip.relative_to(recordings)},{clip.parent.name},{int(clip.stem) % folds + 1}" for clip in clips]
    (recordings / "folds.csv").write_text("\n".join(["file_name,label,fold", *rows]) + "\n")
    return recordings / "folds.csv"


def test_cross_validation_finds_what_is_wrong_with_the_last_fold_first(recordings: Path, tmp_path: Path) -> None:
    config = settings(folds_of(recordings), tmp_path / "out", num_train_epochs=1)
    (tmp_path / "out" / "fold-3").mkdir(parents=True)
    (tmp_path / "out" / "fold-3" / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"fold-3 holds a README.md"):
        cross_validate(config, quiet=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fold-3"]


def test_cross_validation_needs_test_clips_that_can_be_read(recordings: Path, tmp_path: Path) -> None:
    config = settings(folds_of(recordings), tmp_path / "out", num_train_epochs=1, skip_broken=True, selection="last")
    for label in CLASSES:
        (recordings / label / "1.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="no test clip of fold 2 can be read"):
        cross_validate(config, quiet=True)
    assert not (tmp_path / "out").exists()


def test_cross_validation_that_is_interrupted_says_what_was_kept(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(folds_of(recordings), tmp_path / "out", num_train_epochs=1)

    class InSecondFold(Callback):
        @override
        def on_step_end(self, engine: Engine, progress: Progress) -> None:
            del progress
            if engine.setup.config.fold == 2:
                raise KeyboardInterrupt

    with pytest.raises(
        Interrupted, match="1 of 3 folds finished and kept: the same command with resume=True continues"
    ):
        cross_validate(config, quiet=True, callbacks=[InSecondFold()])
    results = cross_validate(config.model_copy(update={"resume": True}), quiet=True)
    assert [result.fold for result in results] == [1, 2, 3]


def test_data_that_change_while_a_table_runs_make_no_record(recordings: Path, tmp_path: Path) -> None:
    """The record would stand for the data of the plan."""
    table = Table.model_validate(
        {
            "title": "test",
            "datasets": [{"name": "sounds", "data": f"csv:{folds_of(recordings)}"}],
            "settings": {"num_train_epochs": 1, "max_length": 24},
            "rows": [{"name": "linear", "method": "linear"}],
        }
    )
    options = PlanOptions(backbone="random:tiny", folds=(1,))
    for change in (swap_two_files, add_a_row):
        [run] = plan("test", table, options)
        change(recordings)
        with pytest.raises(DataError, match="has changed since this run was planned"):
            execute(run, Store(tmp_path / "store"))
        assert not Store(tmp_path / "store").path(run.key).exists()
    [run] = plan("test", table, options)
    assert execute(run, Store(tmp_path / "store")).key == run.key


def add_a_row(data: Path) -> None:
    write_tone(data / "low" / "9.wav", 310, 99)
    with (data / "folds.csv").open("a") as stream:
        stream.write("low/9.wav,low,1\n")
