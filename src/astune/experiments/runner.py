"""Runs what is missing: each run in a process of its own, here or on a Ray cluster, resumed where it was stopped, failures gathered."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from astune.child_processes import end_with_parent, fork_server
from astune.cluster import ray_cluster
from astune.console import notify, progress
from astune.environment import source_state
from astune.errors import CheckpointError, DataError, OutputError, interruptible
from astune.experiments.failures import Failure, Reason, RunsElsewhere, name_of
from astune.experiments.records import RunRecord
from astune.experiments.store import Store
from astune.files import leftovers, local_folder, remove_folder
from astune.folder_lock import HeldElsewhere, hold
from astune.training.result import RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.context import ForkServerProcess
    from types import TracebackType
    from typing import Self

    from astune.experiments.plan import PlannedRun
    from astune.training.config import TrainConfig
    from astune.training.result import TrainResult

_RETRIES = 3  # of a Ray task whose worker died


class _Display:
    """What the user sees of the runs: a line as each one ends, and a bar with what is running."""

    def __init__(
        self, total: int, store: Store, advance: Callable[[int, str], None], split: SplitName, begun: str = "running"
    ) -> None:
        self.total, self.store, self.advance, self.split, self.word = total, store, advance, split, begun
        self.ended = 0
        self.active: list[PlannedRun] = []
        self.failures: list[Failure] = []

    def begun(self, run: PlannedRun) -> None:
        self.active.append(run)
        self._show(0)

    def over(self, run: PlannedRun, reason: Reason | None) -> None:
        self.active = [one for one in self.active if one is not run]
        self.ended += 1
        where = f"{self.ended} of {self.total}"
        if reason:
            self.failures.append(Failure(run, reason))
            what = "left" if isinstance(reason, RunsElsewhere) else "failed"
            notify(f"{where} {what}: {name_of(run)}: {reason}")
        else:
            record = self.store.read(run.key)
            clips = "" if self.split == "test" else f" on {self.split} clips"
            score = f"{record.headline_of(self.split):.1%}{clips}"
            notify(f"{where} done: {name_of(run)}: {score} in {record.result.wall_seconds:.0f} s")
        self._show(1)

    def failed(self) -> list[Failure]:
        """The failures, without those of runs that another process was running and has finished since."""
        return [
            one
            for one in self.failures
            if not (isinstance(one.reason, RunsElsewhere) and self.store.path(one.run.key).is_file())
        ]

    def kept(self) -> str:
        return f"{self.ended} of {self.total} runs have ended, and the same command goes on from there"

    def _show(self, steps: int) -> None:
        running = "; ".join(name_of(run) for run in self.active[:2]) + (" ..." if len(self.active) > 2 else "")
        self.advance(
            steps, f"{len(self.failures)} failed" + (f", {len(self.active)} {self.word}: {running}" if running else "")
        )


def fingerprints_of(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Fingerprints of the backbones that are on this machine: a hub's weights are not asked for before they are needed.

    Args:
        runs: planned.

    Returns:
        By the backbone's name.
    """
    from astune.backbone import load_backbone
    from astune.backbone.load import RANDOM_BACKBONES
    from astune.names import BUNDLED_BACKBONE

    names = dict.fromkeys(run.config["backbone"] for run in runs if run.method)
    local = (name for name in names if name in {BUNDLED_BACKBONE, *RANDOM_BACKBONES} or local_folder(name))
    return {name: load_backbone(name).origin.fingerprint for name in local}


def unfinished(runs: Sequence[PlannedRun], store: Store, fingerprints: dict[str, str]) -> list[PlannedRun]:
    """The runs that :func:`pending_runs` would give; nothing is announced or set aside.

    Args:
        runs: planned, of distinct keys.
        store: may have some.
        fingerprints: of the backbones as they are now, by name, as far as they are known.
    """
    return [run for run in runs if store.status(run, fingerprints) != "done"]


def pending_runs(runs: Sequence[PlannedRun], store: Store, fingerprints: dict[str, str]) -> list[PlannedRun]:
    """The runs that have to be run; a damaged record is announced, one of other weights set aside.

    Args:
        runs: planned, of distinct keys.
        store: may have some.
        fingerprints: of the backbones as they are now, by name, as far as they are known.
    """
    found = []
    for run in runs:
        status = store.status(run, fingerprints)
        if status == "damaged":
            notify(f"damaged, will be run again: {store.path(run.key)} ({name_of(run)})")
        if status == "stale":
            aside = store.set_aside(run.key)
            notify(
                f"its backbone or its audio files have changed since, set aside and run again: {aside} ({name_of(run)})"
            )
        if status == "done":
            _clear_up(store.work(run.key))
        else:
            found.append(run)
    return found


