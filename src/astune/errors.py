"""Errors that a user can cause and fix; every message names the value, the choices and the next step."""

from __future__ import annotations

import difflib
import errno
import os
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


_LONGEST_MESSAGE = 10_000  # letters; what is quoted in a message may come from a file of any size


class AstuneError(Exception):
    """Base of every error the user can fix; the command line prints it without a traceback and exits with 1."""

    @override
    def __str__(self) -> str:
        text = super().__str__()
        left_out = len(text) - _LONGEST_MESSAGE
        if left_out <= 0:
            return text
        half = _LONGEST_MESSAGE // 2
        return f"{text[:half]} [... {left_out:,} letters left out ...] {text[-half:]}"


class ConfigError(AstuneError, ValueError):
    """A setting, or several, has a name or a value that cannot be used."""


class CheckpointError(ConfigError):
    """A checkpoint is damaged, or of a run with other settings."""


class NumericalError(ConfigError):
    """Training or scoring gave numbers that are not finite."""


class AudioWarning(UserWarning):
    """A recording that was used is suspicious: silent, cut short, far too loud, or channels that cancel out."""


class OutputError(AstuneError):
    """A folder or file of results cannot be written."""

    def __init__(self, message: str, refused: str | None = None, number: int | None = None) -> None:
        super().__init__(message)
        self.refused = refused
        """What cannot be written and why, without a next step; None where it was not the system that refused."""
        self.number = number
        """The system's reason, as :mod:`errno` has it."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; the message says what was kept and how to continue."""


class BackboneError(AstuneError):
    """A backbone cannot be found, is not an Audio Spectrogram Transformer, or is not the one that was asked for."""


class DataError(AstuneError):
    """A data set is missing, incomplete, or not in the layout it was said to have."""


class AudioError(DataError):
    """One or more audio files cannot be read."""


class AdapterError(AstuneError):
    """An adapter folder cannot be read, or does not fit what it is used with."""


class HubError(AstuneError):
    """Something cannot be shared on the Hugging Face hub, or the hub refuses it."""


@contextmanager
def interruptible(kept: Callable[[], str]) -> Iterator[None]:
    """Say what was kept where the user stops what is done in a block.

    Args:
        kept: says it, and how to go on.

    Raises:
        Interrupted: the user interrupted the program.
    """
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted; {kept()}") from stop


_HIDDEN = re.compile(
    r"(?<![^/\\])\.([^/\\]+)\.(?:partial|removed)(?![^/\\])"
)  # names of what gets its own when it is whole
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The system's reasons where a disk is full."""
_WAYS_OUT = {
    **dict.fromkeys(NO_ROOM, "free some disk, then start again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "let this user write there, or give another place"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n), then start again"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "see that its folder is there, then start again"),
    errno.EROFS: "give a place on another disk",
    errno.ENAMETOOLONG: "give a shorter name",
}


@contextmanager
def explain_write_errors(path: object, way_out: str | None = None, wanted: int | None = None) -> Iterator[None]:
    """Turn what the system refuses during writing into an :class:`OutputError`.

    Blocks may be nested. The inner one knows the file, so it says what was refused; the outer one knows the next step.

    Args:
        path: what is written, where the system names no file.
        way_out: what the user can do; by default what the system's reason suggests.
        wanted: number of bytes to be written.

    Raises:
        OutputError: the system refused.
    """
    try:
        yield
    except OutputError as inner:
        if inner.refused is None or way_out is None:
            raise
        raise OutputError(f"{inner.refused}; {way_out}", inner.refused, inner.number) from inner.__cause__
    except OSError as fault:
        refused = refusal(fault, path, wanted)
        next_step = way_out or _WAYS_OUT.get(fault.errno or 0, "check its disk, then start again")
        raise OutputError(f"{refused}; {next_step}", refused, fault.errno) from fault


def refusal(fault: OSError, path: object, wanted: int | None = None, verb: str = "written") -> str:
    """What the system refused, and how full the disk is where it is full.

    Args:
        fault: the system's.
        path: the path of what was refused, where the system names no file.
        wanted: number of bytes to be written.
        verb: what cannot be done.

    Returns:
        ``model.npz cannot be written: No space left on device (0.3 MB of its disk are free, and 1.2 MB are wanted)``
    """
    name = os.fsdecode(fault.filename) if isinstance(fault.filename, str | bytes) else str(path)
    name = _HIDDEN.sub(r"\1", name)
    text = f"{printable(name)} cannot be {verb}: {fault.strerror or fault}"
    free = _free(Path(name)) if fault.errno in NO_ROOM else None
    if free is None:
        return text
    more = "" if wanted is None else f", and {wanted / 1e6:,.1f} MB are wanted"
    return f"{text} ({free / 1e6:,.1f} MB of its disk are free{more})"


