"""Clips that have any number of labels: a tone for each label, added up, and a table of them."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
from typing_extensions import override

from astune.data import AudioDataset, Clip, Layout
from astune.data.layouts.base import dataset_of
from astune.tasks import MULTI_LABEL

RATE = 16_000  # Hz
TONES = {"hum": 300.0, "whistle": 1200.0, "beep": 4000.0, "rare": 7000.0}  # Hz
SECONDS = 0.5


def sound(labels: tuple[str, ...], seed: int, seconds: float = SECONDS) -> np.ndarray:
    """The tones of some labels, each at a random loudness, in noise; (samples,)."""
    draw = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    samples = 0.003 * draw.standard_normal(len(times))
    for label in labels:
        samples += draw.uniform(0.05, 0.2) * np.sin(2 * np.pi * TONES[label] * times + draw.uniform(0, 6))
    return samples


def write_several(folder: Path) -> Path:
    """Write sounds and ``clips.csv``: every set of three labels, some four times; ``rare`` is in two training clips alone.

    Args:
        folder: made if it is not there.

    Returns:
        The table; columns file_name, labels (``hum;beep``), split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sets = [
        tuple(label for label, there in zip(TONES, chosen, strict=False) if there)
        for chosen in product((0, 1), repeat=3)
    ]
    rows: list[dict[str, str]] = []
    for split, times in (("train", 4), ("validation", 2), ("test", 2)):
        for number, labels in enumerate(sets * times):
            own = (*labels, "rare") if split == "train" and number < 2 else labels
            name = f"{split}{number:02}.wav"
            soundfile.write(folder / name, sound(own, len(rows)), RATE)
            rows.append({"file_name": name, "labels": ";".join(own), "split": split})
    with (folder / "clips.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return folder / "clips.csv"


class SeveralLabels(Layout):
    """Reads that table."""

    name = "several-labels"

    @override
    def recognises(self, path: Path) -> bool:
        del path
        return False

    @override
    def load(self, path: Path) -> AudioDataset:
        with (path / "clips.csv").open(newline="") as stream:
            clips = [
                Clip(
                    row["file_name"],
                    path / row["file_name"],
                    tuple(filter(None, row["labels"].split(";"))),
                    split=row["split"] or None,  # type: ignore[arg-type]
                    fold=int(row["fold"]) if row.get("fold") else None,
                )
                for row in csv.DictReader(stream)
            ]
        return replace(dataset_of(self, path, clips), task=MULTI_LABEL)

    @override
    def write_example(self, folder: Path) -> Path:
        return write_several(folder).parent
