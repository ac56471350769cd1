"""Confusion matrices in records: small, readable in both forms, and out of the adapter folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from astune import AudioClassifier, load_backbone
from astune.adapter_file import read_config
from astune.class_scores import ClassScores, score_classes
from astune.confusion import count_correct, refuse_other_shape, whole
from astune.errors import DataError
from astune.experiments.records import RunRecord
from astune.experiments.store import Store
from astune.json_text import json_text
from astune.training.result import TrainResult


def scores_of(classes: int, clips_per_class: int = 3) -> ClassScores:
    """Scores of a classifier that is right two times of three."""
    targets = [number for number in range(classes) for _ in range(clips_per_class)]
    guesses = [(target + (position % 3 == 0)) % classes for position, target in enumerate(targets)]
    return score_classes(torch.nn.functional.one_hot(torch.tensor(guesses), classes).double(), targets)


@pytest.mark.parametrize("classes", [2, 50, 51, 300])
def test_a_record_is_the_matrix(classes: int) -> None:
    scores = scores_of(classes)
    record = json.loads(json_text(scores.record()))["confusion"]
    np.testing.assert_array_equal(whole(record), scores.confusion)
    np.testing.assert_array_equal(whole(scores.confusion), scores.confusion)  # as older versions wrote any of them
    assert count_correct(record) == count_correct(scores.confusion) == (2 * classes, 3 * classes)
    assert isinstance(record, list) == (classes <= 50)
    refuse_other_shape(record, classes)
    refuse_other_shape(scores.confusion, classes)


def test_records_grow_with_the_clips_and_not_with_the_square_of_the_classes() -> None:
    sizes = {classes: len(json_text(scores_of(classes).record(), indent=1)) for classes in (100, 200, 400, 1_000)}
    for classes, size in sizes.items():
        assert size < 60 * 3 * classes + 1_000  # at most a cell a clip: three numbers of a line each
    twice = json_text(scores_of(1_000, clips_per_class=300).record(), indent=1)
    assert len(twice) < 3 * sizes[1_000]  # more clips in the same cells are no more cells


@pytest.mark.parametrize(
    "damage",
    [
        {"classes": 59}, {"true": [0]}, {"true": [60] * 120}, {"predicted": [-1] * 120}, {"clips": []},
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused(damage: dict[str, Any]) -> None:
    record = scores_of(60).record()["confusion"]
    assert isinstance(record, dict)
    assert len(record["true"]) == 120
    with pytest.raises(ValueError, match="its confusion matrix is not 60 x 60"):
        refuse_other_shape(record | damage, 60)


def test_an_adapter_folder_holds_no_matrix(tmp_path: Path) -> None:
    labels = [f"class {number}" for number in range(300)]
    model = AudioClassifier(load_backbone("random:tiny", 32), "linear", labels)
    scores = scores_of(300)
    model.save_pretrained(tmp_path, metrics={"test": scores.record()})
    metrics = read_config(tmp_path / "adapter_config.json").metrics
    assert metrics == {"test": {**scores.figures(), "recall": scores.recall}}
    assert set(scores.figures()) == {"clips", "accuracy", "macro_f1", "balanced_accuracy", "loss"}
    assert (tmp_path / "adapter_config.json").stat().st_size < 60 * 300  # the name and the recall of each class
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| test | 900 | 66.67% |" in card
    assert "class 19 and 280 more |" in card
    assert len(card) < 3_000


def record_of(scores: ClassScores) -> RunRecord:
    classes = len(scores.confusion)
    result = TrainResult(
        output_dir="", spec="linear", trainable_parameters=1, adapter_bytes=1, backbone_fingerprint="f",
        labels=[f"label {number}" for number in range(classes)], fold=None, recipe={}, config={}, compute_dtype="float32", device="cpu",
        best_epoch=0, scores={"test": scores.record()}, history=[], skipped_clips=0, train_seconds=1.0, wall_seconds=1.0,
        peak_memory_mib=1.0, versions={},
    )  # fmt: skip
    return RunRecord("key", {"method": "linear"}, "f", result, None, None)


def test_a_store_reads_both_forms(tmp_path: Path) -> None:
    scores, store = scores_of(100), Store(tmp_path)
    record = record_of(scores)
    store.write(record)
    assert store.read("key") == record
    assert store.path("key").stat().st_size < 20_000
    old = asdict(record)
    old["result"]["scores"]["test"]["confusion"] = scores.confusion
    store.path("key").write_text(json.dumps(old, indent=1))
    np.testing.assert_array_equal(whole(store.read("key").result.scores["test"]["confusion"]), scores.confusion)
    old["result"]["scores"]["test"]["confusion"].pop()
    store.path("key").write_text(json.dumps(old))
    with pytest.raises(DataError, match="not 100 x 100"):
        store.read("key")


def test_a_number_that_is_none_is_not_written(tmp_path: Path) -> None:
    record = record_of(scores_of(3))
    record.result.scores["test"]["loss"] = float("nan")
    with pytest.raises(DataError, match=r"result\.scores\.test\.loss is nan"):
        Store(tmp_path).write(record)
    with pytest.raises(DataError, match=r"\[1\]\.a is inf"):
        json_text([0, {"a": float("inf")}])
    model = AudioClassifier(load_backbone("random:tiny", 32), "linear", ["a", "b"])
    with pytest.raises(DataError, match=r"training\.learning_rate is inf"):
        model.save_pretrained(tmp_path / "adapter", training={"learning_rate": float("inf")})
    assert not (tmp_path / "adapter").exists()
