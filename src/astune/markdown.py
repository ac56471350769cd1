"""Names from outside in Markdown: as they are, whatever Markdown and HTML would make of them."""

from __future__ import annotations

import re

from astune.printable import printable

# An underscore inside a word is one, and brackets are where no link follows.
_ACTIVE = re.compile(r"[\\`*|<>$~]|&(?=[#\w]+;)|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
_IN_LINK = re.compile(rf"{_ACTIVE.pattern}|[\[\]]")
_BEGINS = re.compile(r"^(?:[-+#=\[]|\d+(?=[.)]))")  # lists, headings, underlines, boxes to tick


def text(name: object) -> str:
    r"""A name in a line or in a cell of a table.

    Args:
        name: whatever it holds.

    Returns:
        ``a\|b`` for ``a|b``.
    """
    escaped = _ACTIVE.sub(_escape, printable(name))
    return _BEGINS.sub(lambda match: f"{match[0]}\\" if match[0].isdecimal() else _escape(match), escaped)


def link_text(name: object) -> str:
    """A name between the brackets of a link or an image.

    Args:
        name: whatever it holds.
    """
    return _IN_LINK.sub(_escape, printable(name))


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def code(name: object, *, in_table: bool = False) -> str:
    """A name as code, between as many backticks as it needs.

    Args:
        name: whatever it holds.
        in_table: whether it is in a cell, where a bar would end it.

    Returns:
        The span.
    """
    inside = printable(name)
    fence = "`" * (1 + max(map(len, re.findall("`+", inside)), default=0))
    room = " " if inside.startswith("`") or inside.endswith("`") else ""
    span = f"{fence}{room}{inside}{room}{fence}"
    return span.replace("|", "\\|") if in_table else span
