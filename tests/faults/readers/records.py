"""What astune wrote and reads again: plans and runs of a store, results of a run, caches, records of predictions, embeddings."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import redirect_stderr
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from astune.data.formats import decoders
from astune.data.predicted import read_prediction_record
from astune.experiments.comparison import Comparison
from astune.experiments.records import Kind, PlanEntry, RunRecord, SavedPlan
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.features.arrays import INDEX, Rows, stored_array
from astune.features.cache import _Known
from astune.features.long_cache import _read as read_long_index
from astune.inference.embeddings import Embeddings
from astune.inference.result_folder import RECORD, open_result_folder
from astune.inference.writers import WRITERS
from astune.reporting.grid import grid
from astune.reporting.pictures import pictures
from astune.reporting.rendered import render
from astune.reporting.tables import comparisons_to_csv, to_csv, to_html, to_latex, to_markdown
from astune.training.data_record import CLIPS, DataRecord
from astune.training.result import RESULTS, TrainResult, read_result
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes, hostile_text, hostile_value

if TYPE_CHECKING:
    from random import Random

_LABELS = ["high", "low", "mid"]
_SETTINGS = {
    "backbone": "random:tiny",
    "num_train_epochs": 2,
    "max_length": 32,
    "selection": "last",
    "learning_rate": 0.01,
}


def _scores(task: str, share: float) -> dict[str, Any]:
    if task == "multi-label":
        numbers = [share, 0.5, None]
        lists = {
            "clips_with_label": [3, 2, 0],
            "average_precision": numbers,
            "auc": numbers,
            "f1": numbers,
            "thresholds": [0.5] * 3,
        }
        return {
            "clips": 5,
            "loss": 1.0,
            "map": share,
            "micro_map": 0.5,
            "macro_f1": 0.25,
            "macro_auc": 0.5,
            "micro_f1": 0.5,
            **lists,
        }
    confusion = [[3, 1, 0], [0, 2, 0], [1, 0, 2]]
    return {
        "clips": 9,
        "loss": 1.0,
        "accuracy": share,
        "macro_f1": 0.5,
        "recall": [0.75, 1.0, None],
        "confusion": confusion,
    }


def _result(method: str, task: str, share: float) -> TrainResult:
    scores = _scores(task, share)
    entry = {
        "epoch": 0,
        "train_loss": 1.0,
        "validation": {key: value for key, value in scores.items() if isinstance(value, float)},
    }
    return TrainResult(
        output_dir="out", spec=method, trainable_parameters=10, adapter_bytes=40, backbone_fingerprint="f", labels=_LABELS, fold=None,
        recipe={"num_train_epochs": 2, "max_length": 32, "selection": "last"}, config=dict(_SETTINGS), compute_dtype="float32",
        device="cpu", best_epoch=1, scores={"validation": scores, "test": scores}, history=[entry, {**entry, "epoch": 1}], skipped_clips=0,
        train_seconds=1.5, wall_seconds=2.0, peak_memory_mib=100.0, versions={"torch": "2", "transformers": "5"}, task=task,
    )  # fmt: skip


def sound_store(task: str, kind: Kind) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A plan and its runs, as JSON."""
    entries, runs = [], {}
    for number, (row, fold) in enumerate((row, fold) for row in ("linear", "bitfit") for fold in (1, 2)):
        settings = _SETTINGS | {"fold": fold, "method": row}
        entries.append(PlanEntry(f"key-{number}", row, "tones", "tones", None, {}, fold, 0, row, 10, 0.5, 20, settings))
        record = RunRecord(f"key-{number}", settings, "f", _result(row, task, 0.5 + number / 10), "abc", dirty=False)
        runs[f"key-{number}"] = json.loads(record.to_json())
    plan = SavedPlan("mine", "Mine", kind, "table1" if kind == "table" else None, tuple(entries), ("made up",))
    return json.loads(plan.to_json()), runs


def _text(content: object, random: Random) -> str:
    """Its JSON, hostile in its values or in its text."""
    if random.random() < 0.6:
        return json.dumps(hostile_value(content, random), ensure_ascii=random.random() < 0.8)
    return hostile_text(json.dumps(content, indent=random.choice([None, 1])), random)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")


