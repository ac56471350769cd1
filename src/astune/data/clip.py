"""One labelled recording of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from astune.data.splits import SplitName
from astune.validated import checked_but_for


@checked_but_for("label")  # AudioDataset says how labels are made text
@dataclass(frozen=True)
class Clip:
    """One labelled recording."""

    path: Path
    label: str
    name: str
    """Stable within the data set and the same on every machine: keys random draws and orders the clips."""
    split: SplitName | None = None
    fold: int | None = None
    group: str | None = None
    """Session, speaker, device or site: clips of one group are never divided where a validation split is drawn."""
