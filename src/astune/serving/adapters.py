"""The adapters that are served, by name. They come and go while requests are answered, and no request notices.

A request computes with the adapters that were there when it began.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from astune.errors import AstuneError, unknown_choice
from astune.printable import printable
from astune.serving.log import log
from astune.serving.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.serving.loading import Loader
    from astune.serving.metrics import Metrics
    from astune.serving.served import Served


class Adapters:
    """What is served, and what could not be loaded.

    Args:
        loader: the loader that loads them.
        metrics: what is counted.
    """

    def __init__(self, loader: Loader, metrics: Metrics) -> None:
        self._loader, self._metrics = loader, metrics
        self._served: dict[str, Served] = {}
        self._broken: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()
        self._forgetting: set[asyncio.Task[None]] = set()

    @property
    def names(self) -> list[str]:
        """Names of the adapters that are served."""
        return sorted(self._served)

    @property
    def broken(self) -> dict[str, str]:
        """Why some are not served, by name."""
        return dict(sorted(self._broken.items()))

    def get(self, name: str) -> Served | None:
        """The adapter of a name, if it is served.

        Args:
            name: name of the adapter.
        """
        return self._served.get(name)

    def find(self, names: Sequence[str]) -> list[Served]:
        """Adapters that a request asks for. It may use them until it ends, whatever comes and goes meanwhile.

        Args:
            names: names of the adapters; empty for the only one.

        Returns:
            The adapters in this order, each once.

        Raises:
            Problem: one of them is not served, or none is named and there are several.
        """
        return [self._named(name) for name in dict.fromkeys(names)] or [self._only()]

    async def prepare(self, name: str, path: str) -> Served:
        """Load an adapter and compute once with it; it is not served yet.

        Args:
            name: under which it will be.
            path: folder, hub id or graph.

        Returns:
            The adapter, for :meth:`publish` or :meth:`drop`.

        Raises:
            AstuneError: the adapter cannot be used.
        """
        async with self._one_at_a_time:
            return await self._loader.load(name, path)

    def publish(self, served: Served) -> None:
        """Serve an adapter from now on, in the place of the one of its name if there is one.

        Args:
            served: the result of :meth:`prepare`.
        """
        name = served.info.name
        self._retire(name)
        self._served[name] = served
        self._broken.pop(name, None)
        self._measure()

    def drop(self, served: Served) -> None:
        """Forget an adapter that was not published after all.

        Args:
            served: the result of :meth:`prepare`.
        """
        self._forget(served)

    async def load_or_report(self, name: str, path: str) -> None:
        """Serve an adapter; where it cannot be used, report it.

        Args:
            name: under which it is served.
            path: folder or graph.
        """
        try:
            self.publish(await self.prepare(name, path))
        except AstuneError as fault:
            self.report(name, str(fault).replace(path, name))  # clients do not see where it is
        except Exception as fault:  # noqa: BLE001 - one adapter does not stop the others, whatever its files do to those who read them
            log(f"adapter {name!r} cannot be loaded: {type(fault).__name__}", fault)
            self.report(
                name,
                f"{type(fault).__name__} while loading; the log of the service shows where. Save the adapter again",
            )

    def report(self, name: str, fault: str) -> None:
        """Remember and announce why an adapter is not served, or not in its newest form.

        Args:
            name: name of the adapter.
            fault: what is wrong.
        """
        stays = "; the one that was loaded before is still served" if name in self._served else ""
        if self._broken.get(name) != fault:
            log(f"adapter {name!r} cannot be loaded: {fault}{stays}")
        self._broken[name] = fault
        self._measure()

    def remove(self, name: str) -> bool:
        """Serve an adapter no more.

        Args:
            name: name of the adapter.

        Returns:
            Whether there was one.
        """
        was_broken = self._broken.pop(name, None) is not None
        was_served = self._retire(name)
        self._measure()
        return was_served or was_broken

    async def close(self) -> None:
        """Wait until what was removed is forgotten."""
        await asyncio.gather(*self._forgetting)

    def record(self) -> dict[str, Any]:
        """All of them, as JSON."""
        return {
            "adapters": [one.record() for _, one in sorted(self._served.items())],
            "broken": [
                {"name": printable(name), "error": printable(fault, lines=True)} for name, fault in self.broken.items()
            ],
        }

    def _named(self, name: str) -> Served:
        found = self._served.get(name)
        if found is None and name in self._broken:
            raise Problem(503, f"adapter {name!r} cannot be loaded: {self._broken[name]}")
        if found is None:
            raise Problem(404, unknown_choice("adapter", name, self.names) if self.names else "no adapter is loaded")
        return found

    def _only(self) -> Served:
        if not self._served:
            raise Problem(503, "no adapter is loaded")
        if len(self._served) > 1:
            choices = unknown_choice("adapter", "", self.names).partition("; ")[2]
            raise Problem(422, f"adapter is missing, and there are {len(self._served):,}; {choices}")
        return next(iter(self._served.values()))

    def _retire(self, name: str) -> bool:
        old = self._served.pop(name, None)
        if old is not None:
            self._forget(old)
        return old is not None

    def _forget(self, one: Served) -> None:
        task = asyncio.get_running_loop().create_task(self._loader.forget(one))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    def _measure(self) -> None:
        self._metrics.adapters.set(len(self._served))
        self._metrics.broken.set(len(self._broken))
