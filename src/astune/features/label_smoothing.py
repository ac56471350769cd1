"""Label smoothing: a part of each training target is spread over all answers (Szegedy et al., 2016, section 7).

The loss is that of torch's ``cross_entropy(label_smoothing=factor)``. Inputs stay as they are, so frozen layers may run once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from astune.errors import ConfigError
from astune.features.augmentation import shares_of
from astune.task import Task
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from astune.features.augmentation import ActsOn, TrainingBatch


@strict_constructor
@dataclass(frozen=True)
class LabelSmoothing:
    """Softens training targets.

    Raises:
        ConfigError: the factor is not from 0 to below 1.
    """

    factor: float
    """The part that is spread; 0 for none."""
    task: Task
    """Says over what it is spread."""
    classes: int
    acts_on: ClassVar[ActsOn] = "targets"
    forbids_frozen: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        if not 0 <= self.factor < 1:
            raise ConfigError(f"label_smoothing_factor={self.factor}; give 0 or more, below 1")

    @property
    def active(self) -> bool:
        """Whether anything is spread."""
        return self.factor > 0

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Soften the targets of a batch.

        Args:
            batch: of training.

        Returns:
            The batch, with shares of the classes as targets.
        """
        shares = shares_of(batch, self.task, self.classes)
        return replace(batch, targets=self.task.smoothed(shares, self.factor), soft=True)
