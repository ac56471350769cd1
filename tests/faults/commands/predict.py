"""`astune predict -o`, a table of each recording; the record says which are finished."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from astune.data.predicted import RECORD
from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_adapter_and_sounds

if TYPE_CHECKING:
    from pathlib import Path


def _predict(folder: Path) -> None:
    sounds = folder / "data" / "test"
    astune("predict", folder / "adapter", sounds, "--window", "0.2", "--format", "audacity", "-o", folder / "out")


def _check(folder: Path) -> None:
    for table in (folder / "out").rglob("[!.]*.txt"):
        assert_old_or_new(folder, str(table.relative_to(folder)))


def _result(folder: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (folder / "out" / RECORD).read_text(encoding="utf-8").splitlines()]
    last = {line.get("file", ""): line for line in lines}  # what was begun twice is said twice
    return contents(folder, but=[RECORD]) | {"last lines": json.dumps(last)}


COMMAND = Command(
    "predict", prepare=write_adapter_and_sounds, run=_predict, again=_predict, check=_check, result=_result
)
