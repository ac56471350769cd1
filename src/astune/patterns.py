"""Regular expressions from settings and files: compiled without warnings, for searches that may have a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

LONGEST_PATTERN = 1_000  # letters
SECONDS = 1.0  # for one text, which takes microseconds unless repetitions multiply each other


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a regular expression that somebody else wrote.

    ``re`` warns of brackets in brackets, and searches for years where repetitions are nested. ``regex`` reads the same language, and its
    ``search`` and ``match`` have a ``timeout``.

    Args:
        pattern: the expression.

    Raises:
        ValueError: it is too long, or not a regular expression.
    """
    import regex  # a tenth of the time of `astune --help`, which has no use for it

    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"it has {len(pattern):,} letters, and a regular expression may have {LONGEST_PATTERN:,}")
    try:
        return regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as fault:
        raise ValueError(str(fault)) from fault
