"""One JSON a run, in ``<store>/runs/<key>.json``, and its one reader; tables and pictures are made of these alone."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from astune.adapter_file import write_text
from astune.errors import DataError
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from astune.experiments.plan import PlannedRun

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

    @property
    def accuracy(self) -> float:
        """On the test split, 0 to 1."""
        return float(self.result.scores["test"]["accuracy"])


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
            record.accuracy  # noqa: B018 - a run that was not tested is no result
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
        path = self.path(record.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(record), indent=1) + "\n")

    def status(self, run: PlannedRun, fingerprint: str | None) -> Status:
        """Whether a run has to be run.

        Args:
            run: planned.
            fingerprint: of the backbone as it is now, where that is known.

        Returns:
            ``stale`` where the record is of another backbone under the same name.
        """
        if not self.path(run.key).exists():
            return "missing"
        try:
            record = self.read(run.key)
        except DataError:
            return "damaged"
        return "done" if fingerprint in (None, record.backbone_fingerprint) else "stale"


def source_state() -> tuple[str | None, bool | None]:
    """Commit of the source tree this package runs from, and whether it has changes."""
    root = Path(__file__).parents[3]  # of a checkout; of an installed package it is some folder of Python's
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words
