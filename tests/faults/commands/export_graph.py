"""`astune export --overwrite` of a graph, over that of another adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_adapter

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    for seed, name in enumerate(("old", "new")):
        write_adapter(folder / name, seed)
    _export(folder, "old")


def _export(folder: Path, name: str = "new") -> None:
    astune("export", folder / name, "--overwrite", "-o", folder / "graph.onnx")


def _check(folder: Path) -> None:
    onnx.checker.check_model(folder / "graph.onnx")
    assert_old_or_new(folder, "graph.onnx")


COMMAND = Command("export_graph", prepare=_prepare, run=_export, again=_export, check=_check, result=contents)
