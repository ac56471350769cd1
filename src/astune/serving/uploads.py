"""Files that clients send: bounded while they arrive, and kept under names of our own."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from astune.data.formats import UNREADABLE, readable_suffixes
from astune.printable import printable
from astune.serving.problems import Problem
from astune.serving.settings import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Message

    from astune.serving.settings import ServeSettings

_FIELDS = 1000  # of a form at most: one for each adapter and threshold
_FIELD_BYTES = 64 * 1024
_LINGER = 10.0  # seconds that the rest of a refused body is thrown away for: clients read the answer only then
_CLOSE = {"Connection": "close"}
_NAME_SHOWN = 255  # letters of a client's name for a file


@dataclass(frozen=True)
class Upload:
    """A file of a client."""

    name: str
    """As the client calls it, to be shown; empty where it does not."""
    path: Path
    """Where it is, under a name of our own."""


@dataclass(frozen=True)
class Form:
    """What a client sent."""

    files: tuple[Upload, ...]
    fields: dict[str, list[str]]


@asynccontextmanager
async def received(request: Request, settings: ServeSettings, max_files: int) -> AsyncIterator[Form]:
    """Receive a form, for the time of a block; its files are gone behind it.

    Args:
        request: of a client.
        settings: with the limits.
        max_files: of the form.

    Yields:
        The form.

    Raises:
        Problem: it is no form, too large, too slow, or its client went away.
    """
    body = _Body(request, settings)
    try:
        body.refuse_unread()
        form = await Request(request.scope, body.receive).form(
            max_files=max_files, max_fields=_FIELDS, max_part_size=_FIELD_BYTES
        )
    except ClientDisconnect as gone:
        raise Problem(499, "the client went away") from gone
    except HTTPException as fault:
        await body.linger()
        raise Problem(400, f"the form cannot be read: {fault.detail}") from fault
    except Problem:
        await body.linger()
        raise
    try:
        with TemporaryDirectory(prefix="astune-") as folder:
            yield await _kept(form.multi_items(), Path(folder))
    finally:
        await form.close()


def refuse_fields(form: Form) -> None:
    """Refuse fields beside the files of a form.

    Args:
        form: that has files alone.

    Raises:
        Problem: it has fields.
    """
    if form.fields:
        raise Problem(422, f"unknown field {next(iter(form.fields))!r}; the form has files alone")


class _Body:
    """A body as it arrives, within its limits."""

    def __init__(self, request: Request, settings: ServeSettings) -> None:
        self._request, self._settings = request, settings
        self._bytes, self._ended = 0, False
        self._deadline = asyncio.get_running_loop().time() + settings.upload_seconds

    def refuse_unread(self) -> None:
        """Refuse a body that says that it is no form, or too large.

        Raises:
            Problem: it does.
        """
        headers = self._request.headers
        if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise Problem(
                415, "send a form: multipart/form-data with a part named file, as `curl -F file=@recording.wav` does"
            )
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated) > self._settings.max_upload_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next part of it.

        Returns:
            As ASGI has it.

        Raises:
            Problem: it is too large, or too slow.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._request.receive()
        except TimeoutError:
            self._ended = True  # as far as we are concerned
            seconds = self._settings.upload_seconds
            raise Problem(408, f"the request did not arrive within {seconds:g} s", _CLOSE) from None
        self._ended = not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._settings.max_upload_bytes:
            raise self._too_large()
        return message

    async def linger(self) -> None:
        """Throw away what else arrives, for a while; a client that waits to be asked for its body is not asked."""
        if self._request.headers.get("expect", "").lower() == "100-continue" and not self._bytes:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while not self._ended:
                    self._ended = not (await self._request.receive()).get("more_body", False)

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
