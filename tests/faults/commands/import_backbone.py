"""`astune import-backbone --overwrite`, over the folder of another checkpoint of the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune import load_backbone
from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.ssast_files import PATCH, saved, state_dict

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    for seed, name in enumerate(("old", "new")):
        saved(folder / f"{name}.pth", state_dict(PATCH, width=64, layers=1, seed=seed))
    _import(folder, "old")


def _import(folder: Path, name: str = "new") -> None:
    astune("import-backbone", folder / f"{name}.pth", "--overwrite", "-o", folder / "out")


def _check(folder: Path) -> None:
    if (folder / "out" / "config.json").exists():
        load_backbone(folder / "out")
        assert_old_or_new(folder, "out")


COMMAND = Command("import_backbone", prepare=_prepare, run=_import, again=_import, check=_check, result=contents)
