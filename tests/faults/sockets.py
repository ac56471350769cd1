"""A client that sends any bytes to a service, and reads its answers as strictly as HTTP is written."""

from __future__ import annotations

import json
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PATIENCE = 60.0  # seconds for an answer
_BOUNDARY = "b0undary"
_TRACES = (b"Traceback", b'File "/', sys.prefix.encode(), b"site-packages")
"""What only the inside of a service has."""

Part = tuple[str, str | None, bytes]
"""Of a form: the name, a file's name, and the content."""


@dataclass(frozen=True)
class Answer:
    """What a service answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        """Of an error.

        Raises:
            AssertionError: it is not the service's form of an error.
        """
        assert self.headers["content-type"] == "application/json", (self.status, self.headers, self.body[:200])
        error = json.loads(self.body)["error"]
        assert set(error) == {"code", "message"}
        message: str = error["message"]
        return message

    def refuse_unsound(self, secrets: Iterable[bytes], *, head: bool = False) -> None:
        """Fail where the service broke, or says what only its operator may know.

        Args:
            secrets: that no answer may have.
            head: whether the request was HEAD, whose answers have no body.

        Raises:
            AssertionError: it does.
        """
        whole = self.body + repr(self.headers).encode()
        told = [one for one in (*_TRACES, *secrets) if one in whole]
        assert not told, f"{self.status} tells {told}: {self.body[:300]!r}"
        assert self.status < 500 or self.status in {501, 503, 507}, f"{self.status}: {self.body[:300]!r}"
        if self.status >= 400 and not head:
            assert self.message


def answers(connection: socket.socket, *, head: bool = False, settled: float = 0.01) -> Iterator[Answer]:
    """The answers that come on a connection, until it is closed, or nothing more comes.

    Args:
        connection: on which requests were sent.
        head: whether they were HEAD.
        settled: seconds without another answer after which there is none.

    Yields:
        The answers.

    Raises:
        AssertionError: an answer is not HTTP, or is cut off.
    """
    rest, end = b"", time.monotonic() + PATIENCE
    while True:
        reading = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
        reading.send(h11.Request(method="HEAD" if head else "GET", target="/", headers=[("Host", "x")]))
        reading.send(h11.EndOfMessage())
        reading.receive_data(rest) if rest else None
        answer = None
        begun, body = bool(rest), b""
        while True:
            try:
                event = reading.next_event()
            except h11.RemoteProtocolError as fault:
                raise AssertionError(f"an answer is not HTTP: {fault}, after {begun=} {body[:200]!r}") from fault
            if isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif event is h11.NEED_DATA:
                connection.settimeout(max(0.01, end - time.monotonic()))
                try:
                    more = connection.recv(65_536)
                except ConnectionError:
                    more = b""
                except TimeoutError:
                    raise AssertionError(f"no answer within {PATIENCE:g} s, {begun=}") from None
                if not more and not begun:
                    return
                begun = True
                reading.receive_data(more)
        assert answer is not None
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in answer.headers}
        yield Answer(answer.status_code, headers, body)
        rest = reading.trailing_data[0]
        if head and headers.get("connection") == "close":  # where a head cannot be read, nobody knows that it was HEAD
            return
        if not rest:
            connection.settimeout(settled)
            try:
                rest = connection.recv(65_536)
            except (TimeoutError, ConnectionError):
                return
            if not rest:
                return


def exchange(address: tuple[str, int], pieces: Sequence[bytes], *, head: bool = False) -> list[Answer]:
    """Send something, and read what is answered.

    Args:
        address: of the service.
        pieces: sent one after the other.
        head: whether requests are HEAD.

    Returns:
        The answers.
    """
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        for piece in pieces:
            with suppress(ConnectionError):  # the service may have answered and closed
                connection.sendall(piece)
        return list(answers(connection, head=head))


def form(parts: Iterable[Part]) -> bytes:
    """A form as clients send it.

    Args:
        parts: of it.
    """
    made = []
    for name, file, content in parts:
        shown = "" if file is None else f'; filename="{file}"'
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
        made += [head.encode("utf-8", "surrogatepass"), content, b"\r\n"]
    return b"".join([*made, f"--{_BOUNDARY}--\r\n".encode()])


def request(
    method: str, target: str, body: bytes | None = None, headers: Iterable[tuple[str, str]] = (), **stated: Any
) -> bytes:
    """A request with a form, or without a body.

    Args:
        method: of it.
        target: of it.
        body: made by :func:`form`.
        headers: further ones.
        stated: ``length``, where it is not the body's.

    Returns:
        Its bytes.
    """
    lines = [f"{method} {target} HTTP/1.1", "Host: service", *(f"{key}: {value}" for key, value in headers)]
    if body is not None:
        lines += [f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"]
        lines += [f"Content-Length: {stated.get('length', len(body))}"]
    return "\r\n".join([*lines, "\r\n"]).encode("utf-8", "surrogatepass") + (body or b"")
