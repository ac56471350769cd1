"""SpecAugment: one band of frequencies and one stretch of time masked in each training clip (Park et al., 2019).

Widths are drawn as torchaudio draws them, uniform from zero to the parameter; the mask holds zero, the mean of normalised features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from astune.errors import ConfigError
from astune.keyed import keyed_generator
from astune.validated import checked

if TYPE_CHECKING:
    from collections.abc import Sequence


@checked
class SpecAugment(nn.Module):
    """Masks in training mode, nothing in evaluation mode.

    Args:
        freq_mask: exclusive upper bound of the band's width, in mel bins; 0 for none.
        time_mask: exclusive upper bound of the stretch's length, in frames; 0 for none.
        seed: of the run.

    Raises:
        ConfigError: a negative bound.
    """

    def __init__(self, freq_mask: int, time_mask: int, seed: int) -> None:
        super().__init__()
        if min(freq_mask, time_mask) < 0:
            raise ConfigError(f"SpecAugment's masks are 0 or wider, not freq_mask={freq_mask}, time_mask={time_mask}")
        self.freq_mask, self.time_mask, self.seed = freq_mask, time_mask, seed

    def forward(self, features: Tensor, epoch: int, clips: Sequence[int]) -> Tensor:
        """Mask each clip by its own key.

        Args:
            features: (batch, frames, bins); not changed.
            epoch: so that each epoch has fresh masks.
            clips: index of each clip in its data set, (batch,).

        Returns:
            (batch, frames, bins).
        """
        if not self.training or not (self.freq_mask or self.time_mask):
            return features
        frames, bins = features.shape[1:]
        masked = features.clone()
        for row, clip in zip(masked, clips, strict=True):
            draw = keyed_generator(self.seed, "spec-augment", epoch, int(clip)).random(4)
            low, high = _span(draw[0], draw[1], self.freq_mask, bins)
            first, last = _span(draw[2], draw[3], self.time_mask, frames)
            row[:, low:high] = 0
            row[first:last] = 0
        return masked


def _span(width_draw: float, start_draw: float, bound: int, size: int) -> tuple[int, int]:
    width = min(int(width_draw * bound), size)
    start = int(start_draw * (size - width + 1))
    return start, start + width
