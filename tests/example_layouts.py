"""A tiny data set in each published layout, written by the tests that need one; no recording is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

from astune.data.generated import write_generated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RATE = 8_000  # Hz


def write_tone(path: Path, seconds: float = 0.05, pitch: float = 440.0, rate: int = RATE, channels: int = 1) -> Path:
    """A sine; another pitch is another content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate)
    return path


def write_text(path: Path, *lines: str) -> Path:
    """A text file of some lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_esc50(folder: Path, suffix: str = ".wav") -> Path:
    """Two classes, five folds, two clips of each; target values with a gap, as in ESC-10, and not in the names' order."""
    rows = []
    for fold in range(1, 6):
        for target, category in ((0, "rain"), (7, "dog")):
            for take in "AB":
                stem = f"{fold}-{1000 + target}{fold}-{take}-{target}"
                write_tone(folder / "audio" / f"{stem}{suffix}", pitch=200 + 100 * fold + 10 * target + ord(take))
                rows.append(f"{stem}.wav,{fold},{target},{category},False,{1000 + target},{take}")
    write_text(folder / "meta" / "esc50.csv", "filename,fold,target,category,esc10,src_file,take", *rows)
    return folder


def write_csv(folder: Path) -> Path:
    """Two classes, three folds, a column the reader passes over."""
    rows = []
    for fold in (1, 2, 3):
        for label in ("no", "yes"):
            for take in range(4):
                name = f"audio/{label}_{fold}_{take}.wav"
                write_tone(folder / name, pitch=300 * fold + 20 * take + len(label))
                rows.append(f"{name},{label},{fold},speaker-{fold}")
    write_text(folder / "metadata.csv", "file_name,label,fold,speaker", *rows)
    return folder


def write_folder(folder: Path) -> Path:
    """Generated sounds in train, validation and test."""
    return write_generated(folder, clips_per_class=4, seconds=0.1)


EXAMPLES: dict[str, Callable[[Path], Path]] = {"csv": write_csv, "esc50": write_esc50, "folder": write_folder}
"""By the layout's name; each writes into the folder given and returns the path a user would name."""
