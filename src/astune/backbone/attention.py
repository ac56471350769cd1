"""The one attention function of every layer: which kernel runs, and keys and values that a method puts in front.

transformers calls it by the name ``astune``, and by ``astune_sdpa`` and ``astune_eager`` with one kernel alone. Prefixes must enter here:
transformers reshapes keys and values by the query's length, so hooks on the projections cannot lengthen them. The mask function is
registered beside it, because without one the mask would arrive as None and be lost without a word.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from astune.compute import prefers_eager_attention
from astune.names import AttentionKernel

NAMES: dict[AttentionKernel, str] = {"auto": "astune", "sdpa": "astune_sdpa", "eager": "astune_eager"}
_PREFIX = "astune_prefix"


class Prefix(Protocol):
    """Keys and values of a layer that come from no token."""

    @property
    def keys(self) -> Tensor:
        """Of the shape (p, d), after the projection."""

    @property
    def values(self) -> Tensor:
        """Of the shape (p, d), after the projection."""


def set_prefix(attention: nn.Module, prefix: Prefix | None) -> None:
    """Insert keys and values after position 0 of a layer's attention, or remove them.

    Args:
        attention: transformers' attention module.
        prefix: trained elsewhere, so kept out of the module's own parameters.
    """
    if prefix is None:
        attention.__dict__.pop(_PREFIX, None)
    else:
        attention.__dict__[_PREFIX] = prefix


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    kernel: AttentionKernel = "auto",
    **_: object,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention (paper, equation 2).

    Args:
        module: the layer's attention module.
        query: (batch, heads, N, d / heads).
        key: like ``query``.
        value: like ``query``.
        attention_mask: (batch or 1, 1, N, N); True, or zero if additive, where a token may look.
        dropout: of the attention weights.
        scaling: of the scores; 1 / sqrt(d / heads) where None.
        kernel: torch's ``scaled_dot_product_attention``, or plain products; ``auto`` is what :mod:`astune.compute` measured to be faster.

    Returns:
        (batch, N, heads, d / heads), and no weights.
    """
    prefix: Prefix | None = module.__dict__.get(_PREFIX)
    if prefix is not None:
        key, value = _behind_first(key, prefix.keys), _behind_first(value, prefix.values)
        if attention_mask is not None:
            attention_mask = _widened(attention_mask, len(prefix.keys))
    if kernel == "eager" or (kernel == "auto" and prefers_eager_attention(query)):
        output = _eager(query, key, value, attention_mask, dropout, scaling)
    else:
        output = F.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
        )
    return output.transpose(1, 2).contiguous(), None


def _eager(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scaling: float | None
) -> Tensor:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scale, key.transpose(2, 3))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    weights = F.dropout(scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype), dropout)
    return torch.matmul(weights, value)


def _behind_first(states: Tensor, prefix: Tensor) -> Tensor:
    """(batch, heads, N, d / heads) with (p, d) inserted behind position 0: (batch, heads, N + p, d / heads)."""
    batch, heads, _, size = states.shape
    inserted = prefix.to(states.dtype).view(-1, heads, size).transpose(0, 1).expand(batch, heads, -1, size)
    return torch.cat([states[:, :, :1], inserted, states[:, :, 1:]], dim=2)


def _widened(mask: Tensor, tokens: int) -> Tensor:
    """A mask whose rows may also look at the tokens inserted behind position 0."""
    seen = mask.new_ones(()) if mask.dtype == torch.bool else mask.new_zeros(())
    return torch.cat([mask[..., :1], seen.expand(*mask.shape[:-1], tokens), mask[..., 1:]], dim=-1)


for _kernel, _name in NAMES.items():
    AttentionInterface.register(_name, partial(attention, kernel=_kernel))
    AttentionMaskInterface.register(_name, sdpa_mask)
