"""What is said of runs: their names in a line, why one failed, and which process runs it already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from astune.experiments.compared import SEARCHED
from astune.experiments.paired import in_words
from astune.folder_lock import in_brackets

if TYPE_CHECKING:
    from astune.experiments.plan import PlannedRun

_LONGEST_ROW = 80
"""Characters of a row in a line about runs: a row of a search is a method with a size for each layer, up to three lines long."""


@dataclass(frozen=True)
class RunsElsewhere:
    """Reason of a failure that says nothing of the run: another process is running it."""

    holder: str
    """As :func:`astune.folder_lock.holder_of` gives it."""

    @override
    def __str__(self) -> str:
        return f"another process is running it{in_brackets(self.holder)}; when that one has ended, start again"


Reason = str | RunsElsewhere
"""Why a run failed."""


@dataclass(frozen=True)
class Failure:
    """A run that ended with an error."""

    run: PlannedRun
    reason: Reason

    @override
    def __str__(self) -> str:
        """With the whole method: it can be trained by itself to see what is wrong with it."""
        row = f"{self.run.row}, {self.run.spec}" if self.run.row == SEARCHED else self.run.row
        key = f" ({self.run.key})" if len(row) > _LONGEST_ROW else ""  # by which the lines of a running search name it
        return f"{row}{key}, {_part(self.run)}: {self.reason}"


def name_of(run: PlannedRun) -> str:
    """Name a run in a line.

    Args:
        run: planned.

    Returns:
        Its row, which is cut where it is long, its data set, fold and seed.
    """
    row = run.row if len(run.row) <= _LONGEST_ROW else f"{run.row[:_LONGEST_ROW]}... ({run.key})"
    return f"{row}, {_part(run)}"


def _part(run: PlannedRun) -> str:
    return f"{run.column}, {in_words((run.fold, run.seed))}"
