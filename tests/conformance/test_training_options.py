"""Every method trains with every training option at once, and a run that was stopped ends with the bits of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from astune.training.loop import train
from tests.conformance.methods_under_test import SPECS
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_loop import config

OPTIONS = {
    "gradient_accumulation_steps": 2,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0.3,
    "max_grad_norm": 0.5,
    "ema_decay": 0.7,
    "early_stopping_patience": 5,
}


@pytest.mark.parametrize("spec", SPECS)
def test_resumed_with_all_options_is_as_never_stopped(spec: str, generated: Path, tmp_path: Path) -> None:
    """12 clips in steps of 2 x 3; stopped after the first step of the second epoch, from which the average must go on."""
    fields = {"limit_clips": 12, "per_device_train_batch_size": 3, "save_steps": 1, "max_length": 16, "bf16": False}
    settings = config(generated, tmp_path / "out", method=spec, **fields, **OPTIONS)
    whole = train(settings.model_copy(update={"output_dir": tmp_path / "whole"}), quiet=True)
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(3)])
    resumed = train(settings.model_copy(update={"resume": True}), quiet=True)
    assert resumed.scores == whole.scores
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "out"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
