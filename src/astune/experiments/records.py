"""What is written down of an experiment: a plan with an entry for each run, and a record of each finished run. Both are JSON.

These are values. Where their files are, :mod:`astune.experiments.store` knows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from astune.json_text import json_text, json_value
from astune.tasks import task_named
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from astune.task import Task


class Wanted(Protocol):
    """A run that somebody wants, as far as a store has to know it."""

    @property
    def key(self) -> str:
        """Name of its files."""

    @property
    def backbone(self) -> str | None:
        """Name of the backbone; None where the run has none."""

    @property
    def content(self) -> str | None:
        """Digest of all files of its data set, as :attr:`RunRecord.content`; None where they are not on this machine."""

    @property
    def keeps_tokens(self) -> bool:
        """Whether a picture wants the [CLS] tokens of its test clips."""


@dataclass(frozen=True)
class RunRecord:
    """A finished run."""

    key: str
    identity: dict[str, Any]
    """What decided the result; see :attr:`astune.experiments.plan.PlannedRun.identity`."""
    backbone_fingerprint: str
    result: TrainResult
    commit: str | None
    """Of the source tree that ran; None where it was no git checkout."""
    dirty: bool | None
    """Whether that tree had uncommitted changes."""
    content: str | None = None
    """Digest of all files of its data set; None in records of older versions."""

    @property
    def task(self) -> Task:
        """What was learned."""
        return task_named(self.result.task)

    @property
    def test(self) -> dict[str, Any]:
        """Scores of the test split."""
        return self.result.scores["test"]

    @property
    def headline(self) -> float:
        """The figure of the test split that stands in reports, 0 to 1: the task decides which."""
        return float(self.test[self.task.headline])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a record.

        Args:
            text: as :meth:`to_json` gives it.

        Raises:
            KeyError: a field is missing.
            TypeError: likewise, or there is an unknown one.
            ValueError: the text is not JSON, or something that tables and pictures rely on is not as every run writes it.
        """
        content = json_value(text)
        record = cls(**{**content, "result": TrainResult(**content["result"])})
        later = record.task.later_shares - record.test.keys()
        for name in record.task.shares.keys() - later:
            if not 0 <= record.test[name] <= 1:
                raise ValueError(f"{name} is {record.test[name]}")
        record.task.refuse_other_record(record.test, len(record.result.labels))
        if record.identity["method"] != record.result.spec:
            raise ValueError(f"it trained {record.result.spec}, not {record.identity['method']}")
        return record

    def to_json(self) -> str:
        """As it is written.

        Raises:
            DataError: a number is not finite.
        """
        return json_text(asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class PlanEntry:
    """A run's place in a table."""

    key: str
    """Of its record."""
    row: str
    column: str
    """Data set, and what varies."""
    dataset: str
    series: str | None
    """Rows of one series are joined by a line in a figure."""
    varied: dict[str, Any]
    """Settings that tell the columns of a data set apart."""
    fold: int | None
    seed: int
    method: str
    """Its spec, with the reduction rates that this backbone's width asks for."""
    parameters: int
    """Trained, as the paper counts them."""
    percent_of_full: float
    dataset_clips: int | None
    """Of the whole data set; None where it was planned without."""
    settings: dict[str, Any]
    """What decides the result."""


@dataclass(frozen=True)
class SavedPlan:
    """A table as it was last asked for."""

    name: str
    title: str
    kind: str
    printed: str | None
    """Which of the paper's tables stands beside it."""
    entries: tuple[PlanEntry, ...]
    notes: tuple[str, ...] = ()
    """How its runs were made, a sentence each."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of its rows, in order."""
        return tuple(dict.fromkeys(entry.row for entry in self.entries))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, in order."""
        return tuple(dict.fromkeys(entry.column for entry in self.entries))

    @property
    def keys(self) -> tuple[str, ...]:
        """Of its distinct runs, in order."""
        return tuple(dict.fromkeys(entry.key for entry in self.entries))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a plan.

        Args:
            text: as :meth:`to_json` gives it.

        Raises:
            KeyError: it has no entries.
            TypeError: a field is missing or unknown.
            ValueError: the text is not JSON.
        """
        content = json_value(text)
        entries = tuple(PlanEntry(**entry) for entry in content["entries"])
        return cls(**{**content, "entries": entries, "notes": tuple(content.get("notes", ()))})

    def to_json(self) -> str:
        """As it is written.

        Raises:
            DataError: a number is not finite.
        """
        return json_text(asdict(self), indent=1) + "\n"
