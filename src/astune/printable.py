"""Text from outside, as it may be shown; everything else imports this file, and it imports nothing of ours."""

from __future__ import annotations

import re

UNPRINTABLE = "a control character, a mark of direction or bytes that are not UTF-8, shown here as an escape"
# Control characters but tab and newline (terminals obey them), marks that change the direction of what follows, line separators,
# and lone surrogates, which represent bytes that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object, *, lines: bool = False) -> str:
    r"""Text that comes from outside, as it may be shown: what a terminal would obey or cannot show becomes a backslash escape.

    Args:
        text: a name, a path, a message.
        lines: whether it may have several lines and tabs, as messages have; names have neither.

    Returns:
        ``"a\x1b[31m.wav"`` for a name with an escape sequence.
    """
    escaped = _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))
    return escaped if lines else escaped.replace("\n", "\\n").replace("\t", "\\t")
