"""The learning rate of each step, a function of the step alone, so that a resumed run needs no state for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.errors import ConfigError
from astune.plurals import number_of

if TYPE_CHECKING:
    from astune.names import Scheduler
    from astune.training.config import TrainConfig
    from astune.training.recipe import Recipe


def steps_per_epoch(clips: int, recipe: Recipe, config: TrainConfig, processes: int) -> int:
    """Optimiser steps of an epoch; the last one may have fewer clips than the others.

    Args:
        clips: that train.
        recipe: of the run.
        config: of the run.
        processes: that share each step.

    Returns:
        At least 1 where there are clips.
    """
    return math.ceil(clips / (recipe.per_device_train_batch_size * processes * config.gradient_accumulation_steps))


@dataclass(frozen=True)
class Schedule:
    """Rises from 0 along a line, then falls; the rates are those of transformers' ``get_scheduler``.

    ``cosine`` and ``linear`` fall to 0 at the end of all epochs, also where early stopping ends the run before. ``constant`` does not fall
    after the warm-up (transformers' ``constant_with_warmup``).
    """

    kind: Scheduler
    highest: float
    """The learning rate after the warm-up."""
    steps: int
    """Of the whole run."""
    warmup: int
    """Steps of the rise, fewer than all."""

    @classmethod
    def of(cls, recipe: Recipe, steps: int) -> Schedule:
        """The schedule of a run.

        A warm-up below 1 is a share of all steps, rounded up as transformers does. It leaves at least one step at the full rate.

        Args:
            recipe: of the run.
            steps: of the whole run.

        Raises:
            ConfigError: the warm-up would not end before the run does.
        """
        wanted = recipe.warmup_steps
        warmup = int(wanted) if wanted >= 1 else min(math.ceil(steps * wanted), max(0, steps - 1))
        if wanted >= 1 and 0 < steps <= warmup:
            raise ConfigError(
                f"warmup_steps={warmup} never ends: the run has {number_of(steps, 'step')}; give fewer, or a share such as 0.1"
            )
        return cls(recipe.lr_scheduler_type, recipe.learning_rate, steps, warmup)

    def rate(self, step: int) -> float:
        """Learning rate of a step.

        Args:
            step: from 0, since the beginning.
        """
        if step < self.warmup:
            return self.highest * step / self.warmup
        done, falling = step - self.warmup, self.steps - self.warmup
        if self.kind == "constant":
            return self.highest
        if self.kind == "linear":
            return self.highest * (falling - done) / falling
        return self.highest * 0.5 * (1 + math.cos(math.pi * done / falling))
