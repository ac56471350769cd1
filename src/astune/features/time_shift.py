"""Time shift: each training clip begins earlier or later, by frames drawn evenly from -longest to longest.

The input is a ring, as in the training code of AST and SSAST for Speech Commands (``torch.roll``): what leaves at one end enters at the
other. So nothing is lost. A short clip moves into its padding; a clip that fills the input is cut and joined elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from astune.errors import ConfigError
from astune.keyed import keyed_generator
from astune.names import HOP
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from astune.features.augmentation import ActsOn, TrainingBatch

FRAMES_PER_SECOND = 16_000 / HOP


@strict_constructor
@dataclass(frozen=True)
class TimeShift:
    """Moves training clips in time.

    Raises:
        ConfigError: it is negative, shorter than a frame, or longer than the input.
    """

    longest: float
    """In seconds, to both sides; 0 for none."""
    max_length: int
    """Frames of the input."""
    seed: int
    """Of the run."""
    acts_on: ClassVar[ActsOn] = "features"
    forbids_frozen: ClassVar[str | None] = "time_shift moves their input each time (set time_shift=0 to avoid it)"

    def __post_init__(self) -> None:
        if self.longest and not (math.isfinite(self.longest) and 1 <= self.frames <= self.max_length):
            least, most = 1 / FRAMES_PER_SECOND, self.max_length / FRAMES_PER_SECOND
            raise ConfigError(
                f"time_shift={self.longest} s; give {least:g} (a frame) to {most:g} (the input), or 0 for none"
            )

    @property
    def frames(self) -> int:
        """The longest shift, in frames."""
        return round(self.longest * FRAMES_PER_SECOND)

    @property
    def active(self) -> bool:
        """Whether anything is moved."""
        return self.longest > 0

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Move the clips of a batch.

        Args:
            batch: of training.

        Returns:
            The batch, each clip later by its own number of frames, or earlier where that is negative.
        """
        rows = [
            row.roll(int(keyed_generator(self.seed, "time-shift", batch.epoch, name).integers(-self.frames, self.frames + 1)), 0)
            for row, name in zip(batch.inputs, batch.names, strict=True)
        ]  # fmt: skip
        return replace(batch, inputs=torch.stack(rows))
