"""The contract of a method, and sums of methods.

A method is a frozen configuration (a field = a quantity of the paper) that knows how to attach itself to a backbone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict
from pydantic_core import PydanticUndefined
from torch import nn
from typing_extensions import override

from astune.errors import AdapterError, ConfigError
from astune.methods.size import SizeField
from astune.plurals import enumerated
from astune.validated import Validated, strict_constructor

if TYPE_CHECKING:
    from astune.backbone import Sites

Init = Literal["identity", "normal", "published"]
"""Start of what a method adds. ``identity`` begins as the frozen model. ``normal`` draws every matrix and convolution from N(0, 0.02).
``published`` is what the published code does: its loading redraws linear layers from N(0, 0.02) and leaves convolutions alone."""

NORMAL_STD = 0.02
NOMINAL_LAYERS = 12  # of AST-base, over which a sum is checked before any backbone is known


@strict_constructor
@dataclass
class Attachment:
    """What a method added to a backbone."""

    modules: dict[str, nn.Module] = field(default_factory=dict)
    """New modules by their address, such as ``layers.0.ffn.adapter``; their tensors go into the adapter file under these names."""
    backbone_parameters: set[str] = field(default_factory=set)
    """Names of the backbone's own parameters that it trains, beside the final LayerNorm."""

    def tree(self) -> nn.Module:
        """The new modules as one tree, so that parameters are named by their address."""
        root = nn.Module()
        for path, module in self.modules.items():
            node = root
            *parents, last = path.split(".")
            for name in parents:
                if name not in dict(node.named_children()):
                    node.add_module(name, nn.Module())
                node = node.get_submodule(name)
            node.add_module(last, module)
        return root


class Method(Validated):
    """Base of all methods. Subclasses add fields, :meth:`places` and :meth:`attach`."""

    model_config = ConfigDict(validate_default=True)

    family: ClassVar[str] = ""
    """Name in spec strings."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named settings: the rows of the paper's Table I."""
    examples: ClassVar[tuple[str, ...]] = ()
    """Further specs that the conformance suite runs: the paper's ablations."""
    learning_rate: ClassVar[float] = 5e-3
    """The paper's initial learning rate."""
    alone: ClassVar[str | None] = None
    """Why it cannot be part of a sum, if it cannot."""
    final_norm: ClassVar[tuple[str, ...]] = ("weight", "bias")
    """What of the final LayerNorm it trains."""
    adds_keys: ClassVar[bool] = False
    """Whether it adds keys that the key bias does not reach, so that softmax cancels that bias no longer."""
    keeps_distillation: ClassVar[bool] = True
    """Whether the distillation token follows [CLS] in the output."""
    needs_all_patches: ClassVar[bool] = False
    """Whether it looks at neighbouring patches, so that none may be dropped."""
    counts_head: ClassVar[bool] = False
    """Whether the parameter count includes head and final LayerNorm (the paper: linear probing alone)."""
    on_frozen_layers: ClassVar[bool] = False
    """Whether it trains nothing before the pooled output of the frozen layers, so that a convex fit can take the place of epochs."""
    augmented: ClassVar[bool] = True
    """Whether the data set's SpecAugment belongs to its recipe."""
    size_field: ClassVar[SizeField | None] = None
    """The field that says how much it adds, which ``astune plan`` searches; None where its size is fixed."""

    @classmethod
    @override
    def _headline(cls) -> str:
        return f"method {cls.family!r}" if cls.family else cls.__name__

    @property
    def identity_at_start(self) -> bool:
        """Whether the model computes what the frozen one does before the first step."""
        return True

    @property
    def mergeable(self) -> bool:
        """Whether :meth:`merge` can fold what was added into the backbone's weights."""
        return False

    def zero_gradient(self, name: str) -> bool:
        """Whether a parameter's gradient is zero by mathematics.

        Args:
            name: our name of a trained parameter.
        """
        del name
        return False

    def rate_factor(self, name: str, n_layers: int) -> float:
        """By how much the learning rate of a parameter differs from the run's.

        Args:
            name: our name of a trained parameter, which another member of a sum may have added.
            n_layers: layers of the backbone.
        """
        del name, n_layers
        return 1.0

    def decays(self, name: str) -> bool:
        """Whether weight decay, which pulls numbers to 0, pulls a parameter to the frozen model, or to its own start.

        Args:
            name: our name of a trained parameter.

        Returns:
            False for factors and lengths, which leave the model as it is at another value than 0: they are trained without decay.
        """
        del name
        return True

    def rewrites(self, n_layers: int) -> set[str]:
        """Addresses of the projections whose whole output it replaces, so that no other method of a sum may add to them.

        Args:
            n_layers: layers of the backbone.
        """
        del n_layers
        return set()

    def places(self, n_layers: int) -> set[str]:
        """Places of the modules it adds; two methods of a sum may not share one.

        Args:
            n_layers: layers of the backbone.
        """
        del n_layers
        return set()

    def attach(self, sites: Sites) -> Attachment:
        """Add the method to a backbone whose weights are loaded.

        Args:
            sites: the backbone in the paper's words.
        """
        raise NotImplementedError

    def join(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Settle what depends on the other members of a sum, once all of them are attached.

        Args:
            sites: the backbone.
            modules: what all members added, by place.
        """
        del sites, modules

    def merge(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Fold what was added into the backbone's weights, in place.

        Args:
            sites: the backbone.
            modules: what :meth:`attach` added, by place.

        Raises:
            AdapterError: it cannot be folded into the weights.
        """
        del sites, modules
        if not self.mergeable:
            raise AdapterError(f"{self.spec} cannot be merged: it does not change the backbone's weights")

    @property
    def members(self) -> tuple[Method, ...]:
        """The methods of a sum. A method that is not a sum is its only member."""
        return (self,)

    @property
    def spec(self) -> str:
        """The spec string that gives this method back, with the fields that differ from their defaults."""
        changed = [
            f"{name}={_text(getattr(self, name))}"
            for name, info in type(self).model_fields.items()
            if getattr(self, name) != (None if info.default is PydanticUndefined else info.default)
        ]
        return f"{self.family}:{','.join(changed)}" if changed else self.family

    @override
    def __str__(self) -> str:
        return self.spec


def _text(value: object) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else repr(value).removesuffix(".0")
        if isinstance(value, float)
        else str(value)
    )


