r"""Findings as files that others open: CSV, JSON lines, Audacity's label tracks, Raven's selection tables.

Every row of CSV, JSON lines and Raven says how much of its recording was used. A label track has room for times and one text: that is the
label alone, without its score, so that a track which is corrected in Audacity can be trained on as it is.

Audacity and Raven read a row a line and cells between tabs, and know no quotes: tabs, line breaks and what a terminal would obey in a
name are written as escapes (``\t``). CSV quotes what has to be quoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from astune.csv_text import csv_text
from astune.json_text import json_text
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from astune.inference.findings import Findings

Format = Literal["csv", "jsonl", "audacity", "raven"]

_COLUMNS = ("file_name", "start", "end", "label", "score")  # as tables that are trained on have them
_USED = ("seconds", "heard_seconds", "windows", "window", "hop", "pool")
_SELECTION = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin Path",
    "Begin File", "Annotation", "Score", "Heard (s)", "Windows", "Pool",
)  # fmt: skip
_HIGHEST = 8_000  # Hz: the model does not see higher frequencies


@dataclass(frozen=True)
class Writer:
    """Writer of one format."""

    suffix: str
    """Suffix of its files."""
    several: bool
    """Whether one file can hold several recordings, because each row names its own."""
    head: str
    """First lines of a file."""
    body: Callable[[Findings, str], str]
    """The lines of a recording, given what was found and the name that the rows shall have for it."""

    def text(self, findings: Findings, file_name: str | None = None) -> str:
        """A file of one recording.

        Args:
            findings: findings of the recording.
            file_name: what rows call the recording; as it was given where None.

        Returns:
            The text.
        """
        return self.head + self.body(findings, findings.name if file_name is None else file_name)


def _records(findings: Findings, file_name: str) -> Iterator[dict[str, object]]:
    for row in findings.rows:
        cells = (file_name, round(row.start, 6), round(row.end, 6), row.label, round(row.score, 6))
        yield dict(zip(_COLUMNS, cells, strict=True)) | findings.used_columns


def _csv_body(findings: Findings, file_name: str) -> str:
    return csv_text(record.values() for record in _records(findings, file_name))


def _jsonl_body(findings: Findings, file_name: str) -> str:
    return "".join(f"{json_text(record)}\n" for record in _records(findings, file_name))


def _tabbed(*cells: object) -> str:
    return "\t".join(printable(cell) for cell in cells) + "\n"


def _audacity_body(findings: Findings, _: str) -> str:
    return "".join(_tabbed(f"{row.start:.6f}", f"{row.end:.6f}", row.label) for row in findings.rows)


def _raven_body(findings: Findings, file_name: str) -> str:
    highest = min(_HIGHEST, (findings.sampling_rate or 2 * _HIGHEST) / 2)
    used = (f"{findings.heard_seconds:.3f}", findings.windows, findings.pool or "")
    return "".join(
        _tabbed(
            number, "Spectrogram 1", 1, f"{row.start:.6f}", f"{row.end:.6f}", 0, f"{highest:g}", file_name,
            Path(file_name).name, row.label, f"{row.score:.6f}", *used,
        )
        for number, row in enumerate(findings.rows, 1)
    )  # fmt: skip


WRITERS: dict[Format, Writer] = {
    "csv": Writer(".csv", True, csv_text([(*_COLUMNS, *_USED)]), _csv_body),
    "jsonl": Writer(".jsonl", True, "", _jsonl_body),
    "audacity": Writer(".txt", False, "", _audacity_body),
    "raven": Writer(".Table.1.selections.txt", False, _tabbed(*_SELECTION), _raven_body),
}
