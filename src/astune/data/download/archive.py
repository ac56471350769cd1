"""Unpacking archives that come from elsewhere: nothing outside of the folder, no links, nothing executable by surprise."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from astune.errors import DataError


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip or tar archive.

    Args:
        archive: told by its content, not by its name.
        folder: made; must not exist.

    Returns:
        The folder, or the only folder in it where the archive has one at its root.

    Raises:
        DataError: it is no such archive, is damaged, or has a member that would leave the folder.
    """
    folder.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
        else:
            raise DataError(f"{archive} is neither a zip nor a tar archive")
    except tarfile.FilterError as fault:
        raise DataError(f"{archive} is not safe to unpack: {fault}") from fault
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
        raise DataError(f"{archive} is damaged: {fault}") from fault
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            path = PurePosixPath(member.filename.replace("\\", "/"))
            leaves = path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]
            if leaves or stat.S_ISLNK(member.external_attr >> 16):
                raise DataError(f"{archive} is not safe to unpack: {member.filename!r} is a link or leaves the folder")
            file.extract(member, folder)
