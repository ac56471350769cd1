"""The cells of the recipe search: clips that train, clips that choose, clips that score, and the frozen probe of each.

No test clip is read. Put away are one speaker of the digits, fold 5 of ESC-10, and the official test split of the keywords. The clips that
score are those of another speaker or fold, or of half of the official validation speakers, and choose nothing. The clips that choose are a
tenth of the training clips, as ``astune train`` holds them out, or the other half of the validation speakers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from astune import AudioClassifier, load_backbone, load_data
from astune.data.dataset import Split
from astune.data.few_shot import few_shot
from astune.data.hold_out import hold_out
from astune.features import build_cache
from astune.inference.batches import slices
from astune.tasks import SINGLE_LABEL
from astune.training.head_start import Choice, Head, choose_head
from astune.training.strength import Features

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from astune.data import AudioDataset

SIZES = (4, 16, 0)
"""Training clips a class; 0 for all."""
_BATCH = 32


@dataclass(frozen=True)
class Source:
    """A data set of the search."""

    folder: str
    layout: str = ""
    frames: int | None = None
    """Input length; what holds most clips whole where None."""
    away: int | None = None
    """The fold that is put away."""
    cap: int | None = None
    """Training clips a class that stand for all."""
    takes: int | None = None
    """Of each validation speaker and word."""


SOURCES = {
    "digits": Source("spoken_digits", away=4),
    "esc10": Source("esc10", "esc50:", frames=250, away=5),
    "keywords": Source("arabic_speech_commands", cap=50, takes=3),
}


@dataclass(frozen=True)
class Cell:
    """One training: which clips do what, as indices in the data set."""

    data: str
    size: int
    fold: str
    seed: int
    train: tuple[int, ...]
    choose: tuple[int, ...]
    score: tuple[int, ...]

    @property
    def name(self) -> list[str | int]:
        """As records have it."""
        return [self.data, self.size, self.fold, self.seed]


@dataclass(frozen=True)
class Study:
    """A data set, ready."""

    labels: tuple[str, ...]
    frames: int
    inputs: Tensor
    """Features, (clips, frames, bins), float16."""
    targets: Tensor
    cells: list[Cell]
    heads: list[Head]
    """The frozen probe of each cell."""
    probes: list[tuple[float, float]]
    """Its accuracy on the clips that choose and on those that score."""


def study(root: Path, name: str, seeds: Sequence[int]) -> Study:
    """Read a data set, and fit the probe of each cell.

    Args:
        root: folder of the data sets.
        name: a key of :data:`SOURCES`.
        seeds: of the draws of clips.

    Returns:
        The study, with the clips that are used alone.
    """
    source = SOURCES[name]
    dataset = load_data(f"{source.layout}{root / source.folder}")
    found = [cell for seed in seeds for cell in _cells(dataset, name, seed)]
    used = sorted({clip for cell in found for part in (cell.train, cell.choose, cell.score) for clip in part})
    new_index = {clip: number for number, clip in enumerate(used)}

    def placed(clips: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new_index[clip] for clip in clips)

    found = [replace(c, train=placed(c.train), choose=placed(c.choose), score=placed(c.score)) for c in found]
    frames = source.frames or dataset.length_percentile(used, quiet=True)
    model = AudioClassifier(load_backbone("bundled", frames), "linear", dataset.labels).eval()
    features = build_cache(dataset.clips, model.front_end, quiet=True)
    inputs = torch.from_numpy(features.features[used])
    with torch.inference_mode():
        pooled = torch.cat([model.pooled(inputs[list(part)].float()) for part in slices(range(len(used)), _BATCH)])
    every = Features(pooled.numpy(), torch.tensor(dataset.targets)[used].numpy())
    probes = [_probe(every, cell, len(dataset.labels)) for cell in found]
    return Study(
        dataset.labels, frames, inputs, torch.from_numpy(every.targets), found, [head for head, _ in probes],
        [figures for _, figures in probes],
    )  # fmt: skip


def _probe(every: Features, cell: Cell, classes: int) -> tuple[Head, tuple[float, float]]:
    train, choose, score = (every.at(torch.tensor(part).numpy()) for part in (cell.train, cell.choose, cell.score))
    head, _, _ = choose_head(train, choose, None, Choice(SINGLE_LABEL), classes)
    one, other = (float((head.logits(c.pooled).argmax(1).numpy() == c.targets).mean()) for c in (choose, score))
    return head, (one, other)


def _cells(dataset: AudioDataset, name: str, seed: int) -> Iterator[Cell]:
    for fold, pool, choose, score in _parts(dataset, name):
        if choose:
            whole = Split(tuple(pool), tuple(choose), tuple(score))
        else:
            held = hold_out(dataset.clips, pool, seed, dataset.task)
            whole = Split(tuple(held.train), tuple(held.validation), tuple(score))
        for size in SIZES:
            part = few_shot(dataset, whole, size, seed) if size else whole
            yield Cell(name, size, fold, seed, part.train, part.validation, part.test)


def _parts(dataset: AudioDataset, name: str) -> Iterator[tuple[str, list[int], list[int], list[int]]]:
    """By fold: clips that may train, that choose (none where a tenth is to be held out), and that score."""
    source, clips = SOURCES[name], dataset.clips
    if source.away is not None:
        folds = [fold for fold in dataset.folds if fold != source.away]
        for fold in folds:
            pool = [number for number, clip in enumerate(clips) if clip.fold in folds and clip.fold != fold]
            yield str(fold), pool, [], [number for number, clip in enumerate(clips) if clip.fold == fold]
        return
    split = dataset.split()
    pool = list(few_shot(dataset, split, source.cap, 0).train) if source.cap else list(split.train)
    takes = sorted({_take(clips[number].path) for number in split.validation})[: source.takes]
    chosen = [number for number in split.validation if _take(clips[number].path) in takes]
    speakers = sorted({_speaker(clips[number].path) for number in chosen})
    first = set(speakers[: len(speakers) // 2])
    half = [number for number in chosen if _speaker(clips[number].path) in first]
    other = [number for number in chosen if _speaker(clips[number].path) not in first]
    yield "first", pool, half, other
    yield "second", pool, other, half


def _speaker(path: Path) -> str:
    return path.stem.partition("_")[0]


def _take(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