Bar = Callable[[str, int], "AbstractContextManager[Callable[[int, str], None]]"]
"""Shows progress, as :func:`astune.console.progress` does."""
SplitName = Literal["validation", "test"]
"""The clips of a score."""


def run_here(
    runs: Sequence[PlannedRun], store: Store, workers: int = 1, bar: Bar = progress, *, split: SplitName = "test"
) -> list[Failure]:
    """Run on this machine.

    Args:
        runs: of distinct keys; see :func:`pending_runs`.
        store: takes the records.
        workers: processes side by side; the cores are shared out among them.
        bar: shows how far they are.
        split: whose score is said as each run ends; that of validation clips where those choose among the runs.

    Returns:
        The runs that failed; all others are in the store.
    """
    with bar("Runs", len(runs)) as advance, _Processes(store, workers) as processes:
        display, waiting = _Display(len(runs), store, advance, split), deque(runs)
        with interruptible(display.kept):
            while waiting or processes.active:
                while waiting and len(processes.active) < workers:
                    display.begun(waiting[0])
                    processes.start(waiting.popleft())
                for run, reason in processes.ended():
                    display.over(run, reason)
    return display.failed()


class _Processes:
    """A fresh process a run: its peak memory is its own, and what kills it kills nothing else."""

    def __init__(self, store: Store, workers: int) -> None:
        self.store, self.workers = store, workers
        self.context = fork_server("astune.training.loop")
        self.active: dict[int, tuple[PlannedRun, ForkServerProcess, Connection]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, process, _ in self.active.values():  # no daemons: those may not start the workers that compute features
            process.terminate()

    def start(self, run: PlannedRun) -> None:
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_in_process, args=(run, self.store.folder, self.workers, theirs))
        process.start()
        theirs.close()  # else reading would wait for ever where the child dies
        self.active[process.sentinel] = run, process, ours

    def ended(self) -> list[tuple[PlannedRun, Reason | None]]:
        """Wait for one or more runs to end."""
        found = []
        sentinels = wait(list(self.active))
        for sentinel in [sentinel for sentinel in self.active if sentinel in sentinels]:
            run, process, pipe = self.active.pop(sentinel)
            process.join()
            with pipe:
                try:
                    reason = pipe.recv()
                except EOFError:
                    reason = (
                        f"its process died (exit code {process.exitcode}); run again to go on from its last checkpoint"
                    )
            found.append((run, reason))
        return found


