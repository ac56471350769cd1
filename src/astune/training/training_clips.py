"""Training clips as an epoch uses them: their inputs and targets, augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.features.augmentation import TrainingBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from astune.features.augmentation import Augmentation
    from astune.inference.batches import Inputs


@dataclass(frozen=True)
class TrainingClips:
    """Clips as an epoch uses them."""

    inputs: Inputs
    targets: Tensor
    """(clips, ...), as the task encodes them."""
    names: Sequence[str]
    augmentations: Sequence[Augmentation]
    """In the order in which a batch passes them."""

    def batch(self, clips: Sequence[int], epoch: int, keys: Sequence[str] | None = None) -> TrainingBatch:
        """Read and augment some of the clips.

        Args:
            clips: their indices in the data set.
            epoch: decides what augmentations draw.
            keys: of everything random, one for each; their names where None.

        Returns:
            The batch, augmented.
        """
        keys = keys or [self.names[clip] for clip in clips]
        batch = TrainingBatch(self.inputs.batch(clips), self.targets[list(clips)], tuple(clips), tuple(keys), epoch)
        for augmentation in self.augmentations:
            batch = augmentation.augment(batch)
        return batch
