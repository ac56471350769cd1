"""Our LoRA against PEFT's: the same weights give the same logits and the same gradients."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from astune import AudioClassifier, load_backbone

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from peft import LoraConfig, get_peft_model

# peft 0.21 reads a property that transformers 5.23 renamed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

FRAMES, LABELS = 64, ["a", "b", "c"]


def pair(targets: str) -> tuple[AudioClassifier, Any]:
    """Ours, and PEFT's around the same backbone with the same update; rank 6 of 192, s = 8 / 32."""
    ours = AudioClassifier(load_backbone("random:tiny", FRAMES), f"lora:reduction_rate=32,targets={targets}", LABELS)
    config = LoraConfig(
        r=6,
        lora_alpha=1.5,  # type: ignore[arg-type] # r * alpha / RR = 6 * 8 / 32; PEFT divides by r
        target_modules=[f"{t}_proj" for t in targets],
        bias="none",
    )
    theirs: Any = get_peft_model(load_backbone("random:tiny", FRAMES).model, config)
    torch.manual_seed(4)
    for path, module in ours.modules_by_place.items():
        update: Any = module
        _, index, _, target, _ = path.split(".")
        wrapped = theirs.get_submodule(f"base_model.model.layers.{index}.attention.{target}_proj")
        for own, other in ((update.down, wrapped.lora_A["default"]), (update.up, wrapped.lora_B["default"])):
            values = torch.randn_like(own.weight) * 0.1
            own.weight.data.copy_(values)
            other.weight.data.copy_(values)
    return ours, theirs


@pytest.mark.parametrize("targets", ["q", "qv", "qk", "qkvo"])
def test_same_outputs_and_gradients(targets: str) -> None:
    ours, theirs = pair(targets)
    inputs = torch.randn(3, FRAMES, 128)
    tokens = ours.backbone(inputs).last_hidden_state
    expected = theirs(inputs).last_hidden_state
    torch.testing.assert_close(tokens, expected, atol=1e-6, rtol=1e-5)
    tokens.square().mean().backward()
    expected.square().mean().backward()
    compared = 0
    for path, module in ours.modules_by_place.items():
        update: Any = module
        _, index, _, target, _ = path.split(".")
        wrapped = theirs.get_submodule(f"base_model.model.layers.{index}.attention.{target}_proj")
        for own, other in ((update.down, wrapped.lora_A["default"]), (update.up, wrapped.lora_B["default"])):
            torch.testing.assert_close(own.weight.grad, other.weight.grad, atol=1e-8, rtol=1e-4)
            compared += 1
    assert compared == 4 * len(targets) * 2


def test_same_start() -> None:
    """PEFT starts A Kaiming-uniform with a = sqrt(5), so within 1 / sqrt(in), and B at zero."""
    model = AudioClassifier(load_backbone("random:tiny", FRAMES), "lora:reduction_rate=2", LABELS)
    config = LoraConfig(r=96, target_modules=["q_proj", "v_proj"])
    theirs: Any = get_peft_model(load_backbone("random:tiny", FRAMES).model, config)
    reference = theirs.base_model.model.layers[0].attention.q_proj.lora_A["default"].weight
    update: Any = model.modules_by_place["layers.0.mhsa.q.lora"]
    down, up = update.down.weight, update.up.weight
    assert not up.any()
    assert down.abs().max() <= 192**-0.5
    assert down.std().item() == pytest.approx(reference.std().item(), rel=0.02)


def test_merged_weights_are_pefts() -> None:
    ours, theirs = pair("qv")
    merged = ours.merge_and_unload().backbone.model
    reference = theirs.merge_and_unload()
    for name, tensor in reference.state_dict().items():
        torch.testing.assert_close(merged.state_dict()[name], tensor, atol=1e-6, rtol=0)
