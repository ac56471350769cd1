"""Threads that decode what strangers send: limits, and steps that do not end."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from threading import Event

import pytest

from astune.serving.decoding import Decoders, Limits
from astune.serving.metrics import Metrics
from astune.serving.problems import Problem


def test_a_step_that_does_not_end_is_left_alone_and_its_thread_is_missing_until_it_does() -> None:
    async def run() -> None:
        metrics, end = Metrics(), Event()
        decoders = Decoders(1, metrics)
        with pytest.raises(Problem, match=r"longer than 0\.1 s") as slow:
            await decoders.step(end.wait, Limits(10, 0.1))
        assert slow.value.status == 422
        assert decoders.stuck == metrics.stuck._value.get() == 1
        with pytest.raises(Problem, match="all decoding threads") as busy:
            await decoders.step(lambda: 1, Limits(10, 5))
        assert busy.value.status == 503
        end.set()
        while decoders.stuck:
            await asyncio.sleep(0.01)
        assert await decoders.step(lambda: 1, Limits(10, 5)) == 1
        decoders.close()

    asyncio.run(run())


def test_steps_wait_for_a_free_thread_and_errors_come_back() -> None:
    async def run() -> None:
        decoders, running, most = Decoders(2, Metrics()), 0, 0

        def work() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            time.sleep(0.01)
            running -= 1

        def broken() -> None:
            raise ValueError("broken")

        await asyncio.gather(*(decoders.step(work, Limits(10, 60)) for _ in range(12)))
        assert most == 2
        with pytest.raises(ValueError, match="broken"):
            await decoders.step(broken, Limits(10, 60))
        decoders.close()

    asyncio.run(run())


def test_a_client_that_is_gone_gives_its_thread_back_when_its_step_ends() -> None:
    async def run() -> None:
        decoders, begun, end = Decoders(1, Metrics()), Event(), Event()

        def work() -> None:
            begun.set()
            end.wait()

        gone = asyncio.create_task(decoders.step(work, Limits(10, 60)))
        await asyncio.to_thread(begun.wait)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        following = asyncio.create_task(decoders.step(lambda: 7, Limits(10, 60)))
        await asyncio.sleep(0.05)
        assert not following.done()
        end.set()
        assert await following == 7
        decoders.close()

    asyncio.run(run())


def test_limits_count_the_work_of_all_steps() -> None:
    limits = Limits(10, 0.05)
    limits.timed(lambda: time.sleep(0.03))

    def work() -> None:
        time.sleep(0.03)
        limits.refuse(1.0)

    with pytest.raises(Problem, match="decoding takes longer"):
        limits.timed(work)
    other = Limits(10, 5)
    with pytest.raises(Problem, match="longer than 10 s") as long:
        other.timed(partial(other.refuse, 10.5))
    assert long.value.status == 413
