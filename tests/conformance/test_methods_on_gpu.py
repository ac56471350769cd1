"""Every method on a GPU, where there is one: it computes what a CPU computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from astune import AudioClassifier
from astune.compute import Arithmetic, best_device
from tests.conformance.methods_under_test import SPECS, batch, classifier, train_steps

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)


def results(model: AudioClassifier, device: torch.device, bf16: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and gradients of one batch, without dropout, whose draws differ from device to device."""
    arithmetic = Arithmetic.of(device, bf16)
    arithmetic.prepare(model.eval().to(device).sites)
    inputs, targets = (tensor.to(device) for tensor in batch(6))
    with arithmetic.products():
        with arithmetic.computing():
            logits = model(inputs).logits
        F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in model.trained_parameters().values()]
    flat = torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])
    return logits.detach().float().cpu(), flat.float().cpu()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(("bf16", "apart"), [(False, 1e-4), (True, 0.1)])
def test_logits_and_gradients_are_those_of_a_cpu(spec: str, bf16: bool, apart: float) -> None:
    model = classifier(spec)
    train_steps(model, 2)  # away from the start, where many gradients are zero
    model.zero_grad()
    expected = results(copy.deepcopy(model), torch.device("cpu"), bf16=False)
    for found, right in zip(results(model, best_device(), bf16), expected, strict=True):
        assert len(found) == len(right) > 0
        assert (found - right).norm() <= apart * right.norm()
