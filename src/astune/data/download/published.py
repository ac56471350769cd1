"""Public data sets, fetched whole or not at all: download with resume, checksum, unpack, read, and only then the folder's name.

Until then everything is in ``<folder>.partial`` next to it, from which the same command goes on.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astune.console import notify
from astune.data.download.archive import unpack
from astune.data.download.fetch import fetch
from astune.data.layouts.base import load_data
from astune.errors import ConfigError, DataError, OutputError, unknown_choice
from astune.files import move, user_path
from astune.folder_lock import HeldElsewhere, hold

if TYPE_CHECKING:
    from astune.data.dataset import AudioDataset


@dataclass(frozen=True)
class Source:
    """The publisher of a data set."""

    url: str
    layout: str
    size: str
    """Approximate size of the archive."""
    licence: str
    sha256: str | None = None
    """SHA-256 of the archive; None if the publisher makes the archive on demand, so that it has no lasting checksum."""


SOURCES: dict[str, Source] = {
    "esc50": Source("https://github.com/karolpiczak/ESC-50/archive/master.zip", "esc50", "600 MB", "CC BY-NC 3.0"),
    "speech_commands": Source(
        "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        "speech_commands",
        "2.4 GB",
        "CC BY 4.0",
        # As TensorFlow Datasets and torchaudio list it.
        "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
}


def download(
    name: str, folder: Path, url: str | None = None, sha256: str | None = None, *, quiet: bool = False
) -> AudioDataset:
    """Fetch a public data set into a folder.

    Args:
        name: a key of ``SOURCES``.
        folder: must not exist, or be empty.
        url: a mirror; the publisher where None.
        sha256: SHA-256 of the archive, in hexadecimal; the published one, if there is one, where None.
        quiet: no progress bar and no announcements.

    Returns:
        The data set, as read from the folder.

    Raises:
        ConfigError: an unknown name, or something that is not a SHA-256 digest.
        DataError: the folder is in use, the download fails, or what came is not the data set.
        OutputError: there is less room than it needs.
    """
    if name not in SOURCES:
        raise ConfigError(unknown_choice("data set", name, SOURCES))
    expected = (sha256 or SOURCES[name].sha256 or "").lower()
    if expected and (len(expected) != 64 or set(expected) - set("0123456789abcdef")):
        raise ConfigError(f"{sha256!r} is not a SHA-256 digest: it takes 64 hexadecimal digits")
    folder = user_path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is there already; name a folder that is not, or check it with `astune data check`")
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with hold(partial / "lock"):
            _fill(partial, folder, SOURCES[name], url or SOURCES[name].url, expected, quiet=quiet)
        shutil.rmtree(partial)
    except (DataError, OutputError):
        if not (partial / "archive").exists():  # nothing to go on from
            shutil.rmtree(partial)
        raise
    except HeldElsewhere as fault:
        raise DataError(f"another process is downloading into {partial}{fault.who}; wait until it ends") from fault
    except OSError as fault:
        raise DataError(f"{folder} cannot be written: {fault}") from fault
    return load_data(f"{SOURCES[name].layout}:{folder}")


def _fill(partial: Path, folder: Path, source: Source, url: str, expected: str, *, quiet: bool) -> None:
    """Everything up to the final rename; an unusable archive is deleted, so that the next call downloads it again.

    Raises:
        DataError: the archive cannot be had, or is not what it should be.
    """
    archive = partial / "archive"
    if not quiet:
        notify(f"Downloading {url} (about {source.size}, {source.licence})")
    fetch(url, archive, quiet=quiet)
    try:
        found = _sha256(archive)
        if not quiet:
            notify(f"SHA-256 {found}{'' if expected else ' (no published one to compare it with)'}")
        if expected and found != expected:
            raise DataError(f"{url}: the archive's SHA-256 is {found}, and should be {expected}; it is deleted")
        shutil.rmtree(partial / "content", ignore_errors=True)
        root = unpack(archive, partial / "content")
        load_data(f"{source.layout}:{root}")
    except DataError:
        archive.unlink(missing_ok=True)
        raise
    if folder.exists():
        folder.rmdir()
    move(root, folder)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
