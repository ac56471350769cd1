"""What astune wrote and reads again, damaged or made by somebody else: refused by file and field, or computed again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from astune.data.predicted import read_prediction_record
from astune.errors import CheckpointError, ConfigError, DataError
from astune.experiments.records import RunRecord, SavedPlan
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.features.arrays import by_row
from astune.features.cache import _Known
from astune.features.long_cache import _read as read_long_index
from astune.inference.embeddings import Embeddings
from astune.inference.result_folder import RECORD, open_result_folder
from astune.inference.writers import WRITERS
from astune.json_record import RECORD as CHECKED
from astune.json_record import Count, read_record
from astune.training.loop import train
from astune.training.result import read_result
from tests.faults.readers.records import sound_store
from tests.unit.test_data_changes import recordings, settings, stopped_run

__all__ = ["recordings"]  # a fixture


@dataclass(frozen=True)
class Small:
    __pydantic_config__ = CHECKED

    name: str
    clips: Count
    share: float = 0.5
    notes: tuple[str, ...] = ()


def test_a_record_has_its_types() -> None:
    assert read_record(Small, '{"name": "a", "clips": 3, "share": 1, "notes": ["x"]}') == Small("a", 3, 1.0, ("x",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", r"it=\[\]: Input should be an object"),
        ('{"name": "a"}', "clips is missing"),
        ('{"name": "a", "clips": 1, "more": 2}', r"astune [\d.]+ does not know more"),
        ('{"name": "a", "clips": 1.0}', "clips=1.0: Input should be a valid integer"),
        ('{"name": "a", "clips": true}', "clips=True: Input should be a valid integer"),
        ('{"name": "a", "clips": -1}', "clips=-1: Input should be greater than or equal to 0"),
        ('{"name": "a", "clips": 1e99}', "clips=1e.99: Input should be a valid integer"),
        ('{"name": "a", "clips": 1, "share": "0.5"}', "share='0.5': Input should be a valid number"),
        ('{"name": "a", "clips": 1, "share": NaN}', "NaN is not a number of JSON"),
        ('{"name": "a", "clips": 1, "name": "b"}', "the key 'name' occurs twice"),
        ('{"name": 1, "clips": "x"}', r"its fields are wrong: 2 faults\n  - name=1.*\n  - clips='x'"),
        (f'{{"name": "{"x" * 9_000}", "clips": [{"1," * 9_000}1]}}', r"clips=\[1, 1.{190,200}\.\.\.: Input"),
        ("[" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_record(Small, text)


def changed(record: dict[str, Any], path: str, value: object) -> str:
    """A record as JSON with another value at a path; without it where the value is `...`."""
    *parents, last = path.split(".")
    holder: Any = record
    for name in parents:
        holder = holder[int(name) if name.isdigit() else name]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("result.labels", "low", "result.labels='low': Input should be a valid array"),
        ("result.trainable_parameters", 10**40, "result.trainable_parameters=10{40}: Input should be less than or equal"),
        ("result.train_seconds", -1.0, "result.train_seconds=-1.0: Input should be greater than or equal to 0"),
        ("result.scores.test", ..., "result.scores.test is missing"),
        ("result.scores.test.clips", "9", "result.scores.test.clips='9': give a number from 1 to"),
        ("result.scores.test.accuracy", True, "result.scores.test.accuracy=True: give a number from 0 to 1"),
        ("result.scores.test.accuracy", ..., "result.scores.test.accuracy is missing"),
        ("result.scores.test.confusion", 3, "its confusion matrix is not 3 x 3 counts of clips"),
        ("result.scores.test.confusion", [[1, 2, -3]] * 3, "its confusion matrix is not 3 x 3 counts of clips"),
        ("result.scores.test.confusion", {"classes": 3, "true": [0], "predicted": [[]], "clips": [1]}, "its confusion matrix is"),
        ("result.history", [{"epoch": 0}], "history.0.train_loss is missing"),
        ("result.history.0.validation", [], r"validation is \[\], and not figures by name"),
        ("result.recipe.max_length", [32], r"result.recipe.max_length=\[32\]: give text or a number"),
        ("result.task", "mood", "unknown task 'mood'"),
        ("identity.backbone", ["bundled"], r"identity.backbone=\['bundled'\] should be text"),
        ("identity.method", ["linear"], r"it trained linear, not \['linear'\]"),
        ("key", "../../up", r"key='../../up': String should match pattern"),
        ("dirty", 1, "dirty=1: Input should be a valid boolean"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_left_out_by_file_and_field(path: str, value: object, sentence: str, tmp_path: Path) -> None:
    plan, runs = sound_store("single-label", "table")
    store = Store(tmp_path)
    store.write_plan(SavedPlan.from_json(json.dumps(plan)))
    for key, run in runs.items():
        store.write(RunRecord.from_json(json.dumps(run)))
        store.path(key).write_text(changed(run, path, value) if key == "key-0" else json.dumps(run))
    with pytest.raises(DataError, match=rf"key-0\.json cannot be read: {sentence}"):
        store.read("key-0")
    assert sorted(Results.load(store, "mine").records) == ["key-1", "key-2", "key-3"]


@pytest.mark.parametrize("name", ["clips_with_label", "average_precision"])
@pytest.mark.parametrize(("value", "sentence"), [(3, "is not a list"), (["x"] * 3, "has something else than numbers")])
def test_figures_of_labels_are_numbers(name: str, value: object, sentence: str) -> None:
    run = sound_store("multi-label", "table")[1]["key-0"]
    with pytest.raises(ValueError, match=f"its {name} {sentence}"):
        RunRecord.from_json(changed(run, f"result.scores.test.{name}", value))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("name", "../../up", r"mine.json holds the plan '../../up'"),
        ("kind", "other", "kind='other': Input should be 'table', 'curve', 'tsne' or 'comparison'"),
        ("entries", {}, "entries={}: Input should be a valid array"),
        ("entries.1.parameters", "10", "entries.1.parameters='10': Input should be a valid integer"),
        ("entries.1.key", "/etc/passwd", "entries.1.key='/etc/passwd': String should match pattern"),
        ("entries.1.settings.limit_clips", [3], r"entries.1.settings.limit_clips=\[3\]: give text or a number"),
        ("entries.1.fold", 1.5, "entries.1.fold=1.5: Input should be a valid integer"),
    ],
)  # fmt: skip
def test_a_damaged_plan_is_refused_by_file_and_field(path: str, value: object, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "plans" / "mine.json"
    file.parent.mkdir()
    file.write_text(changed(sound_store("single-label", "table")[0], path, value))
    with pytest.raises(DataError, match=sentence):
        Store(tmp_path).read_plan("mine")


def test_a_damaged_result_is_refused_by_its_field(tmp_path: Path) -> None:
    result = sound_store("single-label", "table")[1]["key-0"]["result"]
    (tmp_path / "results.json").write_text(changed(result, "history.0.train_loss", None))
    with pytest.raises(DataError, match=r"results.json cannot be read: history.0.train_loss=None: give a number"):
        read_result(tmp_path)


@pytest.mark.parametrize("entries", [{"2": "x"}, {"-1": "x"}, {"0": 1}, {"x": "x"}, ["x"], {"00": "x"}])
def test_an_index_of_other_rows_is_damaged(entries: object) -> None:
    assert by_row({"1": "x"}, 2, str) == {1: "x"}
    with pytest.raises(ValueError, match="rows"):
        by_row(entries, 2, str)


def test_lengths_that_cannot_be_are_damage() -> None:
    for seconds in ([1.0], [1.0, float("nan")], [1.0, -1.0]):
        with pytest.raises(ValueError, match="lengths"):
            _Known.read({"seconds": seconds, "broken": {}, "doubts": {}}, 2)
    for frames in ([5, 1], [-1, 1], [0, 1]):
        with pytest.raises(ValueError, match="frames"):
            read_long_index({"frames": frames, "broken": {}}, [4, 4])


@pytest.mark.parametrize(
    "line",
    [
        '"settings"',
        "[1]",
        '{"settings": 3}',
        '{"settings": {}}\n{"file": "a", "table": "../up.csv"}',
        '{"settings": {}}\n{"file": "a", "table": "/up.csv"}',
        '{"settings": {}}\n{"file": "a", "table": "a.csv", "state": "x"}',
        '{"settings": {}}\n{"file": 1, "table": "a.csv"}',
        '{"settings": {}}\n["file"]',
    ],
)
def test_a_record_of_predictions_that_is_not_ours_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(f"{line}\n")
    assert read_prediction_record(tmp_path) is None
    with (
        pytest.raises(ConfigError, match=r"predictions.jsonl is not what this command writes; give another folder"),
        open_result_folder(tmp_path, {}, WRITERS["csv"], [Path("a")]),
    ):
        pass


def embedded(folder: Path) -> Path:
    made = Embeddings(np.zeros((2, 3), np.float32), ("a", "b"), ("a", "b"), np.zeros(2), np.ones(2))
    made.save(folder / "e.npz")
    return folder / "e.npz"


@pytest.mark.parametrize(
    ("name", "header", "sentence"),
    [
        ("values", "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }", "values.npy has the shape .1000000000"),
        ("values", "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "values.npy has the type object"),
        ("about", "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (), }", "'<U1000000000'|about.npy has the shape"),
        ("names", "[" * 5_000, "names.npy has a damaged header"),
        ("names", "{'descr': '<U6', 'fortran_order': False, 'shape': (2,), }", None),
        ("names", "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", "columns of different lengths|astune did not write it"),
        ("starts", "{'descr': '<U6', 'fortran_order': False, 'shape': (2,), }", "starts of an unexpected type"),
    ],
)  # fmt: skip
def test_embeddings_take_no_more_memory_than_their_file(
    name: str, header: str, sentence: str | None, tmp_path: Path
) -> None:
    file = embedded(tmp_path)
    with zipfile.ZipFile(file) as whole:
        entries = {one: whole.read(one) for one in whole.namelist()}
    text = header.encode()
    entries[f"{name}.npy"] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 48
    with zipfile.ZipFile(file, "w") as whole:
        for one, content in entries.items():
            whole.writestr(one, content)
    if sentence is None:
        assert Embeddings.load(file).names == ("", "")
        return
    with pytest.raises(DataError, match=rf"e\.npz (holds .*|has )({sentence})"):
        Embeddings.load(file)


Change = Callable[[dict[str, torch.Tensor]], object]
NAME = "head.weight"


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("optimizer", lambda state: state.update({f"{NAME}:exp_avg": torch.zeros(1)}), r"exp_avg is \(1,\) of torch.float32, not \(\d"),
        ("optimizer", lambda state: state.pop(f"{NAME}:step"), f"optimizer has other tensors than the run: {NAME}:step"),
        ("optimizer", lambda state: state[f"{NAME}:exp_avg_sq"].fill_(-1), "exp_avg_sq has numbers that training does not give"),
        ("trained", lambda state: state[NAME].fill_(float("nan")), f"trained: {NAME} has numbers that training does not give"),
        ("best", lambda state: state.update({NAME: state[NAME].half()}), "of torch.float16, not"),
    ],
)  # fmt: skip
def test_a_checkpoint_with_other_tensors_is_damaged(
    file: str, change: Change, sentence: str, recordings: Path, tmp_path: Path
) -> None:
    again = stopped_run(settings(recordings, tmp_path / "out"))
    path = tmp_path / "out" / "checkpoint-1" / f"{file}.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    with pytest.raises(CheckpointError, match=rf"checkpoint-1 is damaged: .*{sentence}"):
        train(again, quiet=True)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("progress.history.0.validation", ..., "its best epoch, 0, has no figures of validation clips"),
        ("progress.history.0.validation.loss", ..., "history.0.validation.loss is missing"),
        ("progress.seconds", "1", "progress.seconds='1': Input should be a valid number"),
        ("progress.best", {}, r"astune [\d.]+ does not know progress.best"),
        ("identity", [], r"identity=\[\]: Input should be an object"),
        ("data.labels", 3, "data.labels are not text"),
        ("data.digest", [], "data.digest is not text"),
    ],
)
def test_the_state_of_a_checkpoint_is_refused_by_its_field(
    path: str, value: object, sentence: str, recordings: Path, tmp_path: Path
) -> None:
    again = stopped_run(settings(recordings, tmp_path / "out"))
    file = tmp_path / "out" / "checkpoint-1" / "trainer_state.json"
    file.write_text(changed(json.loads(file.read_text()), path, value))
    with pytest.raises(CheckpointError, match=rf"checkpoint-1 is damaged: .*({sentence})"):
        train(again, quiet=True)
