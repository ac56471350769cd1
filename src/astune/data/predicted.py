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


def predicted(folder: Path) -> Predicted | None:
    """Read the record of a folder.

    Args:
        folder: any.

    Returns:
        What it says; None where there is none, or a file of that name which is something else.
    """
    try:
        whole, _, _ = (folder / RECORD).read_text(encoding="utf-8").rpartition("\n")  # a last line may be cut
        first, *lines = [json_value(line, strict=False) for line in whole.splitlines()]
        last: dict[str, Any] = {line["file"]: line for line in lines}
        kind = first["settings"]["format"]
        done = {str(line["table"]): Path(name) for name, line in last.items() if STATE in line}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Predicted(str(kind), done, tuple(name for name, line in last.items() if STATE not in line))
