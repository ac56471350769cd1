"""Our attention function against transformers' eager one, masks and prefixes included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer import (
    eager_attention_forward,
)

from astune import AudioClassifier, load_backbone
from astune.backbone.attention import NAMES, attention, set_prefix
from astune.compute import prefers_eager_attention
from astune.names import AttentionKernel

BATCH, HEADS, TOKENS, SIZE = 2, 3, 7, 4


class Prefix(nn.Module):
    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(tokens, HEADS * SIZE))
        self.values = nn.Parameter(torch.randn(tokens, HEADS * SIZE))


def states() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(BATCH, HEADS, TOKENS, SIZE).requires_grad_() for _ in range(3)]


def boolean_mask() -> torch.Tensor:
    mask = torch.ones(BATCH, 1, TOKENS, TOKENS, dtype=torch.bool)
    mask[0, :, :, 5:] = False
    return mask


def additive(mask: torch.Tensor) -> torch.Tensor:
    return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("masked", ["no", "boolean", "additive"])
def test_equals_eager_attention(kernel: AttentionKernel, masked: str) -> None:
    query, key, value = states()
    mask = boolean_mask()
    theirs_mask = None if masked == "no" else additive(mask)
    ours_mask = {"no": None, "boolean": mask, "additive": theirs_mask}[masked]
    module = nn.Module()
    expected, _ = eager_attention_forward(module, query, key, value, theirs_mask, scaling=SIZE**-0.5)
    found, _ = attention(module, query, key, value, ours_mask, kernel=kernel)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("masked", ["no", "boolean", "additive"])
def test_a_prefix_is_more_keys_and_values_behind_the_first(kernel: AttentionKernel, masked: str) -> None:
    query, key, value = states()
    prefix, module = Prefix(3), nn.Module()
    set_prefix(module, prefix)
    assert list(module.parameters()) == []
    mask = boolean_mask()
    wide = torch.cat([mask[..., :1], torch.ones(BATCH, 1, TOKENS, 3, dtype=torch.bool), mask[..., 1:]], dim=-1)

    def longer(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        heads = new.view(-1, HEADS, SIZE).transpose(0, 1).expand(BATCH, -1, -1, -1)
        return torch.cat([old[:, :, :1], heads, old[:, :, 1:]], dim=2)

    theirs_mask = None if masked == "no" else additive(wide)
    ours_mask = {"no": None, "boolean": mask, "additive": additive(mask)}[masked]
    expected, _ = eager_attention_forward(
        nn.Module(), query, longer(key, prefix.keys), longer(value, prefix.values), theirs_mask, scaling=SIZE**-0.5
    )
    found, _ = attention(module, query, key, value, ours_mask, kernel=kernel)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    set_prefix(module, None)
    plain, _ = attention(module, query, key, value, None)
    torch.testing.assert_close(plain, attention(nn.Module(), query, key, value, None)[0])


@pytest.mark.parametrize("spec", ["linear", "prefix", "prefix+lora"])
@pytest.mark.parametrize("implementation", [*NAMES.values(), "eager"])
def test_a_mask_reaches_every_layer(spec: str, implementation: str) -> None:
    """A mask that arrived as None would change nothing."""
    model = AudioClassifier(load_backbone("random:tiny", 64), spec, ["a", "b"]).eval()
    if spec == "linear":
        model.backbone.model.set_attn_implementation(implementation)
    backbone: Any = model.backbone.model
    inputs = torch.randn(2, 64, 128)
    mask = torch.ones(2, 2 + 12 * 5, dtype=torch.long)
    mask[0, 40:] = 0
    with torch.no_grad():
        whole = backbone(inputs).last_hidden_state
        masked = backbone(inputs, attention_mask=mask).last_hidden_state
    assert not torch.allclose(masked[0, :40], whole[0, :40], atol=1e-4)
    torch.testing.assert_close(masked[1], whole[1], atol=1e-5, rtol=1e-4)


def test_masked_outputs_equal_transformers_own() -> None:
    inputs, mask = torch.randn(2, 64, 128), torch.ones(2, 62, dtype=torch.long)
    mask[1, 30:] = 0
    theirs: Any = load_backbone("random:tiny", 64).model
    ours: Any = AudioClassifier(load_backbone("random:tiny", 64), "linear", ["a", "b"]).backbone.model
    with torch.no_grad():
        expected = theirs(inputs, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(ours(inputs, attention_mask=mask).last_hidden_state, expected, atol=1e-5, rtol=0)


def test_both_kernels_give_one_gradient() -> None:
    """The eager kernel against the backward pass of torch's sdpa."""
    query, key, value = states()
    ours = attention(nn.Module(), query, key, value, None, kernel="eager")[0]
    torch.autograd.backward(ours.square().sum())
    found = [tensor.grad for tensor in (query, key, value)]
    query, key, value = states()
    theirs = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    torch.autograd.backward(theirs.square().sum())
    for own, other in zip(found, (query.grad, key.grad, value.grad), strict=True):
        torch.testing.assert_close(own, other, atol=1e-6, rtol=1e-4)


def test_which_kernel_runs() -> None:
    """Eager only where it was measured to win: training in bfloat16 on a CPU, with scores that fit."""
    half = torch.zeros(4, 12, 590, 64, dtype=torch.bfloat16)
    assert prefers_eager_attention(half.requires_grad_())
    assert not prefers_eager_attention(half.detach())
    assert not prefers_eager_attention(half.detach().float().requires_grad_())
    assert not prefers_eager_attention(
        torch.zeros(32, 12, 590, 64, dtype=torch.bfloat16, device="meta").requires_grad_()
    )
