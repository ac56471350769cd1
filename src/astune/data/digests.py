"""What an audio file is, by its content: a copy is the same, a file that was replaced is another one, whatever its size and times say.

A file is hashed once. ``<cache>/digests.sqlite`` remembers the digest with size, modification time, change time and inode. Archives with
fixed times and ``cp -p`` set the first two at will; the change time is the system's own. A file that is mapped into memory has the change
time of its first change until the system writes it to the disk, within 35 seconds by Linux's default. So a file is remembered a minute
after its last change. FAT and squashfs have no change time of their own, and are believed by the other three.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING

from astune.console import progress
from astune.data.store import cache_root
from astune.data.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

UNREADABLE = "unreadable"
_DIGITS = 32  # hexadecimal ones of a SHA-256
_SETTLED = 60.0  # seconds after its last change until a file is remembered, see above
_PATIENCE = 5.0  # seconds to wait for another process that writes digests
_COLUMNS = "path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, inode INTEGER, digest TEXT"

_State = tuple[int, int, int, int]  # size, modification and change time in ns, inode


def content_digests(paths: Sequence[Path], *, quiet: bool = False) -> list[str]:
    """Digest of each file's bytes.

    Args:
        paths: the files.
        quiet: no progress bar.

    Returns:
        32 hexadecimal digits each; ``"unreadable"`` for what is missing, no regular file, or cannot be read.
    """
    states = {path: _state(path) for path in paths}
    remembered = _remembered(states)
    wanted = [path for path, state in states.items() if state is not None and path not in remembered]
    hashed: dict[Path, str] = {}
    with progress("Identifying files", len(wanted), quiet=quiet) as advance:
        for path, digest in zip(wanted, in_threads(_digest, wanted), strict=True):
            hashed[path] = digest
            advance(1, "")
    _remember({path: (state, hashed[path]) for path in wanted if (state := states[path]) is not None})
    return [remembered.get(path) or hashed.get(path, UNREADABLE) for path in paths]


def _state(path: Path) -> _State | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # reading it will say why
        return None
    if not stat.S_ISREG(status.st_mode):  # a pipe can be read only once
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
    except OSError:
        return UNREADABLE


def _key(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100 - resolve() would stat every parent


def _open() -> sqlite3.Connection:
    folder = cache_root()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "digests.sqlite"
    try:
        return _connected(file)
    except sqlite3.OperationalError:  # in use, or it cannot be written
        raise
    except sqlite3.DatabaseError:  # damaged: it would be of no use ever again
        for ending in ("-journal", ""):  # a journal of the damaged one would be applied to the new one
            file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
        return _connected(file)


def _connected(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_PATIENCE)
    try:
        connection.execute(f"CREATE TABLE IF NOT EXISTS files ({_COLUMNS})")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _remembered(states: dict[Path, _State | None]) -> dict[Path, str]:
    found: dict[Path, str] = {}
    try:
        with closing(_open()) as connection:
            for path, state in states.items():
                row = connection.execute("SELECT * FROM files WHERE path = ?", (_key(path),)).fetchone()
                if row and row[1:5] == state:
                    found[path] = row[5]
    except (OSError, sqlite3.Error):  # a cache that cannot be read costs time alone
        return {}
    return found


def _remember(digests: dict[Path, tuple[_State, str]]) -> None:
    latest = time.time_ns() - int(_SETTLED * 1e9)
    rows = [
        (_key(path), *state, digest)
        for path, (state, digest) in digests.items()
        if digest != UNREADABLE and max(state[1:3]) < latest
    ]
    if not rows:
        return
    try:
        with closing(_open()) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)
    except (OSError, sqlite3.Error):
        return
