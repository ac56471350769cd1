"""The list of augmentations: each is made from the settings of a run, and the active ones are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from astune.features.augmentation import ActsOn
from astune.features.background_noise import BackgroundNoise
from astune.features.gain import Gain
from astune.features.label_smoothing import LabelSmoothing
from astune.features.mixup import Mixup
from astune.features.patchout import Patchout
from astune.features.random_crop import RandomCrop
from astune.features.spec_augment import SpecAugment
from astune.features.time_shift import TimeShift
from astune.features.waveform_augmentation import WaveformAugmentation

if TYPE_CHECKING:
    from astune.features.augmentation import Augmentation
    from astune.training.config import TrainConfig
    from astune.training.materials import Materials
    from astune.training.recipe import Recipe

_ORDER = get_args(ActsOn)


def augmentations_of(
    config: TrainConfig, recipe: Recipe, grid: tuple[int, int], materials: Materials
) -> tuple[Augmentation, ...]:
    """Augmentations that a run asks for.

    Args:
        config: of the run.
        recipe: its settled numbers.
        grid: patches along frequency and along time.
        materials: what they draw from.

    Returns:
        The active ones, in the order in which a batch passes them.

    Raises:
        ConfigError: one cannot be made as it is set.
    """
    seed, front_end, noise = config.seed, materials.front_end, materials.noise
    task, classes = materials.dataset.task, len(materials.dataset.labels)
    train = tuple(materials.sampler.train.tolist())
    visits = materials.sampler.mean_visits
    alone = _active(
        RandomCrop(materials.longer, materials.part, front_end.max_length, seed),
        *([WaveformAugmentation(materials.waveform, materials.dataset.clips, front_end, seed)] if materials.waveform else []),
        TimeShift(config.time_shift, front_end.max_length, seed),
        Gain(config.gain, front_end, seed),
        *([BackgroundNoise(noise, config.min_snr_db, config.max_snr_db, front_end, seed)] if noise else []),
    )  # fmt: skip
    # Made where it is asked for alone: what it draws from has a target of every clip.
    mixup = [
        Mixup(
            recipe.mixup_alpha, train, materials.training_clips(alone).batch, front_end, task, classes, seed,
            None if visits is None else tuple(visits[clip] for clip in train),
        )
    ] if recipe.mixup_alpha else []  # fmt: skip
    return _active(
        *alone,
        *mixup,
        SpecAugment(recipe.freq_mask, recipe.time_mask, seed),
        LabelSmoothing(recipe.label_smoothing_factor, task, classes),
        Patchout(config.patchout, config.patchout_mode, grid, seed),
    )


def _active(*made: Augmentation) -> tuple[Augmentation, ...]:
    return tuple(sorted((one for one in made if one.active), key=lambda one: _ORDER.index(one.acts_on)))
