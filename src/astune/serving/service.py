"""The service without HTTP: its adapters, its queue and its threads, and how a recording is answered."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune import __version__
from astune.errors import AstuneError, AudioError, ConfigError
from astune.printable import printable
from astune.serving.adapters import Adapters
from astune.serving.adapters_dir import AdaptersDir
from astune.serving.batching import Batcher, QueueFull
from astune.serving.decoding import Decoders, Limits
from astune.serving.hearing import RecordingScorer, passes
from astune.serving.loading import Loader, compute
from astune.serving.log import log
from astune.serving.metrics import Metrics
from astune.serving.problems import Problem, problem_of
from astune.serving.uploads import Arrivals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from astune.serving.batching import Slots
    from astune.serving.questions import Asked
    from astune.serving.served import Served
    from astune.serving.settings import ServeSettings
    from astune.serving.uploads import Upload


class Service:
    """What a web server gives requests to.

    Args:
        settings: settings of the service.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self._computing = ThreadPoolExecutor(1, "compute")
        self.adapters = Adapters(Loader(settings, self._computing), self.metrics)
        self.batcher = Batcher(
            compute, self._computing, max_batch=settings.max_batch, max_wait=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue, metrics=self.metrics,
        )  # fmt: skip
        self.arrivals = Arrivals()
        self.folder: AdaptersDir | None = None
        self.draining = False
        self._ready = self._begun = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the adapters, and begin to compute; once, however often it is called.

        Raises:
            AstuneError: a named adapter cannot be used, or the folder does not exist.
        """
        if self._begun:
            return
        self._begun = True
        self.decoders = Decoders(self.settings.decoders, self.metrics)
        self.scorer = RecordingScorer(self.decoders, self.batcher, self.settings.max_windows)
        given = names_of(self.settings.adapters)
        if self.settings.adapters_dir is not None:
            self.folder = AdaptersDir(self.settings.adapters_dir, self.adapters, given)
        for name, path in given.items():
            self.adapters.publish(await self.adapters.prepare(name, path))
        self._run(self.batcher.run())
        if self.folder:
            await self.folder.look()
            self._run(self.folder.watch())
        self._ready = True

    @asynccontextmanager
    async def slots(self) -> AsyncIterator[Slots]:
        """A request's part of the queue, for the time of a block. Where slow uploads have all of it, one of them makes room.

        Yields:
            It.

        Raises:
            QueueFull: the queue is full.
        """
        with ExitStack() as stack:
            while True:
                try:
                    mine = stack.enter_context(self.batcher.slots())
                    break
                except QueueFull:
                    if not await self.arrivals.end_slowest():
                        raise
            yield mine

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin what goes on until the service ends."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception():
                log(f"a part of the service failed, and /health reports it; restart the service: {task.exception()!r}")

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        self._tasks.append(task)

    async def stop(self) -> None:
        """Stop everything that runs."""
        self.draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.adapters.close()
        self.decoders.close()
        self._computing.shutdown(wait=False, cancel_futures=True)

    def health(self) -> dict[str, Any]:
        """How the service is, as JSON; ``status`` is ``ready`` where requests can be answered."""
        status = "ready" if self._ready else "starting"
        if self._ready and self.decoders.stuck >= self.settings.decoders:
            status = "stuck"
        if any(task.done() for task in self._tasks):
            status = "failed"
        if self.draining:
            status = "draining"
        return {
            "status": status, "version": __version__, "adapters": len(self.adapters.names), "broken": len(self.adapters.broken),
            "queue": self.batcher.rows, "decoders_stuck": self.decoders.stuck if self._begun else 0,
        }  # fmt: skip

    async def classify(self, upload: Upload, asked: Sequence[tuple[Served, Asked]], slots: Slots) -> dict[str, Any]:
        """Answer questions about a recording.

        Args:
            upload: the recording.
            asked: the request for each adapter.
            slots: slots of the request in the queue.

        Returns:
            The answer, as JSON.

        Raises:
            Problem: the recording cannot be read, is too long, or takes too long.
        """
        name = upload.name or "the recording"
        limits = Limits(self.settings.max_seconds, self.settings.decode_seconds)
        questions = {id(served): one for served, one in asked}
        results: dict[str, Any] = {}
        about: dict[str, Any] = {}
        try:
            for some in passes([served for served, _ in asked], lambda one: questions[id(one)].windows):
                for served, timeline in await self.scorer.timelines(upload.path, name, some, slots, limits):
                    about = {
                        "seconds": timeline.seconds,
                        "sampling_rate": timeline.sampling_rate,
                        "doubts": list(timeline.doubts),
                    }
                    results[served.info.name] = questions[id(served)].answer(timeline)
        except AstuneError as fault:
            if isinstance(fault, AudioError):
                self.metrics.undecodable.inc()
            problem = problem_of(fault)
            raise Problem(problem.status, str(fault).replace(printable(upload.path), name)) from fault
        return {
            "file": upload.name,
            **about,
            "results": {served.info.name: results[served.info.name] for served, _ in asked},
        }

    async def classify_all(
        self, uploads: Sequence[Upload], asked: Sequence[tuple[Served, Asked]], slots: Slots
    ) -> dict[str, Any]:
        """Answer questions about several recordings; one that cannot be read has an error in the place of its results.

        Args:
            uploads: the recordings.
            asked: see :meth:`classify`.
            slots: see :meth:`classify`.

        Returns:
            The answers in order, as JSON.
        """

        async def answer(upload: Upload) -> dict[str, Any]:
            try:
                return await self.classify(upload, asked, slots)
            except Problem as problem:
                if problem.status >= 500:  # the status of the whole answer does not say so
                    log(f"a recording of a batch failed: {problem.status} {problem.message}")
                return {"file": upload.name, **problem.body}

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(upload)) for upload in uploads]
        return {"results": [task.result() for task in tasks]}


def names_of(texts: Sequence[str]) -> dict[str, str]:
    """The paths of adapters by their names, as they are typed.

    Args:
        texts: paths, whose last part is the name, or ``NAME=PATH``.

    Returns:
        Paths by names.

    Raises:
        ConfigError: a name or path is empty, or two adapters have one name.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, path = _named(text)
        if name in found:
            raise ConfigError(f"two adapters are named {name!r}; name one of them, such as {name}-2={path}")
        found[name] = path
    return found


def _named(text: str) -> tuple[str, str]:
    name, given, path = text.partition("=")
    if not given or "/" in name or Path(text).exists():  # an equals sign may be part of a path
        path = text
        name = (Path(text).resolve().name if Path(text).exists() else text.rpartition("/")[2]).removesuffix(".onnx")
    if not name.strip() or not path or printable(name) != name:
        raise ConfigError(f"adapter {text!r}: give a folder, a hub id or an .onnx file, or NAME=PATH")
    return name, path
