"""Full fine-tuning: every parameter of the backbone is trained (paper, Table I, "Full FT")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from astune.methods.base import Attachment, Method, cancelled_by_softmax
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites


@register("full-ft")
class FullFineTuning(Method):
    """Train the whole backbone and the head; positions too, which the paper's zeroed table makes learnable here alone."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"full-ft": {}}
    learning_rate: ClassVar[float] = 5e-5
    alone: ClassVar[str | None] = "it already trains every parameter of the backbone"

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
        """Unfreeze everything.

        Args:
            sites: the backbone.
        """
        return Attachment(backbone_parameters=set(sites.parameters()))
