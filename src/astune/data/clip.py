"""One labelled recording of a data set, or a part of one."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import NamedTuple

from astune.data.splits import SplitName
from astune.errors import DataError
from astune.printable import printable
from astune.validated import checked_but_for, fits

Span = tuple[()] | tuple[float, float | None]
"""Start and end of a clip, in seconds; empty for a whole file, and no end where the file's is meant."""


class Region(NamedTuple):
    """The part of a file that a clip consists of."""

    path: Path
    start: float = 0.0
    """Seconds from the file's beginning."""
    end: float | None = None
    """Seconds from the file's beginning; the file's end where None."""


@checked_but_for("labels", "start", "end")
@dataclass(frozen=True)
class Clip:
    """One labelled recording, or a part of one."""

    name: str
    """Stable within the data set and the same on every machine: keys random draws and orders the clips."""
    path: Path
    labels: tuple[str, ...]
    """The task of the data set says how many there may be."""
    _: KW_ONLY
    start: float | None = None
    """Seconds from the file's beginning; the beginning where None."""
    end: float | None = None
    """Seconds from the file's beginning; the file's end where None."""
    split: SplitName | None = None
    fold: int | None = None
    group: str | None = None
    """Session, speaker, device or site: clips of one group are never divided where a validation split is drawn."""

    def __post_init__(self) -> None:
        shown = f"clip {printable(self.name)}"
        if not isinstance(self.labels, tuple):
            raise DataError(f"{shown}: labels is {self.labels!r}; give a tuple, such as ('dog',)")
        for name, seconds in (("start", self.start), ("end", self.end)):
            if seconds is not None and not (fits(seconds, float) and math.isfinite(seconds) and seconds >= 0):
                raise DataError(
                    f"{shown}: {name} is {seconds!r}; give seconds from the beginning of the file, 0 or more"
                )
        if self.end is not None and self.end <= (self.start or 0.0):
            raise DataError(
                f"{shown}: it ends at {self.end} s, before it starts at {self.start or 0.0} s; is it the other way round?"
            )

    @property
    def label(self) -> str:
        """The label of a clip that has one.

        Raises:
            DataError: it has none, or several.
        """
        if len(self.labels) != 1:
            found = (
                f"{len(self.labels)} labels ({', '.join(map(printable, self.labels))})" if self.labels else "no label"
            )
            raise DataError(f"clip {printable(self.name)} has {found}; a task with one label a clip needs exactly one")
        return self.labels[0]

    @property
    def label_text(self) -> str:
        """All labels in one line: for a clip of one label that label."""
        return " | ".join(self.labels)

    @property
    def span(self) -> Span:
        """Start and end; empty for a whole file, so that what is derived from whole files alone stays as it is."""
        _, start, end = self.region
        return (start, end) if start or end is not None else ()

    @property
    def region(self) -> Region:
        """The part of its file that this clip consists of."""
        return Region(self.path, float(self.start or 0.0), None if self.end is None else float(self.end))


def region_of(clip: Clip | Path) -> Region:
    """What is read for a clip, or of a file.

    Args:
        clip: a clip; or a path, for the whole file.

    Returns:
        File, start and end.
    """
    return clip.region if isinstance(clip, Clip) else Region(clip)
