"""`astune embed`, over embeddings of another adapter, in both formats."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_adapter, write_sounds

if TYPE_CHECKING:
    from pathlib import Path

_FILES = ("rows.npz", "rows.parquet")


def _prepare(folder: Path) -> None:
    write_sounds(folder)
    for seed, name in enumerate(("old", "new")):
        write_adapter(folder / name, seed)
    _embed(folder, "old")


def _embed(folder: Path, name: str = "new") -> None:
    for file in _FILES:
        astune("embed", folder / name, folder / "data" / "test", "--overwrite", "-o", folder / file)


def _check(folder: Path) -> None:
    for file in _FILES:
        assert_old_or_new(folder, file)


def _values(path: Path) -> str:
    with np.load(path) as file:
        return hashlib.sha256(b"".join(file[name].tobytes() for name in sorted(file.files))).hexdigest()


def _result(folder: Path) -> dict[str, str]:
    found = contents(folder, but=["rows.npz"])  # a zip archive has times in it
    return found | {"in rows.npz": _values(folder / "rows.npz")}


COMMAND = Command("embed", prepare=_prepare, run=_embed, again=_embed, check=_check, result=_result)
