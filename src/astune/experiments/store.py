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

from typing import TYPE_CHECKING, Literal

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file

from astune.console import shell_word
from astune.errors import DataError, explain_write_errors, unknown_choice
from astune.experiments.records import RunRecord, SavedPlan
from astune.experiments.table import shipped_tables
from astune.files import read_text, save_tensors, write_text
from astune.json_text import LONGEST
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from astune.experiments.records import Wanted

_LARGEST = 65_504.0  # of a token, which was kept in float16
_WAY_OUT = "make room, or give another store"
Status = Literal["done", "missing", "stale", "damaged"]
_State = tuple[int, int, int, int]
"""State of a file. It is another one after the file was changed or replaced."""


class Store:
    """The runs in a folder.

    A command asks for the same run several times: is it finished, what did it give, what does the next table show of it. A record is
    therefore kept once it has been read, for as long as its file stays the same.

    Args:
        folder: made when the first run is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[_State, RunRecord]] = {}

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
            state = _state(path)
            if key in self._known and self._known[key][0] == state:
                return self._known[key][1]
            record = RunRecord.from_json(read_text(path, LONGEST))
        except (OSError, ValueError) as fault:
            raise DataError(f"{path} cannot be read: {_reason(fault)}") from fault
        if record.key != key:
            raise DataError(f"{path} holds the run {record.key}")
        self._known[key] = state, record
        return record

    def write(self, record: RunRecord) -> None:
        """Write a finished run; the file is whole or not there.

        Args:
            record: the run.
        """
        path = self.path(record.key)
        with explain_write_errors(path, _WAY_OUT):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, record.to_json())

    def set_aside(self, key: str) -> Path:
        """Move a run of other weights or other files away, so that no table takes it for a result.

        Args:
            key: of the run.

        Returns:
            Where it is now.
        """
        record = self.read(key)
        aside = self.folder / "stale" / f"{key}-{record.backbone_fingerprint[:8]}{(record.content or '')[:8]}.json"
        with explain_write_errors(aside, _WAY_OUT):
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
            found = load_file(path)
        except (OSError, SafetensorError) as fault:
            raise DataError(f"{path} cannot be read: {_reason(fault)}") from fault
        if not _are_tokens(found):
            raise DataError(f"{path} does not hold tokens (clips, width) and the class of each clip")
        return found

    def write_tokens(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a run's [CLS] tokens.

        Args:
            key: of the run.
            tensors: as :meth:`read_tokens` gives them.
        """
        path = self._tokens(key)
        with explain_write_errors(path, _WAY_OUT):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(path, dict(tensors))

    def _tokens(self, key: str) -> Path:
        return self.folder / "tokens" / f"{key}.safetensors"

    def planned(self) -> list[str]:
        """Names of the tables that have a plan."""
        return sorted(file.stem for file in self.plan_path("any").parent.glob("*.json"))

    def read_plan(self, name: str) -> SavedPlan:
        """Read a table as it was last asked for.

        Args:
            name: of the table.

        Returns:
            Its plan.

        Raises:
            DataError: there is no such plan, or it is damaged.
        """
        path = self.plan_path(name)
        if not path.exists():
            raise DataError(self._unknown_plan(name))
        try:
            plan = SavedPlan.from_json(read_text(path, LONGEST))
        except (OSError, ValueError) as fault:
            raise DataError(f"{path} cannot be read: {_reason(fault)}") from fault
        if plan.name != name:  # which names the files of its report
            raise DataError(f"{path} holds the plan {printable(plan.name)!r}")
        return plan

    def _unknown_plan(self, name: str) -> str:
        """What is there, and how a plan of that name would be made."""
        planned = self.planned()
        begin = [one for one in planned if one.startswith(name)]
        if begin:
            return f"{self.folder} has no plan named {name!r}; choose one that begins with it: {', '.join(begin)}"
        hint = unknown_choice("plan", name, planned) if planned else f"{self.folder} holds no plan"
        verb, _, data = name.partition("-")
        if data and verb in {"compare", "search"}:
            maker = f"{verb} DATA"
        elif name in shipped_tables():
            maker = f"reproduce {name}"
        else:
            return f"{hint}; `astune reproduce`, `compare` and `search` make one"
        return f"{hint}; run `astune {maker} --store {shell_word(self.folder)}` first"

    def write_plan(self, plan: SavedPlan) -> None:
        """Write a plan, in the place of an earlier one of the same table.

        Args:
            plan: as asked for.
        """
        path = self.plan_path(plan.name)
        with explain_write_errors(path, _WAY_OUT):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):  # the tasks of an array all begin with it
                write_text(path, plan.to_json())

    def plan_path(self, name: str) -> Path:
        """File of a plan."""
        return self.folder / "plans" / f"{name}.json"

    def status(self, run: Wanted, fingerprints: Mapping[str, str]) -> Status:
        """Whether a run has to be run.

        Args:
            run: planned, such as a :class:`astune.experiments.plan.PlannedRun`.
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
        if fingerprints.get(run.backbone or "", record.backbone_fingerprint) != record.backbone_fingerprint:
            return "stale"
        if None not in {run.content, record.content} and run.content != record.content:
            return "stale"
        if run.keeps_tokens:
            try:
                self.read_tokens(run.key)
            except DataError:
                return "missing" if not self._tokens(run.key).exists() else "damaged"
        return "done"


def _reason(fault: Exception) -> str:
    return fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)


def _are_tokens(found: Mapping[str, Tensor]) -> bool:
    if found.keys() != {"tokens", "classes"}:
        return False
    tokens, classes = found["tokens"], found["classes"]
    shaped = tokens.ndim == 2 and classes.shape == tokens.shape[:1] and min(tokens.shape) > 0
    typed = tokens.is_floating_point() and classes.dtype == torch.int64
    return shaped and typed and bool((tokens.abs() <= _LARGEST).all()) and int(classes.min()) >= 0


def _state(path: Path) -> _State:
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
