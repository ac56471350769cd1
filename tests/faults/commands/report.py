"""`astune report`, over a report of fewer runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_sounds, write_table

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    write_sounds(folder)
    for methods in (["linear"], ["linear", "bitfit"]):
        write_table(folder / "killed.yaml", folder / "data", methods, bf16=False, num_train_epochs=1)
        astune("reproduce", folder / "killed.yaml", "--backbone", "random:tiny", "--store", folder / "store")
        if methods == ["linear"]:
            _report(folder)


def _report(folder: Path) -> None:
    astune("report", "killed", "--store", folder / "store")


def _check(folder: Path) -> None:
    for file in (folder / "store" / "reports").glob("[!.]*"):
        assert_old_or_new(folder, str(file.relative_to(folder)))


COMMAND = Command(
    "report",
    prepare=_prepare,
    run=_report,
    again=_report,
    check=_check,
    result=lambda folder: contents(folder / "store"),
)
