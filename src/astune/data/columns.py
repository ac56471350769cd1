"""Columns of tables by their usual names: recording, label, beginning and end; and columns that are hardly meant to be unused.

A sample: under ``Begin File``, ``Begin Time (s)``, ``End Time (s)`` and ``Annotation`` a row names a recording, a part of it and a label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from astune.data.recordings import Skipped
from astune.data.splits import is_undecided, split_named
from astune.plurals import enumerated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

Role = Literal["file_name", "label"]
_USUAL: dict[Role, frozenset[str]] = {
    "file_name": frozenset((
        "filename", "file", "filepath", "path", "fname", "audio", "audiofile", "audiofilename", "audiofilepath", "audiopath",
        "recording", "recordingname", "beginfile", "beginpath", "soundfile", "soundpath", "wav", "wavfile", "wavname", "wavpath",
        "notatedpath", "infile",
    )),
    "label": frozenset((
        "label", "labels", "class", "classname", "classlabel", "category", "species", "commonname", "scientificname", "annotation",
        "tag", "tags", "eventlabel", "primarylabel", "manualid",
    )),
}  # fmt: skip
_PLURAL = frozenset((
    "labels", "tags", "classes", "categories", "annotations", "classlabels", "classnames", "eventlabels", "positivelabels",
))  # fmt: skip
_OPTION: dict[Role, str] = {"file_name": "file_column", "label": "label_column"}
_MEANS: dict[Role, str] = {"file_name": "the recording", "label": "the label"}
_UNIT = r"(s|sec|secs|seconds?|ms|msec|millis|milliseconds?|samples?|frames?|mins?|minutes?|h|hours?)"
_WHAT = (
    "(t|clip|segment|seg|event|annotation|call|song|chunk|audio|utt|utterance|word|sound|region|window|slice|label)?"
)
_TIME = re.compile(
    _WHAT + r"(start|onset|offset|begin|end|stop|finish|min|max)s?(time|pos|position|point)?(in)?" + f"{_UNIT}?"
)
_DURATION = re.compile(_WHAT + r"(duration|dur|deltatime)(in)?" + f"{_UNIT}?")
_BEGINS = ("start", "onset", "begin", "min")
_PAIRS = (  # alone, these say nothing; whole words of other languages, as people head their own tables
    ("from", "to"), ("t0", "t1"), ("t1", "t2"), ("beginn", "ende"), ("anfang", "ende"), ("von", "bis"), ("début", "fin"),
    ("debut", "fin"), ("inicio", "fin"), ("inizio", "fine"),
)  # fmt: skip
_SECONDS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0} | dict.fromkeys(
    ("ms", "msec", "millis", "millisecond", "milliseconds"), 0.001
)
_NO_SPLIT = ("valid", "validate")  # of clips that someone looked at
_FOLD_COLUMN = re.compile(r"(k|cv|crossvalidation)?folds?(id|no|nr|number|index|idx)?")
_DISTINCT = 10  # values of a column that could name splits


class Chosen(NamedTuple):
    """The column that has a role."""

    name: str | None
    """Name of the column; None if there is none, or if it cannot be decided."""
    remark: str | None = None
    """The decision in words, for the user; None where nothing had to be decided."""
    fault: str | None = None
    """The question for the user, where the columns leave it open."""


def usual(role: Role, name: str) -> bool:
    """Whether a column of this name usually has a role; case, spaces and signs do not count.

    Args:
        role: what it would say.
        name: the name of the column.
    """
    return _folded(name) in _USUAL[role]


def plural(name: str) -> bool:
    """Whether a column of this name may hold several labels in a cell.

    Args:
        name: the name of the column.
    """
    return _folded(name) in _PLURAL


def choose_column(role: Role, header: Sequence[str], given: str | None = None) -> Chosen:
    """The column that says something.

    Args:
        role: what it says, as the column is named where nobody has to choose.
        header: all columns.
        given: its name, where the user gives one.

    Returns:
        The column of exactly that name; or the one that usually says this.
    """
    if given is not None:
        fault = f"there is no column {given} ({_OPTION[role]}); the header has {', '.join(header)}"
        return Chosen(given) if given in header else Chosen(None, fault=fault)
    if role in header:
        return Chosen(role)
    found = [name for name in header if usual(role, name)]
    found = found or [name for name in header if role == "label" and plural(name)]
    if len(found) == 1:
        return Chosen(found[0], f"column {found[0]} is read as {role}")
    if found:
        asked = f"{enumerated(f'column {name}' for name in found)} could each name {_MEANS[role]}"
        return Chosen(None, fault=f"{asked}; say which with {_OPTION[role]}, such as {_OPTION[role]}={found[0]!r}")
    return Chosen(None)


@dataclass(frozen=True)
class TimeColumns:
    """Columns that say where in its recording a clip begins and ends."""

    start: str
    start_scale: float
    """Seconds of its unit."""
    end: str
    end_scale: float
    lasts: bool = False
    """Whether :attr:`end` says how long the clip is."""


def time_columns(header: Collection[str]) -> tuple[TimeColumns | None, str | None]:
    """Find the columns of times.

    Args:
        header: columns that have no other role.

    Returns:
        The columns, None if there are none; and what is wrong with them.
    """
    starts, ends, lengths = _time_candidates(header)
    if not starts and len(ends) == 1 and lengths and _core(ends[0]) == "offset":
        starts, ends = ends, []  # of manifests with offset and duration
    if not starts and not ends:
        return None, None
    for found, role, verb in (
        (starts, "start", "begins"),
        (ends, "end", "ends"),
        ([] if ends else lengths, "", "ends"),
    ):
        if role in found:
            found[:] = [role]
        if len(found) > 1:
            return None, f"{_listed(found)} could each say where a clip {verb}; remove all but one"
    last = ends or lengths
    if not starts:
        return None, f"column {ends[0]} says where a clip ends, and no column where it begins; add a column start"
    if not last:
        return None, f"column {starts[0]} says where a clip begins, and no column where it ends; add a column end"
    scales = [_SECONDS.get(_unit(name)) for name in (starts[0], last[0])]
    for name, scale in zip((starts[0], last[0]), scales, strict=True):
        if scale is None:
            return None, f"column {name} counts {_unit(name)}, and times are read in seconds; write seconds"
    first, second = (scale or 1.0 for scale in scales)
    return TimeColumns(starts[0], first, last[0], second, lasts=not ends), None


def part_columns(columns: Iterable[str]) -> str | None:
    """What is wrong with columns that say where in a recording a clip begins and ends, in a format that has whole files alone.

    Args:
        columns: names of those that would be passed over.

    Returns:
        A sentence; None if there are none.
    """
    starts, ends, _ = _time_candidates(columns := list(columns))
    parts = [name for name in columns if name in {*starts, *ends}]
    if not parts:
        return None
    return (
        f"{_listed(parts)}: parts of recordings are not read from this format, and the whole file would be used; "
        "write a table with files and times (csv:PATH), or remove the columns"
    )


def _time_candidates(header: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Columns that may say where a clip begins, where it ends, and how long it is."""
    names = list(header)
    cores = {name: core for name in names if (core := _core(name))}
    starts = [name for name, core in cores.items() if core in _BEGINS]
    ends = [name for name, core in cores.items() if core not in _BEGINS]
    folded = {name.casefold().strip(): name for name in names}
    for first, second in _PAIRS:
        if not starts and not ends and first in folded and second in folded:
            starts, ends = [folded[first]], [folded[second]]
    return starts, ends, [name for name in names if _DURATION.fullmatch(_letters(name))]


