"""Runs that fit a head to the end and train no epochs: which of their settings do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astune.plurals import enumerated
from astune.training.augmentation_settings import FUNCTION, NOISE_DIGEST
from astune.training.config import TrainConfig, settings_where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.features.waveform_augmentation import WaveformFunction

_USED = {"recipe", "head_start", "num_train_epochs", "metric_for_best_model", "class_weights", "sampler"}
"""Settings of the training that the fit goes by too."""
_OF_EPOCHS = [
    name for panel in ("Training", "Augmentation") for name in settings_where(kind="result", panel=panel) if name not in _USED
]  # fmt: skip


def without_settings_of_epochs(told: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what only epochs would use, so that an adapter does not say that it was trained so.

    Args:
        told: settings of a run without epochs, by name.

    Returns:
        The rest.
    """
    unused = {*_OF_EPOCHS, FUNCTION, NOISE_DIGEST}
    return {name: value for name, value in told.items() if name not in unused}


def unused_without_epochs(config: TrainConfig, spec: str, waveform: WaveformFunction | None = None) -> list[str]:
    """What to say of settings that only epochs would use.

    Args:
        config: of a run without epochs.
        spec: of its method.
        waveform: the user's function that changes the samples of training clips.

    Returns:
        A sentence; none where every setting is used.
    """
    fields = TrainConfig.model_fields
    given = [name for name in _OF_EPOCHS if getattr(config, name) not in (fields[name].default, None, 0)]
    given += [FUNCTION] if waveform is not None else []
    if not given:
        return []
    does = "does" if len(given) == 1 else "do"
    return [
        f"Note: {spec} is fitted to the end without epochs, so {enumerated(given)} {does} nothing; give num_train_epochs, or "
        f"recipe=paper, to train epochs with {'it' if len(given) == 1 else 'them'}"
    ]
