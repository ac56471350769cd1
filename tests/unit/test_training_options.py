"""Schedules, accumulation, clipping, early stopping and averaging: what each does to rates, gradients, epochs and weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import TrainingArguments, get_scheduler
from typing_extensions import override

from astune.errors import CheckpointError, ConfigError
from astune.names import Scheduler
from astune.training.callbacks import Callback
from astune.training.check import check, check_file
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.recipe import Recipe, resolve
from astune.training.result import TrainResult
from astune.training.schedule import Schedule
from astune.training.weight_average import WeightAverage, decay_of
from tests.stopping import Call, PowerCut, StopAfter
from tests.unit.test_loop import config, scores_of_adapter
from tests.unit.test_processes import assert_same_run, forking, together

if TYPE_CHECKING:
    from torch import Tensor

    from astune.training.engine import Engine
    from astune.training.progress import Progress

RECIPE = Recipe(32, 1, 8, 5e-3, 0.1, 0.9, 0.98, 1e-6, 24, 8, "last")
THEIRS: dict[Scheduler, str] = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def quick(data: Path, folder: Path, **fields: object) -> TrainConfig:
    return config(data, folder, **{"max_length": 32, "bf16": False, **fields})


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def assert_same_bits(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


class Watch(Callback):
    """Keeps the gradient and the rate that the optimiser is given at each step, and the weights after it."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.rates: list[float] = []
        self.weights: list[dict[str, Tensor]] = []

    @override
    def on_train_begin(self, engine: Engine, progress: Progress) -> None:
        del progress
        parameters = engine.model.trained_parameters()

        def before(optimizer: torch.optim.Optimizer, *_: object) -> None:
            self.gradients.append(torch.cat([p.grad.flatten() for p in parameters.values() if p.grad is not None]))
            self.rates.append(optimizer.param_groups[0]["lr"])

        engine.optimizer.register_step_pre_hook(before)

    @override
    def on_step_end(self, engine: Engine, progress: Progress) -> None:
        del progress
        self.weights.append({name: p.detach().clone() for name, p in engine.model.trained_parameters().items()})


def watched(settings: TrainConfig) -> tuple[Watch, TrainResult]:
    watch = Watch()
    return watch, train(settings, quiet=True, callbacks=[watch])


# Schedules


@pytest.mark.parametrize("steps", [2, 7, 40])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3, 1.0, 6.0])
@pytest.mark.parametrize("kind", THEIRS)
def test_rates_are_those_of_transformers(kind: Scheduler, warmup: float, steps: int, tmp_path: Path) -> None:
    recipe = Recipe(**{**vars(RECIPE), "lr_scheduler_type": kind, "warmup_steps": warmup})
    if warmup >= steps:
        with pytest.raises(ConfigError, match=rf"warmup_steps={warmup:.0f} never ends: the run has {steps} steps"):
            Schedule.of(recipe, steps)
        return
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    rising = TrainingArguments(output_dir=str(tmp_path), warmup_steps=warmup).get_warmup_steps(steps)
    scheduler = get_scheduler(THEIRS[kind], optimizer, num_warmup_steps=rising, num_training_steps=steps)
    schedule = Schedule.of(recipe, steps)
    for step in range(steps):
        assert schedule.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        optimizer.step()
        scheduler.step()


@given(steps=st.integers(1, 10_000), share=st.floats(0, 1))
def test_without_options_the_rate_is_the_papers_to_the_bit(steps: int, share: float) -> None:
    step = int(share * (steps - 1))
    assert Schedule.of(RECIPE, steps).rate(step) == 5e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))


@given(steps=st.integers(1, 1000), share=st.floats(0, 1, exclude_max=True))
def test_a_share_leaves_a_step_at_the_full_rate(steps: int, share: float) -> None:
    schedule = Schedule.of(Recipe(**{**vars(RECIPE), "warmup_steps": share}), steps)
    assert max(schedule.rate(step) for step in range(steps)) == RECIPE.learning_rate


