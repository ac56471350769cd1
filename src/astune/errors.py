"""What can go wrong by the user's hand; every message names the value, the choices and the next step."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


class AstuneError(Exception):
    """Base of every error the user can mend; the command line prints it without a traceback and exits with 1."""


class ConfigError(AstuneError, ValueError):
    """A setting, or several, has a name or a value that cannot be used."""


class CheckpointError(ConfigError):
    """A checkpoint is damaged, or of a run with other settings."""


class NumericalError(ConfigError):
    """Training or scoring gave numbers that are not finite."""


class OutputError(AstuneError):
    """A folder or file of results cannot be written."""


class Interrupted(KeyboardInterrupt):
    """Stopped by the user's hand; says what was kept and how to go on."""


class BackboneError(AstuneError):
    """A backbone cannot be found, is not an Audio Spectrogram Transformer, or is not the one that was asked for."""


class DataError(AstuneError):
    """A data set is missing, incomplete, or not in the layout it was said to have."""


class AudioError(DataError):
    """One or more audio files cannot be read."""


class AdapterError(AstuneError):
    """An adapter folder cannot be read, or does not fit what it is used with."""


def unknown(kind: str, value: object, choices: Iterable[object]) -> str:
    """Sentence for a value outside of its choices, with the nearest choice when one is near.

    Args:
        kind: what the value names, such as ``"method"``.
        value: the value received.
        choices: the values accepted.

    Returns:
        ``unknown method 'lara'; choose one of: ..., lora; did you mean 'lora'?``
    """
    names = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {str(value)!r}; choose one of: {', '.join(names)}{hint}"


def listing(faults: list[str], headline: str) -> str:
    """One message for all faults of one thing: the headline, then a line a fault.

    Args:
        faults: the faults, at least one.
        headline: what they are faults of.

    Returns:
        One line for one fault, else a headline and a bulleted list.
    """
    if len(faults) == 1:
        return f"{headline}: {faults[0]}"
    return "\n".join([f"{headline}: {len(faults)} faults", *(f"  - {fault}" for fault in faults)])


def validation_faults(error: ValidationError, cls: type[BaseModel]) -> list[str]:
    """Sentences for what pydantic found wrong.

    Args:
        error: what validation raised.
        cls: the model validated.

    Returns:
        One sentence a fault, with the value, the choices and the nearest name.
    """
    return [_fault(detail, cls) for detail in error.errors()]


def _fault(detail: ErrorDetails, cls: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    value = detail["input"]
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] == "extra_forbidden":
        return unknown("field", where, cls.model_fields) if cls.model_fields else f"it has no fields, so no {where}"
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        return unknown(where, value, choices)
    message = detail["msg"].removeprefix("Value error, ")
    return f"{where}={value}: {message}" if where else message
