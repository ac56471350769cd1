"""Conformer adapter: a depthwise convolution over the token sequence (the paper's MLSP 2024 version, beyond its arXiv text).

LayerNorm, pointwise to 2r, GLU, depthwise convolution of kernel 31, BatchNorm, SiLU, pointwise to d, with biases; the convolution module
of Conformer (Gulati et al., 2020) with a bottleneck. Its place is an adapter's: parallel to MHSA, before, by default. The published code
throws its LayerNorm's output away; here it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from astune.methods.adapters import Adapters
from astune.methods.base import Init, initialise
from astune.methods.registry import register
from astune.methods.size import ReductionRate

_KERNEL = 31  # tokens


class ConformerModule(nn.Module):
    """(batch, N, d) to the same.

    Args:
        width: d.
        rank: r.
        init: how it starts.
    """

    def __init__(self, width: int, rank: int, init: Init) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, 2 * rank)
        self.depthwise = nn.Conv1d(rank, rank, _KERNEL, padding=_KERNEL // 2, groups=rank)
        self.batch_norm = nn.BatchNorm1d(rank)
        self.up = nn.Linear(rank, width)
        initialise(self, init, up=["up"])

    @override
    def forward(self, x: Tensor) -> Tensor:
        """A(x); (batch, N, d) to (batch, N, d)."""
        hidden = F.glu(self.down(self.norm(x)), dim=-1).transpose(1, 2)  # (batch, r, N)
        hidden = F.silu(self.batch_norm(self.depthwise(hidden))).transpose(1, 2)
        return self.up(hidden)  # type: ignore[no-any-return]


@register("conformer")
class ConformerAdapters(Adapters):
    """Conformer adapters; their BatchNorm's running statistics belong to the adapter file."""

    adapter_type: ClassVar[type[nn.Module]] = ConformerModule
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"conformer": {}}
    examples: ClassVar[tuple[str, ...]] = ("conformer:configuration=houlsby,insertion=sequential",)

    reduction_rate: ReductionRate = Field(96, description="RR; the bottleneck's width is r = max(1, round(d / RR))")

    @override
    def zero_gradient(self, name: str) -> bool:
        """BatchNorm subtracts whatever the bias in front of it adds.

        Args:
            name: our name of a trained parameter.
        """
        return name.endswith(".adapter.depthwise.bias")
