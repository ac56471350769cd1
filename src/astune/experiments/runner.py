"""Runs what is missing: each run in a process of its own, resumed where it was stopped, failures gathered."""

from __future__ import annotations

import os
import shutil
from collections import deque
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from astune.console import progress, say
from astune.experiments.store import RunRecord, Store, source_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from astune.experiments.plan import PlannedRun


@dataclass(frozen=True)
class Failure:
    """A run that ended with an error."""

    run: PlannedRun
    reason: str


def run_missing(
    runs: Sequence[PlannedRun], store: Store, *, workers: int = 1, fingerprint: str | None = None
) -> list[Failure]:
    """Run all runs that the store lacks.

    Args:
        runs: planned, of distinct keys.
        store: takes the records.
        workers: processes side by side; the cores are shared out among them.
        fingerprint: of the backbone as it is now, where that is known; records of another one are run again.

    Returns:
        The runs that failed; all others are in the store.
    """
    waiting = deque(run for run in runs if store.status(run, fingerprint) != "done")
    failures: list[Failure] = []
    # A fresh process a run: its peak memory is its own, and what kills it kills nothing else.
    context = get_context("forkserver")
    context.set_forkserver_preload(["astune.training.loop"])
    active: dict[int, tuple[PlannedRun, ForkServerProcess, Connection]] = {}
    try:
        with progress("Running", len(waiting)) as advance:
            while waiting or active:
                while waiting and len(active) < workers:
                    run = waiting.popleft()
                    ours, theirs = context.Pipe(duplex=False)
                    process = context.Process(target=_execute, args=(run, store.folder, workers, theirs))
                    process.start()
                    theirs.close()  # else reading would wait for ever where the child dies
                    active[process.sentinel] = run, process, ours
                ended = wait(list(active))
                for sentinel in [sentinel for sentinel in active if sentinel in ended]:
                    run, process, pipe = active.pop(sentinel)
                    process.join()
                    reason = _outcome(process, pipe)
                    if reason:
                        failures.append(Failure(run, reason))
                        say(f"failed: {run.row}, {run.column}, fold {run.fold}, seed {run.seed}: {reason}")
                    advance(1, f"{run.row}, {run.column}" + (f"; {len(failures)} failed" if failures else ""))
    finally:  # interrupted: no daemons, for they may not start the workers that compute features
        for _, process, _ in active.values():
            process.terminate()
    return failures


def _outcome(process: ForkServerProcess, pipe: Connection) -> str | None:
    """Why a run failed, if it did."""
    with pipe:
        try:
            return pipe.recv()  # type: ignore[no-any-return]
        except EOFError:
            return f"its process died (exit code {process.exitcode}); run again to go on from its last checkpoint"


def _execute(run: PlannedRun, folder: Path, workers: int, report: Connection) -> None:
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    reason = None
    try:
        execute(run, Store(folder))
    except Timeout:
        reason = "another process is running it"
    except Exception as fault:  # noqa: BLE001 - one run's fault may not end the others
        reason = f"{type(fault).__name__}: {fault}"
    report.send(reason)


def execute(run: PlannedRun, store: Store) -> RunRecord:
    """Run one run, from its last checkpoint where there is one, and write its record.

    Args:
        run: planned.
        store: takes the record.

    Returns:
        The record.

    Raises:
        AstuneError: whatever training cannot use.
        Timeout: another process is running it.
    """
    from astune.training import checkpoint
    from astune.training.config import TrainConfig
    from astune.training.loop import train

    work = store.work(run.key)
    work.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{work}.lock", timeout=0):
        stopped = checkpoint.latest(work) is not None
        config = TrainConfig(**run.config, output_dir=work, resume=stopped, overwrite_output_dir=not stopped)
        result = train(config, quiet=True)
        commit, dirty = source_state()
        record = RunRecord(run.key, run.identity, result.backbone_fingerprint, result, commit, dirty)
        store.write(record)
        shutil.rmtree(work)
    return record
