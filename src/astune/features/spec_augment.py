"""SpecAugment: one band of frequencies and one stretch of time masked in each training clip (Park et al., 2019).

Widths are drawn as torchaudio draws them, uniform from zero to the parameter; the mask holds zero, the mean of normalised features.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from astune.errors import ConfigError
from astune.keyed import keyed_generator
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.features.augmentation import ActsOn, TrainingBatch


@strict_constructor
class SpecAugment(nn.Module):
    """Masks in training mode, nothing in evaluation mode.

    Args:
        freq_mask: exclusive upper bound of the band's width, in mel bins; 0 for none.
        time_mask: exclusive upper bound of the stretch's length, in frames; 0 for none.
        seed: of the run.

    Raises:
        ConfigError: a negative bound.
    """

    acts_on: ClassVar[ActsOn] = "features"
    forbids_frozen: ClassVar[str | None] = (
        "SpecAugment changes their input each time (set freq_mask=0 time_mask=0 to train without it, and faster)"
    )

    def __init__(self, freq_mask: int, time_mask: int, seed: int) -> None:
        super().__init__()
        if min(freq_mask, time_mask) < 0:
            raise ConfigError(f"SpecAugment's masks are 0 or wider, not freq_mask={freq_mask}, time_mask={time_mask}")
        self.freq_mask, self.time_mask, self.seed = freq_mask, time_mask, seed

    @property
    def active(self) -> bool:
        """Whether anything is masked."""
        return bool(self.freq_mask or self.time_mask)

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Mask the clips of a batch.

        Args:
            batch: of training.

        Returns:
            The batch with masked features.
        """
        return replace(batch, inputs=self(batch.inputs, batch.epoch, batch.names))

    @override
    def forward(self, features: Tensor, epoch: int, names: Sequence[str]) -> Tensor:
        """Mask each clip by its own key.

        Args:
            features: (batch, frames, bins); not changed.
            epoch: so that each epoch has fresh masks.
            names: of the clips, (batch,).

        Returns:
            (batch, frames, bins).
        """
        if not self.training or not self.active:
            return features
        frames, bins = features.shape[1:]
        masked = features.clone()
        for row, name in zip(masked, names, strict=True):
            draw = keyed_generator(self.seed, "spec-augment", epoch, name).random(4)
            low, high = _span(draw[0], draw[1], self.freq_mask, bins)
            first, last = _span(draw[2], draw[3], self.time_mask, frames)
            row[:, low:high] = 0
            row[first:last] = 0
        return masked


def _span(width_draw: float, start_draw: float, bound: int, size: int) -> tuple[int, int]:
    width = min(int(width_draw * bound), size)
    start = int(start_draw * (size - width + 1))
    return start, start + width
