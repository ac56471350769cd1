"""The runs of `astune reproduce`, killed one after the other; the command goes on with those that are not in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.runner import execute, fingerprints_of, pending_runs
from astune.experiments.store import Store
from astune.experiments.table import load_table
from tests.faults.kills import Command, contents
from tests.faults.training import fields_of, write_sounds, write_table

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    write_sounds(folder)
    write_table(folder / "killed.yaml", folder / "data", ("linear", "lora"), bf16=False, num_train_epochs=2)


def _run(folder: Path) -> None:
    """What `astune reproduce` does; in this process, because the processes that it starts for its runs would not be traced."""
    name, table = load_table(str(folder / "killed.yaml"))
    runs = plan(name, table, PlanOptions(backbone="random:tiny"))
    store = Store(folder / "store")
    waiting = pending_runs(runs, store, fingerprints_of(runs))
    store.write_plan(to_saved_plan(name, table, runs))
    for run in waiting:
        execute(run, store)


def _check(folder: Path) -> None:
    store = Store(folder / "store")
    for name in store.planned():
        store.read_plan(name)
    for record in (folder / "store" / "runs").glob("*.json"):
        store.read(record.stem)


def _result(folder: Path) -> dict[str, str]:
    found = contents(folder / "store")
    for path in (folder / "store" / "runs").glob("*.json"):
        found |= {f"runs/{path.name}": "there"} | fields_of(path)
    return found


COMMAND = Command("reproduce", prepare=_prepare, run=_run, again=_run, check=_check, result=_result)
