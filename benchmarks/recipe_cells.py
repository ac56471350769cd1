"""The cells of the recipe search: clips that train, clips that choose, clips that score; and the frozen probe of each. No test clip.

Put away, and never read: the digits' fourth speaker, ESC-10's fold 5, the keywords' official test split. Scoring clips are those of
one other speaker, fold, or half of the official validation speakers; they choose nothing. Choosing clips are a tenth of the training
clips, as ``astune train`` holds them out, or the other half of the official validation speakers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from astune import AudioClassifier, load_backbone, load_data
from astune.data.dataset import Split
from astune.data.few_shot import few_shot
from astune.data.hold_out import hold_out
from astune.features import build_cache

if TYPE_CHECKING:
    from astune.data import AudioDataset

DATA = {"digits": "spoken_digits", "esc10": "esc50:esc10", "arabic": "arabic_speech_commands"}
FRAMES = {"digits": None, "esc10": 250, "arabic": None}
AWAY = {"digits": 4, "esc10": 5}
SIZES = (4, 16, 0)  # clips a class; 0 for all
CAP = {"arabic": 50}  # clips a class that stand for all
TAKES = {"arabic": 3}  # of each validation speaker and word
STRENGTHS = (1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)


@dataclass(frozen=True)
class Cell:
    data: str
    size: int
    fold: str
    seed: int
    train: tuple[int, ...]
    choose: tuple[int, ...]
    score: tuple[int, ...]


def source(root: Path, name: str) -> str:
    layout, _, folder = DATA[name].rpartition(":")
    return f"{layout}:{root / folder}" if layout else str(root / folder)


def cells(dataset: AudioDataset, name: str, seeds: tuple[int, ...] = (0, 1)) -> list[Cell]:
    found = []
    for fold, pool, choose, score in _parts(dataset, name):
        for seed in seeds:
            if choose:
                train, chosen = list(pool), list(choose)
            else:
                held = hold_out(dataset.clips, pool, seed, dataset.task)
                train, chosen = held.train, held.validation
            whole = Split(tuple(train), tuple(chosen), tuple(score), None, None)
            for size in SIZES:
                part = few_shot(dataset, whole, size, seed) if size else whole
                found.append(Cell(name, size, fold, seed, part.train, part.validation, part.test))
    return found


def _parts(dataset: AudioDataset, name: str):
    clips = dataset.clips
    if name == "arabic":
        pool = [n for n, clip in enumerate(clips) if clip.split in (None, "train")]
        whole = Split(tuple(pool), (), (), None, None)
        pool = list(few_shot(dataset, whole, CAP[name], 0).train)
        validation = [n for n, clip in enumerate(clips) if clip.split == "validation"]
        validation = [n for n in validation if int(clips[n].path.stem.rsplit("_", 1)[1]) in sorted({int(clips[m].path.stem.rsplit("_", 1)[1]) for m in validation})[: TAKES[name]]]
        speakers = sorted({clips[n].path.name[:8] for n in validation})
        half = set(speakers[: len(speakers) // 2])
        one = [n for n in validation if clips[n].path.name[:8] in half]
        other = [n for n in validation if clips[n].path.name[:8] not in half]
        yield "first", pool, one, other
        yield "second", pool, other, one
        return
    folds = [fold for fold in dataset.folds if fold != AWAY[name]]
    for fold in folds:
        pool = [n for n, clip in enumerate(clips) if clip.fold in folds and clip.fold != fold]
        yield str(fold), pool, [], [n for n, clip in enumerate(clips) if clip.fold == fold]


def probes(x: np.ndarray, y: np.ndarray, cell: Cell) -> list[dict[str, Any]]:
    """The frozen probe at each strength: head in the scale of the features, and its figures."""
    train, choose, score = (np.array(part) for part in (cell.train, cell.choose, cell.score))
    mean, std = x[train].mean(0), x[train].std(0)
    std[std == 0] = 1
    z = (x - mean) / std
    out = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=3000).fit(z[train], y[train])
        coef, bias = model.coef_, model.intercept_
        logits = torch.from_numpy(z @ coef.T + bias)
        ce = torch.nn.functional.cross_entropy
        figures = {}
        for key, part in (("train", train), ("choose", choose), ("score", score)):
            figures[key] = [float((logits[part].argmax(1).numpy() == y[part]).mean()), float(ce(logits[part], torch.from_numpy(y[part])))]
        weight = coef / std
        out.append({"C": strength, "weight": weight.astype(np.float32), "bias": (bias - weight @ mean).astype(np.float32), **figures})
    return out


def best(found: list[dict[str, Any]]) -> dict[str, Any]:
    """By accuracy on the choosing clips, then by their loss."""
    return max(found, key=lambda one: (one["choose"][0], -one["choose"][1]))