def test_the_optimiser_is_given_the_rates(generated: Path, tmp_path: Path) -> None:
    """36 clips in steps of 2 x 6: three an epoch; a warm-up of two of the six."""
    fields = {"lr_scheduler_type": "linear", "warmup_steps": 2, "gradient_accumulation_steps": 2}
    watch, result = watched(
        quick(generated, tmp_path / "out", **fields, learning_rate=0.004, per_device_train_batch_size=6)
    )
    assert watch.rates == pytest.approx([0, 0.002, 0.004, 0.003, 0.002, 0.001], rel=1e-12)
    assert [entry["learning_rate"] for entry in result.history] == pytest.approx([0.004, 0.001], rel=1e-12)
    assert (result.recipe["lr_scheduler_type"], result.recipe["warmup_steps"]) == ("linear", 2)


def test_a_warm_up_that_never_ends_is_refused_before_anything_is_computed(generated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"warmup_steps=500 never ends: the run has 10 steps; .* such as 0\.1"):
        check(quick(generated, tmp_path / "out", warmup_steps=500))
    with pytest.raises(ConfigError, match=r"warmup_steps=5 never ends: the run has 4 steps"):
        check(quick(generated, tmp_path / "out", warmup_steps=5, gradient_accumulation_steps=3))
    with pytest.raises(ConfigError, match="a whole number of steps, or a share of all steps below 1"):
        quick(generated, tmp_path / "out", warmup_steps=2.5)
    file = tmp_path / "run.yaml"
    file.write_text(
        f"data: {generated}\noutput_dir: {tmp_path / 'out'}\nnum_train_epochs: 1\nwarmup_steps: 90\nema_decay: 1\n"
    )
    with pytest.raises(ConfigError, match=r"(?s)ema_decay.*warmup_steps=90 never ends"):
        check_file(file)


# Accumulation


@pytest.mark.parametrize("method", ["lora", "linear", "bottleneck+dpt:tokens=2", "full-ft"])
def test_a_step_of_several_batches_is_that_of_one_as_large(method: str, generated: Path, tmp_path: Path) -> None:
    """36 clips in steps of 15, 15 and 6. The rate moves no weight, so that every step can be compared."""
    fields = {"method": method, "learning_rate": 1e-12, "weight_decay": 0, "num_train_epochs": 1, "save_steps": 2}
    several, many = watched(
        quick(
            generated,
            tmp_path / "several",
            **fields,
            per_device_train_batch_size=5,
            gradient_accumulation_steps=3,
        )
    )
    one, whole = watched(quick(generated, tmp_path / "one", **fields, per_device_train_batch_size=15))
    assert len(several.gradients) == len(one.gradients) == 3
    for expected, found in zip(one.gradients, several.gradients, strict=True):
        assert float((found - expected).norm()) <= 1e-6 * float(expected.norm())
    assert many.history[0]["train_loss"] == pytest.approx(whole.history[0]["train_loss"], rel=1e-6)


def test_checkpoints_count_steps_of_the_optimiser(generated: Path, tmp_path: Path) -> None:
    saved: list[list[str]] = []
    fields = {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 3, "save_steps": 2}
    watching = Call(save=lambda _: saved.append([path.name for path in (tmp_path / "out").glob("checkpoint-*")]))
    train(quick(generated, tmp_path / "out", **fields), quiet=True, callbacks=[watching])
    assert saved == [["checkpoint-2"], ["checkpoint-3"], ["checkpoint-4"], ["checkpoint-6"]]


def test_epochs_by_default_are_those_of_the_whole_batch(generated: Path, tmp_path: Path) -> None:
    def epochs(**fields: object) -> int:
        settings = quick(generated, tmp_path / "out", num_train_epochs=None, **fields)
        found = check(settings)
        return resolve(settings, found.method, found.dataset, found.split).num_train_epochs

    assert (
        epochs(per_device_train_batch_size=1, gradient_accumulation_steps=2)
        == epochs(per_device_train_batch_size=2)
        != epochs(per_device_train_batch_size=1)
    )


# Clipping


