"""What is trained and what it is given: the whole classifier and features, or what comes after its frozen layers and their output."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from accelerate.utils import gather_object

from astune.console import notify
from astune.data.splits import SPLITS
from astune.errors import DataError, OutputError
from astune.plurals import number_of
from astune.training.frozen import FrozenStates, Upper, frozen_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.classifier import AudioClassifier
    from astune.features.augmentation import Augmentation
    from astune.inference.batches import Inputs
    from astune.training.setup import Setup


@dataclass(frozen=True)
class Stage:
    """The module that is trained, and its inputs."""

    module: AudioClassifier | Upper
    """Takes what ``inputs`` gives."""
    inputs: Inputs
    cached_layers: int = 0
    """Of the backbone, from the first, whose output was computed once."""
    seconds: float = 0.0
    """What that took, or finding it in the cache."""
    notice: str | None = None
    """Why their output could not be kept. Such a run has other rounding than one with the cache."""


def stage_of(setup: Setup, augmentations: Sequence[Augmentation]) -> Stage:
    """Compute frozen layers once where that gives the same training; all processes together.

    Args:
        setup: of the run.
        augmentations: of its training clips.

    Returns:
        The stage.
    """
    model, config = setup.model, setup.config
    whole = Stage(model, setup.features)
    depth = model.frozen_depth
    if not depth or not config.cache_frozen:
        return whole
    many = f"{depth} frozen layers" if depth > 1 else "frozen first layer"
    random = _randomness(model, augmentations)
    if random:
        setup.announce(f"The {many} run in every epoch: {random}")
        return whole
    began = time.perf_counter()
    upper = Upper(model.to(setup.accelerator.device))
    states, fault = _computed(setup, upper)
    # Processes that disagreed would wait for each other for ever: each has a disk, or a moment, of its own.
    faults = [one for one in gather_object([fault]) if one]
    if states is None or faults:
        notice = f"The {many} run in every epoch: {faults[0]}"
        if setup.accelerator.is_main_process:
            notify(notice)  # even where a run is quiet: its figures differ in their last digits
        return replace(whole, notice=notice)
    seconds = time.perf_counter() - began
    size = states.states.nbytes / 1e6
    setup.announce(
        f"The {many} run once, not in every epoch: {number_of(len(states.rows), 'clip')}, {size:.1f} MB, {seconds:.1f} s"
    )
    return Stage(upper, states, depth, seconds)


def _computed(setup: Setup, upper: Upper) -> tuple[FrozenStates | None, str | None]:
    """What the frozen layers give, or why there is no room for it."""
    try:
        states = frozen_states(
            upper,
            setup.features,
            setup.dataset.clips,
            [clip for name in SPLITS for clip in setup.split.named(name)],
            arithmetic=setup.arithmetic,
            batch_size=setup.config.per_device_eval_batch_size,
            quiet=setup.quiet,
        )
    except (DataError, OutputError) as fault:
        return None, str(fault)
    return states, None


def _randomness(model: AudioClassifier, augmentations: Sequence[Augmentation]) -> str | None:
    """What random things precede the layers that are trained: a phrase that names the first of them and, where it has one, its switch."""
    for augmentation in augmentations:
        if augmentation.forbids_frozen:
            return augmentation.forbids_frozen
    if model.backbone.has_dropout:
        return "the backbone's configuration has dropout"
    return None
