"""Adapters: small modules parallel to a sub-layer or after it (paper, section II-B and Appendix A).

Bottleneck (Houlsby et al., 2019; equation 6 of the paper): up(GELU(down(x))). Around a sub-layer F with input x, the output of its
LayerNorm::

    parallel, before      F(x) + A(x)         residual: + x       He et al., 2022
    sequential, after     F(x) + A(F(x))      without residual: A(F(x))
    parallel, after       F(x) + A(F(x))      the same function (Table III's "Seq/Par-After")
    sequential, before    F(A(x)) + A(x)      without residual: F(A(x))

Convpass (Jie and Deng, 2022): up(dropout(QuickGELU(conv(QuickGELU(down(x)))))), the convolution of kernel 3 running along the token
sequence.

Pfeiffer adapts one sub-layer a layer, Houlsby both; "mixed" is parallel-before at MHSA with sequential-after at FFN; HYDRA (Kim et
al., 2023) is parallel-before and sequential-after at the same FFN. The LayerNorm in front of an adapted sub-layer is trained too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from astune.methods.base import Attachment, Init, Method, initialise
from astune.methods.layers import Layers, layer_indices
from astune.methods.registry import register
from astune.methods.size import RANKS, ReductionRate, SizeField, rank_of

if TYPE_CHECKING:
    from typing import Self

    from astune.backbone import Sites
    from astune.backbone.sublayer import Kind, Wrapper

Insertion = Literal["parallel", "sequential"]
Position = Literal["before", "after"]
CONVPASS_DROPOUT = 0.1


@dataclass(frozen=True)
class Place:
    """Where one adapter sits."""

    sublayer: Kind
    insertion: Insertion
    position: Position
    residual: bool

    @property
    def identity_at_start(self) -> bool:
        """Whether an adapter that gives zero leaves the sub-layer as it is."""
        if self.insertion == "parallel":
            return not self.residual or self.position == "after"
        return self.residual and self.position == "after"


class Bottleneck(nn.Module):
    """Down, GELU, up, with biases: (..., d) to (..., d).

    Args:
        width: d.
        rank: r.
        init: how it starts.
    """

    def __init__(self, width: int, rank: int, init: Init) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        initialise(self, init, up=["up"])

    @override
    def forward(self, x: Tensor) -> Tensor:
        """A(x); (..., d) to (..., d)."""
        return self.up(F.gelu(self.down(x)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Adapted:
    """One adapter A around one sub-layer F."""

    adapter: nn.Module
    place: Place

    def before(self, x: Tensor) -> Tensor:
        """F's input."""
        sequential_before = self.place.insertion == "sequential" and self.place.position == "before"
        return self.adapter(x) if sequential_before else x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """Output of the adapted sub-layer."""
        match self.place.insertion, self.place.position:
            case "parallel", "before":
                y = y + self.adapter(x)
                return y + x if self.place.residual else y
            case "sequential", "before":  # x is A's output here
                return y + x if self.place.residual else y
            case _:
                adapted: Tensor = self.adapter(y)
                return y + adapted if self.place.residual or self.place.insertion == "parallel" else adapted


def quick_gelu(x: Tensor) -> Tensor:
    """X · sigmoid(1.702 x); any shape."""
    return x * torch.sigmoid(1.702 * x)


