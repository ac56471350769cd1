"""DoRA: a low-rank update of the direction of each output of a projection, and a trained length (Liu et al., 2024, equations 5 and 11).

W' = m · (W + s · B A) / ||W + s · B A||, the norm of each row, with m the length of W's rows at the start. As in the paper (section
4.3), the norm is a constant for the gradient. Everything else is as for LoRA, the scale s = alpha / RR too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.lora import LowRank, LowRankUpdates
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone.sublayer import SubLayer
    from astune.methods.base import Init


class Decomposed(nn.Module):
    """A projection with trained lengths and an update of its directions.

    Args:
        projection: what is updated; gives the sizes and the first lengths.
        rank: r.
        scale: s.
        init: how the update starts.
    """

    def __init__(self, projection: nn.Linear, rank: int, scale: float, init: Init) -> None:
        super().__init__()
        self.update = LowRank(projection, rank, scale, init)
        self.magnitude = nn.Parameter(torch.linalg.vector_norm(projection.weight.detach().float(), dim=1))

    @override
    def forward(self, projection: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
        """The output of the changed projection.

        Args:
            projection: the frozen one.
            x: its input, (..., in).
            y: its output, (..., out).

        Returns:
            Of the shape of ``y``.
        """
        share = self.share(projection.weight)
        own = y if projection.bias is None else y - projection.bias
        changed: Tensor = y + (share - 1) * own + share * self.update(x)
        return changed

    def share(self, weight: Tensor) -> Tensor:
        """The trained lengths over those of W + s · B A, (out,).

        Args:
            weight: W, (out, in).
        """
        changed = weight.detach().float() + self.update.weight().detach().float()
        share: Tensor = self.magnitude / torch.linalg.vector_norm(changed, dim=1)
        return share


@register("dora")
class DoRA(LowRankUpdates):
    """LoRA's parameters, and a length for each output of an updated projection."""

    name: ClassVar[str] = "dora"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"dora": {}}
    examples: ClassVar[tuple[str, ...]] = ("dora:targets=qkvo", "dora:init=normal,layers=1", "dora:rate_ratio=16")

    @override
    def rewrites(self, n_layers: int) -> set[str]:
        """The updated projections: their whole output is scaled."""
        return self.edited(n_layers)

    @override
    def decays(self, name: str) -> bool:
        """Lengths do not: without them the projection would give 0."""
        return not name.endswith(".dora.magnitude")

    @override
    def edit(self, sublayer: SubLayer, part: str) -> nn.Module:
        """A module that gives the changed projection's output."""
        projection = sublayer.projections[part]
        module = Decomposed(projection, *self.sizes(projection), self.init)
        sublayer.replace_output(part, module)
        return module

    @override
    def write(self, module: nn.Module, part: nn.Linear | nn.LayerNorm) -> None:
        """Add the update to the weight, and scale its rows."""
        if isinstance(module, Decomposed):
            share = module.share(part.weight)
            part.weight += module.update.weight()
            part.weight *= share[:, None]
