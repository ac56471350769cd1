"""Recordings become rows: decoded block by block in threads, with limits of length and time.

A thread cannot be killed. So decoding goes in short steps, between which it can be stopped. A step that takes longer than a recording may
is left alone, and its thread is missing until it ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.data.audio import SAMPLING_RATE
from astune.data.streaming import stream
from astune.errors import AudioError
from astune.inference.timeline import Timeline
from astune.serving.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path
    from typing import TypeVar

    from numpy.typing import NDArray

    from astune.data.audio import Facts
    from astune.inference.windows import Window, Windows
    from astune.serving.adapters import Served
    from astune.serving.batching import Batcher, Places
    from astune.serving.metrics import Metrics

    _Found = TypeVar("_Found")

_STEP = 4  # windows that are cut in one step
_SLACK = 0.01  # seconds: lengths are rounded
_GRACE = 1.0  # seconds that a step may take to stop by itself


@dataclass
class Limits:
    """Of one recording."""

    seconds: float
    """Of audio."""
    decode_seconds: float
    """Of work on it."""
    spent: float = 0.0
    _begun: float = field(default=0.0, init=False)

    def begin(self) -> None:
        """A step begins, in its thread."""
        self._begun = time.monotonic()

    def end(self) -> None:
        """It ends."""
        self.spent += time.monotonic() - self._begun

    def refuse(self, heard: float) -> None:
        """Refuse a recording that is past its limits.

        Args:
            heard: seconds of it that were decoded.

        Raises:
            Problem: it is.
        """
        if heard > self.seconds + _SLACK:
            raise Problem(413, f"the recording is longer than {self.seconds:g} s; cut it into shorter files")
        if self.spent + time.monotonic() - self._begun > self.decode_seconds:
            raise self.too_slow()

    def too_slow(self) -> Problem:
        """The answer where decoding takes too long."""
        return Problem(422, f"decoding the recording takes longer than {self.decode_seconds:g} s; convert it to .wav or .flac")


class Decoders:
    """Threads that decode.

    Args:
        threads: how many.
        metrics: what is counted.
    """

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self._threads, self._metrics = threads, metrics
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._free = asyncio.Semaphore(threads)
        self.stuck = 0

    async def step(self, work: Callable[[], _Found], limits: Limits) -> _Found:
        """Do a step in a thread.

        Args:
            work: the step.
            limits: of its recording.

        Returns:
            What it gives.

        Raises:
            Problem: it takes too long, or all threads are stuck.
        """
        if self.stuck >= self._threads:
            raise Problem(503, "all decoding threads are busy with recordings that do not end", {"Retry-After": "30"})
        await self._free.acquire()
        step = asyncio.get_running_loop().run_in_executor(self._pool, _timed, work, limits)
        step.add_done_callback(lambda _: self._free.release())
        # Shielded: a step whose client is gone still occupies its thread.
        done, _ = await asyncio.wait([asyncio.shield(step)], timeout=max(0.0, limits.decode_seconds - limits.spent) + _GRACE)
        if done:
            return await step
        self._count_stuck(1)
        step.add_done_callback(lambda _: self._count_stuck(-1))
        step.add_done_callback(lambda late: late.exception())  # nobody waits for it any more
        raise limits.too_slow()

    def _count_stuck(self, more: int) -> None:
        self.stuck += more
        self._metrics.stuck.set(self.stuck)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _timed(work: Callable[[], _Found], limits: Limits) -> _Found:
    limits.begin()
    try:
        return work()
    finally:
        limits.end()


@dataclass(frozen=True)
class Pass:
    """Adapters that hear a recording in the same windows."""

    windows: Windows
    adapters: tuple[Served, ...]


@dataclass(frozen=True)
class _Rows:
    """A window, as each engine takes it."""

    start: float
    end: float
    rows: tuple[NDArray[Any], ...]


class _Cut:
    """A recording that is cut into windows, step by step."""

    def __init__(self, path: Path, one: Pass, limits: Limits) -> None:
        self._stream = stream(path, pipes=False)
        self._limits = limits
        self._one = one
        self._lock, self._stop = threading.Lock(), False
        self._windows = one.windows.over(self._blocks())
        self.facts: Facts | None = None

    def step(self) -> list[_Rows]:
        """The next windows; none at the end.

        Returns:
            Some of them.

        Raises:
            AudioError: the recording cannot be read.
            Problem: it is past its limits.
        """
        try:
            with self._lock:
                found = [self._rows(window) for window in islice(self._windows, _STEP)]
        finally:
            if self._stop:
                self.close()
        if not found:
            self.facts = self._stream.facts
        return found

    def close(self) -> None:
        """Close the file; where a step is at it, it stops soon and does so."""
        self._stop = True
        if self._lock.acquire(blocking=False):
            with closing(self._stream):
                self._lock.release()

    def _blocks(self) -> Generator[NDArray[np.float32], None, None]:
        heard = 0
        for block in self._stream:
            heard += len(block)
            if self._stop:
                return
            self._limits.refuse(heard / SAMPLING_RATE)
            yield block

    def _rows(self, window: Window) -> _Rows:
        made: dict[Any, NDArray[Any]] = {}
        rows = []
        for one in self._one.adapters:
            kind = (id(one.engine), one.engine.kind(one.info))
            if kind not in made:
                made[kind] = one.engine.row(window.samples, one.key)
            rows.append(made[kind])
        return _Rows(window.start, window.end, tuple(rows))


@dataclass(frozen=True)
class Hearing:
    """What hears recordings: threads that decode them and the queue of the model."""

    decoders: Decoders
    batcher: Batcher

    async def timelines(self, path: Path, name: str, one: Pass, places: Places, limits: Limits) -> list[Timeline]:
        """Hear a recording.

        Args:
            path: of the file.
            name: of the recording, for people.
            one: who hears it, in which windows.
            places: of the request in the queue.
            limits: of the recording.

        Returns:
            A timeline for each adapter.

        Raises:
            AudioError: it cannot be read.
            Problem: it is too long, or takes too long.
        """
        cut = _Cut(path, one, limits)
        spans: list[tuple[float, float]] = []
        scores: list[list[asyncio.Future[NDArray[Any]]]] = []
        try:
            while found := await self.decoders.step(cut.step, limits):
                self.batcher.take(places, len(found) * len(one.adapters))
                for rows in found:
                    spans.append((rows.start, rows.end))
                    scores.append(
                        [
                            await self.batcher.submit(places, row, served)
                            for row, served in zip(rows.rows, one.adapters, strict=True)
                        ]
                    )
            by_window = [[await one_score for one_score in window] for window in scores]
        finally:
            cut.close()
        starts, ends = np.array(spans, np.float64).reshape(-1, 2).T
        assert cut.facts
        return [
            Timeline(
                name, served.info.labels, served.info.task, one.windows.window, one.windows.hop, starts, ends,
                np.stack([window[number] for window in by_window]), cut.facts.seconds, cut.facts.sampling_rate, cut.facts.doubts,
                negatives=served.info.negatives,
            )
            for number, served in enumerate(one.adapters)
        ]  # fmt: skip


def passes(adapters: Sequence[Served], windows: Callable[[Served], Windows]) -> Iterator[Pass]:
    """Adapters by the windows in which they hear a recording: it is decoded once for each."""
    found: dict[Windows, list[Served]] = {}
    for one in adapters:
        found.setdefault(windows(one), []).append(one)
    for key, some in found.items():
        yield Pass(key, tuple(some))
