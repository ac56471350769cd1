"""Callbacks that users add: what they change is kept, what they raise is theirs, and what is none is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from typing_extensions import override

from astune import keyed
from astune.errors import CheckpointError, ConfigError, Interrupted
from astune.training import checkpoint
from astune.training.callbacks import Callback
from astune.training.cross_validation import cross_validate
from astune.training.loop import train
from astune.training.result import read_result
from tests.stopping import Call, PowerCut, StopAfter
from tests.unit.test_loop import config

if TYPE_CHECKING:
    from astune.training.config import TrainConfig
    from astune.training.engine import Engine
    from astune.training.progress import Progress
    from astune.training.result import TrainResult


def quick(data: Path, folder: Path, **fields: object) -> TrainConfig:
    return config(data, folder, max_length=32, **fields)


class Shrink(Callback):
    """Makes every weight smaller after each step, and adds a number to each epoch."""

    @override
    def on_step_end(self, engine: Engine, progress: Progress) -> None:
        del progress
        with torch.no_grad():
            for parameter in engine.model.trained_parameters().values():
                parameter.mul_(0.99)

    @override
    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        weights = engine.model.trained_parameters().values()
        progress.history[-1]["largest_weight"] = max(float(weight.detach().abs().max()) for weight in weights)


@pytest.mark.parametrize("method", ["lora", "linear"])  # the whole model, and from a cache of frozen layers
@pytest.mark.parametrize("steps", [2, 5, 7])
def test_what_a_callback_changes_is_in_the_checkpoint(method: str, steps: int, generated: Path, tmp_path: Path) -> None:
    fields: dict[str, object] = {"method": method, "save_steps": 1, "freq_mask": 0, "time_mask": 0}
    whole = train(quick(generated, tmp_path / "whole", **fields), quiet=True, callbacks=[Shrink()])
    stopped = quick(generated, tmp_path / "out", **fields)
    with pytest.raises(PowerCut):
        train(stopped, quiet=True, callbacks=[Shrink(), StopAfter(steps)])
    again = train(stopped.model_copy(update={"resume": True}), quiet=True, callbacks=[Shrink()])
    assert again.scores == whole.scores
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "out"))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["largest_weight"] for line in lines] == [entry["largest_weight"] for entry in whole.history]


def test_callbacks_are_called_in_order_and_can_score(generated: Path, tmp_path: Path) -> None:
    """Scoring within an epoch changes nothing in the result, dropout and BatchNorm included."""
    calls: list[str] = []

    class Scores(Callback):
        @override
        def on_train_begin(self, engine: Engine, progress: Progress) -> None:
            del engine, progress
            calls.append("begin")

        @override
        def on_step_end(self, engine: Engine, progress: Progress) -> None:
            del progress
            calls.append("step")
            engine.score(engine.setup.split.train)

        @override
        def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
            del engine, progress
            calls.append("epoch")

        @override
        def on_save(self, engine: Engine, progress: Progress) -> None:
            assert checkpoint.latest(engine.setup.config.output_dir) is not None
            assert progress.step == 0
            calls.append("save")

        @override
        def on_train_end(self, engine: Engine, result: TrainResult) -> None:
            assert read_result(engine.setup.config.output_dir) == result
            calls.append("end")

    fields: dict[str, Any] = {"method": "conformer", "per_device_train_batch_size": 18}
    plain = train(quick(generated, tmp_path / "plain", **fields), quiet=True)
    scored = train(quick(generated, tmp_path / "scored", **fields), quiet=True, callbacks=[Scores()])
    assert scored.scores == plain.scores
    assert calls == ["begin", *["step", "step", "epoch", "save"] * 2, "end"]


@pytest.mark.parametrize(
    ("callbacks", "named"),
    [
        (Call(), "callbacks is of type Call; give a list"),
        (None, "of type NoneType"),
        ([Call], "the class Call; give objects"),
        ([lambda _: None], "of type function"),
    ],
)
@pytest.mark.parametrize("run", [train, cross_validate])
def test_other_callbacks_are_refused_at_once(run: Any, callbacks: Any, named: str, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=named):
        run(quick(tmp_path / "absent", tmp_path / "out"), callbacks=callbacks)
    assert not (tmp_path / "out").exists()


def test_a_file_that_a_callback_misses_is_not_said_of_the_output_folder(generated: Path, tmp_path: Path) -> None:
    absent = tmp_path / "elsewhere" / "notes.txt"
    with pytest.raises(FileNotFoundError, match="notes"):
        train(quick(generated, tmp_path / "out"), quiet=True, callbacks=[Call(epoch=lambda _: absent.write_text(""))])


def test_an_interrupt_after_the_end_says_that_the_run_is_finished(generated: Path, tmp_path: Path) -> None:
    class Stop(Callback):
        @override
        def on_train_end(self, engine: Engine, result: TrainResult) -> None:
            del engine, result
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="out holds a finished run"):
        train(quick(generated, tmp_path / "out", num_train_epochs=1), quiet=True, callbacks=[Stop()])
    assert read_result(tmp_path / "out").scores


@pytest.mark.parametrize("other", [{}, {"randomness_format": keyed.FORMAT + 1}])  # older versions wrote none
def test_a_checkpoint_of_a_version_with_other_masks(other: dict[str, int], generated: Path, tmp_path: Path) -> None:
    """It is refused before anything is computed; a run without masks goes on to the same bits."""
    for name, fields in (("masked", {}), ("plain", {"freq_mask": 0, "time_mask": 0})):
        settings = quick(generated, tmp_path / name, save_steps=1, **fields)
        with pytest.raises(PowerCut):
            train(settings, quiet=True, callbacks=[StopAfter(2)])
        [state] = (tmp_path / name).glob("checkpoint-*/trainer_state.json")
        record = json.loads(state.read_text())
        assert record["identity"].pop("randomness_format") == keyed.FORMAT
        state.write_text(json.dumps({**record, "identity": record["identity"] | other}))
    with pytest.raises(CheckpointError, match=r"another version of astune.*finish the run with that version, or start"):
        train(quick(generated, tmp_path / "masked", save_steps=1, resume=True), quiet=True)
    resumed = train(settings.model_copy(update={"resume": True}), quiet=True)
    whole = train(settings.model_copy(update={"output_dir": tmp_path / "whole"}), quiet=True)
    assert resumed.scores == whole.scores
