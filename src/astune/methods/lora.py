"""LoRA: low-rank updates of the attention's projections (Hu et al., 2021; paper, section II-B, equation 5).

Q = x W_q + s · x A B, with s = alpha / RR. The paper divides by the reduction rate where the original divides by the rank.
Start as PEFT's: A Kaiming-uniform, B zero (the paper's code has them the other way round).

LoRA+ (Hayou et al., 2024) trains B at a higher rate than A: ``rate_ratio``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.base import Init, initialise
from astune.methods.edits import Edits
from astune.methods.layers import Layers
from astune.methods.registry import register
from astune.methods.size import RANKS, ReductionRate, SizeField, rank_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone.sublayer import Kind, SubLayer


def _targets(value: str) -> str:
    if not value or set(value) - set("qkvo") or len(set(value)) < len(value):
        raise ValueError("use letters of 'qkvo' without repetition, such as qv")
    return "".join(sorted(value, key="qkvo".index))


Targets = Annotated[str, AfterValidator(_targets)]
"""Projections of an MHSA, as letters of qkvo."""


class LowRank(nn.Module):
    """s · up(down(x)), both without bias: (..., in) to (..., out).

    Args:
        projection: what is updated; gives the sizes.
        rank: r.
        scale: s.
        init: how it starts.
    """

    def __init__(self, projection: nn.Linear, rank: int, scale: float, init: Init) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Linear(projection.in_features, rank, bias=False)
        self.up = nn.Linear(rank, projection.out_features, bias=False)
        initialise(self, init, up=["up"])

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Update for an input; (..., in) to (..., out)."""
        return self.up(self.down(x)) * self.scale  # type: ignore[no-any-return]

    def weight(self) -> Tensor:
        """The update as one matrix, (out, in)."""
        return self.scale * self.up.weight @ self.down.weight


class LowRankUpdates(Edits):
    """Base of LoRA and what builds on it: rank r = round(d / RR) updates of a subset of the projections of every MHSA."""

    size_field: ClassVar[SizeField | None] = RANKS

    reduction_rate: ReductionRate = Field(128, description="RR; the rank is r = max(1, round(d / RR))")
    targets: Targets = Field("qv", description="updated projections, letters of qkvo")
    alpha: float = Field(8.0, gt=0, le=1e6, allow_inf_nan=False, description="the scale is s = alpha / RR")
    init: Init = Field(
        "identity",
        description="first weights: identity (as the frozen model), normal (N(0, 0.02)) or published (the published code)",
    )
    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")
    rate_ratio: float = Field(
        1.0,
        ge=1,
        le=1000,
        allow_inf_nan=False,
        description="learning rate of B over that of A; LoRA+ (Hayou et al., 2024) takes 16",
    )

    @property
    @override
    def identity_at_start(self) -> bool:
        """Whether B starts at zero."""
        return self.init == "identity"

    @override
    def rate_factor(self, name: str, n_layers: int) -> float:
        """The ratio of LoRA+ for every B of its own."""
        own = name.endswith(".up.weight") and any(name.startswith(f"{place}.") for place in self.places(n_layers))
        return self.rate_ratio if own else 1.0

    @override
    def parts(self) -> Mapping[Kind, str | tuple[str, ...]]:
        """The updated projections."""
        return {"mhsa": self.targets}

    def sizes(self, projection: nn.Linear) -> tuple[int, float]:
        """Rank and scale of the update of a projection.

        Args:
            projection: from d features.

        Returns:
            r and s.
        """
        return rank_of(projection.in_features, self.reduction_rate), self.alpha / self.reduction_rate


@register("lora")
class LoRA(LowRankUpdates):
    """Add s · A B to the projections."""

    name: ClassVar[str] = "lora"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"lora": {}}
    examples: ClassVar[tuple[str, ...]] = (
        "lora:reduction_rate=64,targets=q",
        "lora:targets=qk",
        "lora:reduction_rate=256,targets=qkvo",
        "lora:init=normal,layers=0|2-3",
        "lora:rate_ratio=16",
    )

    @override
    def edit(self, sublayer: SubLayer, part: str) -> nn.Module:
        """An update that is added to the projection's output."""
        projection = sublayer.projections[part]
        update = LowRank(projection, *self.sizes(projection), self.init)
        sublayer.add_to(part, update)
        return update

    @override
    def write(self, module: nn.Module, part: nn.Linear | nn.LayerNorm) -> None:
        """Add the update to the weight."""
        if isinstance(module, LowRank):
            part.weight += module.weight()
