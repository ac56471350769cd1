"""JSON as every reader takes it: numbers are numbers."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from astune.errors import DataError, shorten
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from astune.errors import AstuneError

LONGEST = 1 << 24
"""Letters of JSON that are read; a list of them takes 30 times as much memory, and our own files have thousands."""
DEEPEST = 64
"""Levels of lists and objects; Python goes through some hundreds by recursion, and our own files have eight."""
_DIGITS = 300  # more are infinite as a float
_TOO_DEEP = f"it is nested too deeply; {DEEPEST} levels are read"
_KINDS = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
_HALF = re.compile("[\ud800-\udfff]")
_HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def json_text(content: object, indent: int | None = None, *, escaped: bool = True) -> str:
    """Write content as JSON.

    Args:
        content: dictionaries, lists, text, numbers.
        indent: number of spaces per level; one line where None.
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
        location, value = next(_not_finite(content, ""), ("a number", "not finite"))
        raise DataError(f"{location} is {value}, which is not a number that JSON can hold") from fault


def json_value(
    text: str, of_pairs: Callable[[list[tuple[str, Any]]], Any] | None = None, *, strict: bool = True
) -> Any:  # noqa: ANN401 - what is in it
    """JSON from elsewhere, which is bounded: whoever takes it may go through it by recursion, multiply its numbers and print its text.

    Args:
        text: the text of a file.
        of_pairs: function that makes an object of its pairs; by default a dictionary, and then a repeated key is refused.
        strict: whether also its length is bounded, its numbers are finite, and its text is Unicode. Rows of tables, of which most
            columns are nobody's business, and records of file names, which may be any bytes, are read without.

    Returns:
        Its content.

    Raises:
        ValueError: it is not JSON, nested too deeply, or otherwise not as it is said above.
    """
    if strict and len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} letters, and {LONGEST:,} are read at most")
    hooks: dict[str, Any] = {"parse_float": _finite, "parse_int": _whole, "parse_constant": _refuse} if strict else {}
    try:
        value = json.loads(text, object_pairs_hook=of_pairs or (_unique if strict else None), **hooks)
    except RecursionError as fault:
        raise ValueError(_TOO_DEEP) from fault
    # Escapes alone make half characters: a file that is decoded as UTF-8 has none.
    if (strict and _HALF_ESCAPE.search(text)) or text.count("[") + text.count("{") > DEEPEST:
        _refuse_depth_and_halves(value, strict)
    return value


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file of someone else's, bounded as :func:`json_value` says, with or without the mark of Windows' editors.

    Args:
        path: the path of the file.

    Returns:
        Its content.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, is not UTF-8, or holds something else.
    """
    size = path.stat().st_size
    if size > LONGEST:
        raise ValueError(f"it has {size:,} bytes, and {LONGEST:,} are read at most")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ValueError(f"it is not UTF-8 text from byte {fault.start:,} on") from fault
    value = json_value(text)
    if not isinstance(value, dict):
        raise ValueError(f"it holds {_KINDS[type(value)]}, not an object")
    return value


def record_of(path: Path, what: str, error: type[AstuneError]) -> dict[str, Any]:
    """Read a JSON object as :func:`read_object` does, and raise an error for the user.

    Args:
        path: the path of the file.
        what: it should be, for the message.
        error: what to raise.

    Returns:
        Its content.

    Raises:
        AstuneError: the text cannot be read; of the class ``error``.
    """
    try:
        return read_object(path)
    except (OSError, ValueError) as fault:
        raise error(f"{path} cannot be read as {what}: {fault}") from fault


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shorten(text)} is larger than any number that is computed with")
    return number


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{shorten(text)} is larger than any number that is computed with")
    return int(text)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = {**found}
        twice = next(key for key, _ in pairs if left.pop(key, left) is left)
        raise ValueError(f"the key {shorten(twice)!r} occurs twice")
    return found


def _refuse_depth_and_halves(value: object, strict: bool) -> None:
    """Level by level, because what is deep cannot be gone through by recursion.

    Raises:
        ValueError: it is nested too deeply, or text holds half of a character.
    """
    level = [value]
    for depth in range(DEEPEST + 1):
        if strict:
            keys = [key for one in level if isinstance(one, dict) for key in one]
            half = next((text for text in (*level, *keys) if isinstance(text, str) and _HALF.search(text)), None)
            if half is not None:
                raise ValueError(f"'{shorten(printable(half))}' holds half of a character (a lone surrogate)")
        holders = [one for one in level if isinstance(one, dict | list | tuple)]
        if holders and depth == DEEPEST:
            raise ValueError(_TOO_DEEP)
        level = [part for one in holders for part in (one.values() if isinstance(one, dict) else one)]


def _not_finite(content: object, location: str) -> Iterator[tuple[str, object]]:
    """Locations of such numbers, as ``scores.test.loss``."""
    if isinstance(content, float) and not math.isfinite(content):
        yield location, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _not_finite(value, f"{location}.{key}".lstrip("."))
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _not_finite(value, f"{location}[{number}]")
