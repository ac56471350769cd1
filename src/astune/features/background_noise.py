"""Background noise: a random part of a random recording is added to each training clip, at a random signal-to-noise ratio.

Energies add up, see :mod:`astune.features.mel_energies`; the ratio is that of the mean Mel energies over the frames of the clip, drawn
evenly in decibels. So noise costs no decoding: its features are computed once. Padding stays padding, because noise ends with its clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from astune.errors import ConfigError
from astune.features.gain import NATS_PER_DECIBEL
from astune.features.log_mel import FrontEnd
from astune.features.long_cache import LongFeatures
from astune.features.mel_energies import MelEnergies, mean_energy
from astune.keyed import keyed_generator
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from astune.features.augmentation import ActsOn, TrainingBatch


@strict_constructor
@dataclass(frozen=True)
class BackgroundNoise:
    """Adds noise to training clips.

    Raises:
        ConfigError: the ratios are the wrong way round, or no noise can be read.
    """

    noise: LongFeatures
    """Features of the recordings."""
    min_snr_db: float
    """Of the loudest noise."""
    max_snr_db: float
    """Of the softest noise."""
    front_end: FrontEnd
    """That made the features."""
    seed: int
    """Of the run."""
    acts_on: ClassVar[ActsOn] = "features"
    forbids_frozen: ClassVar[str | None] = (
        "background_noise adds another noise to their input each time (leave background_noise out to avoid it)"
    )

    def __post_init__(self) -> None:
        if not self.min_snr_db <= self.max_snr_db:
            raise ConfigError(
                f"min_snr_db={self.min_snr_db} is above max_snr_db={self.max_snr_db}; is it the other way round?"
            )
        if not any(self.noise.frames):
            raise ConfigError("none of the recordings of background_noise can be read")

    @property
    def active(self) -> bool:
        """Always true: noise is added wherever it is used."""
        return True

    def drawn(self, name: str, epoch: int) -> tuple[int, int, float]:
        """Draw the noise that is added to a clip.

        Args:
            name: of the clip.
            epoch: so that each epoch adds another noise.

        Returns:
            Index of a recording, the frame that its part begins with, and the signal-to-noise ratio in dB.
        """
        generator = keyed_generator(self.seed, "background-noise", epoch, name)
        readable = [recording for recording, frames in enumerate(self.noise.frames) if frames]
        recording = readable[int(generator.integers(len(readable)))]
        first = int(generator.integers(self.noise.frames[recording]))
        return recording, first, float(generator.uniform(self.min_snr_db, self.max_snr_db))

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Add noise to the clips of a batch.

        Args:
            batch: of training.

        Returns:
            The batch with noise. A silent clip, and one that silence is drawn for, stay as they are.
        """
        drawn = [self.drawn(name, batch.epoch) for name in batch.names]
        parts = torch.stack([self.noise.part(recording, first) for recording, first, _ in drawn])
        ratios = torch.tensor([ratio for _, _, ratio in drawn], dtype=torch.float32) * NATS_PER_DECIBEL
        energies = MelEnergies(self.front_end)
        real, sound, noise = energies.real_frames(batch.inputs), energies.logs(batch.inputs), energies.logs(parts)
        louder = mean_energy(sound, real).log() - mean_energy(noise, real).log() - ratios
        louder = louder.masked_fill(~louder.isfinite(), -torch.inf)
        return replace(batch, inputs=energies.features(torch.logaddexp(sound, noise + louder[:, None, None]), real))
