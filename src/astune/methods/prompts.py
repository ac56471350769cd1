"""Prompt tuning: learned tokens in front of the patches (Jia et al., 2022; paper, section II-B).

Shallow (SPT): at the first layer, carried along by the others. Deep (DPT): fresh prompts replace the former ones before every layer.
Prompts are between [CLS] and the patches, and replace the distillation token. They enter the mean that is classified.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from astune.methods.base import Attachment, Method
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
    depth: ClassVar[int | None] = None

    tokens: int = Field(25, ge=1, le=MOST_TOKENS, description="prompts in front of each layer")

    @property
    @override
    def identity_at_start(self) -> bool:
        """Tokens are added and one is dropped."""
        return False

    @override
    def places(self, n_layers: int) -> set[str]:
        """One a layer that gets prompts."""
        return {f"layers.{index}.prompts" for index in range(self.depth or n_layers)}

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Put prompts in front of layers.

        Args:
            sites: the backbone.
        """
        attachment = Attachment()
        for index in range(self.depth or len(sites.layers)):
            prompts = Prompts(self.tokens, sites.width, self.tokens if index else _DISTILLATION)
            sites.before_layer(index, prompts)
            attachment.modules[f"layers.{index}.prompts"] = prompts
        return attachment


@register("spt")
class ShallowPromptTuning(PromptTuning):
    """Prompts at the first layer."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"spt-300": {"tokens": 300}}
    depth: ClassVar[int | None] = 1

    tokens: int = Field(300, ge=1, le=MOST_TOKENS, description="prompts in front of the first layer")


@register("dpt")
class DeepPromptTuning(PromptTuning):
    """Prompts at every layer."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"dpt-25": {"tokens": 25}}
    examples: ClassVar[tuple[str, ...]] = (
        "bottleneck:sublayer=ffn+dpt:tokens=25",
        "bottleneck:sublayer=ffn+dpt:tokens=14+lora:reduction_rate=256",
    )
