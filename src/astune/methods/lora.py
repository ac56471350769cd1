"""LoRA: low-rank updates of the attention's projections (Hu et al., 2021; paper, section II-B, equation 5).

Q = x W_q + s · x A B, with s = alpha / RR. The paper divides by the reduction rate where the original divides by the rank.
Start as PEFT's: A Kaiming-uniform, B zero (the paper's code has them the other way round).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.base import Attachment, Init, Layers, Method, initialise, layer_indices
from astune.methods.registry import register
from astune.methods.size import RANKS, ReductionRate, SizeField, rank_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites


def _targets(value: str) -> str:
    if not value or set(value) - set("qkvo") or len(set(value)) < len(value):
        raise ValueError("use letters of 'qkvo' without repetition, such as qv")
    return "".join(sorted(value, key="qkvo".index))


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


@register("lora")
class LoRA(Method):
    """Rank r = round(d / RR) updates of a subset of the projections of every MHSA."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"lora": {}}
    examples: ClassVar[tuple[str, ...]] = (
        "lora:reduction_rate=64,targets=q",
        "lora:targets=qk",
        "lora:reduction_rate=256,targets=qkvo",
        "lora:init=normal,layers=0|2-3",
    )
    size_field: ClassVar[SizeField | None] = RANKS

    reduction_rate: ReductionRate = Field(128, description="RR; the rank is r = max(1, round(d / RR))")
    targets: Annotated[str, AfterValidator(_targets)] = Field("qv", description="updated projections, letters of qkvo")
    alpha: float = Field(8.0, gt=0, le=1e6, allow_inf_nan=False, description="the scale is s = alpha / RR")
    init: Init = Field(
        "identity",
        description="first weights: identity (as the frozen model), normal (N(0, 0.02)) or published (the published code)",
    )
    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")

    @property
    @override
    def identity_at_start(self) -> bool:
        """Whether B starts at zero."""
        return self.init == "identity"

    @property
    @override
    def mergeable(self) -> bool:
        """Always: it is an update of weights."""
        return True

    @override
    def places(self, n_layers: int) -> set[str]:
        """One place for each updated projection."""
        return {f"layers.{i}.mhsa.{t}.lora" for i in layer_indices(self.layers, n_layers) for t in self.targets}

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Add the updates to the projections' outputs.

        Args:
            sites: the backbone.
        """
        rank = rank_of(sites.width, self.reduction_rate)
        attachment = Attachment()
        for index in layer_indices(self.layers, len(sites.layers)):
            attention = sites.layers[index]["mhsa"]
            for target in self.targets:
                update = LowRank(attention.projections[target], rank, self.alpha / self.reduction_rate, self.init)
                attention.add_to(target, update)
                attachment.modules[f"{attention.path}.{target}.lora"] = update
        return attachment

    @torch.no_grad()
    @override
    def merge(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Add the updates to the projections' weights, in the weights' own precision.

        Args:
            sites: the backbone.
            modules: the updates by place.
        """
        for index in layer_indices(self.layers, len(sites.layers)):
            attention = sites.layers[index]["mhsa"]
            for target in self.targets:
                update = modules[f"{attention.path}.{target}.lora"]
                if isinstance(update, LowRank):
                    attention.projections[target].weight += update.weight()
