"""Layers of a backbone as text: what the field ``layers`` of a method holds, such as ``0-2|9``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from astune.errors import ConfigError, shorten

if TYPE_CHECKING:
    from collections.abc import Collection

# Digits of other scripts are digits to Python too. No backbone has 10,000 layers.
_SPANS = re.compile(r"[0-9]{1,4}(-[0-9]{1,4})?(\|[0-9]{1,4}(-[0-9]{1,4})?)*")


def _layer_indices(value: str) -> str:
    if value != "all" and not _SPANS.fullmatch(value):
        raise ValueError("use 'all', or 0-based indices and ranges joined by '|', such as 0-2|9")
    return value


Layers = Annotated[str, AfterValidator(_layer_indices)]
"""Which layers a method adapts: ``all``, or 0-based indices and ranges, such as ``0-2|9``."""


def layer_indices(layers: str, n_layers: int) -> list[int]:
    """Indices named by a ``layers`` value.

    Args:
        layers: ``all``, or indices and ranges joined by ``|``.
        n_layers: layers of the backbone.

    Returns:
        Sorted, without repetition.

    Raises:
        ConfigError: an index beyond the last layer, or an empty range.
    """
    if layers == "all":
        return list(range(n_layers))
    chosen: set[int] = set()
    for part in layers.split("|"):
        first, _, last = part.partition("-")
        if int(last or first) >= n_layers:  # before there is a list of them
            raise ConfigError(f"layers={shorten(layers)}: the backbone has {n_layers} layers, 0 to {n_layers - 1}")
        span = range(int(first), int(last or first) + 1)
        if not span:
            raise ConfigError(f"layers={layers}: the range {part} is empty; write it as {last}-{first}")
        chosen.update(span)
    return sorted(chosen)


def layers_text(indices: Collection[int], n_layers: int) -> str:
    """The inverse of :func:`layer_indices`.

    Args:
        indices: of layers, at least one.
        n_layers: layers of the backbone.

    Returns:
        ``all``, or indices and ranges joined by ``|``.
    """
    if len(set(indices)) == n_layers:
        return "all"
    spans: list[list[int]] = []
    for index in sorted(set(indices)):
        if spans and index == spans[-1][-1] + 1:
            spans[-1].append(index)
        else:
            spans.append([index])
    return "|".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)