@pytest.mark.parametrize("batches", [1, 2])
def test_gradients_are_clipped_as_torch_does(batches: int, generated: Path, tmp_path: Path) -> None:
    """The whole step's, not each batch's."""
    fields = {
        "learning_rate": 1e-12,
        "weight_decay": 0,
        "num_train_epochs": 1,
        "gradient_accumulation_steps": batches,
        "method": "lora",
    }
    free, _ = watched(quick(generated, tmp_path / "free", **fields))
    norms = [float(gradient.norm()) for gradient in free.gradients]
    bound = sorted(norms)[len(norms) // 2]  # some steps are above it
    clipped, _ = watched(quick(generated, tmp_path / "clipped", **fields, max_grad_norm=bound))
    for before, found in zip(free.gradients, clipped.gradients, strict=True):
        parameter = torch.nn.Parameter(torch.zeros_like(before))
        parameter.grad = before.clone()
        torch.nn.utils.clip_grad_norm_([parameter], bound)
        torch.testing.assert_close(found, parameter.grad, rtol=1e-5, atol=1e-9)
        assert float(found.norm()) <= bound * (1 + 1e-5)
    assert max(norms) > bound * 1.01


def test_a_bound_above_all_gradients_changes_no_bit(generated: Path, tmp_path: Path) -> None:
    for name, bound in (("free", 0), ("bounded", 1e6)):
        train(quick(generated, tmp_path / name, max_grad_norm=bound), quiet=True)
    assert_same_bits(weights(tmp_path / "free"), weights(tmp_path / "bounded"))


# Averaging


def averages(steps: list[dict[str, Tensor]], decay: float) -> list[dict[str, Tensor]]:
    """By the formula, in float64: the first weights, then each step's with the decay (1 + n) / (10 + n), at most the one that is set."""
    found: list[dict[str, Tensor]] = []
    for number, raw in enumerate(steps):
        if not found:
            found.append({name: tensor.double() for name, tensor in raw.items()})
            continue
        kept = min(decay, (1 + number) / (10 + number))
        found.append({name: kept * found[-1][name] + (1 - kept) * tensor.double() for name, tensor in raw.items()})
    return found


def test_the_decay_rises_to_the_one_that_is_set() -> None:
    assert [decay_of(0.5, updates) for updates in (0, 1, 5, 8, 9, 100)] == [
        0.1,
        2 / 11,
        6 / 15,
        0.5,
        0.5,
        0.5,
    ]


@pytest.mark.parametrize("method", ["lora", "layermix"])  # the whole model, and from a cache of frozen layers
def test_the_average_is_scored_and_kept_while_training_goes_on_with_the_weights(
    method: str, generated: Path, tmp_path: Path
) -> None:
    fields = {"method": method, "num_train_epochs": 3, "learning_rate": 0.02}
    plain, without = watched(quick(generated, tmp_path / "plain", **fields))
    for selection in ("last", "best-validation"):
        watch, result = watched(quick(generated, tmp_path / selection, **fields, ema_decay=0.6, selection=selection))
        for raw, same in zip(plain.weights, watch.weights, strict=True):
            assert_same_bits(raw, same)
        assert [e["train_loss"] for e in result.history] == [e["train_loss"] for e in without.history]
        steps = len(watch.weights) // 3
        expected = averages(watch.weights, 0.6)[steps * (result.best_epoch + 1) - 1]
        for name, tensor in weights(tmp_path / selection).items():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
            assert tensor.dtype == torch.float32
        kept = result.history[result.best_epoch]["validation"]
        assert result.scores["validation"]["loss"] == pytest.approx(kept["loss"], abs=1e-6)
        assert kept["loss"] != without.history[result.best_epoch]["validation"]["loss"]
        scores = scores_of_adapter(tmp_path / selection, generated)
        assert scores.loss == pytest.approx(result.scores["test"]["loss"], abs=1e-5)
        adapter = json.loads((tmp_path / selection / "adapter_config.json").read_text())
        assert adapter["training"]["ema_decay"] == 0.6


def test_the_weights_are_the_same_bits_after_the_average_was_in_place() -> None:
    parameters = {
        "a.weight": torch.nn.Parameter(torch.tensor([1.0, 1e-20])),
        "b.bias": torch.nn.Parameter(torch.ones(3)),
    }
    average = WeightAverage(parameters, 0.9)
    with average.in_place():  # before the first step
        assert parameters["a.weight"].tolist() == pytest.approx([1.0, 1e-20])
    average.update()
    with torch.no_grad():
        parameters["a.weight"].add_(11)
    average.update()
    before = parameters["a.weight"].detach().clone()
    with pytest.raises(RuntimeError, match="scoring failed"):
        _fail_with(average, parameters["a.weight"])
    assert torch.equal(parameters["a.weight"], before)


def _fail_with(average: WeightAverage, parameter: Tensor) -> None:
    with average.in_place():
        assert parameter.tolist() == pytest.approx([12 - 11 * 2 / 11, 11 * 9 / 11])
        raise RuntimeError("scoring failed")


def test_statistics_of_batch_norm_are_not_averaged_and_it_is_said(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last: dict[str, Tensor] = {}

    class Keep(Callback):
        @override
        def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
            del progress
            last.update({name: tensor.clone() for name, tensor in engine.model.adapter_state().items()})

    fields = {"method": "conformer", "num_train_epochs": 1, "selection": "last", "ema_decay": 0.9}
    result = train(quick(generated, tmp_path / "out", **fields), callbacks=[Keep()])
    found = weights(tmp_path / "out")
    statistics = {name for name in found if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert statistics
    assert all(torch.equal(found[name], last[name]) for name in statistics)
    assert not torch.equal(found["head.weight"], last["head.weight"])
    [said] = [notice for notice in result.notices if "ema_decay" in notice]
    assert "num_batches_tracked, running_mean, running_var of conformer" in said
    assert said in capsys.readouterr().err


# Together

ALL = {
    "gradient_accumulation_steps": 2,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0.2,
    "max_grad_norm": 0.5,
    "ema_decay": 0.7,
    "early_stopping_patience": 2,
}


def test_another_option_is_another_run(generated: Path, tmp_path: Path) -> None:
    settings = quick(generated, tmp_path / "out", **ALL)
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(1)])
    for name, value in (("ema_decay", 0.5), ("max_grad_norm", 0.0), ("warmup_steps", 1.0), ("lr_scheduler_type", None)):
        with pytest.raises(CheckpointError, match=f"other settings .*{name}: {ALL[name]!r} then"):
            train(settings.model_copy(update={"resume": True, name: value}), quiet=True)


def test_bfloat16_averages_in_float32(generated: Path, tmp_path: Path) -> None:
    result = train(quick(generated, tmp_path / "out", **{**ALL, "bf16": True}), quiet=True)
    assert result.compute_dtype == "bfloat16"
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float32}


