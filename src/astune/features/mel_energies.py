"""Features as the energies they stand for, so that augmentations can scale and add sounds without their samples.

A sound times g has g² times its energies. Two sounds that have nothing to do with each other have, together, the sum of their energies: the
product of their spectra is as often above zero as below, and cancels out on average over bins and frames.

Two values are no energies and stay what they are: a padded frame, and a bin at the front end's floor, where digital silence is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from astune.features.log_mel import FLOOR

if TYPE_CHECKING:
    from torch import Tensor

    from astune.features.log_mel import FrontEnd


@dataclass(frozen=True)
class MelEnergies:
    """Between normalised features and natural logarithms of Mel energies."""

    front_end: FrontEnd
    """That made the features."""

    @cached_property
    def padding(self) -> float:
        """A bin of a padded frame, rounded as cached features are."""
        return self._rounded(torch.zeros(()))

    @cached_property
    def floor(self) -> float:
        """A bin without energy, rounded as cached features are."""
        return self._rounded(torch.tensor(FLOOR).log())

    def real_frames(self, features: Tensor) -> Tensor:
        """Which frames are of a recording, and not padding.

        Args:
            features: (batch, frames, bins), normalised.

        Returns:
            (batch, frames), true or false. No sound has one energy in every bin.
        """
        return (features != self.padding).any(dim=-1)

    def logs(self, features: Tensor) -> Tensor:
        """Logarithms of energies.

        Args:
            features: (batch, frames, bins), normalised.

        Returns:
            (batch, frames, bins), in nats; minus infinity at the floor and in padding.
        """
        energies = features * (2 * self.front_end.std) + self.front_end.mean
        silent = (features <= self.floor) | ~self.real_frames(features)[..., None]
        return energies.masked_fill(silent, -torch.inf)

    def features(self, logs: Tensor, real: Tensor) -> Tensor:
        """Normalised features, not below the floor.

        Args:
            logs: of energies, (batch, frames, bins).
            real: which frames are no padding, (batch, frames).

        Returns:
            (batch, frames, bins).
        """
        normalised = ((logs - self.front_end.mean) / (2 * self.front_end.std)).clamp(min=self.floor)
        return torch.where(real[..., None], normalised, self.padding)

    def _rounded(self, log: Tensor) -> float:
        return float(((log - self.front_end.mean) / (2 * self.front_end.std)).half())


def mean_energy(logs: Tensor, frames: Tensor) -> Tensor:
    """Energy of a sound: the mean over its frames of the sum over Mel bins.

    Args:
        logs: of energies, (batch, frames, bins).
        frames: which of them count, (batch, frames).

    Returns:
        (batch,); 0 where no frame counts.
    """
    energies = logs.exp().sum(dim=-1).masked_fill(~frames, 0)
    return energies.sum(dim=-1) / frames.sum(dim=-1).clamp(min=1)
