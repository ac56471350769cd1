"""`astune predict -o`, a table of each recording; the record says which are finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_adapter, write_sounds

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    write_adapter(folder / "adapter")
    write_sounds(folder)


def _predict(folder: Path) -> None:
    sounds = folder / "data" / "test"
    astune("predict", folder / "adapter", sounds, "--window", "0.2", "--format", "audacity", "-o", folder / "out")


def _check(folder: Path) -> None:
    for table in (folder / "out").rglob("[!.]*.txt"):
        assert_old_or_new(folder, str(table.relative_to(folder)))


COMMAND = Command("predict", prepare=_prepare, run=_predict, again=_predict, check=_check, result=contents)
