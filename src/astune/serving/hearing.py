"""A recording becomes windows, rows of the model, scores and timelines, one for each adapter."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any

from astune.data.audio import SAMPLING_RATE
from astune.data.streaming import stream
from astune.inference.timeline import timeline_of
from astune.serving.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from astune.data.audio import Facts
    from astune.inference.timeline import Timeline
    from astune.inference.windows import Window, Windows
    from astune.serving.batching import Batcher, Slots
    from astune.serving.decoding import Decoders, Limits
    from astune.serving.served import Served

_STEP = 4  # windows that are cut in one step


@dataclass(frozen=True)
class Pass:
    """Adapters that process a recording in the same windows."""

    windows: Windows
    adapters: tuple[Served, ...]


def passes(adapters: Sequence[Served], windows: Callable[[Served], Windows]) -> Iterator[Pass]:
    """Group the adapters that process a recording in the same windows: it is decoded once for each group.

    Args:
        adapters: any.
        windows: number of windows of each recording.

    Yields:
        The passes.
    """
    found: dict[Windows, list[Served]] = {}
    for one in adapters:
        found.setdefault(windows(one), []).append(one)
    for key, some in found.items():
        yield Pass(key, tuple(some))


@dataclass(frozen=True)
class RecordingScorer:
    """Threads that decode recordings, and the queue of the model that scores their windows."""

    decoders: Decoders
    batcher: Batcher
    max_windows: int
    """Largest number of windows of a recording, over all its adapters."""

    async def timelines(
        self, path: Path, name: str, one: Pass, slots: Slots, limits: Limits
    ) -> list[tuple[Served, Timeline]]:
        """Label a recording.

        Args:
            path: the path of the file.
            name: the name of the recording, for people.
            one: the adapters and their windows.
            slots: slots of the request in the queue.
            limits: limits of the recording.

        Returns:
            Each adapter, and its timeline.

        Raises:
            AudioError: it cannot be read.
            NumericalError: scores are NaN or infinite.
            Problem: the recording is too long, or takes too long.
        """
        spans: list[tuple[float, float]] = []
        coming: list[asyncio.Future[NDArray[np.float32]]] = []
        with closing(_Cut(path, one, limits)) as cut:
            while found := await self.decoders.step(cut.step, limits):
                if len(coming) + len(found) * len(one.adapters) > self.max_windows:
                    raise Problem(
                        413, f"it has more than {self.max_windows:,} windows; send a longer hop, or a shorter recording"
                    )
                more = len(found) == _STEP  # there may be: slots for as many rows as a batch has
                self.batcher.take(slots, self.batcher.max_batch if more else len(found) * len(one.adapters))
                for window in found:
                    spans.append((window.start, window.end))
                    for row, served in zip(window.rows, one.adapters, strict=True):
                        coming.append(await self.batcher.submit(slots, row, served))
        scores = [await row for row in coming]
        labelled: list[tuple[Served, Timeline]] = []
        for number, served in enumerate(one.adapters):
            rows = scores[number :: len(one.adapters)]
            timeline = timeline_of(name, served.info, one.windows, spans, rows, cut.known)
            timeline.refuse()
            labelled.append((served, timeline))
        return labelled


@dataclass(frozen=True)
class _Rows:
    """A window, as the engine of each adapter takes it."""

    start: float
    end: float
    rows: tuple[NDArray[Any], ...]


class _Cut:
    """A recording that is cut into windows, step by step, in any threads, one at a time."""

    def __init__(self, path: Path, one: Pass, limits: Limits) -> None:
        self._stream, self._one, self._limits = stream(path, pipes=False), one, limits
        self._windows = one.windows.over(self._blocks())
        self._busy, self._stop = Lock(), False

    @property
    def known(self) -> Facts:
        """What is known of the recording, once its last window was cut."""
        assert self._stream.facts is not None  # noqa: S101 - for type checkers: the stream was drawn to its end
        return self._stream.facts

    def step(self) -> list[_Rows]:
        """Cut the next windows.

        Returns:
            Some of them; none at the end.

        Raises:
            AudioError: the recording cannot be read.
            Problem: the recording exceeds its limits.
        """
        try:
            with self._busy:
                return [self._rows(window) for window in islice(self._windows, _STEP)]
        finally:
            if self._stop:
                self.close()

    def close(self) -> None:
        """Close the file; where a step is under way, it stops at its next block and closes it."""
        self._stop = True
        if self._busy.acquire(blocking=False):
            try:
                self._stream.close()
            finally:
                self._busy.release()

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        decoded = 0
        for block in self._stream:
            decoded += len(block)
            if self._stop:
                return
            self._limits.refuse(decoded / SAMPLING_RATE)
            yield block

    def _rows(self, window: Window) -> _Rows:
        made: dict[Any, NDArray[Any]] = {}
        rows = []
        for one in self._one.adapters:
            kind = (id(one.engine), one.engine.kind(one.handle))
            if kind not in made:
                made[kind] = one.engine.row(window.samples, one.handle)
            rows.append(made[kind])
        return _Rows(window.start, window.end, tuple(rows))
