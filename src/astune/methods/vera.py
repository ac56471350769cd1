"""VeRA: low-rank updates of which only two vectors are trained (Kopiczko et al., 2024, equation 2).

W' = W + diag(b) B diag(d) A, with A (r × d) and B (d × r) random, frozen, and the same in every layer. They start Kaiming-uniform as in
PEFT, b at zero and every number of d at 0.1. A and B are drawn from the field ``seed`` by numpy's PCG64, so that a file needs only b
and d.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from astune.keyed import keyed_generator
from astune.methods.edits import Edits
from astune.methods.layers import Layers
from astune.methods.lora import Targets
from astune.methods.registry import register
from astune.methods.size import SizeField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone.sublayer import Kind, SubLayer

_WIDEST = 4096  # rank
_FIRST = 0.1


@lru_cache(maxsize=8)
def frozen_matrix(seed: int, name: str, rows: int, columns: int, device: torch.device) -> Tensor:
    """A or B: Kaiming-uniform numbers that depend on the arguments alone.

    Args:
        seed: of both.
        name: ``A`` or ``B``.
        rows: of the matrix.
        columns: of the matrix.
        device: where it is kept, for all layers and models.

    Returns:
        (rows, columns), float32.
    """
    bound = (6 / columns) ** 0.5
    drawn = keyed_generator(seed, "vera", name, rows, columns).uniform(-bound, bound, (rows, columns))
    with torch.inference_mode(False):  # the first caller may be a predictor, and a later one trains
        return torch.from_numpy(drawn.astype(np.float32)).to(device)


class VectorUpdate(nn.Module):
    """b · B (d · A x): (..., in) to (..., out).

    Args:
        projection: what is updated; gives the sizes.
        rank: r.
        seed: of A and B.
    """

    def __init__(self, projection: nn.Linear, rank: int, seed: int) -> None:
        super().__init__()
        self.seed, self.rank = seed, rank
        self.sizes = projection.in_features, projection.out_features
        self.d = nn.Parameter(torch.full((rank,), _FIRST))
        self.b = nn.Parameter(torch.zeros(projection.out_features))

    def matrices(self) -> tuple[Tensor, Tensor]:
        """A and B, (r, in) and (out, r)."""
        inner, outer = self.sizes
        device = self.b.device
        return (
            frozen_matrix(self.seed, "A", self.rank, inner, device),
            frozen_matrix(self.seed, "B", outer, self.rank, device),
        )

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Update for an input; (..., in) to (..., out)."""
        first, second = self.matrices()
        return F.linear(F.linear(x, first) * self.d, second) * self.b

    def weight(self) -> Tensor:
        """The update as one matrix, (out, in)."""
        first, second = self.matrices()
        return self.b[:, None] * second @ (self.d[:, None] * first)


@register("vera")
class VeRA(Edits):
    """Train r + d numbers for each updated projection."""

    name: ClassVar[str] = "vera"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"vera": {}}
    examples: ClassVar[tuple[str, ...]] = ("vera:rank=16,targets=qkvo", "vera:seed=3,layers=1")
    size_field: ClassVar[SizeField | None] = SizeField("rank", lambda step, _: step, last=lambda _: _WIDEST)

    rank: int = Field(256, ge=1, le=_WIDEST, description="r; it costs one number for each projection")
    targets: Targets = Field("qv", description="updated projections, letters of qkvo")
    seed: int = Field(0, ge=0, lt=2**32, description="of the frozen random matrices")
    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")

    @override
    def parts(self) -> Mapping[Kind, str | tuple[str, ...]]:
        """The updated projections."""
        return {"mhsa": self.targets}

    @override
    def edit(self, sublayer: SubLayer, part: str) -> nn.Module:
        """An update that is added to the projection's output."""
        update = VectorUpdate(sublayer.projections[part], self.rank, self.seed)
        sublayer.add_to(part, update)
        return update

    @override
    def write(self, module: nn.Module, part: nn.Linear | nn.LayerNorm) -> None:
        """Add the update to the weight."""
        if isinstance(module, VectorUpdate):
            part.weight += module.weight()