class Sum(Method):
    """Several methods on one backbone (paper, Appendix B)."""

    parts: tuple[Method, ...]

    @property
    @override
    def members(self) -> tuple[Method, ...]:
        """The methods it adds up."""
        return self.parts

    @property
    @override
    def identity_at_start(self) -> bool:
        """Whether every member starts as the frozen model."""
        return all(part.identity_at_start for part in self.parts)

    @property
    @override
    def mergeable(self) -> bool:
        """Whether every member can be merged."""
        return all(part.mergeable for part in self.parts)

    @override
    def zero_gradient(self, name: str) -> bool:
        """Whether a member says so, and no member adds keys."""
        return any(part.zero_gradient(name) for part in self.parts) and not any(part.adds_keys for part in self.parts)

    @override
    def rate_factor(self, name: str, n_layers: int) -> float:
        """The product of the members' factors, of which at most one is not 1: that of the member who added the parameter."""
        return math.prod(part.rate_factor(name, n_layers) for part in self.parts)

    @override
    def decays(self, name: str) -> bool:
        """Whether no member says otherwise."""
        return all(part.decays(name) for part in self.parts)

    @override
    def rewrites(self, n_layers: int) -> set[str]:
        """Those of all members."""
        return set().union(*(part.rewrites(n_layers) for part in self.parts))

    @override
    def places(self, n_layers: int) -> set[str]:
        """The places of all members."""
        return set().union(*(part.places(n_layers) for part in self.parts))

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Attach the members, in the order written.

        Args:
            sites: the backbone.

        Raises:
            ConfigError: two members take the same place.
        """
        whole = Attachment()
        for part in self.parts:
            attached = part.attach(sites)
            shared = sorted(whole.modules.keys() & attached.modules.keys())
            if shared:
                raise ConfigError(f"{self.spec}: two of its methods take the same place ({shared[0]})")
            whole.modules |= attached.modules
            whole.backbone_parameters |= attached.backbone_parameters
        self.join(sites, whole.modules)
        return whole

    @override
    def join(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Let every member settle it.

        Args:
            sites: the backbone.
            modules: what all members added, by place.
        """
        for part in self.parts:
            part.join(sites, modules)

    @override
    def merge(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Merge every member.

        Args:
            sites: the backbone.
            modules: what was added, by place.

        Raises:
            AdapterError: a member cannot be merged; then none has been.
        """
        fixed = [part.spec for part in self.parts if not part.mergeable]
        if fixed:
            raise AdapterError(f"{self.spec} cannot be merged: {enumerated(fixed)} changes no weight of the backbone")
        for part in self.parts:
            own = part.places(len(sites.layers))
            part.merge(sites, {place: module for place, module in modules.items() if place in own})

    @property
    @override
    def spec(self) -> str:
        """The members' specs, joined by ``+``."""
        return "+".join(part.spec for part in self.parts)


def trained_final_norm(method: Method) -> set[str]:
    """What of the final LayerNorm a method, or any member of a sum, trains.

    Args:
        method: a method.

    Returns:
        A subset of ``weight`` and ``bias``.
    """
    return {name for member in method.members for name in member.final_norm}


def default_learning_rate(method: Method) -> float:
    """The paper's rate; of a sum the smallest, since a rate too high loses more than one too low.

    Args:
        method: a method.

    Returns:
        Initial learning rate.
    """
    return min(member.learning_rate for member in method.members)


def initialise(module: nn.Module, init: Init, up: Iterable[str]) -> None:
    """Give what a method adds its first values, in place.

    Args:
        module: matrices and convolutions under their names. Weights start Kaiming-uniform (torch's own), and biases at zero.
        init: ``identity`` sets the layers named in ``up`` to zero. ``normal`` draws every weight from N(0, 0.02). ``published`` does so
            for linear layers; convolutions keep torch's own start, random biases included.
        up: names of the layers whose output ends in the backbone.
    """
    last = set(up)
    for name, layer in module.named_modules():
        if not isinstance(layer, (nn.Linear, nn.Conv1d)):
            continue
        if init == "published" and isinstance(layer, nn.Conv1d):
            continue
        if init != "identity":
            nn.init.normal_(layer.weight, std=NORMAL_STD)
        elif name in last:
            nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def cancelled_by_softmax(name: str) -> bool:
    """Whether a parameter adds the same to every score of a query, so that softmax cancels it and its gradient is zero.

    Args:
        name: our name of a parameter of the backbone.

    Returns:
        True for the key biases.
    """
    return name.endswith(".mhsa.k.bias")
