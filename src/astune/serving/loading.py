"""Loading adapters into engines, and computing with all of them."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.errors import AdapterError, AstuneError, NumericalError
from astune.printable import printable
from astune.serving.adapters import Served
from astune.serving.engines import PredictorEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from astune.serving.settings import ServeSettings


class Loader:
    """Loads adapters, each into the engine of its backbone.

    Args:
        settings: of the service.
        computing: the thread in which models compute.
    """

    def __init__(self, settings: ServeSettings, computing: Executor) -> None:
        self._settings, self._computing = settings, computing
        self._numbers = count(1)

    async def load(self, name: str, path: str) -> Served:
        """Load an adapter and compute once with it.

        Args:
            name: under which it is served.
            path: folder, hub id or graph.

        Raises:
            AstuneError: it cannot be used.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._load, name, path)

    async def forget(self, one: Served) -> None:
        """Let go of an adapter.

        Args:
            one: that nobody uses.
        """

    def _load(self, name: str, path: str) -> Served:
        engine = PredictorEngine(path, self._settings)
        served = Served(engine.info(name), engine, f"{name}#{next(self._numbers)}", path)
        row = engine.row(np.zeros(served.info.samples, np.float32), served.key)
        self._computing.submit(try_out, served, row).result()
        return served


def try_out(served: Served, row: NDArray[Any]) -> None:
    """Compute once.

    Args:
        served: an adapter.
        row: any.

    Raises:
        NumericalError: its scores are no numbers.
    """
    (scores,) = served.engine.scores([row], [served.key])
    if not np.isfinite(scores).all():
        raise NumericalError("its scores are not finite (NaN or infinity); is it, or its backbone, damaged?")


def compute(rows: Sequence[NDArray[Any]], adapters: Sequence[Served]) -> list[NDArray[np.float32] | Exception]:
    """Scores of rows of any adapters. Where some cannot be computed, those of other adapters are.

    Args:
        rows: as their engines take them.
        adapters: of each row.

    Returns:
        (classes,) of each row, or why it has none.
    """
    found: list[NDArray[np.float32] | Exception] = [AdapterError("not computed")] * len(rows)
    engines: dict[int, list[int]] = {}
    for number, one in enumerate(adapters):
        engines.setdefault(id(one.engine), []).append(number)
    for numbers in engines.values():
        engine = adapters[numbers[0]].engine
        try:
            scores = engine.scores([rows[n] for n in numbers], [adapters[n].key for n in numbers])
            for number, one_scores in zip(numbers, scores, strict=True):
                found[number] = one_scores
        except Exception as fault:  # noqa: BLE001
            for number in numbers:
                found[number] = fault
    return found
