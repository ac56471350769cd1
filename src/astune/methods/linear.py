"""Linear probing: the backbone stays frozen; head and final LayerNorm are trained (paper, Table I, "Linear")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from astune.methods.base import Attachment, Method
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites


@register("linear")
class Linear(Method):
    """Train what every method trains, and nothing else."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"linear": {}}
    learning_rate: ClassVar[float] = 1e-3
    alone: ClassVar[str | None] = "every method trains head and final LayerNorm already"
    counts_head: ClassVar[bool] = True
    on_frozen_layers: ClassVar[bool] = True

    @property
    @override
    def mergeable(self) -> bool:
        """Nothing was added."""
        return True

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Add nothing.

        Args:
            sites: the backbone.
        """
        del sites
        return Attachment()
