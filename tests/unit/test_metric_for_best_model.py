"""The validation score that chooses the epoch, and the scores there are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score

from astune.class_scores import score_classes
from astune.cli.train import show
from astune.errors import ConfigError
from astune.tasks import MULTI_LABEL, SINGLE_LABEL
from astune.training.check import check
from astune.training.cross_validation import cross_validate
from astune.training.loop import train
from tests.unit.test_class_weights import settings, uneven
from tests.unit.test_cli import run
from tests.unit.test_loop import folded

__all__ = ["uneven"]
Capture = pytest.CaptureFixture[str]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_balanced_accuracy_and_recall_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    scores = score_classes(torch.eye(4)[predicted], truth.tolist())
    assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))
    expected = recall_score(truth, predicted, labels=range(4), average=None, zero_division=0)
    for label, recall in enumerate(scores.recall):
        assert recall == (pytest.approx(expected[label]) if label in truth else None)


def test_always_the_big_class_is_worth_one_class_of_them() -> None:
    """90 % of the clips right, and a third of the classes."""
    truth = [0] * 90 + [1] * 6 + [2] * 4
    scores = score_classes(torch.eye(3)[[0] * 100], truth)
    assert scores.accuracy == 0.9
    assert scores.balanced_accuracy == pytest.approx(1 / 3)
    assert scores.macro_f1 == pytest.approx(2 * 0.9 / 1.9 / 3)
    assert scores.recall == [1.0, 0.0, 0.0]
    assert scores.record()["recall"] == [1.0, 0.0, 0.0]
    assert "recall" not in scores.figures()


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "balanced_accuracy", "loss"])
def test_better_is_by_the_metric_then_by_the_loss(metric: str) -> None:
    low = {"accuracy": 0.5, "macro_f1": 0.5, "balanced_accuracy": 0.5, "loss": 1.0}
    up = 0.9 if metric == "loss" else 0.6
    better = {**dict.fromkeys(low, 0.0), "loss": 2.0, metric: up}
    assert SINGLE_LABEL.better(better, low, metric)
    assert not SINGLE_LABEL.better(low, better, metric)
    assert SINGLE_LABEL.better({**low, "loss": 0.9}, low, metric)
    assert not SINGLE_LABEL.better(low, low, metric)


def test_the_epoch_is_the_best_one_by_the_metric(uneven: Path, tmp_path: Path) -> None:
    """A rate at which the accuracy is best in another epoch than the loss."""
    chosen = {}
    for metric in (None, "macro_f1", "balanced_accuracy", "loss"):
        fields = {"metric_for_best_model": metric, "learning_rate": 0.1, "num_train_epochs": 8}
        result = train(settings(uneven, tmp_path / str(metric), **fields), quiet=True)
        sign = -1 if metric == "loss" else 1
        ranks = [
            (sign * entry["validation"][metric or "accuracy"], -entry["validation"]["loss"]) for entry in result.history
        ]
        assert result.best_epoch == ranks.index(max(ranks))
        chosen[metric] = result
        name = metric or "accuracy"
        assert result.scores["validation"][name] == pytest.approx(
            result.history[result.best_epoch]["validation"][name], abs=1e-5
        )
    assert len({result.best_epoch for result in chosen.values()}) > 1
    adapter = json.loads((tmp_path / "macro_f1" / "adapter_config.json").read_text())
    assert adapter["training"]["metric_for_best_model"] == "macro_f1"
    assert (
        "metric_for_best_model" not in json.loads((tmp_path / "None" / "adapter_config.json").read_text())["training"]
    )


def test_an_unknown_metric_is_refused_with_the_choices(uneven: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        check(settings(uneven, tmp_path / "out", metric_for_best_model="macro-f1"))
    assert str(refusal.value) == (
        "unknown metric_for_best_model 'macro-f1'; choose one of: accuracy, macro_f1, balanced_accuracy, loss; "
        "did you mean 'macro_f1'?"
    )
    assert {"map", "micro_map", "loss"} <= set(MULTI_LABEL.metrics)
    assert not (tmp_path / "out").exists()


def test_a_metric_has_nothing_to_choose_where_the_last_epoch_is_kept(uneven: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="metric_for_best_model=loss chooses the best epoch, and selection=last keeps"
    ):
        check(settings(uneven, tmp_path / "out", metric_for_best_model="loss", selection="last"))
    check(settings(uneven, tmp_path / "out", metric_for_best_model="loss", selection="last", early_stopping_patience=2))


def test_a_metric_is_refused_where_the_data_set_keeps_the_last_epoch(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astune.data.layouts import base

    load = base.load_data

    def with_last(*arguments: object) -> object:
        data = load(*arguments)  # type: ignore[arg-type]
        return replace(data, recipe=replace(data.recipe, selection="last"))

    monkeypatch.setattr("astune.training.check.load_data", with_last)
    config = settings(uneven, tmp_path / "out", metric_for_best_model="loss")
    with pytest.raises(ConfigError, match=r"selection=last, which folder:.* comes with, keeps the last one"):
        check(config)
    check(config.model_copy(update={"selection": "best-validation"}))


def test_epochs_show_the_metric(uneven: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ("--method", "linear", "--backbone", "random:tiny", "--num-train-epochs", "1", "--max-length", "32")
    for metric, shown in (("balanced_accuracy", r", balanced accuracy \d+.\d%,"), ("loss", r", loss \d.\d{3},")):
        folder = ("--output-dir", tmp_path / metric, "--metric-for-best-model", metric)
        code, _, err = run(capsys, monkeypatch, "train", uneven, *common, *folder)
        assert code == 0
        (line,) = [line for line in err.splitlines() if line.startswith("Epoch 1")]
        assert re.search(r"validation accuracy \d+.\d%" + shown, line)


def test_tables_have_a_dash_for_a_score_that_an_older_run_does_not_have(
    uneven: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = train(settings(uneven, tmp_path / "out", num_train_epochs=1), quiet=True)
    show([result])
    new = capsys.readouterr().out
    assert f"{result.scores['test']['balanced_accuracy']:.1%}" in new
    assert "lowest test recall by class: " in new
    scores = {
        split: {name: value for name, value in of.items() if name not in {"balanced_accuracy", "recall"}}
        for split, of in result.scores.items()
    }
    show([replace(result, scores=scores)])
    old = capsys.readouterr().out
    cells = [line.split("│") for line in old.splitlines() if line.startswith("│")]
    assert [row[5].strip() for row in cells] == ["-", "-"]
    assert "recall" not in old


def test_cross_validation_and_model_card_have_all_scores(
    generated: Path, uneven: Path, tmp_path: Path, capsys: Capture
) -> None:
    config = settings(folded(generated, tmp_path), tmp_path / "cv", num_train_epochs=1)
    results = cross_validate(config, quiet=True)
    summary = json.loads((tmp_path / "cv" / "cross_validation.json").read_text())
    for name in ("accuracy", "macro_f1", "balanced_accuracy"):
        assert summary[f"test_{name}"] == [result.scores["test"][name] for result in results]
    show(results)
    shown = capsys.readouterr().out
    for heading in ("accuracy", "macro F1", "balanced accuracy"):
        assert f"test {heading} " in shown
    result = train(settings(uneven, tmp_path / "out", num_train_epochs=1), quiet=True)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| split | clips | accuracy | macro F1 | balanced accuracy |" in card
    recalls = sorted(zip(result.scores["test"]["recall"], result.labels, strict=True))
    table = "\n".join(f"| {label} | {recall:.2%} |" for recall, label in recalls)
    assert f"| class | test recall |\n| --- | --- |\n{table}" in card
