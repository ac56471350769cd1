"""Files that clients send: bounded while they arrive, and kept under names of our own."""

from __future__ import annotations

import asyncio
import errno
import shutil
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from typing_extensions import override

from astune.data.formats import UNREADABLE, readable_suffixes
from astune.printable import printable
from astune.serving.problems import Problem
from astune.serving.settings import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.datastructures import FormData
    from starlette.types import Message

    from astune.serving.settings import ServeSettings

_FIELDS = 1000  # of a form at most: one for each adapter and threshold
_FIELD_BYTES = 64 * 1024
_HEAD_BYTES = 16 * 1024  # of a part
PATIENCE = 20.0  # seconds that bytes of a request or an answer may take on top of those at the least rate
LEAST_RATE = 1024.0  # bytes a second that a client sends or reads at least
_SLOW_AFTER, _SLOW = 2.0, 16 * 1024.0  # seconds, and bytes a second: below, an upload gives its slot to a new request
_FEW_FILES = {errno.EMFILE, errno.ENFILE}
_LINGER = 10.0  # seconds that the rest of a refused body is thrown away for: clients read the answer only then
_DIGITS = 30  # of a length that are looked at
_CLOSE = {"Connection": "close"}
_NAME_SHOWN = 255  # letters of a client's name for a file


@dataclass(frozen=True)
class Upload:
    """A file of a client."""

    name: str
    """File name that the client gave, for messages; empty if it gave none."""
    path: Path
    """Path of the received file, under a name that the service chose."""


@dataclass(frozen=True)
class Form:
    """What a client sent."""

    files: tuple[Upload, ...]
    fields: dict[str, list[str]]


class Arrivals:
    """Bodies that arrive and have a slot in the queue. Where slow ones have taken all slots, the slowest makes room for a new request."""

    def __init__(self) -> None:
        self._bodies: set[_Body] = set()

    @contextmanager
    def one(self, body: _Body) -> Iterator[None]:
        """Count a body in, for the time of a block."""
        self._bodies.add(body)
        try:
            yield
        finally:
            self._bodies.discard(body)
            body.over.set()

    async def end_slowest(self) -> bool:
        """Give up the slowest body, if one is slow.

        Returns:
            Whether one was.
        """
        slow = [body for body in self._bodies if body.is_slow]
        if not slow:
            return False
        slowest = min(slow, key=lambda body: body.rate)
        slowest.give_up()
        await slowest.over.wait()
        return True


@asynccontextmanager
async def receive_form(
    request: Request, settings: ServeSettings, max_files: int, arrivals: Arrivals | None = None
) -> AsyncIterator[Form]:
    """Receive a form for the time of a block; its files are deleted afterwards.

    Args:
        request: the request of a client.
        settings: settings of the service, with the limits.
        max_files: largest number of files in the form.
        arrivals: those with a slot in the queue, which it joins until it has arrived.

    Yields:
        The form.

    Raises:
        Problem: it is not a form, is too large or too slow, its client went away, or there is no room for it.
    """
    body = _Body(request, settings)
    with _room(), (arrivals or Arrivals()).one(body):
        form = await _arrived(request, body, max_files)
    try:
        with _room():
            folder = TemporaryDirectory(prefix="astune-")
        with folder:
            with _room():
                kept = await _kept(form.multi_items(), Path(folder.name))
            yield kept
    finally:
        await form.close()


