"""What is written down of an experiment: a plan with an entry for each run, and a record of each finished run. Both are JSON.

These are values. Where their files are, :mod:`astune.experiments.store` knows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

from pydantic import Field

from astune.errors import shorten
from astune.json_record import RECORD, Count, number_in, read_record
from astune.json_text import json_text
from astune.printable import printable
from astune.tasks import task_named
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from astune.task import Task


Key = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
"""Key of a run, which is a part of file names."""
Kind = Literal["table", "curve", "tsne", "comparison"]
_SHOWN = (
    "backbone",
    "num_train_epochs",
    "max_length",
    "selection",
    "position_embeddings",
    "limit_clips",
    "learning_rate",
)
"""Settings that reports sort or collect."""


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

    __pydantic_config__ = RECORD

    key: Key
    identity: dict[str, Any]
    """What decided the result, see :attr:`astune.experiments.plan.PlannedRun.settings_key`; the field has the name that it has in files."""
    backbone_fingerprint: str
    result: TrainResult
    commit: str | None
    """Commit of the source tree that ran; None where it was not a git checkout."""
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
        """The score of the test split that reports show, 0 to 1. The task decides which score that is."""
        return self.headline_of("test")

    def headline_of(self, split: str) -> float:
        """The score of that name on other clips, 0 to 1.

        Args:
            split: ``validation`` or ``test``.
        """
        return float(self.result.scores[split][self.task.headline])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a record.

        Args:
            text: as :meth:`to_json` gives it.

        Raises:
            ValueError: the text is not JSON, or something that tables and pictures rely on is not as every run writes it.
        """
        record = read_record(cls, text)
        result = record.result
        result.refuse_impossible()
        if "test" not in result.scores:
            raise ValueError("result.scores.test is missing")
        location = "result.scores.test"
        number_in(record.test, "clips", location, low=1)
        for name in record.task.shares:
            if name in record.test or name not in record.task.later_shares:
                number_in(record.test, name, location, 0, 1)
        record.task.refuse_other_record(record.test, len(result.labels))
        for number, entry in enumerate(result.history):
            if "validation" in entry:
                number_in(_part(entry, "validation"), record.task.headline, f"history.{number}.validation")
        _refuse_unsortable(result.recipe, "result.recipe")
        if record.identity.get("method") != result.spec:
            raise ValueError(f"it trained {result.spec}, not {record.identity.get('method')}")
        if not isinstance(record.identity.get("backbone", ""), str):
            raise ValueError(f"identity.backbone={record.identity['backbone']!r} should be text")
        return record

    def to_json(self) -> str:
        """As it is written.

        Raises:
            DataError: a number is not finite.
        """
        return json_text(asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class PlanEntry:
    """A run of a table."""

    __pydantic_config__ = RECORD

    key: Key
    """Key of its record."""
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
    parameters: Count
    """Trained, as the paper counts them."""
    percent_of_full: Annotated[float, Field(ge=0)]
    dataset_clips: Count | None
    """Clips of the whole data set; None where it was planned without the data."""
    settings: dict[str, Any]
    """What decides the result."""
    trained: Count | None = None
    """All trained parameters, the head and the final LayerNorm among them; None in plans of older versions."""


@dataclass(frozen=True)
class SavedPlan:
    """A table as it was last asked for."""

    __pydantic_config__ = RECORD

    name: str
    title: str
    kind: Kind
    printed: str | None
    """Which of the paper's tables is printed next to it."""
    entries: tuple[PlanEntry, ...]
    notes: tuple[str, ...] = ()
    """How its runs were made, a sentence each."""
    as_published: bool = False
    """Whether it was asked for in the setting of the published code, see :mod:`astune.methods.published_code`."""
    asked: str | None = None
    """What tells a comparison or a search from others of the same data, see :mod:`astune.experiments.plan_names`.

    None in plans of tables and of older versions."""

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
        """Keys of its distinct runs, in order."""
        return tuple(dict.fromkeys(entry.key for entry in self.entries))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a plan.

        Args:
            text: as :meth:`to_json` gives it.

        Raises:
            ValueError: the text is not JSON, or a field is missing, unknown or wrong.
        """
        plan = read_record(cls, text)
        for number, entry in enumerate(plan.entries):
            _refuse_unsortable(entry.settings, f"entries.{number}.settings")
        return plan

    def to_json(self) -> str:
        """As it is written.

        Raises:
            DataError: a number is not finite.
        """
        return json_text(asdict(self), indent=1) + "\n"


def _part(holder: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a record that holds numbers.

    Raises:
        ValueError: it holds something else.
    """
    part = holder[name]
    if not isinstance(part, dict):
        raise ValueError(f"{name} is {shorten(printable(repr(part)))}, and not figures by name")
    return part


def _refuse_unsortable(settings: dict[str, Any], location: str) -> None:
    """Look whether the settings that reports collect are numbers or text.

    Raises:
        ValueError: one is not.
    """
    for name in _SHOWN:
        value = settings.get(name)
        if value is not None and not isinstance(value, str | int | float):
            raise ValueError(f"{location}.{name}={shorten(printable(repr(value)))}: give text or a number")
