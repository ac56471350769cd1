"""A model card's two parts: what the Hugging Face hub reads, as YAML in front, and Markdown."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from astune.printable import printable
from astune.yaml_text import yaml_value

_FRONT = re.compile(r"\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def front_of(card: str) -> dict[str, Any]:
    """Write the metadata at the top of a card.

    Args:
        card: Markdown.

    Returns:
        Values by key; empty if there is no front matter or it cannot be read.
    """
    try:
        return read_front(card)
    except ValueError:
        return {}


def read_front(card: str) -> dict[str, Any]:
    """Read the metadata at the top of a card that is to be kept.

    Args:
        card: Markdown.

    Returns:
        Values by key; empty if there is no front matter.

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


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2, which the hub reads, takes for a number, and text with letters that end a line in YAML 1.1."""

    def text(self, text: str) -> yaml.ScalarNode:
        """A text.

        Args:
            text: the text of the card.
        """
        whole = text.encode(errors="backslashreplace").decode()  # YAML has no half characters
        return self.represent_scalar("tag:yaml.org,2002:str", whole, '"' if printable(whole) != whole else None)


_NUMBER = re.compile(r"^(?:[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|0o[0-7]+|0x[0-9a-fA-F]+)$")
_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def with_front(front: dict[str, Any], body: str) -> str:
    """A card of its two parts.

    Args:
        front: values by key.
        body: Markdown.
    """
    written = yaml.dump(front, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    return f"---\n{written}---\n{body}"
