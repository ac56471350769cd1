"""SSF: scale and shift the features that every operation of a layer gives (Lian et al., 2022, section 3.2).

y becomes g · y + s behind both LayerNorms, the four projections of MHSA and the two matrices of FFN: 22 d numbers a layer. The paper does
so behind the patch embedding and the final LayerNorm too. Here the patch embedding stays frozen, and the final LayerNorm is trained
itself, as with every method. g starts at 1 and s at 0; ``init=normal`` draws them as the paper does, from N(1, 0.02) and N(0, 0.02).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from astune.errors import AdapterError
from astune.methods.base import NORMAL_STD
from astune.methods.edits import Edits
from astune.methods.layers import Layers
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone.sublayer import Kind, SubLayer

_PARTS: dict[Kind, tuple[str, ...]] = {"mhsa": ("norm", "q", "k", "v", "o"), "ffn": ("norm", "w1", "w2")}


class ScaleShift(nn.Module):
    """g · y + s: (..., d) to the same.

    Args:
        width: d.
        init: how it starts.
    """

    def __init__(self, width: int, init: Literal["identity", "normal"]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        if init == "normal":
            nn.init.normal_(self.scale, mean=1.0, std=NORMAL_STD)
            nn.init.normal_(self.shift, std=NORMAL_STD)

    @override
    def forward(self, y: Tensor) -> Tensor:
        """The features, scaled and shifted; (..., d) to (..., d)."""
        return y * self.scale + self.shift


@register("ssf")
class SSF(Edits):
    """Train 2 (d + 4d + d + 4d + d) numbers in each layer."""

    name: ClassVar[str] = "ssf"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ssf": {}}
    examples: ClassVar[tuple[str, ...]] = ("ssf:init=normal", "ssf:layers=0|2-3")

    init: Literal["identity", "normal"] = Field(
        "identity", description="first numbers: identity (as the frozen model), or normal (N(1, 0.02) and N(0, 0.02))"
    )
    layers: Layers = Field("all", description="adapted layers, from 0, such as 0-2|9")

    @property
    @override
    def identity_at_start(self) -> bool:
        """Whether every scale starts at 1 and every shift at 0."""
        return self.init == "identity"

    @override
    def zero_gradient(self, name: str) -> bool:
        """The shifts of the keys add the same to every score of a query."""
        return name.endswith(".mhsa.k.ssf.shift")

    @override
    def decays(self, name: str) -> bool:
        """Scales do not: they leave the model as it is at 1."""
        return not name.endswith(".ssf.scale")

    @override
    def parts(self) -> Mapping[Kind, str | tuple[str, ...]]:
        """LayerNorms, projections and matrices."""
        return _PARTS

    @override
    def edit(self, sublayer: SubLayer, part: str) -> nn.Module:
        """Scale and shift of what a part gives."""
        width = sublayer.norm.normalized_shape[0] if part == "norm" else sublayer.projections[part].out_features
        module = ScaleShift(width, self.init)
        sublayer.edit_output(part, module)
        return module

    @override
    def write(self, module: nn.Module, part: nn.Linear | nn.LayerNorm) -> None:
        """Scale the rows of the weight, and scale and shift the bias.

        Raises:
            AdapterError: there is no bias.
        """
        if isinstance(module, ScaleShift):
            if part.bias is None:
                raise AdapterError(
                    "ssf cannot be merged: a projection of the backbone has no bias that could take its shift"
                )
            part.weight.mul_(module.scale[:, None] if isinstance(part, nn.Linear) else module.scale)
            part.bias.mul_(module.scale).add_(module.shift)
