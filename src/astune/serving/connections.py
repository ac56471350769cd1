"""Connections of clients that are slow, many, or speak no HTTP.

uvicorn has no limit for the time in which a head arrives or an answer is read, and none for connections without a request.
"""

from __future__ import annotations

import json
import resource
import socket
import struct
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from astune.serving.front import CAREFUL, log_refused
from astune.serving.problems import Problem
from astune.serving.uploads import LEAST_RATE, PATIENCE

if TYPE_CHECKING:
    import asyncio

_HEAD_SECONDS = 20.0  # that the head of a request may take to arrive
_REFUSED_SECONDS = (
    2.0  # that what a refused client still sends is thrown away: closed at once, it may not see the answer
)
_MOST = 4_096  # connections; each costs some kilobytes
_AT_ONCE = struct.pack("ii", 1, 0)  # a connection is closed without waiting for what was not sent
_BAD = "the request is not HTTP"
_FAULTS = {
    431: "the head of the request is larger than 16 KiB; send fewer or shorter headers",
    501: "the transfer encoding is unknown; send the body as it is, or chunked",
}


def most_connections() -> int:
    """Connections that a service takes at a time: half of the files that it may open. Recordings need the others."""
    return max(8, min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Connection(H11Protocol):
    """uvicorn's, with these limits. What cannot be read is answered as all other errors are."""

    _impatient: asyncio.TimerHandle | None = None
    _since = 0.0  # when it began to wait for the head of a request
    _unread: tuple[object, int, float] = (
        None,
        0,
        0.0,
    )  # the answer that a client reads, the bytes that wait, and since when

    _refused = False

    @property
    def waiting(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A client connects; where there are too many, the one goes that has waited longest without a request.

        Args:
            transport: transport of the connection.
        """
        super().connection_made(transport)
        self._since = self.loop.time()
        self._impatient = self.loop.call_later(_HEAD_SECONDS, self.timeout_keep_alive_handler)
        if len(self.connections) > most_connections():
            idle = [one for one in self.connections if isinstance(one, Connection) and one is not self and one.waiting]
            if idle:
                min(idle, key=lambda one: one._since).transport.abort()
            else:
                self._refuse(Problem(503, "too many clients are connected; try again later", {"Retry-After": "5"}))
                transport.close()

    @override
    def data_received(self, data: bytes) -> None:
        """A part of a request arrives.

        Args:
            data: the bytes that arrived.
        """
        if self._refused:
            return
        super().data_received(data)
        if not self.waiting and self._impatient is not None:
            self._impatient.cancel()
            self._impatient = None
        elif self.waiting and self._impatient is None:
            self._since = self.loop.time()
            self._impatient = self.loop.call_later(_HEAD_SECONDS, self.timeout_keep_alive_handler)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """A client is gone.

        Args:
            exc: why.
        """
        if self._impatient is not None:
            self._impatient.cancel()
        super().connection_lost(exc)

    def end_unread(self) -> None:
        """Give up an answer that its client does not read; called now and then."""
        now, cycle = self.loop.time(), self.cycle
        unread = self.transport.get_write_buffer_size()
        known, before, since = self._unread
        if not unread or cycle is not known:
            self._unread = cycle, unread, now
        elif now - since >= PATIENCE:
            if before - unread < LEAST_RATE * PATIENCE:
                # Else the system would keep what is unread, and the connection, until the client reads it.
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                self.transport.abort()
            self._unread = cycle, unread, now

    @override
    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP.

        Args:
            msg: uvicorn's.
        """
        fault = sys.exception()
        status = fault.error_status_hint if isinstance(fault, h11.RemoteProtocolError) else 400
        self._refuse(Problem(status, _FAULTS.get(status, f"{_BAD}: {str(fault).partition(':')[0]}" if fault else _BAD)))

    @override
    def _should_upgrade(self) -> bool:
        return False  # to nothing; uvicorn's own would log each request that asks

    def _refuse(self, problem: Problem) -> None:
        """Answer without the app, and close the connection. A request under way is given up: its body cannot be read."""
        self._refused = True
        log_refused("-", "-", problem.status, 0.0, self.client, problem.message)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = json.dumps(problem.body, ensure_ascii=False).encode()
            headers = {
                **CAREFUL, **problem.headers, "Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close",
            }  # fmt: skip
            reason = HTTPStatus(problem.status).phrase.encode()
            asked_for_head = self.conn.our_state is h11.SEND_RESPONSE and self.scope["method"] == "HEAD"
            for event in (
                h11.Response(status_code=problem.status, headers=list(headers.items()), reason=reason),
                h11.Data(data=b"" if asked_for_head else body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
            with suppress(OSError):  # the client is gone already
                self.transport.write_eof()
            self.loop.call_later(_REFUSED_SECONDS, self.transport.abort)
        else:
            self.transport.close()
