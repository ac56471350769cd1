"""DoRA, (IA)³, VeRA and LN-tuning against PEFT's: the same weights give the same outputs, gradients and merged weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from astune import AudioClassifier, load_backbone
from astune.methods.vera import VectorUpdate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from peft import IA3Config, LNTuningConfig, LoraConfig, VeraConfig, get_peft_model

# peft 0.21 reads a property that transformers 5.23 renamed
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),  # PEFT of the LayerNorms that it tunes
]

FRAMES, LABELS = 64, ["a", "b", "c"]
Pairs = list[tuple[Tensor, Tensor]]  # of our parameters and PEFT's


def modules(spec: str, config: Any) -> tuple[AudioClassifier, Any]:  # noqa: ANN401 - one of peft's
    ours = AudioClassifier(load_backbone("random:tiny", FRAMES), spec, LABELS)
    return ours, get_peft_model(load_backbone("random:tiny", FRAMES).model, config)


def wrapped(theirs: Any, place: str) -> Any:  # noqa: ANN401 - peft's own
    _, index, kind, part, _ = place.split(".")
    name = f"attention.{part}_proj" if kind == "mhsa" else f"mlp.fc{part[1]}"
    return theirs.get_submodule(f"base_model.model.layers.{index}.{name}")


def dora() -> tuple[AudioClassifier, Any, Pairs]:
    config = LoraConfig(r=6, lora_alpha=1.5, target_modules=["q_proj", "v_proj"], bias="none", use_dora=True)  # type: ignore[arg-type]
    ours, theirs = modules("dora:reduction_rate=32", config)
    pairs: Pairs = []
    for place, module in ours.modules_by_place.items():
        layer, own = wrapped(theirs, place), cast("Any", module)
        pairs += [
            (own.update.down.weight, layer.lora_A["default"].weight),
            (own.update.up.weight, layer.lora_B["default"].weight),
            (own.magnitude, layer.lora_magnitude_vector["default"].weight),
        ]
    return ours, theirs, pairs


def ia3() -> tuple[AudioClassifier, Any, Pairs]:
    config = IA3Config(target_modules=["k_proj", "v_proj", "fc2"], feedforward_modules=["fc2"])
    ours, theirs = modules("ia3", config)
    return (
        ours,
        theirs,
        [
            (cast("Any", module).weight, wrapped(theirs, place).ia3_l["default"])
            for place, module in ours.modules_by_place.items()
        ],
    )


def vera() -> tuple[AudioClassifier, Any, Pairs]:
    config = VeraConfig(r=12, target_modules=["q_proj", "v_proj"], d_initial=0.1)
    ours, theirs = modules("vera:rank=12", config)
    pairs: Pairs = []
    for place, module in ours.modules_by_place.items():
        assert isinstance(module, VectorUpdate)
        layer = wrapped(theirs, place)
        for own, matrix in zip(module.matrices(), (layer.vera_A, layer.vera_B), strict=True):
            matrix["default"].data.copy_(own)
        assert layer.vera_lambda_d["default"].tolist() == pytest.approx([0.1] * 12)
        pairs += [(module.d, layer.vera_lambda_d["default"]), (module.b, layer.vera_lambda_b["default"])]
    return ours, theirs, pairs


def ln_tuning() -> tuple[AudioClassifier, Any, Pairs]:
    config = LNTuningConfig(target_modules=["layernorm_before", "layernorm_after", "layernorm"])
    ours, theirs = modules("ln-tuning", config)
    own = {name: one for name, one in ours.backbone.model.named_parameters() if "layernorm" in name}
    pairs: Pairs = []
    for name, one in own.items():
        path, _, kind = name.rpartition(".")
        layer = theirs.get_submodule(f"base_model.model.{path}").ln_tuning_layers["default"]
        pairs.append((one, getattr(layer, kind)))
    return ours, theirs, pairs


METHODS: dict[str, Callable[[], tuple[AudioClassifier, Any, Pairs]]] = {
    "dora": dora,
    "ia3": ia3,
    "vera": vera,
    "ln-tuning": ln_tuning,
}


def drawn(name: str) -> tuple[AudioClassifier, Any, Pairs]:
    """Both with the same numbers, away from the start."""
    ours, theirs, pairs = METHODS[name]()
    generator = torch.Generator().manual_seed(4)
    for own, other in pairs:
        values = own.detach() + torch.randn(own.shape, generator=generator) * 0.1
        own.data.copy_(values)
        other.data.copy_(values.reshape(other.shape))
    return ours, theirs, pairs


@pytest.mark.parametrize("name", METHODS)
def test_same_start(name: str) -> None:
    """Random matrices apart, which are LoRA's."""
    _, _, pairs = METHODS[name]()
    for own, other in pairs:
        if own.ndim == 1:
            torch.testing.assert_close(own, other.reshape(own.shape), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_same_outputs_and_gradients(name: str) -> None:
    ours, theirs, pairs = drawn(name)
    inputs = torch.randn(3, FRAMES, 128, generator=torch.Generator().manual_seed(1))
    tokens, expected = ours.backbone(inputs).last_hidden_state, theirs(inputs).last_hidden_state
    torch.testing.assert_close(tokens, expected, atol=2e-6, rtol=1e-5)
    tokens.square().mean().backward()
    expected.square().mean().backward()
    compared = 0
    for own, other in pairs:
        assert own.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(own.grad, other.grad.reshape(own.shape), atol=1e-7, rtol=1e-3)
        compared += 1
    assert compared == {"dora": 4 * 2 * 3, "ia3": 4 * 3, "vera": 4 * 2 * 2, "ln-tuning": 4 * 4 + 2}[name]


@pytest.mark.parametrize("name", METHODS)
def test_merged_weights_are_pefts(name: str) -> None:
    ours, theirs, _ = drawn(name)
    merged = ours.merge_and_unload().backbone.model
    expected = dict(theirs.merge_and_unload().named_parameters())
    for parameter, value in merged.named_parameters():
        torch.testing.assert_close(value, expected[parameter], atol=1e-6, rtol=1e-5)
