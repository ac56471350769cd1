"""Mixtures of adapters parallel to a sub-layer (Cappellazzo, Falavigna and Brutti, 2024: Dense-MoA and Soft-MoA).

With n bottleneck adapters A_1 ... A_n and X the output of the LayerNorm, (tokens, d)::

    Dense-MoA   sum_i softmax(X R + b)_i A_i(X)          a router, over the adapters, for each token
    Soft-MoA    C · [A_i(D_ij^T X)]_ij                   p slots for each adapter (Puigcerver et al., 2024)

In Soft-MoA, D is the softmax over the tokens of X Phi, (d, n · p), and C its softmax over all slots. Each slot is a mean of the tokens,
and each token gets a mean of what the adapters make of the slots. Padding and [CLS] are tokens as all others are.

Of the paper only the abstract could be read here; this is what its published code does: parallel to MHSA or FFN, or both (houlsby),
without residual and without the optional L2 normalisation, Phi Xavier-normal, the LayerNorm trained too. The defaults are those of its
example: 7 adapters at RR 128, one slot each, parallel to MHSA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.adapters import Adapted, AroundSubLayers, Bottleneck, Place
from astune.methods.base import Init, initialise
from astune.methods.layers import Layers
from astune.methods.registry import register
from astune.methods.size import ReductionRate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites
    from astune.backbone.sublayer import Kind, Wrapper

_MOST = 64  # adapters, or slots of one


class DenseMixture(nn.Module):
    """Every adapter sees every token: (batch, tokens, d) to the same.

    Args:
        width: d.
        rank: r of each adapter.
        adapters: n.
        init: how the adapters start; the router's matrix is Kaiming-uniform, or N(0, 0.02) as they are.
    """

    def __init__(self, width: int, rank: int, adapters: int, init: Init) -> None:
        super().__init__()
        self.adapters = nn.ModuleList([Bottleneck(width, rank, init) for _ in range(adapters)])
        self.router = nn.Linear(width, adapters)
        initialise(self.router, init, up=[])

    @override
    def forward(self, x: Tensor) -> Tensor:
        """The mean of the adapters, weighted by the router; (batch, tokens, d) to the same."""
        shares = self.router(x).softmax(dim=-1)
        given = torch.stack([adapter(x) for adapter in self.adapters], dim=-1)
        mixed: Tensor = (given * shares[..., None, :]).sum(dim=-1)
        return mixed


class SoftMixture(nn.Module):
    """Each adapter sees means of the tokens: (batch, tokens, d) to the same.

    Args:
        width: d.
        rank: r of each adapter.
        adapters: n.
        slots: p for each adapter.
        init: how the adapters start.
    """

    def __init__(self, width: int, rank: int, adapters: int, slots: int, init: Init) -> None:
        super().__init__()
        self.adapters = nn.ModuleList([Bottleneck(width, rank, init) for _ in range(adapters)])
        self.slots = nn.Parameter(torch.empty(width, adapters, slots))
        nn.init.xavier_normal_(self.slots)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """The tokens' means of what the adapters make of the slots; (batch, tokens, d) to the same."""
        scores = x @ self.slots.flatten(1)  # (batch, tokens, n · p)
        means = scores.softmax(dim=1).transpose(1, 2).to(x.dtype) @ x
        # Copied, because torch multiplies views of three dimensions in another order where a gradient is wanted.
        parts = [part.contiguous() for part in means.chunk(len(self.adapters), dim=1)]
        made = [adapter(part) for adapter, part in zip(self.adapters, parts, strict=True)]
        given = torch.cat(made, dim=1)
        mixed: Tensor = scores.softmax(dim=2).to(given.dtype) @ given
        return mixed


class Mixtures(AroundSubLayers):
    """Base of both: it decides where the mixtures sit."""

    reduction_rate: ReductionRate = Field(128, description="RR; each adapter's width is r = max(1, round(d / RR))")
    adapters: int = Field(7, ge=1, le=_MOST, description="adapters of each mixture")
    configuration: Literal["pfeiffer", "houlsby"] = Field(
        "pfeiffer", description="mixtures per layer: one (pfeiffer), or one at MHSA and one at FFN (houlsby)"
    )
    sublayer: Literal["mhsa", "ffn"] = Field("mhsa", description="sub-layer of a pfeiffer mixture")
    init: Init = Field(
        "identity",
        description="first weights: identity (as the frozen model), normal (N(0, 0.02)) or published (the published code)",
    )
    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")

    @property
    @override
    def identity_at_start(self) -> bool:
        """Whether every adapter gives zero."""
        return self.init == "identity"

    @override
    def adapted_places(self) -> list[Place]:
        """Parallel to MHSA, to FFN, or to both."""
        kinds: tuple[Kind, ...] = ("mhsa", "ffn") if self.configuration == "houlsby" else (self.sublayer,)
        return [Place(kind, "parallel", "before", residual=False) for kind in kinds]

    @override
    def adapter(self, sites: Sites, place: Place) -> tuple[nn.Module, Wrapper]:
        module = self.mixture(sites.width, self.rank(sites.width))
        return module, Adapted(module, place)

    def mixture(self, width: int, rank: int) -> nn.Module:
        """A new mixture.

        Args:
            width: d.
            rank: r of each adapter.
        """
        raise NotImplementedError


@register("dense-moa")
class DenseMoA(Mixtures):
    """n bottleneck adapters in each place, weighted by a router for each token."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"dense-moa": {}}
    examples: ClassVar[tuple[str, ...]] = (
        "dense-moa:configuration=houlsby,adapters=2",
        "dense-moa:init=normal,sublayer=ffn",
    )

    @override
    def mixture(self, width: int, rank: int) -> nn.Module:
        return DenseMixture(width, rank, self.adapters, self.init)


@register("soft-moa")
class SoftMoA(Mixtures):
    """n bottleneck adapters in each place, each of which sees p means of the tokens."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"soft-moa": {}}
    examples: ClassVar[tuple[str, ...]] = (
        "soft-moa:configuration=houlsby,adapters=2",
        "soft-moa:slots=2,init=normal,sublayer=ffn",
    )

    slots: int = Field(1, ge=1, le=_MOST, description="slots of each adapter")

    @override
    def mixture(self, width: int, rank: int) -> nn.Module:
        return SoftMixture(width, rank, self.adapters, self.slots, self.init)
