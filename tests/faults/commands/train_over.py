"""`astune train --overwrite-output-dir` over a finished run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.faults.kills import astune
from tests.faults.training import SMALL, training_command, write_sounds

if TYPE_CHECKING:
    from pathlib import Path


def _prepare(folder: Path) -> None:
    write_sounds(folder)
    folders = (f"folder:{folder / 'data'}", "--output-dir", folder / "out")
    astune("train", *folders, "--method", "lora", *SMALL, "--num-train-epochs", "1", "--seed", "7")


_PLAIN = training_command("train_over", "linear", "--overwrite-output-dir")
COMMAND = replace(_PLAIN, prepare=_prepare, again=_PLAIN.run)