async def _arrived(request: Request, body: _Body, max_files: int) -> FormData:
    try:
        body.refuse_unread()
        stream = Request(request.scope, body.receive).stream()
        parser = _Parser(request.headers, stream, max_files=max_files, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
        form = await parser.parse()
        parser.refuse_cut_off()
    except ClientDisconnect as gone:
        raise Problem(499, "the client disconnected") from gone
    except MultiPartException as fault:
        await body.linger()
        several = max_files == 1 and "Too many files" in fault.message
        hint = " Send several to /v1/classify/batch." if several else ""
        raise Problem(400, f"the form cannot be read: {fault.message}{hint}") from fault
    except Problem:
        await body.linger()
        raise
    return form


class _Parser(MultiPartParser):
    """Starlette's, which takes a form that is cut off for a whole one, and does not close its last file.

    Its parts have heads of any size, where the parser below it is an old one.
    """

    _ended = False
    _head = 0  # bytes of the part's head, so far

    @override
    def on_part_begin(self) -> None:
        self._head = 0
        super().on_part_begin()

    @override
    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._refuse_long_head(end - start)
        super().on_header_field(data, start, end)

    @override
    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._refuse_long_head(end - start)
        super().on_header_value(data, start, end)

    def _refuse_long_head(self, more: int) -> None:
        self._head += more
        if self._head > _HEAD_BYTES:
            raise MultiPartException(f"the head of a part is larger than {_HEAD_BYTES:,} bytes")

    @override
    def on_end(self) -> None:
        self._ended = True

    def refuse_cut_off(self) -> None:
        """Refuse a form without an end.

        Raises:
            MultiPartException: the form has no end.
        """
        if not self._ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("it is incomplete, or has no parts")


@contextmanager
def _room() -> Iterator[None]:
    """What the system refuses while an upload is kept, as an answer.

    Raises:
        Problem: the disk is full, or too many files are open.
    """
    try:
        yield
    except OSError as fault:
        reason = fault.strerror or type(fault).__name__
        if fault.errno in _FEW_FILES:
            raise Problem(
                503, f"the service is too busy to keep this upload ({reason})", {"Retry-After": "5"}
            ) from fault
        raise Problem(
            507, f"the service cannot keep this upload ({reason}); its operator can free some disk"
        ) from fault


def refuse_fields(form: Form) -> None:
    """Refuse fields other than the files of a form.

    Args:
        form: a form that may only have files.

    Raises:
        Problem: the form has fields.
    """
    if form.fields:
        raise Problem(422, f"unknown field {next(iter(form.fields))!r}; the form accepts only files")


class _Body:
    """A body as it arrives, within its limits."""

    def __init__(self, request: Request, settings: ServeSettings) -> None:
        self._request, self._settings = request, settings
        self._bytes, self._ended, self._given_up = 0, False, False
        self._begun = asyncio.get_running_loop().time()
        self._wait: asyncio.Timeout | None = None
        self.over = asyncio.Event()
        """Once it has arrived, or is refused."""

    @property
    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._begun

    @property
    def rate(self) -> float:
        """Bytes a second, so far."""
        return self._bytes / max(self._seconds, 1e-6)

    @property
    def is_slow(self) -> bool:
        """Whether it may be given up for another."""
        return not self._given_up and self._seconds > _SLOW_AFTER and self.rate < _SLOW

    def give_up(self) -> None:
        """Wait for it no longer."""
        self._given_up = True
        if self._wait is not None and not self._wait.expired():
            self._wait.reschedule(self._begun)

    async def _next(self, deadline: float) -> Message:
        """The next part of it.

        Raises:
            TimeoutError: it does not come in time.
        """
        try:
            async with asyncio.timeout_at(self._begun if self._given_up else deadline) as self._wait:
                message = await self._request.receive()
        finally:
            self._wait = None
        self._ended = not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        return message

    def refuse_unread(self) -> None:
        """Refuse a body whose headers say that it is not a form, or too large.

        Raises:
            Problem: the body is not a form, or too large.
        """
        headers = self._request.headers
        if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise Problem(
                415, "send a form: multipart/form-data with a part named file, as `curl -F file=@recording.wav` does"
            )
        stated = headers.get("content-length", "")
        if stated.isascii() and stated.isdecimal() and int(stated[:_DIGITS]) > self._settings.max_upload_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next part of it.

        Returns:
            The receive function of ASGI.

        Raises:
            Problem: the request is too large, or too slow.
        """
        most = self._settings.upload_seconds
        try:
            message = await self._next(self._begun + min(most, PATIENCE + self._bytes / LEAST_RATE))
        except TimeoutError:
            self._ended = True  # as far as we are concerned
            fault = f"the request did not arrive within {self._seconds:.3g} s"
            if self._given_up:
                fault = "the request arrives too slowly, and other requests need its slot in the queue"
            elif self._seconds < most:
                fault += f"; send at least {LEAST_RATE:,.0f} bytes a second"
            raise Problem(408, fault, _CLOSE) from None
        if self._bytes > self._settings.max_upload_bytes:
            raise self._too_large()
        return message

    async def linger(self) -> None:
        """Throw away what else arrives, for a while; a client that waits to be asked for its body is not asked."""
        if self._request.headers.get("expect", "").lower() == "100-continue" and not self._bytes:
            return
        with suppress(TimeoutError):
            end = asyncio.get_running_loop().time() + _LINGER
            while not self._ended:
                await self._next(end)

    def _too_large(self) -> Problem:
        size = self._settings.max_upload_bytes / MIB
        return Problem(
            413, f"the request is larger than {size:g} MiB; send a shorter recording, or one that is compressed", _CLOSE
        )


async def _kept(items: list[tuple[str, Any]], folder: Path) -> Form:
    files, fields = [], dict[str, list[str]]()
    for number, (key, value) in enumerate(items):
        if not isinstance(value, UploadFile):
            fields.setdefault(key, []).append(value)
        elif key != "file":
            raise Problem(422, f"the form has a file under {printable(key)!r}; name the part file")
        else:
            path = folder / f"{number}{_suffix(value.filename)}"
            await run_in_threadpool(_copy, value, path)
            await value.close()
            files.append(Upload(printable(value.filename or "")[:_NAME_SHOWN], path))
    if not files:
        raise Problem(422, "the form has no file; add a part named file, as `curl -F file=@recording.wav` does")
    return Form(tuple(files), fields)


def _suffix(name: str | None) -> str:
    """The end of a client's name for a file, if it is one of those that audio files have: libsndfile looks at it for a few formats."""
    suffix = PurePosixPath(name or "").suffix.lower()
    return suffix if suffix in readable_suffixes() | UNREADABLE else ""


def _copy(upload: UploadFile, path: Path) -> None:
    with path.open("xb") as file:
        shutil.copyfileobj(upload.file, file, MIB)
