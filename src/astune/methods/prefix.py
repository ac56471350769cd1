"""Prefix tuning: learned keys and values in every layer's attention (Li and Liang, 2021; paper, section II-B).

Half of the tokens go to the keys and half to the values, after the projections, after position 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import nn
from typing_extensions import override

from astune.methods.base import Attachment, Method
from astune.methods.prompts import uniform_tokens
from astune.methods.registry import register
from astune.methods.size import MOST_TOKENS, SizeField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites


class KeysAndValues(nn.Module):
    """The prefix of one layer.

    Args:
        number: tokens of each.
        width: d.
    """

    def __init__(self, number: int, width: int) -> None:
        super().__init__()
        self.keys = uniform_tokens(number, width)
        self.values = uniform_tokens(number, width)


@register("prefix")
class PrefixTuning(Method):
    """Keys and values that come from no token."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"pref-t-24": {"tokens": 24}}
    examples: ClassVar[tuple[str, ...]] = ("prefix:tokens=4+lora", "prefix:tokens=4+bitfit")
    learning_rate: ClassVar[float] = 1e-2
    adds_keys: ClassVar[bool] = True
    size_field: ClassVar[SizeField | None] = SizeField(
        "tokens", lambda step, _: 2 * step, last=lambda _: MOST_TOKENS // 2
    )

    tokens: int = Field(
        24,
        ge=2,
        le=MOST_TOKENS,
        multiple_of=2,
        description="learned tokens per layer, half for the keys and half for the values",
    )

    @property
    @override
    def identity_at_start(self) -> bool:
        """Never: attention is shared with new keys."""
        return False

    @override
    def places(self, n_layers: int) -> set[str]:
        """One place for each layer."""
        return {f"layers.{index}.mhsa.prefix" for index in range(n_layers)}

    @override
    def attach(self, sites: Sites) -> Attachment:
        """Add keys and values to every layer.

        Args:
            sites: the backbone.
        """
        attachment = Attachment()
        for layer in sites.layers:
            prefix = KeysAndValues(self.tokens // 2, sites.width)
            layer["mhsa"].prepend(prefix)
            attachment.modules[f"{layer['mhsa'].path}.prefix"] = prefix
        return attachment
