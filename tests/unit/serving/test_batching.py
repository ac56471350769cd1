"""The queue in front of the model: turns, limits, and clients that go away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from astune.serving.batching import Batcher, QueueFull
from astune.serving.metrics import Metrics

Scores = NDArray[np.float32]


class Model:
    """Doubles its rows, and remembers its batches; it waits for ``go`` before each."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.go, self.busy = Event(), Event()
        self.go.set()

    def __call__(self, rows: Sequence[NDArray[Any]], adapters: Sequence[Any]) -> list[Scores | Exception]:
        self.busy.set()
        self.go.wait()
        self.batches.append([float(row[0]) for row in rows])
        return [
            ValueError(adapter) if adapter == "broken" else row * 2 for row, adapter in zip(rows, adapters, strict=True)
        ]


def in_loop(test: Callable[[Batcher, Model], Coroutine[Any, Any, None]], **limits: Any) -> Model:
    """Run a test with a queue; it ends empty."""
    model, metrics = Model(), Metrics()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(
                model, executor, **{"max_batch": 4, "max_wait": 0.0, "max_queue": 8, "metrics": metrics, **limits}
            )
            running = asyncio.create_task(batcher.run())
            try:
                await test(batcher, model)
            finally:
                model.go.set()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            assert batcher.rows == 0
            assert metrics.held._value.get() == 0

    asyncio.run(run())
    return model


def row(value: float) -> NDArray[np.float32]:
    return np.full(3, value, np.float32)


async def ask(batcher: Batcher, values: Sequence[float], adapter: object = "any") -> list[float]:
    """A request with some rows."""
    with batcher.slots() as slots:
        batcher.take(slots, len(values))
        coming = [await batcher.submit(slots, row(value), adapter) for value in values]
        return [float((await scores)[0]) for scores in coming]


def test_each_request_gets_its_own_scores() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        answers = await asyncio.gather(*(ask(batcher, [10 * n, 10 * n + 1]) for n in range(4)))
        assert answers == [[20 * n, 20 * n + 2] for n in range(4)]

    model = in_loop(test)
    assert max(map(len, model.batches)) <= 4
    assert sum(map(len, model.batches)) == 8


def test_requests_take_turns_so_that_a_long_one_keeps_no_short_one_waiting() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        model.go.clear()
        long = asyncio.create_task(ask(batcher, list(range(100, 140))))
        await asyncio.to_thread(model.busy.wait)  # its first rows are being computed, more wait
        await asyncio.sleep(0.02)
        short = [asyncio.create_task(ask(batcher, [n])) for n in range(3)]
        await asyncio.sleep(0.02)
        model.go.set()
        assert await asyncio.gather(*short) == [[0.0], [2.0], [4.0]]
        done = {value for batch in model.batches for value in batch}
        assert len(done) < 20, "the short requests waited for the long one"
        assert len(await long) == 40

    in_loop(test, max_queue=64)


def test_rows_wait_for_others_and_not_longer_than_they_may() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        first = asyncio.create_task(ask(batcher, [1]))
        await asyncio.sleep(0)
        second = asyncio.create_task(ask(batcher, [2]))
        await asyncio.wait_for(asyncio.gather(first, second), 10)

    assert in_loop(test, max_wait=0.2).batches == [[1.0, 2.0]]


def test_a_full_batch_does_not_wait() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        await asyncio.wait_for(ask(batcher, [1, 2, 3, 4]), 30)

    assert in_loop(test, max_wait=3600.0).batches == [[1.0, 2.0, 3.0, 4.0]]


def test_a_full_queue_refuses_and_says_when_to_try_again() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        assert await ask(batcher, [1, 2]) == [2, 4]  # so that there is a rate
        model.go.clear()
        held = [asyncio.create_task(ask(batcher, [n, n])) for n in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull) as full:
            await ask(batcher, [9])
        assert 1 <= full.value.retry_after <= 60
        model.go.set()
        await asyncio.gather(*held)
        assert await ask(batcher, [9]) == [18]

    in_loop(test)


def test_a_request_holds_no_more_places_than_a_batch_has() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        model.go.clear()
        long = asyncio.create_task(ask(batcher, list(range(50))))
        await asyncio.sleep(0.05)
        other = asyncio.create_task(ask(batcher, [1]))  # 8 slots, of which the long one has 4
        await asyncio.sleep(0.05)
        model.go.set()
        assert await other == [2]
        assert len(await long) == 50

    in_loop(test)


def test_rows_of_a_client_that_is_gone_are_not_computed() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        model.go.clear()
        first = asyncio.create_task(ask(batcher, [1]))
        await asyncio.to_thread(model.busy.wait)
        gone = asyncio.create_task(ask(batcher, [50, 51, 52]))
        await asyncio.sleep(0.05)
        assert batcher.rows == 3
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert batcher.rows == 0
        model.go.set()
        assert await first == [2]
        assert await ask(batcher, [3]) == [6]

    assert in_loop(test).batches == [[1.0], [3.0]]


def test_what_cannot_be_computed_fails_those_alone_who_asked_for_it() -> None:
    async def test(batcher: Batcher, model: Model) -> None:
        found = await asyncio.gather(
            ask(batcher, [1, 2]), ask(batcher, [3, 4], "broken"), ask(batcher, [5]), return_exceptions=True
        )
        assert found[0] == [2, 4]
        assert isinstance(found[1], ValueError)
        assert found[2] == [10]

    in_loop(test, max_wait=0.05)
