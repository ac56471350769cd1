"""Requests to a running service: heads, forms, fields, recordings, adapters and names that are not what they should be.

The service runs in a thread of the watched process, behind a real socket. Every answer has to be HTTP with an honest status, without a
path or trace of this machine; every refusal is one line of the log; and nothing is left behind: no slot of the queue, no file.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from typing_extensions import override

from astune.errors import ConfigError
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes, hostile_text, hostile_value
from tests.faults.sockets import exchange, form, request
from tests.serving_parts import write_adapter, write_recordings

if TYPE_CHECKING:
    from random import Random

    from astune.serving.server import Server
    from tests.faults.sockets import Part

TOKEN = "a token of some length"  # noqa: S105 - of this test
HIDDEN = "hidden-place"  # in the path of everything that the service has
_SECONDS = 0.1  # that a head, a body and the rest of a refused one may take: what never ends is given up then
_FIELDS = {
    "adapter": "birds", "top_k": "3", "pool": "mean", "window": "0.5", "hop": "0.25", "threshold": "0.5", "events": "true", "low": "0.3",
    "min_length": "0.1", "merge_gap": "0.2",
}  # fmt: skip
_NAMES = ["a.wav", "../../etc/passwd", "a\x00.wav", "a\r\nX: y.wav", "\u202egnp.wav", '"', "", "x" * 3_000, "a.mp3", ".", "CON", "a.onnx",
          "adapter_config.json", "%00", "a;b.wav", "\n2026-01-01T00:00:00.000Z 200 GET / 1 ms", "ü" * 90]  # fmt: skip
_TARGETS = [
    "/", "/health", "/health/live", "/metrics", "/v1/adapters", "/v1/classify", "/v1/classify/batch", "/openapi.json",
    "/app.js", "/v1/adapters/birds", "/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/%00", "/v1/adapters/..%2f..",
    "/v1/adapters/%00", "/v1/adapters/%ff", "/" + "x" * 9_000, "*", "http://other/health", "/health?" + "a=b&" * 3_000,
    "//health", "/v1/classify?top_k=1", "/health#x", "/%0a2026-01-01T00:00:00.000Z%20200%20GET", "/v1//classify",
    "/assets/..;/x", "/\\..\\..\\x",
]  # fmt: skip
_METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "get",
    "X" * 300,
    "GE T",
    "\x00",
]
_HEADERS = [
    ("Content-Length", "-1"), ("Content-Length", "1e3"), ("Content-Length", "9" * 400), ("Content-Length", "5, 5"),
    ("Content-Length", "+5"), ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip, chunked"),
    ("Transfer-Encoding", "chunked, chunked"), ("Transfer-Encoding", "\x0bchunked"), ("Transfer-Encoding", "identity"),
    ("Expect", "100-continue"), ("Expect", "a miracle"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
    ("Connection", "keep-alive, " * 300), ("Upgrade", "h2c"), ("Host", "other"), ("Range", "bytes=0-"),
    ("Range", "bytes=" + "0-1," * 1_000), ("Range", "bytes=9-1"), ("If-None-Match", "*"),
    ("If-Modified-Since", "never"), ("Content-Type", "multipart/form-data"),
    ("Content-Type", "multipart/form-data; boundary="), ("Content-Type", "text/plain"),
    ("Content-Type", "multipart/form-data; boundary=" + "x" * 500),
    ("Content-Type", "multipart/form-data; boundary=\u00e4; charset=rot13"),
    ("Content-Type", "multipart/form-data; boundary=b0undary; charset=utf-16"), ("Accept-Encoding", "gzip"),
    ("Origin", "null"), ("Authorization", "Bearer"), ("Authorization", "Basic eDp5"),
    ("Authorization", "Bearer \u00e4\u00f6"), ("Cookie", "a=" + "b" * 4_000), ("X-Forwarded-For", "\x1b[31m"),
    ("X", "y" * 20_000), ("X", ""), ("", "y"), ("X\x00", "y"), ("X", "a\r\n b"),
]  # fmt: skip
_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ([1-5]\d\d) [\x21-\x7e]+ [\x21-\x7e]+ \d+ ms [\x21-\x7e]+ \w+: .+"
)


@dataclass(frozen=True)
class Sent:
    """What is sent to the service."""

    pieces: tuple[bytes, ...]
    head: bool = False
    """Whether its answers have no bodies."""

    @override
    def __str__(self) -> str:
        """As far as it can be read."""
        whole = b"".join(self.pieces)
        return f"{len(whole):,} bytes in {len(self.pieces)} pieces: {whole[:2_000]!r}"


@dataclass(frozen=True)
class _Running:
    server: Server
    address: tuple[str, int]
    temporary: Path


@dataclass(frozen=True)
class Samples:
    """What sound requests are made of."""

    folder: Path
    adapter: Path
    recordings: tuple[bytes, ...]


@cache
def samples() -> Samples:
    """An adapter and recordings, in a folder that no answer may name."""
    folder = Path(tempfile.mkdtemp(prefix=f"{HIDDEN}-"))
    adapter = write_adapter(folder / "birds", "birds")
    recordings = write_recordings(folder / "recordings").values()
    return Samples(folder, adapter, tuple(path.read_bytes() for path in recordings))


def make(folder: Path, random: Random) -> Sent:
    kind = random.choice(
        [_of_fields, _of_fields, _of_parts, _of_heads, _of_heads, _of_bytes, _of_sounds, _of_adapters, _of_chunks]
    )
    sent = kind(random)
    pieces = tuple(_in_pieces(sent, random))
    return Sent(pieces, head=sent.startswith(b"HEAD "))


def _in_pieces(sent: bytes, random: Random) -> list[bytes]:
    """As a network would deliver it; what a head or a body lacks never comes."""
    if random.random() < 0.05:
        sent = sent[: random.randrange(len(sent))]
    if random.random() < 0.1:
        sent *= 2  # the second request comes before the first is answered
    if random.random() < 0.8 or len(sent) < 3:
        return [sent]
    at = sorted(random.randrange(1, len(sent)) for _ in range(3))
    return [sent[: at[0]], sent[at[0] : at[1]], sent[at[1] : at[2]], sent[at[2] :]]


def _sound(random: Random) -> bytes:
    """A recording."""
    return random.choice(samples().recordings)


def _parts(random: Random) -> list[Part]:
    """Of a sound form."""
    names = random.sample([*_FIELDS], random.randrange(len(_FIELDS)))
    return [("file", "a.wav", _sound(random)), *((name, None, _FIELDS[name].encode()) for name in ("adapter", *names))]


def _posted(parts: list[Part], random: Random) -> bytes:
    target = random.choice(["/v1/classify", "/v1/classify", "/v1/classify/batch"])
    return request("POST", target, form(parts), [("Connection", "close")] if random.random() < 0.5 else [])


def _of_fields(random: Random) -> bytes:
    """Fields with values of other types, absurd ones, unknown ones, thousands of them."""
    fields: Any = hostile_value(_FIELDS, random)
    parts: list[Part] = [("file", "a.wav", _sound(random))]
    for name, value in fields.items() if isinstance(fields, dict) else []:
        for one in value if isinstance(value, list) else [value]:
            text = hostile_text(str(one)[:5_000], random) if random.random() < 0.3 else str(one)
            parts.append((str(name), None, text.encode("utf-8", "surrogatepass")))
    if random.random() < 0.05:
        parts += [(random.choice([*_FIELDS]), None, b"0.1")] * random.choice([999, 1_001, 5_000])
    return _posted(parts, random)


def _of_parts(random: Random) -> bytes:
    """Names of files, repeated and missing parts, and the bytes of the form itself."""
    parts = [(name, file and random.choice(_NAMES), content) for name, file, content in _parts(random)]
    parts *= random.choice([1, 1, 1, 2, 80])
    if random.random() < 0.3:
        random.shuffle(parts)
        del parts[random.randrange(len(parts)) :]
    if random.random() < 0.5:
        head, _, body = _posted(parts, random).partition(b"\r\n\r\n")
        return head + b"\r\n\r\n" + hostile_bytes(body, random)
    return _posted(parts, random)


def _of_heads(random: Random) -> bytes:
    """Methods, targets and headers."""
    headers = random.choices(_HEADERS, k=random.choice([0, 1, 1, 2, 3, 200]))
    body = form(_parts(random)) if random.random() < 0.5 else None
    length = {"length": random.choice([0, 1, 10**6, 10**30, -1])} if random.random() < 0.1 else {}
    target = random.choice(_TARGETS)
    return request(
        random.choice(_METHODS),
        hostile_text(target, random) if random.random() < 0.2 else target,
        body,
        headers,
        **length,
    )


def _of_bytes(random: Random) -> bytes:
    """Any byte of a request changed."""
    return hostile_bytes(_posted(_parts(random), random), random)


def _of_sounds(random: Random) -> bytes:
    """Recordings that are damaged, or something else."""
    parts = [
        (name, file and random.choice(_NAMES), hostile_bytes(content, random) if file else content)
        for name, file, content in _parts(random)
    ]
    return _posted(parts, random)


def _of_adapters(random: Random) -> bytes:
    """Adapters put and deleted, by who may and who may not."""
    token = random.choice([TOKEN, TOKEN, TOKEN, TOKEN[:-1], "\u00e4" * 20, ""])
    headers = [("Authorization", f"Bearer {token}")] * random.choice([1, 1, 1, 2])
    name = random.choice(
        ["songs", "songs", "birds", "..", ".x", "a%00", "%2e%2e%2fx", "x" * 200, "a.onnx", "%ff", "%0a"]
    )
    target = f"/v1/adapters/{name}"
    if random.random() < 0.2:
        return request("DELETE", target, headers=headers)
    content = {path.name: path.read_bytes() for path in samples().adapter.iterdir()}
    config = json.loads(content["adapter_config.json"])
    match random.randrange(4):
        case 0:
            content["adapter_config.json"] = json.dumps(hostile_value(config, random)).encode("utf-8", "surrogatepass")
        case 1:
            content["adapter_config.json"] = hostile_bytes(content["adapter_config.json"], random)
        case 2:
            content["adapter_model.safetensors"] = hostile_bytes(content["adapter_model.safetensors"], random)
        case _:
            content = {random.choice([*content, *_NAMES]): body for body in content.values()}
    return request("PUT", target, form([("file", name, body) for name, body in content.items()]), headers)


def _of_chunks(random: Random) -> bytes:
    """Bodies that come in chunks."""
    body, sent = form(_parts(random)), b""
    while body:
        size = random.choice([1, 100, 5_000, len(body)])
        sent += b"%x%s\r\n%s\r\n" % (len(body[:size]), random.choice([b"", b"", b";x=y"]), body[:size])
        body = body[size:]
        if len(sent) > 30_000:
            sent, body = sent + b"%x\r\n%s\r\n" % (len(body), body), b""
    sent += random.choice(
        [
            b"0\r\n\r\n",
            b"0\r\n\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"",
            b"-1\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\n" + b"X: y\r\n" * 5_000,
        ]
    )
    headers = [("Transfer-Encoding", "chunked"), ("Content-Type", "multipart/form-data; boundary=b0undary")]
    if random.random() < 0.2:
        headers.append(("Content-Length", random.choice(["0", "5", "99999"])))
    sent = hostile_bytes(sent, random) if random.random() < 0.5 else sent
    return request("POST", "/v1/classify", headers=headers) + sent


def read(sent: Sent) -> None:
    running, log = _running(), io.StringIO()
    with redirect_stderr(log):
        found = exchange(running.address, sent.pieces, head=sent.head)
        _settled(running)
    for one in found:
        one.refuse_unsound([HIDDEN.encode(), TOKEN.encode()], head=sent.head)
    lines = log.getvalue().splitlines()
    told = [_LINE.fullmatch(line) for line in lines if " adapter " not in line[:40]]
    forged = [line for line, match in zip(lines, told, strict=False) if not match]
    assert not forged, f"a line of the log is not one of the service's: {forged[0][:300]!r}"
    statuses = sorted(match[1] for match in told if match)
    refused = [one for one in found if one.status >= 400]
    missing = [one.status for one in refused if str(one.status) not in statuses]
    assert not missing, f"the log does not have {missing}: {lines}"
    if refused:
        raise ConfigError(f"{refused[0].status}: {refused[0].message if not sent.head else ''}")


def _settled(running: _Running) -> None:
    """The service is as it was before: it answers, and has nothing of the request."""
    service, end = running.server.app.state.service, time.monotonic() + 60
    while (
        service.batcher._held
        or service.decoders._free._value < service.settings.decoders
        or [*running.temporary.iterdir()]
    ):
        assert time.monotonic() < end, f"left behind: {service.batcher._held} slots, {[*running.temporary.iterdir()]}"
        time.sleep(0.002)
    (answer,) = exchange(running.address, [request("GET", "/health", headers=[("Connection", "close")])])
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "ready")


@cache
def _running() -> _Running:
    """The service, which ends with the process."""
    from astune.serving import ServeSettings, connections, server, uploads

    connections._HEAD_SECONDS = uploads._LINGER = _SECONDS
    root = samples().folder
    for folder in ("watched", "temporary"):
        (root / folder).mkdir()
    tempfile.tempdir = str(root / "temporary")
    settings = ServeSettings(
        adapters=(str(samples().adapter),), adapters_dir=root / "watched", token=SecretStr(TOKEN), port=0, device="cpu", max_wait_ms=0,
        max_upload_mb=4, max_files=8, upload_seconds=_SECONDS,
    )  # fmt: skip
    serving = server.Server(settings)
    ready = Event()
    Thread(target=serving.run, args=(lambda _: ready.set(),), daemon=True).start()
    assert ready.wait(120)
    host, _, port = serving.address.removeprefix("http://").partition(":")
    return _Running(serving, (host, int(port)), root / "temporary")


def warm_up(folder: Path) -> None:
    running = _running()
    for content in samples().recordings:
        parts: list[Part] = [
            ("file", "a.wav", content),
            *((name, None, value.encode()) for name, value in _FIELDS.items()),
        ]
        for _ in range(20):
            (answer,) = exchange(running.address, [request("POST", "/v1/classify", form(parts))])
            if answer.status != 408:  # a busy machine may be too slow
                break
        assert answer.status == 200, answer


READER = Reader("http", make, read, warm_up)
