"""Threads that decode what strangers send.

A thread cannot be killed. So decoding goes in short steps, between which it can be stopped. A step that goes on past its time is left
alone: its thread is counted as stuck, and is missing until it ends. The threads are daemons, so that none of them keeps the process alive.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from astune.serving.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from astune.serving.metrics import Metrics

_Found = TypeVar("_Found")
_SLACK = 0.01  # seconds: lengths are rounded
_GRACE = 1.0  # seconds that a step may take to stop by itself


@dataclass
class Limits:
    """Limits for one recording."""

    seconds: float
    """Seconds of audio."""
    decode_seconds: float
    """Seconds that decoding took."""
    spent: float = 0.0
    """Seconds of work in the steps so far."""
    _begun: float = field(default=0.0, init=False)

    def timed(self, work: Callable[[], _Found]) -> _Found:
        """Do a step, and count its time.

        Args:
            work: the step.

        Returns:
            What it gives.
        """
        self._begun = time.monotonic()
        try:
            return work()
        finally:
            self.spent += time.monotonic() - self._begun

    def refuse(self, decoded_seconds: float) -> None:
        """Refuse a recording that is past its limits; for its step to ask as often as it can.

        Args:
            decoded_seconds: seconds of the recording that were decoded.

        Raises:
            Problem: it is.
        """
        if decoded_seconds > self.seconds + _SLACK:
            raise Problem(413, f"the recording is longer than {self.seconds:g} s; cut it into shorter files")
        if self.spent + time.monotonic() - self._begun > self.decode_seconds:
            raise self.too_slow()

    def too_slow(self) -> Problem:
        """The answer where decoding takes too long."""
        return Problem(
            422, f"decoding takes longer than {self.decode_seconds:g} s; convert the recording to .wav or .flac"
        )


class Decoders:
    """Threads that decode.

    Args:
        threads: number of threads.
        metrics: what is counted.
    """

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self._threads, self._metrics = threads, metrics
        self._steps: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._free = asyncio.Semaphore(threads)
        self.stuck = 0
        for number in range(threads):
            Thread(target=self._work, name=f"decode-{number}", daemon=True).start()

    async def step(self, work: Callable[[], _Found], limits: Limits) -> _Found:
        """Do a step in a thread, as soon as one is free.

        Args:
            work: the step.
            limits: limits of its recording.

        Returns:
            What it gives.

        Raises:
            Problem: decoding takes too long, or all threads are stuck.
        """
        if self.stuck >= self._threads:
            raise Problem(503, "all decoding threads are stuck on recordings", {"Retry-After": "30"})
        await self._free.acquire()
        step: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        step.add_done_callback(lambda _: self._free.release())
        self._steps.put((lambda: limits.timed(work), step))
        # A client that goes away leaves its step to end by itself: it occupies its thread.
        done, _ = await asyncio.wait([step], timeout=max(0.0, limits.decode_seconds - limits.spent) + _GRACE)
        if done:
            return step.result()
        self._count_stuck(1)
        step.add_done_callback(lambda _: self._count_stuck(-1))
        raise limits.too_slow()

    def close(self) -> None:
        """End the threads, each after its step."""
        for _ in range(self._threads):
            self._steps.put(None)

    def _work(self) -> None:
        while (given := self._steps.get()) is not None:
            work, future = given
            try:
                found, fault = work(), None
            except Exception as error:  # noqa: BLE001 - it is raised where the step is awaited
                found, fault = None, error
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                future.get_loop().call_soon_threadsafe(_settle, future, found, fault)

    def _count_stuck(self, more: int) -> None:
        self.stuck += more
        self._metrics.stuck.set(self.stuck)


def _settle(future: asyncio.Future[Any], found: object, fault: Exception | None) -> None:
    if fault is None:
        future.set_result(found)
    else:
        future.set_exception(fault)
        future.exception()  # seen, though its client may be gone
