"""BitFit: train the biases (Ben Zaken et al., 2022; paper, Table I, "BitFit").

Every Linear and LayerNorm bias of the encoder, and of the final LayerNorm the bias alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from astune.methods.base import Attachment, Method, cancelled_by_softmax
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites


@register("bitfit")
class BitFit(Method):
    """Train L (4d + 4d + d + 2d) + d biases."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"bitfit": {}}
    final_norm: ClassVar[tuple[str, ...]] = ("bias",)

    @property
    @override
    def mergeable(self) -> bool:
        """Its changes are changes of the weights."""
        return True

    @override
    def zero_gradient(self, name: str) -> bool:
        """The key biases'."""
        return cancelled_by_softmax(name)

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Unfreeze the biases of the layers and of the final LayerNorm.

        Args:
            sites: the backbone.
        """
        names = sites.parameters()
        return Attachment(
            backbone_parameters={n for n in names if n.startswith(("layers.", "norm.")) and n.endswith(".bias")}
        )
