"""Rows of many requests become batches of the model.

Everything here runs in the event loop's thread, so nothing is locked; only the model computes in a thread of its own. Requests take
turns, row by row, so that the windows of a long recording do not keep a short one waiting.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from astune.serving.metrics import Metrics

    Row = NDArray[Any]
    Scores = NDArray[Any]

_REMEMBERED = 0.9  # of the measured rate, with each batch
_LONGEST_RETRY = 60  # largest number of seconds in Retry-After


class QueueFull(Exception):  # noqa: N818 - it is what happens, not a fault
    """The queue is full.

    Args:
        retry_after: seconds until there may be room.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"retry after {retry_after} s")
        self.retry_after = retry_after


@dataclass(eq=False)
class Slots:
    """What a request has in the queue: its rows that wait, and how many slots it holds."""

    held: int = 0
    """Rows that it may have waiting or in work at a time."""
    waiting: deque[_Waiting] = field(default_factory=deque)
    pending: set[asyncio.Future[Scores]] = field(default_factory=set)
    """Scores of rows that wait or are in work."""


@dataclass(eq=False)
class _Waiting:
    """A row that waits for its scores."""

    row: Row
    adapter: Any
    since: float
    scores: asyncio.Future[Scores]


class Batcher:
    """The queue in front of the model.

    Args:
        compute: gives, for rows and their adapters, the scores of each row, or why it has none. It runs in the thread of ``executor``
            and raises nothing.
        executor: executor with one thread.
        max_batch: rows of a batch at most.
        max_wait: longest time in seconds that a row waits for others.
        max_queue: rows that may wait or be in work.
        metrics: what is counted.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Row], Sequence[Any]], Sequence[Scores | Exception]],
        executor: Executor,
        *,
        max_batch: int,
        max_wait: float,
        max_queue: int,
        metrics: Metrics,
    ) -> None:
        self._compute, self._executor, self._metrics = compute, executor, metrics
        self.max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._turns: OrderedDict[Slots, None] = OrderedDict()  # requests with rows that wait, the next one first
        self._waiting = self._held = 0
        self._rate = 0.0  # rows a second; 0 before the first batch
        self._more = asyncio.Event()

    @contextmanager
    def slots(self) -> Iterator[Slots]:
        """A request's part of the queue, for the time of a block: one slot at first. Rows that still wait at the end are dropped.

        Yields:
            It.

        Raises:
            QueueFull: the queue is full.
        """
        mine = Slots()
        self.take(mine, 1)
        try:
            yield mine
        finally:
            self._held -= mine.held
            self._waiting -= len(mine.waiting)
            mine.waiting.clear()
            for scores in list(mine.pending):
                scores.cancel()
            self._turns.pop(mine, None)
            self._measure()

    def take(self, mine: Slots, wanted: int) -> None:
        """Hold more slots, up to those of a batch. The first rows of a request have to find room; later ones have it then.

        Args:
            mine: the slots of the request.
            wanted: rows that it has.

        Raises:
            QueueFull: there is not room for one.
        """
        free = self._max_queue - self._held
        if not mine.held and not free:
            raise QueueFull(self.retry_after())
        more = max(0, min(min(wanted, self.max_batch) - mine.held, free))
        mine.held += more
        self._held += more
        self._measure()

    async def submit(self, mine: Slots, row: Row, adapter: Any) -> asyncio.Future[Scores]:  # noqa: ANN401 - the engine's own
        """Let a row wait for the model; first wait for a slot, where all of the request's are taken.

        Args:
            mine: the slots of the request.
            row: the row, as the engine takes it.
            adapter: the adapter that computes it.

        Returns:
            Its scores to come.
        """
        while len(mine.pending) >= mine.held:
            await asyncio.wait(mine.pending, return_when=asyncio.FIRST_COMPLETED)
        scores: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        mine.pending.add(scores)
        scores.add_done_callback(mine.pending.discard)
        scores.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # seen, though another row's may be raised
        mine.waiting.append(_Waiting(row, adapter, time.monotonic(), scores))
        self._turns.setdefault(mine)
        self._waiting += 1
        self._more.set()
        self._measure()
        return scores

    def retry_after(self) -> int:
        """Whole seconds after which what is in the queue now will have been computed, at the rate of the last batches."""
        seconds = self._held / self._rate if self._rate else 1.0
        return max(1, min(_LONGEST_RETRY, math.ceil(seconds)))

    @property
    def rows(self) -> int:
        """Number of rows that wait."""
        return self._waiting

    async def run(self) -> None:
        """Compute batch after batch, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._gather()
            batch = list(self._next())
            if not batch:
                continue
            begun = time.monotonic()
            self._metrics.waited(begun - one.since for one in batch)
            rows, adapters = [one.row for one in batch], [one.adapter for one in batch]
            found = await loop.run_in_executor(self._executor, self._compute, rows, adapters)
            self._computed(len(batch), time.monotonic() - begun)
            for one, scores in zip(batch, found, strict=True):
                if one.scores.done():  # its client is gone
                    continue
                if isinstance(scores, Exception):
                    one.scores.set_exception(scores)
                else:
                    one.scores.set_result(scores)

    async def _gather(self) -> None:
        """Wait until there are rows, and then until they fill a batch or the first of them has waited long enough."""
        while not self._waiting:
            self._more.clear()
            await self._more.wait()
        first = min(mine.waiting[0].since for mine in self._turns)
        while self._waiting and self._waiting < self.max_batch:
            left = first + self._max_wait - time.monotonic()
            if left <= 0:
                return
            self._more.clear()
            try:
                await asyncio.wait_for(self._more.wait(), left)
            except TimeoutError:
                return

    def _next(self) -> Iterator[_Waiting]:
        """Rows of a batch, one of each request in turn."""
        for _ in range(min(self.max_batch, self._waiting)):
            mine, _ = self._turns.popitem(last=False)
            one = mine.waiting.popleft()
            if mine.waiting:
                self._turns[mine] = None
            self._waiting -= 1
            yield one

    def _computed(self, rows: int, seconds: float) -> None:
        rate = rows / max(seconds, 1e-6)
        self._rate = _REMEMBERED * self._rate + (1 - _REMEMBERED) * rate if self._rate else rate
        self._metrics.computed(rows, seconds)
        self._measure()

    def _measure(self) -> None:
        self._metrics.queue.set(self._waiting)
        self._metrics.held.set(self._held)
