"""Dataclasses that were written as JSON, read back with every field of its type and within its bounds.

A file may have been cut, edited or made by somebody else. What reads it later (tables, pictures, training) relies on its fields, so a
wrong one is refused here, by its name.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from astune.errors import format_faults, shorten
from astune.json_text import json_value
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

RECORD = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""``__pydantic_config__`` of a dataclass that is read so."""

Count = Annotated[int, Field(ge=0, le=2**53)]
"""Number of clips, parameters or bytes; a float holds each of them exactly."""
Seconds = Annotated[float, Field(ge=0, le=1e12)]

_Record = TypeVar("_Record")
_adapter = cache(TypeAdapter)


def read_record(cls: type[_Record], text: str) -> _Record:
    """Read a record.

    Args:
        cls: a dataclass, whose ``__pydantic_config__`` is :data:`RECORD`.
        text: JSON, an object.

    Returns:
        The record.

    Raises:
        ValueError: it is not JSON, or a field is missing, unknown or wrong; with all faults.
    """
    json_value(text)  # bounded; pydantic's parser takes NaN, deep nesting and keys that are there twice
    try:
        record: _Record = _adapter(cls).validate_json(text)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [_sentence(detail) for detail in error.errors(include_url=False)]
        raise ValueError(faults[0] if len(faults) == 1 else format_faults(faults, "its fields are wrong")) from error
    return record


def _sentence(detail: ErrorDetails) -> str:
    where = shorten(printable(".".join(map(str, detail["loc"])))) or "it"
    match detail["type"]:
        case "missing":
            return f"{where} is missing"
        case "unexpected_keyword_argument":
            return f"astune {version('astune')} does not know {where}"
        case _:
            return f"{where}={shorten(printable(repr(detail['input'])))}: {detail['msg']}"


def number_in(holder: Mapping[str, Any], name: str, location: str, low: float = -1e300, high: float = 1e300) -> float:
    """A number of a part of a record whose keys the task or the layout decides.

    Args:
        holder: the part.
        name: the name of the number.
        location: where the part is in the record, for messages, as ``result.scores.test``.
        low: the least that it may be.
        high: the most.

    Returns:
        The number.

    Raises:
        ValueError: it is missing, is not a number, or is out of bounds.
    """
    if name not in holder:
        raise ValueError(f"{location}.{name} is missing")
    value = holder[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{location}.{name}={shorten(printable(repr(value)))}: give a number from {low:g} to {high:g}")
    return value
