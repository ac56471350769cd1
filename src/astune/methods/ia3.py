"""(IA)³: trained factors of the keys, the values and the FFN's hidden numbers (Liu et al., 2022, section 3.3).

k is l_k · (x W_k + b_k), v is l_v · (x W_v + b_v), and the FFN's second matrix is given l_ff · GELU(x W_1 + b_1). All factors are 1 at the
start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.edits import Edits
from astune.methods.layers import Layers
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone.sublayer import Kind, SubLayer


class Factors(nn.Module):
    """A factor for each feature: (..., d) to the same.

    Args:
        width: d.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    @override
    def forward(self, x: Tensor) -> Tensor:
        """The features times their factors; (..., d) to (..., d)."""
        return x * self.weight


class InputFactors(Factors):
    """Of what a matrix is given."""


@register("ia3")
class IA3(Edits):
    """Train L (d + d + 4d) factors."""

    name: ClassVar[str] = "ia3"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ia3": {}}
    examples: ClassVar[tuple[str, ...]] = ("ia3:layers=0|2-3", "ia3+bitfit")

    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")

    @override
    def parts(self) -> Mapping[Kind, str | tuple[str, ...]]:
        """Keys, values, and the FFN's second matrix, whose input has factors."""
        return {"mhsa": "kv", "ffn": ("w2",)}

    @override
    def decays(self, name: str) -> bool:
        """Factors do not: they leave the model as it is at 1."""
        return not name.endswith(".ia3.weight")

    @override
    def edit(self, sublayer: SubLayer, part: str) -> nn.Module:
        """Factors of a projection's output, or of the second matrix's input."""
        projection = sublayer.projections[part]
        if part == "w2":
            factors: Factors = InputFactors(projection.in_features)
            sublayer.edit_input(part, factors)
        else:
            factors = Factors(projection.out_features)
            sublayer.edit_output(part, factors)
        return factors

    @override
    def write(self, module: nn.Module, part: nn.Linear | nn.LayerNorm) -> None:
        """Multiply the columns of W_2, and the rows of W_k and W_v with their biases."""
        if isinstance(module, InputFactors):
            part.weight.mul_(module.weight)
        elif isinstance(module, Factors):
            part.weight.mul_(module.weight[:, None])
            if part.bias is not None:
                part.bias.mul_(module.weight)
