"""LayerMix: linear probing of a learned mixture of all levels (SUPERB, Yang et al., 2021, section 3; not in the paper).

With z_l the tokens after level l, 0 the embeddings and L the last layer, each normalised as the final LayerNorm does before its weight
and bias, the head sees the mean over tokens of::

    LayerNorm weight · sum_l softmax(a)_l z_l + LayerNorm bias

The L + 1 numbers a start at zero, the plain average. SUPERB mixes levels as they are; a pre-norm transformer's grow with depth, so
here they are normalised first, and all weight on the last level is linear probing. Nothing in the backbone changes, so the means of
each clip are computed once and training takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.base import Attachment, Method
from astune.methods.registry import register

if TYPE_CHECKING:
    from astune.backbone import Sites

_PLACE = "levels"


class LevelMix(nn.Module):
    """A weighted average of levels.

    Args:
        levels: how many there are.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(levels))

    @override
    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """A weighted average.

        Args:
            levels: as many as there are weights, (..., d) each, of one shape.

        Returns:
            Of that shape.
        """
        shares = self.weights.softmax(dim=0)
        mixed = shares[0] * levels[0]
        for share, level in zip(shares[1:], levels[1:], strict=True):
            mixed = mixed + share * level
        return mixed


@register("layermix")
class LayerMix(Method):
    """Train the mixture's L + 1 weights beside head and final LayerNorm."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"layermix": {}}
    learning_rate: ClassVar[float] = 3e-3  # of 1e-3 to 3e-2 the best on ESC-10's and the digits' validation clips
    alone: ClassVar[str | None] = "it classifies what the frozen layers give, and another method would change them"
    counts_head: ClassVar[bool] = True
    on_frozen_layers: ClassVar[bool] = True
    augmented: ClassVar[bool] = False

    @property
    @override
    def identity_at_start(self) -> bool:
        """All levels count alike."""
        return False

    @override
    def places(self, n_layers: int) -> set[str]:
        """One, of the whole backbone."""
        del n_layers
        return {_PLACE}

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Mix the levels.

        Args:
            sites: the backbone.
        """
        mixer = LevelMix(len(sites.layers) + 1)
        sites.mix_levels(mixer)
        return Attachment(modules={_PLACE: mixer})
