"""Features that are not what a model takes are refused in words, wherever they enter; the check looks at shapes and types alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call, vmap

import astune
from astune.errors import ConfigError


@pytest.fixture(scope="module")
def model() -> astune.AudioClassifier:
    backbone = astune.load_backbone("random:tiny", max_length=98)
    return astune.AudioClassifier(backbone, "lora", ["a", "b"]).eval()


@pytest.mark.parametrize(
    ("features", "fault"),
    [
        (torch.zeros(1, 1024, 128), r"has 1024 frames, and this model takes 98; .*ASTFeatureExtractor\(max_length=98\).*=1024"),
        (torch.zeros(1, 97, 128), "has 97 frames, and this model takes 98"),
        (torch.zeros(1, 128, 98), r"\(1, 128, 98\); give \(batch, 98, 128\).*give input_values.transpose\(1, 2\)"),
        (torch.zeros(1, 98, 64), r"\(1, 98, 64\); give \(batch, 98, 128\): 98 frames of 10 ms, 128 mel bins$"),
        (torch.zeros(98, 128), r"the shape \(98, 128\); give \(batch, 98, 128\)"),
        (torch.zeros(1, 1, 98, 128), r"the shape \(1, 1, 98, 128\)"),
        (torch.zeros(16_000), r"the shape \(16000,\)"),
        (torch.zeros(0, 98, 128), r"the shape \(0, 98, 128\): the batch is empty"),
        (np.zeros((1, 98, 128)), "input_values is a ndarray; give a torch.Tensor"),
        (torch.zeros(1, 98, 128, dtype=torch.int16), "the type torch.int16; give normalised log-Mel features in torch.float32"),
        (torch.zeros(1, 98, 128, dtype=torch.float64), "the type torch.float64"),
        (torch.zeros(1, 98, 128, dtype=torch.bool), "the type torch.bool"),
    ],
)  # fmt: skip
def test_other_features_are_refused(model: astune.AudioClassifier, features: Tensor, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        model(features)
    with pytest.raises(ConfigError, match=fault):
        model.sites.embed(features)  # as the cache of frozen layers begins


def test_a_classifier_in_double_precision_takes_doubles(model: astune.AudioClassifier) -> None:
    double = copy.deepcopy(model).double()
    assert double(torch.zeros(1, 98, 128, dtype=torch.float64)).logits.dtype == torch.float64


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # torch says so on Python 3.13.0
def test_compiled_without_a_break(model: astune.AudioClassifier) -> None:
    features = torch.randn(2, 98, 128, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(features).logits, model(features).logits)


def test_meta_tensors_and_many_adapters_at_once(model: astune.AudioClassifier) -> None:
    meta = copy.deepcopy(model).to("meta")
    assert meta(torch.zeros(3, 98, 128, device="meta")).logits.shape == (3, 2)
    features = torch.randn(2, 98, 128, generator=torch.Generator().manual_seed(0))
    model = copy.deepcopy(model)
    model.sites.set_kernel("eager")  # torch's sdpa has no rule for many models at once
    stacked = {name: torch.stack([value, value]) for name, value in model.named_parameters() if value.requires_grad}

    def logits(parameters: dict[str, Tensor]) -> Tensor:
        found: Tensor = functional_call(model, parameters, (features,)).logits
        return found

    with torch.no_grad():
        both = vmap(logits)({name: value.detach() for name, value in stacked.items()})
        torch.testing.assert_close(both[1], model(features).logits)
