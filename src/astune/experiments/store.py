"""Plans and results on disk; tables and pictures are made of these alone.

============================  =========================================================================================
``runs/<key>.json``           a finished run
``tokens/<key>.safetensors``  [CLS] tokens of its test clips, where a picture wants them
``plans/<table>.json``        the runs of a table, as it was last asked for
``stale/<key>-<of>.json``     a finished run of weights or files that have changed under their names since
``work/<key>/``               a run that is training, or was stopped
============================  =========================================================================================
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file

from astune.errors import DataError, unknown, written
from astune.files import save_tensors, write_text
from astune.json_text import json_text
from astune.training.confusion import refuse_other_shape
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from astune.experiments.plan import PlannedRun

_WAY_OUT = "make room, or give another store"
Status = Literal["done", "missing", "stale", "damaged"]


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
    def accuracy(self) -> float:
        """On the test split, 0 to 1."""
        return float(self.result.scores["test"]["accuracy"])


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


class Store:
    """The runs in a folder.

    Args:
        folder: made when the first run is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """File of a run."""
        return self.folder / "runs" / f"{key}.json"

    def work(self, key: str) -> Path:
        """Where a run trains."""
        return self.folder / "work" / key

    def read(self, key: str) -> RunRecord:
        """Read a finished run.

        Args:
            key: of the run.

        Returns:
            Its record.

        Raises:
            DataError: the file is missing, damaged, or another run's.
        """
        path = self.path(key)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            record = RunRecord(**{**content, "result": TrainResult(**content["result"])})
            _refuse_bad(record)
        except (OSError, ValueError, TypeError, KeyError) as fault:
            raise DataError(f"{path} cannot be read: {fault!r}") from fault
        if record.key != key:
            raise DataError(f"{path} holds the run {record.key}")
        return record

    def write(self, record: RunRecord) -> None:
        """Write a finished run; the file is whole or not there.

        Args:
            record: the run.
        """
        with written(self.path(record.key), _WAY_OUT):
            _write_json(self.path(record.key), asdict(record))

    def set_aside(self, key: str) -> Path:
        """Move a run of other weights or other files away, so that no table takes it for a result.

        Args:
            key: of the run.

        Returns:
            Where it is now.
        """
        record = self.read(key)
        aside = self.folder / "stale" / f"{key}-{record.backbone_fingerprint[:8]}{(record.content or '')[:8]}.json"
        with written(aside, _WAY_OUT):
            aside.parent.mkdir(parents=True, exist_ok=True)
            return self.path(key).replace(aside)

    def read_tokens(self, key: str) -> dict[str, Tensor]:
        """Read a run's [CLS] tokens.

        Args:
            key: of the run.

        Returns:
            ``tokens`` (clips, width) and ``classes`` (clips,), indices of the record's labels.

        Raises:
            DataError: the file is missing or damaged.
        """
        path = self._tokens(key)
        try:
            return {name: load_file(path)[name] for name in ("tokens", "classes")}
        except (OSError, KeyError, SafetensorError) as fault:
            raise DataError(f"{path} cannot be read: {fault!r}") from fault

    def write_tokens(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a run's [CLS] tokens.

        Args:
            key: of the run.
            tensors: as :meth:`read_tokens` gives them.
        """
        path = self._tokens(key)
        with written(path, _WAY_OUT):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(path, dict(tensors))

    def _tokens(self, key: str) -> Path:
        return self.folder / "tokens" / f"{key}.safetensors"

    def planned(self) -> list[str]:
        """Names of the tables that have a plan."""
        return sorted(file.stem for file in self._plan("any").parent.glob("*.json"))

    def read_plan(self, name: str) -> SavedPlan:
        """Read a table as it was last asked for.

        Args:
            name: of the table.

        Returns:
            Its plan.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = self._plan(name)
        if not path.exists():
            planned = self.planned()
            hint = unknown("plan", name, planned) if planned else f"{self.folder} holds no plan"
            raise DataError(f"{hint}; run `astune reproduce {name} --store {self.folder}` first")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return SavedPlan(**{**content, "entries": tuple(PlanEntry(**entry) for entry in content["entries"])})
        except (OSError, ValueError, TypeError, KeyError) as fault:
            raise DataError(f"{path} cannot be read: {fault!r}") from fault

    def write_plan(self, plan: SavedPlan) -> None:
        """Write a plan, in the place of an earlier one of the same table.

        Args:
            plan: as asked for.
        """
        path = self._plan(plan.name)
        with written(path, _WAY_OUT):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):  # the tasks of an array all begin with it
                _write_json(path, asdict(plan))

    def _plan(self, name: str) -> Path:
        return self.folder / "plans" / f"{name}.json"

    def status(self, run: PlannedRun, fingerprints: Mapping[str, str]) -> Status:
        """Whether a run has to be run.

        Args:
            run: planned.
            fingerprints: of the backbones as they are now, by name, as far as they are known.

        Returns:
            ``stale`` where the record is of another backbone, or of files with other content, under the same name.
        """
        if not self.path(run.key).exists():
            return "missing"
        try:
            record = self.read(run.key)
        except DataError:
            return "damaged"
        if fingerprints.get(run.config.get("backbone", ""), record.backbone_fingerprint) != record.backbone_fingerprint:
            return "stale"
        if None not in {run.content, record.content} and run.content != record.content:
            return "stale"
        if run.keeps_tokens:
            try:
                self.read_tokens(run.key)
            except DataError:
                return "missing" if not self._tokens(run.key).exists() else "damaged"
        return "done"


def _refuse_bad(record: RunRecord) -> None:
    """Look at what tables and pictures rely on.

    Raises:
        ValueError: something is not as every run writes it.
    """
    test, classes = record.result.scores["test"], len(record.result.labels)
    for name in ("accuracy", "macro_f1"):
        if not 0 <= test[name] <= 1:
            raise ValueError(f"{name} is {test[name]}")
    refuse_other_shape(test["confusion"], classes)
    if record.identity["method"] != record.result.spec:
        raise ValueError(f"it trained {record.result.spec}, not {record.identity['method']}")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text(content, indent=1) + "\n")
