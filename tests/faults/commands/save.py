"""`save_pretrained` over an adapter of the same shape: nobody may load the tensors of one with the labels of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune import AudioClassifier, adapter_file
from tests.faults.kills import Command, assert_old_or_new, contents
from tests.faults.training import write_adapter

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    write_adapter(folder / "new", 1)
    write_adapter(folder / "out", 0)


def _save(folder: Path) -> None:
    AudioClassifier.from_pretrained(folder / "new").save_pretrained(folder / "out")


def _check(folder: Path) -> None:
    if (folder / "out" / adapter_file.CONFIG).exists():
        adapter_file.read(folder / "out")
        for name in (adapter_file.CONFIG, adapter_file.WEIGHTS):
            assert_old_or_new(folder, f"out/{name}")
        assert_old_or_new(folder, "out")


COMMAND = Command(
    "save", prepare=_prepare, run=_save, again=_save, check=_check, result=lambda folder: contents(folder / "out")
)
