"""The server of the service: ``astune serve``."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override

from astune.errors import ConfigError
from astune.serving.app import create_app
from astune.serving.connections import Connection
from astune.serving.log import log, logging_of_libraries
from astune.serving.memory import limit_free_memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from astune.serving.service import Service
    from astune.serving.settings import ServeSettings

_BACKLOG = 2048
_TICKS = 10  # of uvicorn, a tenth of a second each, from one look at all connections to the next


class Server:
    """The service with its socket. It listens from the start; connections made before the service is ready wait.

    Args:
        settings: settings of the service.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.app = create_app(settings)
        self._socket = listening_socket(settings)
        self._uvicorn: _Uvicorn | None = None

    @property
    def address(self) -> str:
        """Address of the service, such as ``http://127.0.0.1:8000``."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def run(self, announce: Callable[[str], object]) -> None:
        """Serve until the process gets SIGTERM or Ctrl-C, or :meth:`stop` is called; then finish open requests.

        Args:
            announce: is given the address, once requests are answered.

        Raises:
            AstuneError: an adapter cannot be used.
        """
        address = self.address
        limit_free_memory()  # before threads start
        with self._socket, logging_of_libraries():
            asyncio.run(self._serve(lambda: announce(address)))

    def stop(self) -> None:
        """Stop; any thread may call it."""
        if self._uvicorn is not None:
            self._uvicorn.handle_exit(signal.SIGTERM, None)

    async def _serve(self, ready: Callable[[], object]) -> None:
        service: Service = self.app.state.service
        await service.start()  # here, so that what is wrong with an adapter is a sentence and no traceback in a log
        config = uvicorn.Config(
            self.app, http=Connection, ws="none", log_config=None, log_level="warning", access_log=False, server_header=False,
            lifespan="on", timeout_graceful_shutdown=self._settings.drain_seconds,
        )  # fmt: skip
        self._uvicorn = _Uvicorn(config, service, ready)
        await self._uvicorn.serve(sockets=[self._socket])


def listening_socket(settings: ServeSettings) -> socket.socket:
    """A socket that listens; what connects before the service is ready waits.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as fault:
        raise ConfigError(
            f"host={settings.host}, port={settings.port} cannot be listened on: {fault.strerror or fault}; give another port, or 0 for any "
            "that is free"
        ) from fault
    # Connections take it over, and asyncio does not set it on them: the body of an answer would wait 40 ms for the receipt of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class _Uvicorn(uvicorn.Server):
    """A uvicorn server that ends with exit code 0 when it is stopped."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @override
    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.end_unread()
        return await super().on_tick(counter)

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C does so at once. uvicorn's own method would raise the signal again afterwards."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        elif not self.should_exit:
            log(f"stopping: running requests are finished, for up to {self._service.settings.drain_seconds} s")
            self._service.draining = self.should_exit = True
