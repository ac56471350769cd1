"""`astune export --overwrite` of folders, over exports of another adapter of the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors.torch import load_file

from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_adapter

if TYPE_CHECKING:
    from pathlib import Path

_MARKS = {"peft": "adapter_config.json", "transformers": "config.json"}


def _prepare(folder: Path) -> None:
    for seed, name in enumerate(("old", "new")):
        write_adapter(folder / name, seed)
    _export(folder, "old")


def _export(folder: Path, name: str = "new") -> None:
    for form in _MARKS:
        astune("export", folder / name, "--overwrite", "--format", form, "-o", folder / form)


def _check(folder: Path) -> None:
    for form, mark in _MARKS.items():
        for file in (folder / form).glob("*.safetensors"):
            load_file(file)
        if (folder / form / mark).exists():
            assert_old_or_new(folder, form)


COMMAND = Command("export_folders", prepare=_prepare, run=_export, again=_export, check=_check, result=contents)
