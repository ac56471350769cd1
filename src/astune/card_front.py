"""A model card's two parts: what the Hugging Face hub reads, as YAML in front, and Markdown."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from astune.yaml_text import yaml_value

_FRONT = re.compile(r"\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def front_of(card: str) -> dict[str, Any]:
    """What stands in front of a card.

    Args:
        card: Markdown.

    Returns:
        Values by key; empty where there is no front or none that can be read.
    """
    try:
        return read_front(card)
    except ValueError:
        return {}


def read_front(card: str) -> dict[str, Any]:
    """What stands in front of a card that is to be kept.

    Args:
        card: Markdown.

    Returns:
        Values by key; empty where there is no front.

    Raises:
        ValueError: it cannot be read, with its line in the card.
    """
    found = _FRONT.match(card)
    # as many empty lines in front as the card has lines there, so that places are the card's
    front = yaml_value("\n" * card[: found.start(1)].count("\n") + found[1]) if found else None
    return front if isinstance(front, dict) else {}


def body_of(card: str) -> str:
    """What people read of a card.

    Args:
        card: Markdown.
    """
    found = _FRONT.match(card)
    return card[found.end() :] if found else card


def with_front(front: dict[str, Any], body: str) -> str:
    """A card of its two parts.

    Args:
        front: values by key.
        body: Markdown.
    """
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=math.inf)}---\n{body}"
