"""Early stopping: when a run ends, what it keeps, what it says, and that a stopped run is finished."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from astune.cli.train import show
from astune.errors import ConfigError
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.results import Results
from astune.experiments.runner import execute
from astune.experiments.store import Store
from astune.reporting.grid import grid
from astune.tasks import SINGLE_LABEL
from astune.training.callbacks import Callback, EpochLines
from astune.training.check import check
from astune.training.early_stopping import epochs_without_gain
from astune.training.loop import train
from astune.training.result import read_result
from tests.stopping import Call, PowerCut, StopAfter
from tests.unit.test_experiments import table_of
from tests.unit.test_training_options import assert_same_bits, quick, weights

if TYPE_CHECKING:
    from astune.training.engine import Engine
    from astune.training.progress import Progress


@given(
    values=st.lists(st.integers(0, 6).map(lambda n: n / 6), min_size=1, max_size=25),
    losses=st.lists(st.floats(0, 3), min_size=25, max_size=25),
    threshold=st.sampled_from([0.0, 0.2, 0.5]),
    metric=st.sampled_from([None, "macro_f1", "loss"]),
)
def test_patience_counts_as_transformers_does(
    values: list[float], losses: list[float], threshold: float, metric: str | None
) -> None:
    name = metric or "accuracy"
    figures = [
        {"accuracy": 0.0, "macro_f1": 0.0, "loss": loss, name: v} for v, loss in zip(values, losses, strict=False)
    ]
    theirs = EarlyStoppingCallback(10**6, threshold)
    state, control = TrainerState(), TrainerControl()
    arguments = TrainingArguments(output_dir="unused", metric_for_best_model=name, greater_is_better=metric != "loss")
    sign = -1 if metric == "loss" else 1
    for value in values:
        theirs.check_metric_value(arguments, state, control, value)  # type: ignore[no-untyped-call]
        if state.best_metric is None or sign * value > sign * state.best_metric:
            state.best_metric = value
    history = [{"validation": entry} for entry in figures]
    assert epochs_without_gain(history, SINGLE_LABEL, metric, threshold) == theirs.early_stopping_patience_counter


LONG = {"method": "linear", "num_train_epochs": 30, "learning_rate": 0.01, "freq_mask": 0, "time_mask": 0}


def stopping_epoch(history: list[dict[str, Any]], patience: int) -> int:
    """Epochs after which so many in a row have brought no accuracy above all before."""
    for epochs in range(patience + 1, len(history) + 1):
        accuracies = [entry["validation"]["accuracy"] for entry in history[:epochs]]
        if max(accuracies[-patience:]) <= max(accuracies[:-patience]):
            return epochs
    return len(history)


@pytest.mark.parametrize("selection", ["best-validation", "last"])
def test_a_run_stops_when_the_validation_score_has_not_risen(
    selection: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(quick(generated, tmp_path / "whole", **LONG), quiet=True)
    assert not whole.stopped_early
    expected = stopping_epoch(whole.history, 4)
    assert 5 <= expected < 30
    settings = quick(generated, tmp_path / "out", **LONG, early_stopping_patience=4, selection=selection)
    capsys.readouterr()
    result = train(settings, callbacks=[EpochLines(seconds=0)])
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("Epoch ")]
    assert lines[0].startswith("Epoch 1 of 30: ")
    assert re.search(r", up to \d+ s left$", lines[0])
    assert lines[-1].startswith(f"Epoch {expected} of 30: ")
    assert not lines[-1].endswith("left")
    assert f"Trained {expected} of 30 epochs, stopped early, in" in said
    assert "or until 4 epochs bring no higher validation score" in said
    assert result.stopped_early
    assert read_result(tmp_path / "out") == result
    assert f"{expected} of 30 epochs, stopped early" in repr(result)
    show([result])
    assert re.search(rf"{result.best_epoch + 1} of {expected},\s+stopped", capsys.readouterr().out)
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == expected
    for entry, other in zip(result.history, whole.history, strict=False):  # the schedule is that of all epochs
        assert {**entry, "seconds": 0} == {**other, "seconds": 0}
    if selection == "last":
        assert result.best_epoch == expected - 1
    else:
        best = max(
            range(expected),
            key=lambda n: (result.history[n]["validation"]["accuracy"], -result.history[n]["validation"]["loss"]),
        )
        assert result.best_epoch == best
    kept = result.history[result.best_epoch]["validation"]
    assert result.scores["validation"]["loss"] == pytest.approx(kept["loss"], abs=1e-6)
    adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["training"]
    assert (adapter["epochs_trained"], adapter["num_train_epochs"], adapter["early_stopping_patience"]) == (
        expected,
        30,
        4,
    )


def test_a_run_killed_after_it_stopped_early_is_finished_and_trains_no_more(generated: Path, tmp_path: Path) -> None:
    fields = {**LONG, "early_stopping_patience": 3}
    whole = train(quick(generated, tmp_path / "whole", **fields), quiet=True)
    epochs = len(whole.history)
    steps: list[int] = []
    settings = quick(generated, tmp_path / "out", **fields)
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(epochs * 5)])
    again = settings.model_copy(update={"resume": True})
    result = train(again, quiet=True, callbacks=[Call(step=lambda progress: steps.append(progress.epoch))])
    assert steps == []
    assert result.stopped_early
    assert result.scores == whole.scores
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "out"))


def test_a_threshold_stops_earlier(generated: Path, tmp_path: Path) -> None:
    fields = {**LONG, "early_stopping_patience": 2}
    never = train(quick(generated, tmp_path / "never", **fields, early_stopping_threshold=1), quiet=True)
    assert len(never.history) == 3  # no rise is above 1, so the first epoch is the best one
    assert len(train(quick(generated, tmp_path / "any", **fields), quiet=True).history) > 3


def test_a_callback_may_stop_a_run(generated: Path, tmp_path: Path) -> None:
    class Stop(Callback):
        @override
        def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
            del engine
            progress.stopped = progress.epoch == 2

    result = train(quick(generated, tmp_path / "out", **LONG), quiet=True, callbacks=[Stop()])
    assert (len(result.history), result.stopped_early) == (2, True)


def test_the_last_epoch_is_no_early_one(generated: Path, tmp_path: Path) -> None:
    fields = {**LONG, "num_train_epochs": 2, "early_stopping_patience": 1, "early_stopping_threshold": 1}
    result = train(quick(generated, tmp_path / "out", **fields), quiet=True)
    assert (len(result.history), result.stopped_early) == (2, False)


def test_stopping_needs_validation_clips(generated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(generated / "train", data)
    settings = quick(data, tmp_path / "out", early_stopping_patience=3, selection="last")
    with pytest.raises(
        ConfigError, match=r"early_stopping_patience=3 needs validation clips.*selection=best-validation"
    ):
        check(settings)
    assert check(settings.model_copy(update={"selection": "best-validation"})).split.validation
    with pytest.raises(
        ConfigError, match=r"early_stopping_threshold=0\.1 does nothing without early_stopping_patience"
    ):
        check(quick(generated, tmp_path / "out", early_stopping_threshold=0.1, early_stopping_patience=0))
    of_the_recipe = {
        "early_stopping_threshold": 0.1,
        "early_stopping_patience": None,
        "recipe": "own",
        "method": "lora",
    }
    assert check(quick(generated, tmp_path / "out", **of_the_recipe))
    with pytest.raises(ConfigError, match="does nothing without early_stopping_patience"):
        check(quick(generated, tmp_path / "out", **of_the_recipe, selection="last"))


def test_validation_clips_that_cannot_be_read_end_early_stopping_and_it_is_said(
    generated: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(generated, data)
    for clip in (data / "validation").rglob("*.wav"):
        clip.write_bytes(b"no sound")
    fields = {"skip_broken": True, "early_stopping_patience": 1, "num_train_epochs": 3, "method": "linear"}
    result = train(quick(data, tmp_path / "out", **fields), quiet=True)
    assert len(result.history) == 3
    assert "Note: there are no validation clips, so all epochs are trained, without early stopping" in result.notices


def test_an_experiment_says_which_of_its_runs_stopped(generated: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"early_stopping_patience": 1, "early_stopping_threshold": 1, "ema_decay": 0.5}
    options = PlanOptions(backbone="random:tiny", settings={"recipe": "paper"})
    run = plan("stops", table_of(generated, 9, **settings), options)
    plain = plan("stops", table_of(generated, 9), options)
    assert not {one.key for one in run} & {one.key for one in plain}
    assert run[0].settings_key == {**plain[0].settings_key, **settings}
    store = Store(tmp_path)
    store.write_plan(to_saved_plan("stops", table_of(generated, 9, **settings), run))
    for one in run:
        store.write(execute(one, store))
    told = "\n".join(grid(Results.load(store, "stops")).ran)
    assert "epochs 9 (2 runs stopped early, after 2), frames 32" in told
