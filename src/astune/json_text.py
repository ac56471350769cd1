"""JSON as every reader takes it: numbers are numbers."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from astune.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def json_text(content: object, indent: int | None = None, *, escaped: bool = True) -> str:
    """Content as JSON.

    Args:
        content: dictionaries, lists, text, numbers.
        indent: spaces a level; one line where None.
        escaped: whether it is ASCII alone, so that it passes through any terminal and pipe.

    Returns:
        The text.

    Raises:
        DataError: a number is not finite; JSON has no word for it, and what others write instead is refused by most readers.
    """
    try:
        # The delete character is ASCII, and Python leaves it as it is.
        return json.dumps(content, indent=indent, ensure_ascii=escaped, allow_nan=False).replace("\x7f", "\\u007f")
    except ValueError as fault:
        place, value = next(_not_finite(content, ""), ("a number", "not finite"))
        raise DataError(f"{place} is {value}, which is no number that JSON can hold") from fault


def json_value(text: str, of_pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:  # noqa: ANN401 - what is in it
    """JSON from elsewhere.

    Args:
        text: of a file.
        of_pairs: makes objects of their pairs; dictionaries where None.

    Returns:
        Its content.

    Raises:
        ValueError: it is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text, object_pairs_hook=of_pairs)
    except RecursionError as fault:
        raise ValueError("it is nested too deeply") from fault


def _not_finite(content: object, place: str) -> Iterator[tuple[str, object]]:
    """Places of such numbers, as ``scores.test.loss``."""
    if isinstance(content, float) and not math.isfinite(content):
        yield place, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _not_finite(value, f"{place}.{key}".lstrip("."))
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _not_finite(value, f"{place}[{number}]")
