"""A model card's two parts: what the Hugging Face hub reads, as YAML in front, and Markdown."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

_FRONT = re.compile(r"\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def front_of(card: str) -> dict[str, Any]:
    """What stands in front of a card.

    Args:
        card: Markdown.

    Returns:
        Values by key; empty where there is no front or none that can be read.
    """
    found = _FRONT.match(card)
    try:
        front = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return {}
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