def _make_store(folder: Path, random: Random) -> bool:
    kinds: list[Kind] = ["table", "comparison", "curve"]
    kind, task = random.choice(kinds), random.choice(["single-label", "multi-label"])
    plan, runs = sound_store(task, kind)
    hostile = random.choice(["plan", *runs])
    _write(folder / "plans" / "mine.json", _text(plan, random) if hostile == "plan" else json.dumps(plan))
    for key, run in runs.items():
        _write(folder / "runs" / f"{key}.json", _text(run, random) if hostile == key else json.dumps(run))
    return random.random() < 0.03


def _read_store(folder: Path, draws: object) -> None:
    """As `report` and `compare` do."""
    with redirect_stderr(io.StringIO()):  # where each record that is left out is named
        results = Results.load(Store(folder), "mine")
    if results.plan.kind == "comparison" and results.plan.entries:
        json.dumps(Comparison.of(results).record(), allow_nan=False)
    table = grid(results)
    shown = render(table)
    for form in (to_markdown, to_latex, to_csv, comparisons_to_csv):
        form(shown).encode()
    to_html(shown, []).encode()
    if draws:
        list(pictures(results, table))


def _make_result(folder: Path, random: Random) -> None:
    _write(
        folder / RESULTS, _text(asdict(_result("linear", random.choice(["single-label", "multi-label"]), 0.5)), random)
    )


def _read_result(folder: Path, _: object) -> None:
    result = read_result(folder)
    repr(result)
    result._repr_html_()


def _make_clips(folder: Path, random: Random) -> None:
    rows = "name,label,split,sha256,start,end\na.wav,low,train,00,0.5,1.5\nb.wav,high,test,11,,\n"
    _write(folder / CLIPS, hostile_text(rows, random))


def _read_clips(folder: Path, _: object) -> None:
    found = DataRecord.read(folder, _LABELS)
    if found is not None:
        found.differences(DataRecord(tuple(_LABELS), {}))


_SHAPE = (2, 4, 3)
_INDEX = {
    "broken": {"1": "damaged"},
    "seconds": [1.0, 0.0],
    "doubts": {"0": ["silent"]},
    "frames": [4, 0],
    "decoders": decoders(),
}


def _make_cache(folder: Path, random: Random) -> None:
    stored_array(folder / "features", _SHAPE, np.float16, _compute, lambda index: index)
    _write(folder / "features" / INDEX, _text(_INDEX, random))
    array = folder / "features" / "features.npy"
    if random.random() < 0.3:
        array.write_bytes(hostile_bytes(array.read_bytes(), random))


def _compute(append: Rows) -> dict[str, Any]:
    append(np.zeros(_SHAPE, np.float16))
    return _INDEX


def _read_cache(folder: Path, _: object) -> None:
    """A damaged one is computed again, so all of them are read."""
    _, known = stored_array(folder / "features", _SHAPE, np.float16, _compute, lambda index: _Known.read(index, 2))
    assert len(known.seconds) == 2
    assert set(known.broken) | set(known.doubts) <= {0, 1}
    _, (frames, broken) = stored_array(
        folder / "features", _SHAPE, np.float16, _compute, lambda index: read_long_index(index, [4, 4])
    )
    assert all(0 <= number <= 4 for number in frames)
    assert set(broken) <= {0, 1}


_PREDICTED = {"format": "csv", "windows": 1.0}
_LINES: list[dict[str, Any]] = [
    {"settings": _PREDICTED},
    {"file": "/field/garden.wav", "table": "garden.csv"},
    {"file": "/field/garden.wav", "table": "garden.csv", "state": [96044, 1790000000000000000], "rows": 3},
    {"file": "/field/pond.wav", "table": "pond.csv"},
]


def _make_predictions(folder: Path, random: Random) -> None:
    lines = [json.dumps(line) for line in _LINES]
    number = random.randrange(len(lines))
    lines[number] = _text(_LINES[number], random).replace("\n", " ")
    text = "\n".join(lines) + "\n"
    _write(folder / RECORD, text if random.random() < 0.7 else hostile_text(text, random))