def _in_process(run: PlannedRun, folder: Path, workers: int, report: Connection) -> None:
    end_with_parent()
    report.send(_attempt(run, folder, max(1, (os.cpu_count() or 1) // workers), Path.cwd()))


def _attempt(run: PlannedRun, folder: Path, threads: int, directory: Path) -> Reason | None:
    """Run one run.

    Returns:
        Why it failed, if it did.
    """
    import torch

    torch.set_num_threads(threads)
    os.chdir(directory)  # where the user's relative paths begin
    try:
        execute(run, Store(folder))
    except HeldElsewhere as held:
        return RunsElsewhere(held.holder)
    except Exception as fault:  # noqa: BLE001 - one run's fault may not end the others
        return f"{type(fault).__name__}: {fault}"
    return None


def run_on_ray(
    runs: Sequence[PlannedRun],
    store: Store,
    address: str,
    gpus_a_run: float = 0.0,
    cpus_a_run: float = 1.0,
    bar: Bar = progress,
    *,
    split: SplitName = "test",
) -> list[Failure]:
    """Run as tasks of a Ray cluster; a task whose worker dies is given to another, which goes on from the last checkpoint.

    Args:
        runs: of distinct keys; see :func:`pending_runs`.
        store: takes the records; in a folder that all machines see under the same path, as they must see the data and the folder
            this process works in.
        address: of the cluster; ``auto`` for the one this machine belongs to, ``local`` for one made for the purpose.
        gpus_a_run: share of a GPU that a run takes, such as 0.25.
        cpus_a_run: cores that a run takes.
        bar: shows how far they are.
        split: whose score is said as each run ends; that of validation clips where those choose among the runs.

    Returns:
        The runs that failed; all others are in the store.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """
    with ray_cluster(address), bar("Runs", len(runs)) as advance:
        import ray

        # max_calls: a fresh process a run here too.
        task = ray.remote(num_cpus=cpus_a_run, num_gpus=gpus_a_run, max_retries=_RETRIES, max_calls=1)(_attempt)
        folder, threads = store.folder.absolute(), max(1, int(cpus_a_run))
        display = _Display(len(runs), store, advance, split, "running or queued")
        waiting: dict[Any, PlannedRun] = {task.remote(run, folder, threads, Path.cwd()): run for run in runs}
        for run in runs:
            display.begun(run)
        with interruptible(display.kept):
            while waiting:
                ready, _ = ray.wait(list(waiting))
                for reference in ready:
                    run = waiting.pop(reference)
                    try:
                        reason = ray.get(reference)
                    except ray.exceptions.RayError as fault:
                        reason = f"its worker died {_RETRIES + 1} times: {type(fault).__name__}"
                    display.over(run, reason)
    return display.failed()


def execute(run: PlannedRun, store: Store) -> RunRecord:
    """Run one run, from its last checkpoint where there is one, and write its record.

    Args:
        run: planned.
        store: takes the record.

    Returns:
        The record.

    Raises:
        AstuneError: whatever training cannot use; or the data have changed since they were planned.
        HeldElsewhere: another process is running it.
    """
    from astune.data.options import DataOptions
    from astune.experiments.baseline import run_baseline
    from astune.experiments.sources import refuse_changed
    from astune.experiments.tokens import cls_tokens
    from astune.training.config import TrainConfig

    work = store.work(run.key)
    work.parent.mkdir(parents=True, exist_ok=True)
    commit, dirty = source_state()  # of what is running, before anybody goes on editing
    with hold(Path(f"{work}.lock")):
        if store.status(run, {}) == "done":  # by another process, since this one looked
            return store.read(run.key)
        data = run.config["data"], DataOptions.among(run.config)
        refuse_changed(*data, run.clips, run.content)
        _refuse_other_noise(run)
        if run.method is None:
            result = run_baseline(run.config)
        else:
            config = TrainConfig(**run.config, output_dir=work)
            result = _trained(config)
            if run.keeps_tokens:
                store.write_tokens(run.key, cls_tokens(config))
        _refuse_other_noise(run)
        refuse_changed(*data, run.clips, run.content)  # else a record would stand for data that it was not made of
        record = RunRecord(
            key=run.key,
            identity=run.settings_key,
            backbone_fingerprint=result.backbone_fingerprint,
            result=result,
            commit=commit,
            dirty=dirty,
            content=run.content,
        )
        store.write(record)
        _remove(work)
    return record


def _remove(work: Path) -> None:
    """Delete the folder of a run that has a record; where that cannot be done, it only takes room."""
    with suppress(OSError, OutputError):
        if work.exists():
            remove_folder(work)
        for leftover in leftovers(work.parent, work.name):
            shutil.rmtree(leftover)


def _clear_up(work: Path) -> None:
    """Delete what a process left that was killed right after it had written its record."""
    if work.exists() or leftovers(work.parent, work.name):
        with suppress(OSError), hold(Path(f"{work}.lock")):  # else a process is at it, or it is read-only
            _remove(work)


def _refuse_other_noise(run: PlannedRun) -> None:
    """Look whether the background noise is still that which a run was planned with.

    Raises:
        DataError: it is not.
    """
    from astune.training.augmentation_settings import noise_digest

    planned = run.settings_key.get("background_noise")
    if planned is not None and noise_digest(run.config["background_noise"]) != planned:
        raise DataError(
            f"background_noise, {run.config['background_noise']}, has changed since this run was planned; run the same command again "
            "to plan it again"
        )


def _trained(config: TrainConfig) -> TrainResult:
    """Train in a folder that may hold a run that was stopped, or finished and not yet recorded."""
    from astune.training import checkpoint
    from astune.training.loop import train

    folder = config.output_dir
    if checkpoint.latest(folder) is not None or (folder / RESULTS).exists():
        try:
            return train(config.model_copy(update={"resume": True}), quiet=True, picture=False)
        except CheckpointError as fault:  # damaged, or of data that have changed
            notify(f"starting again from the beginning: {fault}")
    return train(config.model_copy(update={"overwrite_output_dir": True}), quiet=True, picture=False)
