"""Validation clips scored once, at the end: the same adapter and the same scores, and no choice by scores that there are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astune.errors import ConfigError
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.results import Results
from astune.experiments.runner import execute
from astune.experiments.store import Store
from astune.reporting.report import write_report
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_experiments import table_of
from tests.unit.test_training_options import assert_same_bits, quick, weights

LAST: dict[str, Any] = {"selection": "last", "early_stopping_patience": 0, "num_train_epochs": 3}


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "linear", "freq_mask": 0, "time_mask": 0},  # from the cache of frozen layers
        {"method": "linear", "head_start": "probe"},
        {
            "method": "lora",
            "ema_decay": 0.7,
        },  # an average, which the scores of an epoch put in place and take out again
        {"method": "full-ft", "patchout": 0.5, "mixup_alpha": 0.2},  # random numbers in each step
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_adapter_and_scores_are_those_of_a_run_that_scores_each_epoch(
    fields: dict[str, Any], generated: Path, tmp_path: Path
) -> None:
    each = train(quick(generated, tmp_path / "each", **LAST, **fields), quiet=True)
    once = train(quick(generated, tmp_path / "once", eval_strategy="no", **LAST, **fields), quiet=True)
    assert_same_bits(weights(tmp_path / "each"), weights(tmp_path / "once"))
    assert once.scores == each.scores
    assert set(once.scores) == {"validation", "test"}
    assert [entry["train_loss"] for entry in once.history] == [entry["train_loss"] for entry in each.history]
    assert ["validation" in entry for entry in each.history] == [True] * 3
    assert ["validation" in entry for entry in once.history] == [False] * 3


def test_a_stopped_run_goes_on(generated: Path, tmp_path: Path) -> None:
    settings = {**LAST, "method": "lora", "eval_strategy": "no", "save_steps": 1}
    whole = train(quick(generated, tmp_path / "whole", **settings), quiet=True)
    with pytest.raises(PowerCut):
        train(quick(generated, tmp_path / "stopped", **settings), quiet=True, callbacks=[StopAfter(2)])
    again = train(quick(generated, tmp_path / "stopped", resume=True, **settings), quiet=True)
    assert again.scores == whole.scores
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_it_is_said(generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(quick(generated, tmp_path / "once", eval_strategy="no", **LAST))
    said = capsys.readouterr().err
    assert "3 epochs of batch" in said
    assert "validation clips scored at the end alone" in said
    assert "Epoch 3 of 3: loss " in said
    assert ", validation accuracy" not in said


@pytest.mark.parametrize(
    ("fields", "choosing"),
    [
        ({"selection": "best-validation", "early_stopping_patience": 0}, "selection=best-validation would"),
        ({"selection": "last", "early_stopping_patience": 4}, "early_stopping_patience=4 would"),
        ({"recipe": "own"}, "selection=best-validation and early_stopping_patience=3 would"),
    ],
)
def test_nothing_is_chosen_by_scores_that_there_are_not(
    fields: dict[str, Any], choosing: str, generated: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"eval_strategy=no scores no epoch, and {choosing} choose by the scores"):
        check(quick(generated, tmp_path / "none", eval_strategy="no", **fields))


def test_yaml_may_write_it_bare(generated: Path, tmp_path: Path) -> None:
    """YAML 1.1 reads a bare ``no`` as false."""
    file = tmp_path / "run.yaml"
    file.write_text(f"data: {generated}\noutput_dir: {tmp_path / 'out'}\nmethod: linear\neval_strategy: no\n")
    assert TrainConfig.from_yaml(file).eval_strategy == "no"


def test_runs_of_both_kinds_are_one_experiment(generated: Path, tmp_path: Path) -> None:
    """The setting decides nothing, so it is not in the key: a run that is finished is not run again for it."""
    table = table_of(generated, 2, selection="last", early_stopping_patience=0)
    each = plan("test", table, PlanOptions(backbone="random:tiny"))
    once = plan("test", table, PlanOptions(backbone="random:tiny", settings={"eval_strategy": "no"}))
    assert [run.key for run in once] == [run.key for run in each]
    store = Store(tmp_path)
    records = [execute(run, store) for run in (each[0], once[1])]
    assert ["validation" in record.result.history[0] for record in records] == [True, False]
    store.write_plan(to_saved_plan("test", table, each))
    written = write_report(Results.load(store, "test"), tmp_path / "reports")
    assert {"test-loss.png", "test-validation.png"} <= {file.name for file in written}
