"""Names from outside in Markdown: as they are, whatever Markdown and HTML would make of them."""

from __future__ import annotations

import re

from astune.printable import printable

# An underscore inside a word is one, and brackets are where no link follows. Addresses become links where they have a colon and two
# slashes, or begin with www; number signs after a space end a heading.
_ACTIVE = re.compile(
    r"[\\`*|<>$~]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|:(?=//)|(?<=\bwww)\.|(?<= )#(?=#*\s*$)",
    re.IGNORECASE,
)
_IN_LINK = re.compile(rf"{_ACTIVE.pattern}|[\[\]]", re.IGNORECASE)
_BEGINS = re.compile(r"^(?:[-+#=\[]|\d+(?=[.)]))")  # lists, headings, underlines, boxes to tick
_OUTER_SPACE = re.compile(r"^ | $")  # four are a block of code, and others vanish


def text(name: object) -> str:
    r"""A name in a line or in a cell of a table.

    Args:
        name: whatever it holds.

    Returns:
        ``a\|b`` for ``a|b``.
    """
    escaped = _ACTIVE.sub(_escape, printable(name))
    escaped = _BEGINS.sub(lambda match: f"{match[0]}\\" if match[0].isdecimal() else _escape(match), escaped)
    return _OUTER_SPACE.sub("&#32;", escaped)


def link_text(name: object) -> str:
    """A name between the brackets of a link or an image.

    Args:
        name: whatever it holds.
    """
    return _IN_LINK.sub(_escape, printable(name))


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def code(name: object, *, in_table: bool = False) -> str:
    """Write a name as code, between as many backticks as it needs.

    Args:
        name: whatever it holds.
        in_table: whether the text is in a cell, which a bar would end.

    Returns:
        The span; nothing for an empty name, because Markdown has no empty span.
    """
    inside = printable(name)
    if not inside:
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", inside)), default=0))
    # Markdown takes a space off both ends where both have one.
    both = inside.startswith(" ") and inside.endswith(" ") and not inside.isspace()
    room = " " if inside.startswith("`") or inside.endswith("`") or both else ""
    span = f"{fence}{room}{inside}{room}{fence}"
    return span.replace("|", "\\|") if in_table else span
