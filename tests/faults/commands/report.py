"""`astune report`, over a report of fewer runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_sounds

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    write_sounds(folder)
    for methods in (["linear"], ["linear", "bitfit"]):
        table = {
            "title": "killed",
            "datasets": [{"name": "sounds", "data": f"folder:{folder / 'data'}", "settings": {"max_length": 32}}],
            "settings": {"bf16": False, "num_train_epochs": 1},
            "rows": [{"name": method, "method": method} for method in methods],
        }
        (folder / "killed.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
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
