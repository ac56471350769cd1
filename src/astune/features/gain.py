"""Gain: each training clip is made louder or softer, by decibels drawn evenly from -largest to largest.

Its log-Mel energies move by ln(10) / 10 for each decibel: the features of the scaled waveform, to rounding. What is at the front end's
floor stays there, and so does padding. The waveform is never clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from astune.errors import ConfigError
from astune.features.log_mel import FrontEnd
from astune.features.mel_energies import MelEnergies
from astune.keyed import keyed_generator
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from astune.features.augmentation import ActsOn, TrainingBatch

NATS_PER_DECIBEL = math.log(10) / 10


@strict_constructor
@dataclass(frozen=True)
class Gain:
    """Changes the loudness of training clips.

    Raises:
        ConfigError: it is negative.
    """

    largest: float
    """In dB, up and down; 0 for none."""
    front_end: FrontEnd
    """That made the features."""
    seed: int
    """Of the run."""
    acts_on: ClassVar[ActsOn] = "features"
    forbids_frozen: ClassVar[str | None] = "gain changes the loudness of their input each time (set gain=0 to avoid it)"

    def __post_init__(self) -> None:
        if not 0 <= self.largest < math.inf:
            raise ConfigError(f"gain={self.largest}; give decibels, 0 or more")

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        return self.largest > 0

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Scale the clips of a batch.

        Args:
            batch: of training.

        Returns:
            The batch, louder and softer.
        """
        drawn = [keyed_generator(self.seed, "gain", batch.epoch, name).uniform(-1, 1) for name in batch.names]
        nats = torch.tensor(drawn, dtype=torch.float32) * (self.largest * NATS_PER_DECIBEL)
        energies = MelEnergies(self.front_end)
        louder = energies.logs(batch.inputs) + nats[:, None, None]
        return replace(batch, inputs=energies.features(louder, energies.real_frames(batch.inputs)))
