"""Random crop: of a training clip that is longer than the input, another part is used in each epoch, not its beginning.

Parts begin on a frame, drawn evenly. Clips are scored by their beginning, as without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from astune.keyed import keyed_generator
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from astune.features.augmentation import ActsOn, TrainingBatch


@strict_constructor
@dataclass(frozen=True)
class RandomCrop:
    """Chooses the part of long training clips that is used."""

    longer: Mapping[int, int]
    """Frames of each clip that is longer than the input, by its index in the data set."""
    part: Callable[[int, int], Tensor] | None
    """Gives the features of a clip, (frames, bins), from a frame on; None where another augmentation reads the part itself."""
    max_length: int
    """Frames of the input."""
    seed: int
    """Of the run."""
    acts_on: ClassVar[ActsOn] = "waveform"
    forbids_frozen: ClassVar[str | None] = (
        "random_crop takes another part of longer clips each time (set random_crop=False to avoid it)"
    )

    @property
    def active(self) -> bool:
        """Whether any clip is longer."""
        return bool(self.longer)

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Choose the parts of the clips of a batch.

        Args:
            batch: of training.

        Returns:
            The batch with their features.
        """
        drawn = tuple(
            self.first_frame(clip, name, batch.epoch) for clip, name in zip(batch.clips, batch.names, strict=True)
        )
        inputs = batch.inputs
        if self.part is not None:
            parts = zip(batch.inputs, batch.clips, drawn, strict=True)
            inputs = torch.stack([self.part(clip, first) if clip in self.longer else row for row, clip, first in parts])
        return replace(batch, inputs=inputs, first_frames=drawn)

    def first_frame(self, clip: int, name: str, epoch: int) -> int:
        """Where the part of a clip begins.

        Args:
            clip: its index in the data set.
            name: of it.
            epoch: so that each epoch hears another part.

        Returns:
            A frame; 0 of a clip that is not longer than the input.
        """
        if clip not in self.longer:
            return 0
        generator = keyed_generator(self.seed, "random-crop", epoch, name)
        return int(generator.integers(self.longer[clip] - self.max_length + 1))
