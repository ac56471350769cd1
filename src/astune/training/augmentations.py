"""The list of augmentations: each is made from the settings of a run, and the active ones are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from astune.features.augmentation import ActsOn
from astune.features.patchout import Patchout
from astune.features.spec_augment import SpecAugment

if TYPE_CHECKING:
    from astune.features.augmentation import Augmentation
    from astune.training.config import TrainConfig
    from astune.training.recipe import Recipe

_ORDER = get_args(ActsOn)


def augmentations_of(config: TrainConfig, recipe: Recipe, grid: tuple[int, int]) -> tuple[Augmentation, ...]:
    """Augmentations that a run asks for.

    Args:
        config: of the run.
        recipe: its settled numbers.
        grid: patches along frequency and along time.

    Returns:
        The active ones, in the order in which a batch passes them.

    Raises:
        ConfigError: one cannot be made as it is set.
    """
    made: tuple[Augmentation, ...] = (
        SpecAugment(recipe.freq_mask, recipe.time_mask, config.seed),
        Patchout(config.patchout, config.patchout_mode, grid, config.seed),
    )
    return tuple(sorted((one for one in made if one.active), key=lambda one: _ORDER.index(one.acts_on)))
