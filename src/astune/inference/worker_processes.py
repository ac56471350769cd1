"""Workers as processes of this machine, and the one call that asks workers, here or on a Ray cluster.

Each worker has a predictor of its own. A recording of some size is handed out alone, small ones as many at a time as the model takes: then
the batches of an archive of short clips are those of one process, and so are the bits of its scores. Where recordings have several windows,
batches begin elsewhere and scores differ by rounding, unless ``batch_size`` is 1.

A worker that dies takes nothing along. What it had not finished is handed out again, one recording at a time, and a recording that ends its
worker when it is alone is reported.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from astune.child_processes import end_with_parent, fork_server
from astune.environment import usable_cores
from astune.errors import AstuneError, AudioError, ConfigError
from astune.inference.ray_workers import on_ray
from astune.inference.workers import units_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

    from astune.inference.timeline import OnWindow
    from astune.inference.workers import Answer, Question, Unit, Workers


def ask_workers(
    workers: Workers,
    question: Question,
    paths: Sequence[str | Path],
    on_window: OnWindow | None = None,
    *,
    ordered: bool = True,
) -> Iterator[Answer]:
    """Ask workers about recordings.

    Processes import the script that calls this; guard it with ``if __name__ == "__main__":``.

    Args:
        workers: who is asked.
        question: what is asked of each.
        paths: paths of recordings, on a cluster in folders that all machines see.
        on_window: called on this machine with the name of a recording and the number of its seconds processed.
        ordered: whether the answers come in the order of the recordings, or as they are ready.

    Yields:
        One answer a recording.

    Raises:
        AstuneError: workers cannot load the adapter.
        ConfigError: a number of workers below 1, a pipe, or no cluster.
    """
    workers.refuse(paths)
    units = units_of(paths, workers.batch_size)
    if not units:
        return
    found = (
        on_ray(workers, question, units)
        if workers.ray is not None
        else _in_processes(workers, question, units, on_window)
    )
    yield from _in_order(found) if ordered else (answer for _, answer in found)


def _in_order(found: Iterator[tuple[int, Answer]]) -> Iterator[Answer]:
    waiting: dict[int, Answer] = {}
    due = 0
    for number, answer in found:
        waiting[number] = answer
        while due in waiting:
            yield waiting.pop(due)
            due += 1


@dataclass
class _Worker:
    """A process and what it is at."""

    number: int
    process: ForkServerProcess
    pipe: Connection
    unit: deque[tuple[int, str]] = field(default_factory=deque)
    """Recordings that it has not answered."""
    ready: bool = False
    """Whether it has loaded the adapter."""


def _in_processes(
    workers: Workers, question: Question, units: Sequence[Unit], on_window: OnWindow | None
) -> Iterator[tuple[int, Answer]]:
    waiting = deque(units)
    count = min(workers.count or usable_cores(), len(units))
    with _processes(workers, question, count) as team:
        while waiting or any(worker.unit for worker in team):
            for connection in wait([worker.pipe for worker in team]):
                worker = next(one for one in team if one.pipe is connection)
                try:
                    kind, content = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    yield from _left_by(worker, question, waiting)
                    team[team.index(worker)] = _started(workers, question, worker.number, count)
                    continue
                if kind == "failed":
                    raise content
                if kind == "progress" and on_window:
                    on_window(*content)
                if kind == "answer":
                    yield worker.unit.popleft()[0], content
                if kind == "free":
                    worker.ready = True
                    with suppress(BrokenPipeError, ConnectionResetError):  # it has died since; its end is read next
                        if waiting:
                            worker.pipe.send([path for _, path in waiting[0]])
                            worker.unit.extend(waiting.popleft())


def _left_by(worker: _Worker, question: Question, waiting: deque[Unit]) -> Iterator[tuple[int, Answer]]:
    """What a worker that died has left: it waits again, or is answered with an error where it was alone.

    Raises:
        ConfigError: it died before it was asked anything.
    """
    worker.process.join()
    worker.pipe.close()
    code = worker.process.exitcode
    if not worker.ready:
        raise ConfigError(
            f"a worker died while it loaded the adapter (exit code {code}); use fewer workers if memory is short"
        )
    if len(worker.unit) == 1:
        number, path = worker.unit.popleft()
        reason = f"{printable(path)}: the process that read it died (exit code {code}); the other processes go on"
        yield number, question.failed(path, AudioError(reason))
    waiting.extendleft((one,) for one in reversed(worker.unit))


@contextmanager
def _processes(workers: Workers, question: Question, count: int) -> Iterator[list[_Worker]]:
    team = [_started(workers, question, number, count) for number in range(count)]
    try:
        yield team
    finally:
        for worker in team:
            worker.process.terminate()
            worker.process.join()
            worker.pipe.close()


def _started(workers: Workers, question: Question, number: int, count: int) -> _Worker:
    context = fork_server(workers.preloaded)
    ours, theirs = context.Pipe()
    cores = max(1, workers.cores // count)
    process = context.Process(target=_work, args=(workers, question, number, cores, Path.cwd(), theirs))
    process.start()
    theirs.close()  # else reading would wait for ever where the worker dies
    return _Worker(number, process, ours)


def _work(workers: Workers, question: Question, number: int, cores: int, directory: Path, pipe: Connection) -> None:
    """What a worker does, until it is ended."""
    end_with_parent()
    os.chdir(directory)  # where the user's relative paths begin
    try:
        predictor = workers.predictor(number, cores)
        while True:
            pipe.send(("free", None))
            for answer in question.answers(predictor, pipe.recv(), lambda *seen: pipe.send(("progress", seen))):
                pipe.send(("answer", answer))
    except (EOFError, BrokenPipeError):  # nobody waits any more
        return
    except Exception as fault:  # noqa: BLE001 - it is raised where the workers were started
        known = isinstance(fault, AstuneError)
        pipe.send(("failed", fault if known else AstuneError(f"a worker failed: {type(fault).__name__}: {fault}")))
