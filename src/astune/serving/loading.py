"""Adapters are loaded, each into the engine of its backbone, and compute."""

from __future__ import annotations

import asyncio
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.data.audio import SAMPLING_RATE
from astune.errors import AdapterError, NumericalError
from astune.inference.runtime import graph_of
from astune.names import samples_of
from astune.serving.engines import OnnxEngine, PredictorEngine
from astune.serving.served import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from astune.serving.engines import Engine
    from astune.serving.settings import ServeSettings


class Loader:
    """Loads adapters, and lets go of them.

    Args:
        settings: settings of the service.
        computing: the thread in which models compute.
    """

    def __init__(self, settings: ServeSettings, computing: Executor) -> None:
        self._settings, self._computing = settings, computing
        self._numbers = count(1)
        self._lock = Lock()
        self._predictors: dict[tuple[str, str], PredictorEngine] = {}

    async def load(self, name: str, path: str) -> Served:
        """Load an adapter and compute once with it.

        Args:
            name: under which it is served.
            path: folder, hub id or graph.

        Returns:
            The adapter.

        Raises:
            AdapterError: its input is longer than the service allows.
            AstuneError: the adapter cannot be used.
            NumericalError: its scores are NaN or infinite.
        """
        served = await asyncio.to_thread(self._load, name, path)
        try:
            loop = asyncio.get_running_loop()
            row = served.engine.row(np.zeros(served.info.samples, np.float32), served.handle)
            (scores,) = await loop.run_in_executor(self._computing, compute, [row], [served])
            if isinstance(scores, Exception):
                raise scores
            if not np.isfinite(scores).all():
                raise NumericalError(
                    "its scores are not finite (NaN or infinity); check whether the adapter or its backbone is damaged"
                )
        except BaseException:
            await self.forget(served)
            raise
        return served

    def _refuse_long_input(self, frames: int) -> None:
        """What a window costs grows with the square of its length, and all wait while it is computed.

        Raises:
            AdapterError: it is too long.
        """
        most, seconds = self._settings.max_input_seconds, samples_of(frames) / SAMPLING_RATE
        if seconds > most:
            raise AdapterError(
                f"it hears {seconds:.1f} s at a time, and max_input_seconds={most:g} allows no more; start the service with a "
                "higher one, or train an adapter with a shorter input"
            )

    async def forget(self, one: Served) -> None:
        """Let go of an adapter. Requests that compute with it go on.

        Args:
            one: the adapter that is no longer served.
        """
        await asyncio.to_thread(self._forget, one)

    def _load(self, name: str, path: str) -> Served:
        own_name = f"{name}#{next(self._numbers)}"  # another one of the name may be loaded until this one is served
        settings = self._settings
        chosen = {"backbone": settings.backbone, "device": settings.device, "precision": settings.precision}
        given = {key: value for key, value in chosen.items() if value is not None}
        graph = graph_of(path, settings.runtime, {**given, "threads": 1, "batch_size": settings.max_batch})
        if graph is not None:
            self._refuse_long_input(graph.info.max_length)
            return _served(name, own_name, OnnxEngine(graph), None, path)
        from astune import adapter_file

        adapter = adapter_file.read(path)
        config = adapter.config
        self._refuse_long_input(config.front_end.max_length)
        which = (config.backbone.fingerprint, settings.precision or config.compute_dtype)
        with self._lock:
            engine = self._predictors.get(which)
            if engine is None:
                engine = self._predictors[which] = PredictorEngine(adapter, own_name, settings)
            else:
                engine.load(adapter, own_name)
        return _served(name, own_name, engine, engine.handle(own_name), path)

    def _forget(self, one: Served) -> None:
        with self._lock:
            if isinstance(one.engine, PredictorEngine) and not one.engine.forget(one.own_name):
                self._predictors = {
                    which: engine for which, engine in self._predictors.items() if engine is not one.engine
                }


def _served(name: str, own_name: str, engine: Engine, handle: Any, path: str) -> Served:  # noqa: ANN401 - the engine's own
    return Served(engine.info(handle).model_copy(update={"name": name}), engine, handle, own_name, path)


def compute(rows: Sequence[NDArray[Any]], adapters: Sequence[Served]) -> list[NDArray[np.float32] | Exception]:
    """Scores of rows of any adapters. Where those of an adapter cannot be computed, the others' are.

    Args:
        rows: rows, as their engines take them.
        adapters: adapters of each row.

    Returns:
        (classes,) of each row, or why it has none.
    """
    found: dict[int, NDArray[np.float32] | Exception] = {}
    for numbers in _grouped(adapters, lambda one: id(one.engine)):
        try:
            found |= _scores(rows, adapters, numbers)
        except Exception:  # noqa: BLE001 - it may be the fault of one adapter alone
            for own in _grouped([adapters[number] for number in numbers], id):
                mine = [numbers[number] for number in own]
                try:
                    found |= _scores(rows, adapters, mine)
                except Exception as fault:  # noqa: BLE001 - it is raised where the scores are awaited
                    found |= dict.fromkeys(mine, fault)
    return [found[number] for number in range(len(rows))]


def _grouped(adapters: Sequence[Served], key: Callable[[Served], int]) -> Iterable[list[int]]:
    groups: dict[int, list[int]] = {}
    for number, one in enumerate(adapters):
        groups.setdefault(key(one), []).append(number)
    return groups.values()


def _scores(
    rows: Sequence[NDArray[Any]], adapters: Sequence[Served], numbers: Sequence[int]
) -> dict[int, NDArray[np.float32] | Exception]:
    engine = adapters[numbers[0]].engine
    found = engine.scores([rows[number] for number in numbers], [adapters[number].handle for number in numbers])
    return dict(zip(numbers, found, strict=True))
