"""Mixup: each training clip is mixed with another one, and has a share of its label (Zhang et al., 2018).

The share of the clip is λ ~ Beta(alpha, alpha); targets are λ y + (1 - λ) y'. The sounds are mixed as AST's recipe mixes waveforms,
λ x + (1 - λ) x', in the energies of their features: λ² E + (1 - λ)² E'. The other clip is any training clip, drawn by the clip's own key,
and not one of the batch: so several processes train as one does. Balanced sampling (``sampler``) balances these draws too. The other clip
sounds as in this epoch, after what else changes features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from astune.errors import ConfigError
from astune.features.augmentation import TrainingBatch, shares_of
from astune.features.log_mel import FrontEnd
from astune.features.mel_energies import MelEnergies
from astune.keyed import keyed_generator
from astune.task import Task
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from astune.features.augmentation import ActsOn


@strict_constructor
@dataclass(frozen=True)
class Mixup:
    """Mixes training clips and their targets.

    Raises:
        ConfigError: alpha is negative, or there is no clip to mix with.
    """

    alpha: float
    """Of the Beta distribution; 0 for no mixing, 1 for any share alike."""
    partners: Sequence[int]
    """Indices of the training clips."""
    hear: Callable[[Sequence[int], int], TrainingBatch]
    """Gives clips as an epoch uses them."""
    front_end: FrontEnd
    """That made the features."""
    task: Task
    """Whose targets are mixed."""
    classes: int
    seed: int
    """Of the run."""
    visits: Sequence[float] | None = None
    """How often each partner is drawn, compared with the others; all alike where None."""
    acts_on: ClassVar[ActsOn] = "features"
    forbids_frozen: ClassVar[str | None] = (
        "mixup mixes their input with another clip each time (set mixup_alpha=0 to avoid it)"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise ConfigError(f"mixup_alpha={self.alpha}; give 0 or more, such as 0.2")
        if not len(self.partners):
            raise ConfigError("mixup needs at least one training clip")

    @property
    def active(self) -> bool:
        """Whether anything is mixed."""
        return self.alpha > 0

    def drawn(self, name: str, epoch: int) -> tuple[int, float]:
        """Draw what a clip is mixed with.

        Args:
            name: of the clip.
            epoch: so that each epoch mixes others.

        Returns:
            Index of the other clip, and the share of the clip itself, from 0 to 1.
        """
        generator = keyed_generator(self.seed, "mixup", epoch, name)
        if self.visits is None:
            partner = int(generator.integers(len(self.partners)))
        else:
            partner = int(np.searchsorted(self._ends, generator.random() * self._ends[-1], side="right"))
        return self.partners[partner], float(generator.beta(self.alpha, self.alpha))

    @cached_property
    def _ends(self) -> NDArray[np.float64]:
        """Where the stretch of each partner ends, if they lie one after the other, each as long as it is visited often."""
        return np.cumsum(self.visits or ())

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Mix the clips of a batch with others.

        Args:
            batch: of training.

        Returns:
            The batch, with shares of the classes as targets.
        """
        drawn = [self.drawn(name, batch.epoch) for name in batch.names]
        other = self.hear([partner for partner, _ in drawn], batch.epoch)
        own = torch.tensor([share for _, share in drawn], dtype=torch.float64).float()
        targets, others = (shares_of(one, self.task, self.classes) for one in (batch, other))
        return replace(
            batch,
            inputs=self._mixed(batch.inputs, other.inputs, own),
            targets=own[:, None] * targets + (1 - own)[:, None] * others,
            soft=True,
        )

    def _mixed(self, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        energies = MelEnergies(self.front_end)
        parts = [
            energies.logs(features) + 2 * factor.log()[:, None, None]
            for features, factor in ((one, share), (other, 1 - share))
        ]
        return energies.features(torch.logaddexp(*parts), energies.real_frames(one) | energies.real_frames(other))
