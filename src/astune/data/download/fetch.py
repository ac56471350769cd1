"""One large file over HTTP, taken up again where the connection broke."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from astune import __version__
from astune.console import stderr_console
from astune.errors import DataError, OutputError, explain_write_errors
from astune.files import write_text
from astune.json_text import json_value
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CHUNK = 1 << 20  # bytes read at a time
_TIMEOUT = 60.0  # seconds without a byte
_PATIENCE = 4  # attempts in a row that bring nothing new
_PAUSE = 1.0  # seconds after the first of them, doubling
_MAKE_ROOM = "make room and give the same command again"
_LONGEST_NOTE = 10_000  # bytes of the note next to a download
_PROOF = re.compile(r"(?!W/)[ -~]{1,500}")  # a strong ETag or a date, as a header may repeat it


def fetch(url: str, file: Path, *, quiet: bool = False) -> None:
    """Download a file, or the rest of it.

    What an earlier call left in ``file`` is kept when the server can prove, by an ETag or a date, that its file is still the same.

    Args:
        url: http or https.
        file: path of the download; ``<file>.json`` next to it says what it is a part of.
        quiet: no progress bar.

    Raises:
        DataError: the URL is invalid, the server refuses, or the connection breaks again and again.
        OutputError: there is less room than the file needs.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url!r} is not an http or https URL")
    idle, fault = 0, ""
    with _bar(quiet=quiet) as bar:
        task = bar.add_task("Downloading", total=None)
        while idle < _PATIENCE:
            if idle:
                time.sleep(_PAUSE * 2 ** (idle - 1))
            before = _size(file)
            try:
                _attempt(url, file, lambda done, total: bar.update(task, completed=done, total=total))
            except (ValueError, http.client.InvalidURL) as problem:  # of hosts, ports and signs that no URL has
                raise DataError(
                    f"{printable(url)} is not a valid URL ({printable(problem)}); give another one"
                ) from problem
            except (OSError, http.client.HTTPException) as problem:
                fault = str(getattr(problem, "reason", None) or problem) or type(problem).__name__
                idle = 0 if _size(file) > before else idle + 1
            else:
                return
    kept = _size(file)
    ahead = f"{kept:,} bytes are kept, and the same command goes on from there" if kept else "set url=URL to a mirror"
    raise DataError(f"{url} cannot be downloaded: {fault}; {ahead}")


def _bar(*, quiet: bool) -> Progress:
    console = stderr_console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _attempt(url: str, file: Path, show: Callable[[int, int | None], None]) -> None:
    """Ask once, for the rest if there is a beginning.

    Raises:
        ConnectionError: a retry may help, as with every other OSError and HTTPException that comes out of here.
        DataError: it will not help.
    """
    validator = _validator(url, file)
    have = _size(file) if validator else 0
    headers = {"User-Agent": f"astune/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http or https, checked above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            _receive(answer, url, file, (have, validator), show)
    except urllib.error.HTTPError as refusal:
        with refusal:
            if refusal.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                if refusal.headers.get("Content-Range") == f"bytes */{have}":
                    return  # it was whole already
                file.unlink()
            elif refusal.code < 500 and refusal.code not in (408, 429):
                raise DataError(
                    f"{url} answered {refusal.code} {refusal.reason}; set url=URL to another address"
                ) from refusal
            raise ConnectionError(f"the server answered {refusal.code} {refusal.reason}") from refusal


def _receive(
    answer: Any,  # noqa: ANN401 - urllib's own type
    url: str,
    file: Path,
    beginning: tuple[int, str],
    show: Callable[[int, int | None], None],
) -> None:
    have, validator = beginning
    tag = answer.headers.get("ETag") or ""
    proof = tag if _PROOF.fullmatch(tag) else answer.headers.get("Last-Modified") or ""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        follows = answer.headers.get("Content-Range") or "nothing"
        if not follows.startswith(f"bytes {have}-") or (proof or validator) != validator:
            file.unlink()
            raise ConnectionError(f"the server sent {follows} of another file, not what follows byte {have}")
    else:
        have, validator = 0, proof
        # Before the note is written: else a crash here would leave the note of the new file with the bytes of the old one.
        file.unlink(missing_ok=True)
    length = answer.headers.get("Content-Length") or ""
    total = have + int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    free = shutil.disk_usage(file.parent).free
    if total is not None and total - have > free:
        raise OutputError(f"{url} has {total:,} bytes, and {free:,} are free at {file.parent}; {_MAKE_ROOM}")
    with explain_write_errors(file, _MAKE_ROOM):
        write_text(file.with_name(f"{file.name}.json"), json.dumps({"url": url, "validator": validator}))
        stream = file.open("ab" if have else "wb")
    with stream:
        while chunk := answer.read(_CHUNK):
            with explain_write_errors(file, _MAKE_ROOM):
                stream.write(chunk)
                stream.flush()
            have += len(chunk)
            show(have, total)
    if total is not None and have != total:
        raise ConnectionError(f"the connection closed after {have:,} of {total:,} bytes")


def _validator(url: str, file: Path) -> str:
    """What proves that the server still has the file that we have the beginning of; empty where nothing does."""
    note = file.with_name(f"{file.name}.json")
    try:
        known = json_value(note.read_text(encoding="utf-8")) if note.stat().st_size <= _LONGEST_NOTE else {}
        return known["validator"] if known["url"] == url and _PROOF.fullmatch(known["validator"]) else ""
    except (OSError, ValueError, KeyError, TypeError):  # without it, all is asked for
        return ""
