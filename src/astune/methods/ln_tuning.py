"""LN-tuning: train the LayerNorms (Qi et al., 2022). Every LayerNorm of the encoder, and the final one, weight and bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from astune.methods.base import Attachment, Method
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites


@register("ln-tuning")
class LayerNormTuning(Method):
    """Train L · 4d + 2d weights and biases."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ln-tuning": {}}

    @property
    @override
    def mergeable(self) -> bool:
        """Its changes are changes of the weights."""
        return True

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Unfreeze the LayerNorms.

        Args:
            sites: the backbone.
        """
        names = sites.parameters()
        return Attachment(
            backbone_parameters={name for name in names if f".{name}".rpartition(".")[0].endswith(".norm")}
        )
