"""What an augmentation is: something that changes training clips, each by its own key, and never the clips that are scored.

To add one, write a class with these members in a file of its own and list it in :func:`astune.training.augmentations.augmentations_of`;
CONTRIBUTING.md has an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from astune.task import Task

ActsOn = Literal["waveform", "features", "patches", "targets"]
"""What is changed, in the order in which a batch passes. A batch holds features from the cache; what acts on waveforms makes others."""


@dataclass(frozen=True)
class TrainingBatch:
    """Clips of one step, on the CPU."""

    inputs: Tensor
    """(batch, frames, bins), normalised log-Mel features; or what frozen layers give of them."""
    targets: Tensor
    """(batch, ...), as the task encodes them; shares of the classes, (batch, classes), where ``soft``."""
    clips: tuple[int, ...]
    """Their indices in the data set."""
    names: tuple[str, ...]
    """Of the clips: the keys of everything random. Where an epoch visits a clip again, the visit's number is added to its name."""
    epoch: int
    kept_patches: Tensor | None = None
    """The patches looked at, (batch, K); all where None."""
    first_frames: tuple[int, ...] | None = None
    """The frame of each clip that its input begins with, (batch,); 0 where None."""
    soft: bool = False
    """Whether targets are shares, because they were mixed or smoothed."""


class Augmentation(Protocol):
    """Changes training clips."""

    @property
    def acts_on(self) -> ActsOn:
        """What is changed."""

    @property
    def active(self) -> bool:
        """Whether the augmentation changes anything with its settings."""

    @property
    def forbids_frozen(self) -> str | None:
        """Why layers that nothing trains cannot be computed once for all epochs: a phrase, with its switch; None where they can."""

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Change a batch by keys of (seed, purpose, epoch, clip name).

        Args:
            batch: not changed in place.

        Returns:
            The changed batch.
        """


def shares_of(batch: TrainingBatch, task: Task, classes: int) -> Tensor:
    """Targets of a batch that can be mixed and smoothed.

    Args:
        batch: of training.
        task: that encoded its targets.
        classes: how many there are.

    Returns:
        How much each clip has of each class, (batch, classes), float32, from 0 to 1.
    """
    return batch.targets if batch.soft else task.shares_of(batch.targets, classes)