def _read_predictions(folder: Path, _: object) -> None:
    found = read_prediction_record(folder)
    if found is not None:
        sorted(found.tables.items())
    recordings = [Path("/field/garden.wav"), Path("/field/pond.wav"), Path("-")]
    with open_result_folder(folder, _PREDICTED, WRITERS["csv"], recordings) as results:
        assert results.finished + len(results.pending) == len(results.recordings)


@cache
def _embeddings() -> dict[str, bytes]:
    """The entries of a file of embeddings."""
    made = Embeddings(
        np.arange(12, dtype=np.float32).reshape(3, 4), ("a", "b", "c"), ("a.wav", "b.wav", ""), np.zeros(3), np.ones(3),
        labels=(("low",), (), ("high", "mid")), folds=(1, 2, None), about={"model": "random:tiny"},
    )  # fmt: skip
    whole = Path("whole.npz").absolute()
    made.save(whole)
    with zipfile.ZipFile(whole) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    whole.unlink()
    return entries


_HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': [('a', '<f4'), ('b', '<U9')], 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
    "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (), }",
    "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<c8', 'fortran_order': False, 'shape': (3, 4), }",
    "[" * 5_000,
    "9" * 5_000,
]


def _make_embeddings(folder: Path, random: Random) -> None:
    entries = dict(_embeddings())
    name = random.choice([*entries])
    match random.randrange(6):
        case 0:
            text = random.choice(_HEADERS).encode()
            entries[name] = (
                b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * random.choice([0, 48])
            )
        case 1:
            entries[name] = hostile_bytes(entries[name], random)
        case 2:
            entries["about.npy"] = _npy(np.array(_text({"format": "astune.embeddings/1", "model": "x"}, random)))
        case 3:
            wrong = [
                np.zeros((2, 3)),
                np.zeros(()),
                np.array(["x"] * 3),
                np.array([np.nan] * 3),
                np.array([2**60] * 3),
                np.zeros((3, 0)),
            ]
            entries[name] = _npy(random.choice(wrong))
        case 4:
            entries[random.choice(["extra.npy", "values", "../up.npy", "labels.npy"])] = entries.pop(name)
        case _:
            pass
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as file:
        for one, content in entries.items():
            file.writestr(one, content)
    whole = made.getvalue()
    (folder / "e.npz").write_bytes(hostile_bytes(whole, random) if random.random() < 0.4 else whole)


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    made = io.BytesIO()
    np.save(made, array, allow_pickle=False)
    return made.getvalue()


def _read_embeddings(folder: Path, _: object) -> None:
    found = Embeddings.load(folder / "e.npz")
    repr(found)
    found.save(folder / "again.npz")


_MAKERS = {
    _read_store: _make_store,
    _read_result: _make_result,
    _read_clips: _make_clips,
    _read_cache: _make_cache,
    _read_predictions: _make_predictions,
    _read_embeddings: _make_embeddings,
}


def make(folder: Path, random: Random) -> tuple[Any, Path, object]:
    reader = random.choice([_read_store, *_MAKERS])
    return reader, folder, _MAKERS[reader](folder, random)


def read(given: tuple[Any, Path, object]) -> None:
    reader, folder, extra = given
    reader(folder, extra)


def warm_up(folder: Path) -> None:
    for task in ("single-label", "multi-label"):
        for kind in get_args(Kind)[::3]:
            plan, runs = sound_store(task, kind)
            store = folder / task / kind
            _write(store / "plans" / "mine.json", json.dumps(plan))
            for key, run in runs.items():
                _write(store / "runs" / f"{key}.json", json.dumps(run))
            assert len(Results.load(Store(store), "mine").records) == len(runs)
            _read_store(store, draws=True)
    _write(folder / RESULTS, json.dumps(asdict(_result("linear", "single-label", 0.5))))
    _read_result(folder, None)
    _embeddings()


READER = Reader("records", make, read, warm_up)