def _core(name: str) -> str:
    """What a name says of time: ``start``, ``offset``; empty where it says nothing."""
    text = _letters(name)
    match = None if text.startswith(("min", "max")) else _TIME.fullmatch(text)
    return match[2] if match else ""


def _unit(name: str) -> str:
    text = _letters(name)
    match = _TIME.fullmatch(text) or _DURATION.fullmatch(text)
    return (match[match.re.groups] if match else None) or "s"


def _listed(names: Iterable[str]) -> str:
    return f"column {' and column '.join(names)}"


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]+", "", name.casefold())


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def division_columns(columns: Iterable[str], values: Callable[[str], Iterable[object]]) -> str | None:
    """What is wrong with columns that divide the clips and have another name: ``Split``, ``subset``, ``is_test``, ``kfold``.

    Args:
        columns: names of those that would be passed over, where nothing else divides the clips.
        values: the cells of a column.

    Returns:
        A sentence; None if there are none.
    """
    for name in columns:
        if meant := _divides(name, values):
            return (
                f"column {name} seems to divide the clips, and it would not be used; "
                f"write it as column {meant}, or remove it"
            )
    return None


def _divides(name: str, values: Callable[[str], Iterable[object]]) -> str | None:
    """Whether a column means split or fold."""
    text = _letters(name)
    if _FOLD_COLUMN.fullmatch(text):
        return "fold"
    if text in ("split", "splits") or (text not in _NO_SPLIT and split_named(text.removeprefix("is"))):
        return "split"
    found = {str(value).strip() for value in values(name)} - {""}
    if 1 < len(found) <= _DISTINCT and all(split_named(value) or is_undecided(value) for value in found):
        return "split"
    return None


def unused_columns(columns: Iterable[str]) -> list[Skipped]:
    """Columns that are passed over, to be named.

    Args:
        columns: their names; those without one and the index of pandas are left out.

    Returns:
        One entry each.
    """
    named = (name for name in columns if name and not name.startswith("Unnamed:"))
    return [Skipped(name, "columns") for name in named]
