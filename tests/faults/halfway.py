"""A command that does what ours must not: it writes a file in its place, and leaves another one behind where it is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.kills import harmful

if TYPE_CHECKING:
    from pathlib import Path


def _write(folder: Path) -> None:
    left = folder / f".partial-{len(list(folder.iterdir()))}"
    left.touch()
    with (folder / "result").open("wb", buffering=0) as stream:
        stream.write(b"first half, ")
        stream.write(b"second half")
    left.unlink()


COMMAND = harmful("tests.faults.halfway", _write)
