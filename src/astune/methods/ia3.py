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

from astune.methods.base import Attachment, Layers, Method, layer_indices
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites


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


@register("ia3")
class IA3(Method):
    """Train L (d + d + 4d) factors."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ia3": {}}
    examples: ClassVar[tuple[str, ...]] = ("ia3:layers=0|2-3", "ia3+bitfit")

    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")

    @property
    @override
    def mergeable(self) -> bool:
        """Always: factors of rows and columns are changes of weights."""
        return True

    @override
    def places(self, n_layers: int) -> set[str]:
        """Three in each layer."""
        return {
            f"layers.{i}.{part}.ia3"
            for i in layer_indices(self.layers, n_layers)
            for part in ("mhsa.k", "mhsa.v", "ffn.w2")
        }

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Put the factors around keys, values and hidden numbers.

        Args:
            sites: the backbone.
        """
        attachment = Attachment()
        for index in layer_indices(self.layers, len(sites.layers)):
            attention, ffn = sites.layers[index]["mhsa"], sites.layers[index]["ffn"]
            for target in "kv":
                factors = Factors(attention.projections[target].out_features)
                attention.edit_output(target, factors)
                attachment.modules[f"{attention.path}.{target}.ia3"] = factors
            factors = Factors(ffn.projections["w2"].in_features)
            ffn.edit_input("w2", factors)
            attachment.modules[f"{ffn.path}.w2.ia3"] = factors
        return attachment

    @torch.no_grad()
    @override
    def merge(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Multiply the rows of W_k and W_v with their biases, and the columns of W_2.

        Args:
            sites: the backbone.
            modules: the factors by place.
        """
        for index in layer_indices(self.layers, len(sites.layers)):
            attention, ffn = sites.layers[index]["mhsa"], sites.layers[index]["ffn"]
            for target in "kv":
                factors = modules[f"{attention.path}.{target}.ia3"]
                if isinstance(factors, Factors):
                    projection = attention.projections[target]
                    projection.weight.mul_(factors.weight[:, None])
                    if projection.bias is not None:
                        projection.bias.mul_(factors.weight)
            factors = modules[f"{ffn.path}.w2.ia3"]
            if isinstance(factors, Factors):
                ffn.projections["w2"].weight.mul_(factors.weight)
