"""One run at a time writes into a folder, or a file of it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from astune.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".astune.lock"


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
    lock, made = FileLock(path, timeout=0), _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as fault:
        raise ConfigError(
            f"another run is writing into {folder}; wait until it ends, or give another output folder"
            if file is None
            else f"another run is writing {folder / file}; wait until it ends, or give another file"
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


def _missing(folder: Path) -> list[Path]:
    """Folders that would have to be made, the innermost first."""
    try:
        return [parent for parent in (folder, *folder.absolute().parents) if not parent.exists()]
    except OSError:
        return []
