"""Base of methods that edit what the projections and LayerNorms of a layer give, and can be written into their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from typing_extensions import override

from astune.methods.base import Attachment, Method
from astune.methods.layers import layer_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astune.backbone import Sites
    from astune.backbone.sublayer import Kind, SubLayer


class Edits(Method):
    """A module at each of some parts of a layer. A subclass says at which, and adds the module."""

    name: ClassVar[str]
    """Last part of the address of a module."""

    if TYPE_CHECKING:
        layers: str  # a field of every subclass, declared there: specs and the names of runs go by the order of fields

    def parts(self) -> Mapping[Kind, str | tuple[str, ...]]:
        """The edited parts of MHSA and FFN: keys of :attr:`astune.backbone.SubLayer.projections`, or ``norm``."""
        raise NotImplementedError

    def edit(self, sublayer: SubLayer, part: str) -> nn.Module:
        """A new module, put around a part.

        Args:
            sublayer: an MHSA or FFN.
            part: of it.
        """
        raise NotImplementedError

    def write(self, module: nn.Module, part: nn.Linear | nn.LayerNorm) -> None:
        """Write what a module does into the weights of its part, in place.

        Args:
            module: as :meth:`edit` made it.
            part: a projection or a LayerNorm.
        """
        raise NotImplementedError

    @property
    @override
    def mergeable(self) -> bool:
        """Always: the edits are changes of weights."""
        return True

    @override
    def places(self, n_layers: int) -> set[str]:
        """One place for each edited part."""
        return {f"{part}.{self.name}" for part in self.edited(n_layers)}

    def edited(self, n_layers: int) -> set[str]:
        """Addresses of the edited parts.

        Args:
            n_layers: layers of the backbone.
        """
        indices = layer_indices(self.layers, n_layers)
        return {f"layers.{i}.{kind}.{part}" for i in indices for kind, parts in self.parts().items() for part in parts}

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Put a module around each edited part.

        Args:
            sites: the backbone.
        """
        return Attachment(modules={place: self.edit(sublayer, part) for place, sublayer, part in self._each(sites)})

    @torch.no_grad()
    @override
    def merge(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Write the edits into the weights, in the weights' own precision.

        Args:
            sites: the backbone.
            modules: the edits by place.
        """
        for place, sublayer, part in self._each(sites):
            self.write(modules[place], sublayer.norm if part == "norm" else sublayer.projections[part])

    def _each(self, sites: Sites) -> Iterator[tuple[str, SubLayer, str]]:
        for index in layer_indices(self.layers, len(sites.layers)):
            for kind, parts in self.parts().items():
                sublayer = sites.layers[index][kind]
                for part in parts:
                    yield f"{sublayer.path}.{part}.{self.name}", sublayer, part