class Convpass(nn.Module):
    """Down, convolution over neighbouring tokens, up, with biases: (batch, N, d) to the same.

    Args:
        width: d.
        rank: r.
        init: how it starts. With ``published`` the convolution is Xavier-uniform and its bias zero, as in the published code.
        dropout: probability with which a training step drops a value of the bottleneck.
    """

    def __init__(self, width: int, rank: int, init: Init, dropout: float = CONVPASS_DROPOUT) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank)
        self.convolution = nn.Conv1d(rank, rank, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(rank, width)
        initialise(self, init, up=["up"])
        if init == "published":
            nn.init.xavier_uniform_(self.convolution.weight)
            if self.convolution.bias is not None:
                nn.init.zeros_(self.convolution.bias)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """A(x); (batch, N, d) to (batch, N, d)."""
        hidden = quick_gelu(self.down(x)).transpose(1, 2)  # (batch, r, N)
        hidden = quick_gelu(self.convolution(hidden)).transpose(1, 2)
        return self.up(self.dropout(hidden))  # type: ignore[no-any-return]


class Hydra(nn.Module):
    """F(x) + P(x) + S(F(x)): a parallel and a sequential bottleneck whose output biases add, so that one is kept.

    Args:
        width: d.
        rank: r.
        init: how it starts.
    """

    def __init__(self, width: int, rank: int, init: Init) -> None:
        super().__init__()
        self.parallel = Bottleneck(width, rank, init)
        self.sequential = Bottleneck(width, rank, init)
        self.sequential.up.register_parameter("bias", None)

    def before(self, x: Tensor) -> Tensor:
        """F's input, unchanged."""
        return x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """Output of the adapted sub-layer."""
        return y + self.parallel(x) + self.sequential(y)  # type: ignore[no-any-return]


class AroundSubLayers(Method):
    """Base of methods with a module around some sub-layers, whose LayerNorm is trained too. A subclass says where, and adds the module."""

    size_field: ClassVar[SizeField | None] = RANKS

    if TYPE_CHECKING:  # fields of every subclass, declared there: specs and the names of runs go by the order of fields
        reduction_rate: float
        layers: str

    def adapted_places(self) -> list[Place]:
        """Where the modules of a layer sit, one or two."""
        raise NotImplementedError

    def adapter(self, sites: Sites, place: Place) -> tuple[nn.Module, Wrapper]:
        """A new module, and how it is put around its sub-layer.

        Args:
            sites: the backbone, which has the sizes.
            place: where it sits.
        """
        raise NotImplementedError

    @override
    def places(self, n_layers: int) -> set[str]:
        """One place for each adapted sub-layer."""
        kinds = {place.sublayer for place in self.adapted_places()}
        return {f"layers.{i}.{kind}.adapter" for i in layer_indices(self.layers, n_layers) for kind in kinds}

    def rank(self, width: int) -> int:
        """Width of the bottleneck on a backbone.

        Args:
            width: d.
        """
        return rank_of(width, self.reduction_rate)

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Add the modules and unfreeze the LayerNorms in front of them.

        Args:
            sites: the backbone.
        """
        attachment = Attachment()
        for index in layer_indices(self.layers, len(sites.layers)):
            for place in self.adapted_places():
                sublayer = sites.layers[index][place.sublayer]
                module, wrapper = self.adapter(sites, place)
                sublayer.wrap(wrapper)
                attachment.modules[f"{sublayer.path}.adapter"] = module
                attachment.backbone_parameters |= {f"{sublayer.path}.norm.{name}" for name in ("weight", "bias")}
        return attachment


class Adapters(AroundSubLayers):
    """Base of all families of adapters: it decides where their modules sit. A family adds the module."""

    adapter_type: ClassVar[type[nn.Module]]
    """Called with (d, r, init); a module from (batch, tokens, d) to the same."""
    reduction_rate: ReductionRate = Field(64, description="RR; the bottleneck's width is r = max(1, round(d / RR))")
    configuration: Literal["pfeiffer", "houlsby", "mixed"] = Field(
        "pfeiffer", description="adapters per layer: one (pfeiffer), or two (houlsby, mixed)"
    )
    insertion: Insertion | None = Field(None, description="parallel to a sub-layer or sequential; parallel by default")
    position: Position | None = Field(
        None, description="before or after the sub-layer; by default before if parallel, after if sequential"
    )
    sublayer: Literal["mhsa", "ffn"] | None = Field(
        None, description="sub-layer of a pfeiffer adapter; by default mhsa if parallel, ffn if sequential"
    )
    residual: bool | None = Field(None, description="residual connection; by default off if parallel, on if sequential")
    init: Init = Field(
        "identity",
        description="first weights: identity (as the frozen model), normal (N(0, 0.02)) or published (the published code)",
    )
    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        fixed: tuple[str, ...] = ()
        if self.configuration == "houlsby":
            fixed = ("sublayer",)
        elif self.configuration != "pfeiffer":
            fixed = ("insertion", "position", "sublayer", "residual")
        given = [name for name in fixed if getattr(self, name) is not None]
        faults = [
            f"configuration={self.configuration} settles {name}, so leave {name}={getattr(self, name)} out"
            for name in given
        ]
        if not given and (self.insertion, self.position) == ("parallel", "after") and self.residual is not None:
            faults.append("parallel, after is F(x) + A(F(x)) with no residual to switch; leave residual out")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @override
    def adapted_places(self) -> list[Place]:
        """Where the adapters of a layer sit, one or two."""
        if self.configuration == "mixed":
            return [Place("mhsa", "parallel", "before", False), Place("ffn", "sequential", "after", True)]
        insertion = self.insertion or "parallel"
        parallel = insertion == "parallel"
        position = self.position or ("before" if parallel else "after")
        residual = self.residual if self.residual is not None else not parallel
        sublayers: list[Kind] = ["mhsa", "ffn"]
        if self.configuration == "pfeiffer":
            sublayers = [self.sublayer or ("mhsa" if parallel else "ffn")]
        return [Place(sublayer, insertion, position, residual) for sublayer in sublayers]

    @property
    @override
    def identity_at_start(self) -> bool:
        """Whether each adapter sits where an output of zero changes nothing."""
        return self.init == "identity" and all(place.identity_at_start for place in self.adapted_places())

    @override
    def adapter(self, sites: Sites, place: Place) -> tuple[nn.Module, Wrapper]:
        """A new adapter, and how it is put around its sub-layer.

        Args:
            sites: the backbone, which has the sizes.
            place: where it sits.
        """
        module = self.adapter_type(sites.width, self.rank(sites.width), self.init)
        return module, Adapted(module, place)


@register("bottleneck")
class BottleneckAdapters(Adapters):
    """Bottleneck adapters."""

    adapter_type: ClassVar[type[nn.Module]] = Bottleneck
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "bottleneck-pf-par": {"configuration": "pfeiffer", "insertion": "parallel"},
        "bottleneck-pf-seq": {"configuration": "pfeiffer", "insertion": "sequential"},
        "bottleneck-hou-par": {"configuration": "houlsby", "insertion": "parallel"},
        "bottleneck-hou-seq": {"configuration": "houlsby", "insertion": "sequential"},
    }
    examples: ClassVar[tuple[str, ...]] = (
        "bottleneck:sublayer=ffn,insertion=sequential,position=before",
        "bottleneck:sublayer=ffn,insertion=parallel,position=before",
        "bottleneck:sublayer=ffn,insertion=parallel,position=after",
        "bottleneck:sublayer=mhsa,insertion=sequential,position=after",
        "bottleneck:sublayer=mhsa,insertion=sequential,position=before",
        "bottleneck:sublayer=mhsa,insertion=sequential,position=before,residual=false",
        "bottleneck:sublayer=ffn,insertion=sequential,residual=false",
        "bottleneck:sublayer=ffn,insertion=parallel,residual=true",
        "bottleneck:configuration=mixed",
        "bottleneck:configuration=hydra",
        "bottleneck:configuration=hydra,init=normal",
        "bottleneck:reduction_rate=32,init=normal,layers=1|3",
        "bottleneck:sublayer=ffn+lora",
        "bottleneck:sublayer=ffn+bitfit",
    )

    configuration: Literal["pfeiffer", "houlsby", "mixed", "hydra"] = Field(  # type: ignore[assignment]
        "pfeiffer",
        description="adapters per layer: one (pfeiffer), two (houlsby), two of different insertion (mixed), two at one FFN (hydra)",
    )

    @override
    def adapted_places(self) -> list[Place]:
        """Where the adapters of a layer sit; HYDRA's pair counts as one place."""
        if self.configuration == "hydra":
            return [Place("ffn", "parallel", "before", False)]
        return super().adapted_places()

    @override
    def adapter(self, sites: Sites, place: Place) -> tuple[nn.Module, Wrapper]:
        """A new adapter, or HYDRA's pair, which is its own wrapper.

        Args:
            sites: the backbone, which has the sizes.
            place: where it sits.
        """
        if self.configuration != "hydra":
            return super().adapter(sites, place)
        pair = Hydra(sites.width, self.rank(sites.width), self.init)
        return pair, pair


@register("convpass")
class ConvpassAdapters(Adapters):
    """Convpass adapters."""

    adapter_type: ClassVar[type[nn.Module]] = Convpass
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "convpass-pf-par": {"configuration": "pfeiffer", "insertion": "parallel"},
        "convpass-pf-seq": {"configuration": "pfeiffer", "insertion": "sequential"},
        "convpass-hou-par": {"configuration": "houlsby", "insertion": "parallel"},
        "convpass-hou-seq": {"configuration": "houlsby", "insertion": "sequential"},
    }
    examples: ClassVar[tuple[str, ...]] = (
        "convpass:sublayer=ffn,init=normal",
        "convpass:sublayer=ffn+dpt:tokens=3",
        "convpass:init=published,dropout=0",
    )

    dropout: float = Field(
        CONVPASS_DROPOUT,
        ge=0,
        lt=1,
        description="dropout in the bottleneck while training; the published code has none",
    )

    @override
    def adapter(self, sites: Sites, place: Place) -> tuple[nn.Module, Wrapper]:
        """A new adapter with this dropout, and how it is put around its sub-layer.

        Args:
            sites: the backbone, which has the sizes.
            place: where it sits.
        """
        module = Convpass(sites.width, self.rank(sites.width), self.init, self.dropout)
        return module, Adapted(module, place)
