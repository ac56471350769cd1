"""One run at a time writes into a folder, or a file of it; who comes second is told which process was first."""

from __future__ import annotations

import os
import re
import socket
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from typing import TYPE_CHECKING

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from astune.console import announcer
from astune.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".astune.lock"
_HOLDER = re.compile(r"(\d{1,10})\n([\w.-]{1,255})\n?")
"""What a lock file holds: process id and host name, as filelock writes it itself where a file system has no locks."""
_PATIENCE = 10.0  # seconds to wait without a word


class HeldElsewhere(Timeout):
    """Another process holds a lock.

    Args:
        path: the lock file.
        holder: as :func:`holder_of` gives it.
    """

    def __init__(self, path: Path | str, holder: str = "") -> None:
        super().__init__(str(path))
        self.holder = holder

    @property
    def who(self) -> str:
        """The holder for a sentence, see :func:`in_brackets`."""
        return in_brackets(self.holder)


def in_brackets(holder: str) -> str:
    """A holder for a sentence.

    Args:
        holder: as :func:`holder_of` gives it, or several.

    Returns:
        Such as `` (process 4711 on node3)``, with a space before it; empty where it is not known.
    """
    return f" ({holder})" if holder else ""


def holder_of(path: Path) -> str:
    """Who holds a lock, as far as its file says it.

    Args:
        path: a lock file that another process holds.

    Returns:
        Such as ``process 4711 on node3``; empty where that is not known.
    """
    found = _HOLDER.fullmatch(_text(path))
    return f"process {found[1]} on {found[2]}" if found else ""


@contextmanager
def hold(path: Path, waiting_for: str | None = None) -> Iterator[None]:
    """Hold a lock for the time of a block, and write into its file who does; the file stays, and is empty then.

    Args:
        path: the lock file.
        waiting_for: what the other process does, to be said after some seconds of waiting for it; it is not waited for where None.

    Raises:
        HeldElsewhere: another process holds it.
        OSError: the file cannot be made.
    """
    lock: BaseFileLock = FileLock(path)
    _acquire(lock, path, waiting_for)
    try:
        yield
    finally:
        with suppress(OSError):
            _write(lock, path, "")
        lock.release()


@contextmanager
def lock_folder(folder: Path, file: str | None = None) -> Iterator[None]:
    """Keep other runs out of a folder, or off a file, for the time of a block; the lock ends with the process, however that ends.

    Args:
        folder: made if it is not there, and removed again where nothing was written into it.
        file: name in the folder, where that file alone is written.

    Raises:
        ConfigError: another run writes into it.
    """
    path = folder / (LOCK if file is None else f".{file}.lock")
    lock, made = FileLock(path), _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _acquire(lock, path)
    except HeldElsewhere as fault:
        raise ConfigError(
            f"another run is writing into {folder}{fault.who}; wait until it ends, or give another output folder"
            if file is None
            else f"another run is writing {folder / file}{fault.who}; wait until it ends, or give another file"
        ) from fault
    except OSError:  # refuse_unusable says it among the other faults; or a finished run is in a folder nobody may write
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)  # while it is held: who opened it meanwhile sees that it is gone
            lock.release()
        for parent in made:
            with suppress(OSError):  # something was written, or it was never made
                parent.rmdir()


def _acquire(lock: BaseFileLock, path: Path, waiting_for: str | None = None) -> None:
    """Acquire a lock and write down who holds it.

    Raises:
        HeldElsewhere: another process holds it, and it is not waited for.
    """
    holder = holder_of(path)  # before: filelock 3 empties a file that it tries to lock, so that only the first is told
    try:
        lock.acquire(timeout=0 if waiting_for is None else _PATIENCE)
    except Timeout as fault:
        held = HeldElsewhere(path, holder_of(path) or holder)
        if waiting_for is None:
            raise held from fault
        announcer(quiet=False)(f"waiting for another process{held.who}, which {waiting_for}")
        lock.acquire()
    _write_holder(lock, path)


def _write_holder(lock: BaseFileLock, path: Path) -> None:
    """Write the process that a user has started: a process that works for another one ends with it."""
    parent = parent_process()
    pid = os.getpid() if parent is None or parent.pid is None else parent.pid
    with suppress(OSError):  # a full disk, for example: nobody is told then
        _write(lock, path, f"{pid}\n{socket.gethostname()}\n")


def _write(lock: BaseFileLock, path: Path, text: str) -> None:
    """Write into a lock file while its lock is held, unless it is a file of somebody else in its place, or filelock's own to write.

    Raises:
        OSError: it cannot be written, or is a link.
    """
    there = _text(path)
    if not isinstance(lock, SoftFileLock) and (not there or _HOLDER.fullmatch(there)):
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="latin-1") as file:  # which takes any bytes
            return file.read(512)
    except (OSError, ValueError):
        return ""


def _missing(folder: Path) -> list[Path]:
    """Folders that would have to be made, the innermost first."""
    try:
        return [parent for parent in (folder, *folder.absolute().parents) if not parent.exists()]
    except OSError:
        return []
