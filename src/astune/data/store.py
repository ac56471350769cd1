"""Audio that comes as bytes, kept as files named by their content: written once, shared by every data set that holds them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from astune.data.formats import AV_SUFFIXES, SUFFIXES
from astune.errors import explain_write_errors
from astune.files import make_folder, move, user_path


def cache_root() -> Path:
    """The folder for files that astune can make again: ``ASTUNE_CACHE``, or ``astune`` in the user's cache folder.

    Returns:
        The folder, which need not exist.
    """
    named = os.environ.get("ASTUNE_CACHE")
    if named:
        return user_path(named)
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "astune"


def keep(content: bytes, name: str = "") -> Path:
    """Write an audio file into the cache, unless it is there.

    Args:
        content: the encoded file.
        name: it had; only an audio suffix is taken from it.

    Returns:
        ``<cache>/audio/<2 digits>/<SHA-256><suffix>``; under that name there is never half a file.

    Raises:
        OutputError: it cannot be written.
    """
    digest = hashlib.sha256(content).hexdigest()
    suffix = Path(name).suffix.lower()
    target = cache_root() / "audio" / digest[:2] / f"{digest}{suffix if suffix in SUFFIXES | AV_SUFFIXES else ''}"
    if not target.is_file():
        with explain_write_errors(
            target, "it is in the cache: make room there, or set ASTUNE_CACHE to another folder", len(content)
        ):
            make_folder(target.parent)
            file = tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False)  # noqa: SIM115 - it is renamed
            try:
                with file:
                    file.write(content)
                move(Path(file.name), target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    return target
