"""``device`` of a training: where it computes, what is refused, and that Accelerate's own choice comes back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import torch
import typer
from accelerate import Accelerator
from safetensors.torch import load_file

from astune.cli import VERBS, app
from astune.errors import AstuneError, ConfigError
from astune.training import processes
from astune.training.check import check
from astune.training.loop import train
from astune.training.processes import chosen_device, computing_on
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_loop import config

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_the_device_is_recorded_and_the_weights_are_those_of_the_default(generated: Path, tmp_path: Path) -> None:
    own = train(config(generated, tmp_path / "own", device="cpu", limit_clips=8, num_train_epochs=1), quiet=True)
    assert own.config["device"] == "cpu"
    if not torch.cuda.is_available():
        train(config(generated, tmp_path / "default", limit_clips=8, num_train_epochs=1), quiet=True)
        names = [tmp_path / run / "adapter_model.safetensors" for run in ("own", "default")]
        assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    device: str, generated: Path, tmp_path: Path
) -> None:
    settings = config(generated, tmp_path / "out", device=device)
    with pytest.raises(ConfigError, match=f"device='{device}' cannot be used; here there is cpu"):
        train(settings, quiet=True)
    with pytest.raises(AstuneError, match=f"device='{device}' cannot be used"):
        check(settings)
    assert not (tmp_path / "out").exists()


def test_accelerates_own_choice_comes_back() -> None:
    accelerator = Accelerator(cpu=True)
    own, accelerator.state.device = accelerator.device, torch.device("meta")
    try:
        with suppress(KeyError), computing_on(accelerator, "cpu"):
            assert accelerator.device == torch.device("cpu")
            raise KeyError  # a run that ends with an error
        assert accelerator.device == torch.device("meta")
        with computing_on(accelerator, None):
            assert accelerator.device == torch.device("meta")
    finally:
        accelerator.state.device = own


def test_several_processes_have_a_device_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "many_on_cpu", lambda: True)
    assert chosen_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(processes, "many_on_cpu", lambda: False)  # as where each has a GPU
    with pytest.raises(ConfigError, match="2 processes were launched, and each computes on a device of its own"):
        chosen_device("cpu")


def test_processes_without_a_gpu_join_on_the_cpu_with_a_build_of_torch_for_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a build names its kind of GPU even where there is none, unless it is asked for one that can be used."""

    def current(check_available: bool = False) -> torch.device | None:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", current)
    assert not processes.many_on_cpu()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.many_on_cpu()


def test_every_command_that_computes_takes_a_device() -> None:
    computing = {"compare", "demo", "embed", "evaluate", "predict", "review", "search", "serve", "train"}
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert computing <= set(VERBS)
    assert {name for name, one in commands.items() if any("--device" in p.opts for p in one.params)} == computing


@on_gpu
def test_a_run_on_the_gpu_resumes_with_the_generator_of_its_own_device(generated: Path, tmp_path: Path) -> None:
    last = f"cuda:{torch.cuda.device_count() - 1}"
    fields = {"device": last, "method": "convpass", "num_train_epochs": 2, "limit_clips": 8, "bf16": False}
    train(config(generated, tmp_path / "whole", **fields), quiet=True)
    with pytest.raises(PowerCut):
        train(config(generated, tmp_path / "out", **fields), quiet=True, callbacks=[StopAfter(1)], checkpoint_seconds=0)
    train(config(generated, tmp_path / "out", **fields, resume=True), quiet=True)
    whole, resumed = (load_file(tmp_path / run / "adapter_model.safetensors") for run in ("whole", "out"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    train(config(generated, tmp_path / "cpu", **{**fields, "device": "cpu"}), quiet=True)
