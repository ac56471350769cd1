"""Every method on a GPU, where there is one: it computes what a CPU computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from astune import AudioClassifier
from astune.compute import Arithmetic, best_device
from tests.conformance.methods_under_test import SPECS, batch, classifier, train_steps

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.parametrize("spec", SPECS),
]


def results(model: AudioClassifier, device: torch.device, bf16: bool) -> dict[str, torch.Tensor]:
    """Logits and gradients of one batch. Without dropout, whose draws differ from device to device."""
    arithmetic = Arithmetic.of(device, bf16)
    arithmetic.prepare(model.eval().to(device).sites)
    inputs, targets = (tensor.to(device) for tensor in batch(6))
    with arithmetic.products():
        with arithmetic.computing():
            logits = model(inputs).logits
        F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in model.trained_parameters().items()}
    return {"logits": logits.detach().float().cpu()} | {
        name: gradient.float().cpu() for name, gradient in found.items() if gradient is not None
    }


@pytest.mark.parametrize(("bf16", "apart"), [(False, 1e-4), (True, 0.1)])
def test_logits_and_gradients_are_those_of_a_cpu(spec: str, bf16: bool, apart: float) -> None:
    model = classifier(spec)
    train_steps(model, 2)  # away from the start, where many gradients are zero
    model.zero_grad()
    expected = results(copy.deepcopy(model), torch.device("cpu"), bf16=False)
    found = results(model, best_device(), bf16)
    assert found.keys() == expected.keys()
    assert len(found) > 1
    for part in ("logits", "gradients"):
        mine, theirs = (
            torch.cat([one["logits"].flatten()] if part == "logits" else [g.flatten() for n, g in one.items() if n != "logits"])
            for one in (found, expected)
        )
        assert (mine - theirs).norm() <= apart * theirs.norm(), part
