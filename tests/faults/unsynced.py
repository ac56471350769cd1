"""A command that is safe from kills and not from power cuts: it renames a file before its data are on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.kills import harmful

if TYPE_CHECKING:
    from pathlib import Path


def _write(folder: Path) -> None:
    (folder / ".partial").write_bytes(b"new")
    (folder / ".partial").replace(folder / "result")


COMMAND = harmful("tests.faults.unsynced", _write)