@forking
def test_two_processes_take_the_steps_of_one(generated: Path, tmp_path: Path) -> None:
    """36 clips in steps of 2 x 2 x 4 and 2 x 16: the last step has 4 clips, in one batch."""
    settings = [
        quick(generated, tmp_path / f"many-{method}", **ALL, method=method, per_device_train_batch_size=4)
        for method in ("lora", "layermix")
    ]
    together(tmp_path / "said", *settings)
    for many in settings:
        one = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1}
        alone = many.model_copy(update={**one, "output_dir": tmp_path / f"one-{many.method}"})
        train(alone, quiet=True)
        assert_same_run(alone.output_dir, many.output_dir)


@forking
def test_two_processes_resume_to_the_same_bits(generated: Path, tmp_path: Path) -> None:
    fields = {**ALL, "save_steps": 1, "per_device_train_batch_size": 4}
    whole, stopped = (quick(generated, tmp_path / name, **fields) for name in ("whole", "stopped"))
    together(tmp_path / "said", whole)
    with pytest.raises(AssertionError, match="exit codes"):
        together(tmp_path / "cut", stopped, callbacks=[StopAfter(4)])
    together(tmp_path / "again", stopped.model_copy(update={"resume": True}))
    assert_same_bits(weights(whole.output_dir), weights(stopped.output_dir))
