"""Batches of training made of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from astune.features import FrontEnd, rounded_features
from astune.features.augmentation import TrainingBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

FRONT_END = FrontEnd(98)  # of one second
ROUNDING = 2**-9
"""Half precision between -4 and 4 is off by 2^-10 at most; so two roundings are, of features that are compared."""


def noise(seed: int, seconds: float = 1.0, level: float = 0.1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, level, round(16_000 * seconds)).astype(np.float32)


def features(*sounds: NDArray[np.float32], front_end: FrontEnd = FRONT_END) -> Tensor:
    """As the cache has them."""
    return torch.stack([torch.from_numpy(rounded_features(sound, front_end)).float() for sound in sounds])


def batch_of(inputs: Tensor, targets: Sequence[int] | Tensor = (), epoch: int = 0, first: int = 0) -> TrainingBatch:
    clips = tuple(range(first, first + len(inputs)))
    given = targets if isinstance(targets, torch.Tensor) else torch.tensor(targets or [0] * len(inputs))
    return TrainingBatch(inputs, given, clips, tuple(f"{clip}.wav" for clip in clips), epoch)