def _free(path: Path) -> int | None:
    """Free bytes of the disk of a file that need not be there; None where the system does not say."""
    with suppress(OSError, ValueError):
        return shutil.disk_usage(next(one for one in (path, *path.absolute().parents) if one.exists())).free
    return None


_SHOWN = 20  # faults of a list; more would scroll the first ones away
_CHOICES = 40  # names of a list of choices: all settings and all methods, not all labels of a large task
_COMPARED = 500  # names that are compared letter by letter with one that is unknown: milliseconds
_LONGEST = 200  # letters of a value that are repeated in a message


def unknown_choice(kind: str, value: object, choices: Iterable[object]) -> str:
    """Write the message for a value outside of its choices, with the nearest choice if there is one.

    Args:
        kind: what the value names, such as ``"method"``.
        value: the value received.
        choices: the values accepted; of very many, the first ones are listed.

    Returns:
        ``unknown method 'lara'; choose one of: ..., lora; did you mean 'lora'?``
    """
    names = [str(choice) for choice in choices]
    more = f" and {len(names) - _CHOICES:,} more" if len(names) > _CHOICES else ""
    near = _nearest(str(value), names)
    shown = names[:_CHOICES]
    if any(", " in name for name in shown):
        shown = list(map(repr, shown))
    hint = f"; did you mean {near!r}?" if near else ""
    return f"unknown {kind} {shorten(repr(str(value)))}; choose one of: {', '.join(shown)}{more}{hint}"


def unknown_choices(kind: str, values: Iterable[object], choices: Iterable[object]) -> list[str]:
    """Write a message for each value of a list that is outside of its choices.

    Args:
        kind: what each value names, such as ``"label"``.
        values: the values received.
        choices: the values accepted.

    Returns:
        As :func:`unknown_choice` for the first ones. :func:`format_faults` counts the later ones and does not show them, so they are
        not compared with the choices, which takes a millisecond each.
    """
    names = dict.fromkeys(str(choice) for choice in choices)
    outside = [value for value in values if str(value) not in names]
    return [unknown_choice(kind, value, names) for value in outside[:_SHOWN]] + [
        str(value) for value in outside[_SHOWN:]
    ]


def _nearest(value: str, names: list[str]) -> str | None:
    """The name most like a value, if one is like it; of very many names, those alike in length and beginning are compared."""
    if len(value) > _LONGEST:
        return None
    if len(names) > _COMPARED:
        begins = value[:2].casefold()
        names = [name for name in names if abs(len(name) - len(value)) <= 2 and name[:2].casefold() == begins]
    return next(iter(difflib.get_close_matches(value, names[:_COMPARED], n=1)), None)


def shorten(text: str) -> str:
    """Shorten a text to what a message can repeat.

    Args:
        text: text from another program or a file.
    """
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def format_faults(faults: Sequence[str], headline: str) -> str:
    """Write one message for all faults: the headline, then one line per fault, as far as they can be read.

    Args:
        faults: the faults, at least one.
        headline: what they are faults of.

    Returns:
        One line for one fault, else a headline with their number and a bulleted list.
    """
    return format_list(faults, headline if len(faults) == 1 else f"{headline}: {len(faults)} faults")


def format_list(lines: Sequence[str], headline: str) -> str:
    """A headline that says all, and what it is about, as far as it can be read.

    Args:
        lines: at least one.
        headline: what they are, with their number.

    Returns:
        Both in one line for one, else the headline and a bulleted list.
    """
    if len(lines) == 1:
        return f"{headline}: {lines[0]}"
    more = [f"  and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return "\n".join([headline, *(f"  - {line}" for line in lines[:_SHOWN]), *more])


def validation_faults(error: ValidationError, cls: type[BaseModel]) -> list[str]:
    """Write a message for each fault that pydantic found.

    Args:
        error: what validation raised.
        cls: the model validated.

    Returns:
        One sentence a fault, with the value, the choices and the nearest name; of very many faults, the later ones are places alone,
        which :func:`format_faults` counts and does not show.
    """
    details = error.errors(include_url=False)
    return [_fault(detail, cls) for detail in details[:_SHOWN]] + [_where(detail) for detail in details[_SHOWN:]]


def _where(detail: ErrorDetails) -> str:
    return ".".join(str(part) for part in detail["loc"])


def _fault(detail: ErrorDetails, cls: type[BaseModel]) -> str:
    where = _where(detail)
    value = detail["input"]
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] == "extra_forbidden":
        return (
            unknown_choice("field", where, cls.model_fields)
            if cls.model_fields
            else f"it has no fields, so no {shorten(where)}"
        )
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        return unknown_choice(where, value, choices)
    message = detail["msg"].removeprefix("Value error, ")
    return f"{where}={shorten(printable(value))}: {message}" if where else message
