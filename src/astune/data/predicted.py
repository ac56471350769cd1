"""Folders of tables that ``astune predict -o DIR`` wrote: which table is of which recording.

A sample: the line ``{"file": "/field/garden.wav", "table": "garden.txt", "state": [96044, 1790000000000000000], ...}`` of
``predictions.jsonl`` says that ``garden.txt`` is whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astune.json_text import json_value

RECORD = "predictions.jsonl"
STATE = "state"
"""Key of a recording's size and time when its table was finished."""


@dataclass(frozen=True)
class Predicted:
    """What the record of such a folder says."""

    format: str
    """``csv``, ``jsonl``, ``audacity`` or ``raven``."""
    tables: dict[str, Path]
    """The recording of each finished table, by the table's path below the folder."""
    unfinished: tuple[str, ...]
    """Recordings whose table was begun."""


def read_prediction_record(folder: Path) -> Predicted | None:
    """Read the record of a folder.

    Args:
        folder: that may hold predictions of astune.

    Returns:
        The record; None where the folder has none, or a file of that name holds something else.
    """
    if not (folder / RECORD).is_file():
        return None
    try:
        whole, _, _ = (folder / RECORD).read_text(encoding="utf-8").rpartition("\n")  # a last line may be cut
        settings, lines = record_lines(whole)
    except (OSError, ValueError):
        return None
    last = {line["file"]: line for line in lines}
    done = {line["table"]: Path(name) for name, line in last.items() if STATE in line}
    return Predicted(str(settings.get("format")), done, tuple(name for name, line in last.items() if STATE not in line))


def record_lines(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a record says.

    Args:
        text: whole lines.

    Returns:
        The settings of the command, and the lines of the recordings: each with ``file``, and ``table`` below the folder.

    Raises:
        ValueError: it is not what ``astune predict`` writes.
    """
    first, *lines = [json_value(line, strict=False) for line in text.splitlines()] or [None]
    if not (isinstance(first, dict) and isinstance(first.get("settings"), dict) and all(map(_is_of_a_table, lines))):
        raise ValueError("it is not what astune predict writes")
    return first["settings"], lines


def _is_of_a_table(line: object) -> bool:
    if not isinstance(line, dict):
        return False
    file, table, state = line.get("file"), line.get("table"), line.get(STATE, [])
    inside = isinstance(table, str) and not Path(table).is_absolute() and ".." not in Path(table).parts
    return isinstance(file, str) and inside and isinstance(state, list) and all(type(one) is int for one in state)
