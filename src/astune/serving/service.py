"""The service without HTTP: its adapters, its queue and its threads, and how a recording is answered."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.errors import AstuneError, ConfigError
from astune.serving.adapters import Adapters
from astune.serving.batching import Batcher
from astune.serving.hearing import Decoders, Hearing, Limits, passes
from astune.serving.loading import Loader, compute
from astune.serving.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.serving.adapters import Served
    from astune.serving.batching import Places
    from astune.serving.questions import Asked, Question
    from astune.serving.settings import ServeSettings
    from astune.serving.uploads import Upload


class Service:
    """What a server of the web gives requests to.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self._computing = ThreadPoolExecutor(1, "compute")
        self.adapters = Adapters(Loader(settings, self._computing), self.metrics)
        self.batcher = Batcher(
            compute, self._computing, max_batch=settings.max_batch, max_wait=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue, metrics=self.metrics,
        )  # fmt: skip
        self.decoders = Decoders(settings.decoders, self.metrics)
        self.hearing = Hearing(self.decoders, self.batcher)
        self._tasks: list[asyncio.Task[None]] = []
        self.ready = self.draining = False

    async def start(self) -> None:
        """Load the adapters, and begin to compute.

        Raises:
            AstuneError: one that was named cannot be used.
        """
        self._tasks.append(asyncio.create_task(self.batcher.run()))
        for text in self.settings.adapters:
            name, path = named(text)
            if self.adapters.get(name):
                raise ConfigError(f"two adapters are called {name!r}; name one of them, as {name}-2={path}")
            await self.adapters.load(name, path)
        self.ready = True

    async def stop(self) -> None:
        """End what runs."""
        self.draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.adapters.close()
        self.decoders.close()
        self._computing.shutdown(wait=False, cancel_futures=True)

    async def classify(
        self, upload: Upload, question: Question, adapters: Sequence[Served], places: Places
    ) -> dict[str, Any]:
        """Answer a question about a recording.

        Args:
            upload: the recording.
            question: what is asked.
            adapters: of which it is asked.
            places: of the request in the queue.

        Returns:
            The answer, as JSON.

        Raises:
            AstuneError: the recording cannot be read, or the question cannot be asked.
            Problem: it is too long, or takes too long.
        """
        asked = dict(zip(adapters, question.of([one.info for one in adapters]), strict=True))
        limits = Limits(self.settings.max_seconds, self.settings.decode_seconds)
        results: dict[str, Any] = {}
        answer: dict[str, Any] = {"file": upload.name}
        name = upload.name or "the recording"
        for some in passes(adapters, lambda one: asked[one].windows):
            timelines = await self.hearing.timelines(upload.path, name, some, places, limits)
            for one, timeline in zip(some.adapters, timelines, strict=True):
                answer |= {
                    "seconds": round(timeline.seconds or 0.0, 3),
                    "sampling_rate": timeline.sampling_rate,
                    "doubts": list(timeline.doubts),
                }
                results[one.info.name] = asked[one].answer(timeline)
        return answer | {"results": {one.info.name: results[one.info.name] for one in adapters}}


def named(text: str) -> tuple[str, str]:
    """The name and the path of an adapter, as it is typed.

    Args:
        text: a path, whose last part is the name, or ``NAME=PATH``.

    Raises:
        ConfigError: one of them is empty.
    """
    name, given, path = text.partition("=")
    if given and ("/" in name or Path(text).exists()):  # a path with an equals sign in it
        given = ""
    if not given:
        path = text
        name = Path(text).resolve().name if Path(text).exists() else text.rpartition("/")[2]
        name = name.removesuffix(".onnx")
    if not name or not path:
        raise ConfigError(f"adapter {text!r}: give a folder, a hub id or an .onnx file, or NAME=PATH")
    return name, path
