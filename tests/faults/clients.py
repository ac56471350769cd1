"""Clients of a running service: ordinary ones, and those that are slow, many, hostile, or gone before they are answered."""

from __future__ import annotations

import json
import shutil
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.faults.readers.http import HIDDEN, TOKEN, make, samples
from tests.faults.sockets import answers, exchange, form, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from tests.faults.sockets import Answer, Part

_NAMES = ("songs-1", "songs-2", "songs-3")  # of adapters that come and go
_MANY, _SLOW_SECONDS = 100, 2.0


@dataclass(frozen=True)
class Service:
    """A service that is attacked; its adapter `birds` stays."""

    address: tuple[str, int]
    watched: Path

    def ask(self, method: str, target: str, parts: list[Part] | None = None, **headers: str) -> Answer:
        """Ask once.

        Raises:
            AssertionError: the answer is not sound.
        """
        lines = [("Connection", "close"), *((name.replace("_", "-"), value) for name, value in headers.items())]
        sent = request(method, target, None if parts is None else form(parts), lines)
        (answer,) = exchange(self.address, [sent])
        answer.refuse_unsound([HIDDEN.encode(), TOKEN.encode()])
        return answer


def ordinary(service: Service, random: Random) -> int:
    """Labels, windows or events of a recording. A full queue may refuse it; nothing else may."""
    fields = random.choice([{}, {"window": "0.3", "hop": "0.15"}, {"events": "true", "hop": "0.2"}, {"top_k": "3"}])
    parts: list[Part] = [("file", "a.wav", random.choice(samples().recordings)), ("adapter", None, b"birds")]
    parts += [(name, None, value.encode()) for name, value in fields.items()]
    path = random.choice(["/v1/classify", "/v1/classify", "/v1/classify/batch"])
    answer = service.ask("POST", path, parts)
    if answer.status != 200:
        assert answer.status in {408, 429}, (answer.status, answer.message)
        return answer.status
    found: Any = json.loads(answer.body)
    for one in found["results"] if path.endswith("batch") else [found]:
        scores = [label["score"] for label in one["results"]["birds"]["labels"]]
        assert scores, one
        assert all(0 <= score <= 1 for score in scores), one
    return answer.status


def fleeting(service: Service, random: Random) -> int:
    """Asks an adapter that may be there."""
    parts: list[Part] = [("file", "a.wav", samples().recordings[0]), ("adapter", None, random.choice(_NAMES).encode())]
    answer = service.ask("POST", "/v1/classify", parts)
    assert answer.status in {200, 404, 408, 429, 503}, (answer.status, answer.message)
    return answer.status


def changing(service: Service, random: Random) -> int:
    """Adapters come and go, in the folder and by those who have the token."""
    name, adapter = random.choice(_NAMES), samples().adapter
    folder = service.watched / name
    match random.randrange(4):
        case 0:
            hidden = service.watched / f".{name}-{random.random()}"
            shutil.copytree(adapter, hidden)
            with suppress(OSError):  # it is there
                hidden.rename(folder)
            shutil.rmtree(hidden, ignore_errors=True)
        case 1:
            shutil.rmtree(folder, ignore_errors=True)
        case 2:
            parts: list[Part] = [("file", path.name, path.read_bytes()) for path in sorted(adapter.iterdir())]
            answer = service.ask("PUT", f"/v1/adapters/{name}", parts, Authorization=f"Bearer {TOKEN}")
            assert answer.status in {200, 408, 507}, (answer.status, answer.message)  # 507: two change it at once
            return answer.status
        case _:
            answer = service.ask("DELETE", f"/v1/adapters/{name}", Authorization=f"Bearer {TOKEN}")
            assert answer.status in {204, 404, 507}, (answer.status, answer.message)
            return answer.status
    time.sleep(0.2)
    return 0


def hostile(service: Service, random: Random) -> int:
    """Sends what the reader `http` sends."""
    sent = make(samples().folder, random)
    found = exchange(service.address, sent.pieces, head=sent.head)
    for answer in found:
        answer.refuse_unsound([HIDDEN.encode(), TOKEN.encode()], head=sent.head)
    return found[0].status if found else 0


def leaving(service: Service, random: Random) -> int:
    """Is gone after some bytes, or before its answer."""
    sent = _upload(random)
    with socket.create_connection(service.address) as connection, suppress(ConnectionError):
        connection.sendall(sent[: random.randrange(len(sent) + 1)])
        time.sleep(random.choice([0, 0.01, 0.1]))
    return 0


def slow(service: Service, random: Random) -> int:
    """Sends a byte now and then."""
    sent, end = _upload(random), time.monotonic() + _SLOW_SECONDS
    at = random.choice([0, 60, len(sent) - 1_000])
    with socket.create_connection(service.address) as connection, suppress(ConnectionError):
        connection.sendall(sent[:at])
        while time.monotonic() < end:
            connection.sendall(sent[at : at + 1])
            at += 1
            time.sleep(0.1)
    return 0


def unread(service: Service, random: Random) -> int:
    """Reads no answer."""
    with socket.create_connection(service.address) as connection, suppress(ConnectionError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(_SLOW_SECONDS)
        with suppress(TimeoutError):
            connection.sendall(request("GET", "/openapi.json") * 500)
        time.sleep(_SLOW_SECONDS)
    return 0


def flood(service: Service, random: Random) -> int:
    """A hundred clients at once, some of which ask something."""
    with ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection(service.address)) for _ in range(_MANY)]
        asking = many[:: random.choice([1, 2, 10])]
        for one in asking:
            with suppress(ConnectionError):
                one.sendall(request("GET", "/health"))
        found = [answer for one in asking for answer in answers(one, settled=0.001)]
    assert {answer.status for answer in found} <= {200, 503}
    time.sleep(1)
    return 0


def _upload(random: Random) -> bytes:
    parts: list[Part] = [("file", "a.wav", random.choice(samples().recordings)), ("adapter", None, b"birds")]
    return request("POST", "/v1/classify", form(parts))


CLIENTS: dict[str, tuple[Callable[[Service, Random], int], int]] = {
    "ordinary": (ordinary, 3), "fleeting": (fleeting, 1), "changing": (changing, 1), "hostile": (hostile, 2), "leaving": (leaving, 1),
    "slow": (slow, 3), "unread": (unread, 2), "flood": (flood, 1),
}  # fmt: skip
"""What they do, and how many of each there are."""
