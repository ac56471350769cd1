"""Prompt tuning: learned tokens in front of the patches (Jia et al., 2022; paper, section II-B).

Shallow (SPT): at the first layer, carried along by the others. Deep (DPT): fresh prompts replace the former ones before every layer.
Prompts are between [CLS] and the patches, and replace the distillation token. They enter the mean that is classified.

``layers`` of DPT names the layers that get fresh prompts. Any other layer carries along what the former prompts have become, as all layers
after the first do in SPT; before the first prompts there is the distillation token. So a sum may give layers different numbers of prompts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.base import Attachment, Method
from astune.methods.layers import Layers, layer_indices
from astune.methods.registry import register
from astune.methods.size import MOST_TOKENS, SizeField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites

_DISTILLATION = 1  # its position


def uniform_tokens(number: int, width: int, patch_size: int = 16) -> nn.Parameter:
    """Tokens drawn uniformly within sqrt(6 / (3 patch_size^2 + d)), the start of prompts and prefixes.

    Args:
        number: of tokens.
        width: d.
        patch_size: side of a patch.

    Returns:
        (number, width).
    """
    bound = math.sqrt(6 / (3 * patch_size**2 + width))
    return nn.Parameter(torch.empty(number, width).uniform_(-bound, bound))


class Prompts(nn.Module):
    """p tokens in front of the patches: (batch, N, d) to the same with them.

    Args:
        number: p.
        width: d.
        taken: how many tokens after [CLS] they replace: the distillation token, or former prompts.
    """

    def __init__(self, number: int, width: int, taken: int) -> None:
        super().__init__()
        self.tokens = uniform_tokens(number, width)
        self.taken = taken

    @override
    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1 + taken + patches, d) to (batch, 1 + p + patches, d)."""
        prompts = self.tokens.to(x.dtype).expand(x.shape[0], -1, -1)  # len(x) would be a constant of a traced graph
        return torch.cat([x[:, :1], prompts, x[:, 1 + self.taken :]], dim=1)


class PromptTuning(Method):
    """What both depths share."""

    learning_rate: ClassVar[float] = 1e-2
    size_field: ClassVar[SizeField | None] = SizeField("tokens", lambda step, _: step, last=lambda _: MOST_TOKENS)
    keeps_distillation: ClassVar[bool] = False

    if (
        TYPE_CHECKING
    ):  # a field of every subclass, declared there: specs and the names of runs go by the order of fields
        tokens: int

    def prompted(self, n_layers: int) -> list[int]:
        """Indices of the layers that get prompts.

        Args:
            n_layers: layers of the backbone.
        """
        raise NotImplementedError

    @property
    @override
    def identity_at_start(self) -> bool:
        """Tokens are added and one is dropped."""
        return False

    @override
    def places(self, n_layers: int) -> set[str]:
        """One a layer that gets prompts."""
        return {_place(index) for index in self.prompted(n_layers)}

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Put prompts in front of layers.

        Args:
            sites: the backbone.
        """
        attachment = Attachment()
        for index in self.prompted(len(sites.layers)):
            prompts = Prompts(self.tokens, sites.width, _DISTILLATION)
            sites.before_layer(index, prompts)
            attachment.modules[_place(index)] = prompts
        self.join(sites, attachment.modules)
        return attachment

    @override
    def join(self, sites: Sites, modules: Mapping[str, nn.Module]) -> None:
        """Tell all prompts how many tokens they replace: those of the nearest layer before that has prompts, of whichever member.

        Args:
            sites: the backbone.
            modules: of all members.
        """
        taken = _DISTILLATION
        for index in range(len(sites.layers)):
            prompts = modules.get(_place(index))
            if isinstance(prompts, Prompts):
                prompts.taken, taken = taken, len(prompts.tokens)


def _place(index: int) -> str:
    """Address of the prompts of a layer."""
    return f"layers.{index}.prompts"


@register("spt")
class ShallowPromptTuning(PromptTuning):
    """Prompts at the first layer."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"spt-300": {"tokens": 300}}

    tokens: int = Field(300, ge=1, le=MOST_TOKENS, description="prompts in front of the first layer")

    @override
    def prompted(self, n_layers: int) -> list[int]:
        """The first layer.

        Args:
            n_layers: layers of the backbone.
        """
        return [0]


@register("dpt")
class DeepPromptTuning(PromptTuning):
    """Prompts at every layer."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"dpt-25": {"tokens": 25}}
    examples: ClassVar[tuple[str, ...]] = (
        "bottleneck:sublayer=ffn+dpt:tokens=25",
        "bottleneck:sublayer=ffn+dpt:tokens=14+lora:reduction_rate=256",
        "dpt:tokens=3,layers=1|3",
        "dpt:tokens=4,layers=2-3+dpt:tokens=2,layers=0",
    )

    tokens: int = Field(25, ge=1, le=MOST_TOKENS, description="prompts in front of each layer")
    layers: Layers = Field("all", description="layers that get fresh prompts, from 0, such as 0-2|9")

    @override
    def prompted(self, n_layers: int) -> list[int]:
        """The chosen layers.

        Args:
            n_layers: layers of the backbone.
        """
        return layer_indices(self.layers, n_layers)
