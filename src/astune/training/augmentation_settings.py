"""Settings of augmentations: which cannot be used or do not go together, and what decides the result beside them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from astune.data.digests import content_digests
from astune.data.recordings import find_recordings
from astune.errors import ConfigError, DataError, format_faults
from astune.features.time_shift import TimeShift
from astune.features.waveform_augmentation import describe_function, refuse_other_functions
from astune.files import user_path
from astune.names import LONGEST_INPUT
from astune.plurals import enumerated
from astune.printable import printable
from astune.training.config import TrainConfig, settings_where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.data.recordings import Found
    from astune.features.waveform_augmentation import WaveformFunction

_CHANGE_INPUTS = ("mixup_alpha", "gain", "time_shift", "random_crop", "background_noise")
FUNCTION = "waveform_augmentation"
"""Names the user's function beside the settings of a run."""
NOISE_DIGEST = "background_noise_digest"
"""Names the content of the noise in an adapter."""
DRAWN = ("freq_mask", "time_mask", "patchout", *_CHANGE_INPUTS, FUNCTION)
"""What draws random numbers for each clip."""
_RATIOS = ("min_snr_db", "max_snr_db")
_MORE_OF = {"patchout_mode": "patchout", **dict.fromkeys(_RATIOS, "background_noise")}  # no meaning without


def refuse_unusable_augmentations(config: TrainConfig) -> None:
    """Refuse settings of augmentations that cannot be used, or contradict each other.

    Args:
        config: of a run.

    Raises:
        ConfigError: with all faults.
        DataError: there is no background noise where it should be.
    """
    faults = [fault for fault in (_ratios(config), _asked_for_frozen(config)) if fault]
    try:
        TimeShift(config.time_shift, config.max_length or LONGEST_INPUT, config.seed)
    except ConfigError as fault:
        faults.append(str(fault))
    if faults:
        raise ConfigError(faults[0] if len(faults) == 1 else format_faults(faults, "augmentations"))
    if config.background_noise is not None:
        noise_recordings(config.background_noise)


def refuse_unusable_waveform(config: TrainConfig, waveform: object) -> None:
    """Refuse a function that cannot change waveforms, or that contradicts a setting.

    Args:
        config: of a run.
        waveform: as the user gave it; None for none.

    Raises:
        ConfigError: it cannot be used.
    """
    refuse_other_functions(waveform)
    if waveform is not None and _frozen_is_asked_for(config):
        raise ConfigError(_contradiction(FUNCTION))


def _ratios(config: TrainConfig) -> str | None:
    low, high = (getattr(config, name) for name in _RATIOS)
    if low > high:
        return f"min_snr_db={low} is above max_snr_db={high}; is it the other way round?"
    changed = [name for name in _RATIOS if getattr(config, name) != TrainConfig.model_fields[name].default]
    if changed and config.background_noise is None:
        return f"{enumerated(changed)}: no noise is added; give background_noise, a folder of recordings, too"
    return None


def _asked_for_frozen(config: TrainConfig) -> str | None:
    if not _frozen_is_asked_for(config):
        return None
    given = [name for name in _CHANGE_INPUTS if getattr(config, name)]
    return _contradiction(*given) if given else None


def _frozen_is_asked_for(config: TrainConfig) -> bool:
    """By the user: where it is the default, training says why it does without."""
    return config.cache_frozen and "cache_frozen" in config.model_fields_set


def _contradiction(*names: str) -> str:
    change = "changes" if len(names) == 1 else "change"
    return (
        f"cache_frozen=True computes frozen layers once, and {enumerated(names)} {change} their input in every epoch; "
        "leave one of them out"
    )


def settings_key_of_function(waveform: WaveformFunction | None) -> dict[str, object]:
    """The part of a run's settings key that says which function of the user's changes waveforms; it is not in the settings.

    Args:
        waveform: the function; None for none.

    Returns:
        ``waveform_augmentation``, where there is one.
    """
    return {} if waveform is None else {FUNCTION: describe_function(waveform)}


def settings_key_of_noise(config: TrainConfig) -> dict[str, object]:
    """The part of a run's settings key that says what the noise is: its content decides the result, and the folder's path does not.

    Args:
        config: of the run.

    Returns:
        ``background_noise`` with a digest, where there is any.

    Raises:
        DataError: there is no noise in the folder.
    """
    return {} if config.background_noise is None else {"background_noise": noise_digest(config.background_noise)}


def augmentation_facts(config: TrainConfig, beside: Mapping[str, object]) -> dict[str, object]:
    """Collect the augmentation settings that an adapter records.

    Args:
        config: of the run.
        beside: what decided its result and is not in its settings.

    Returns:
        Settings that are not left at their default, and those that say more of them; the digest of the noise, and the function.
    """
    given = config.model_dump(mode="json", include=set(settings_where(panel="Augmentation")))
    changed = {name for name, value in given.items() if value != TrainConfig.model_fields[name].default}
    told = {name: value for name, value in given.items() if name in changed or _MORE_OF.get(name) in changed}
    return told | {NOISE_DIGEST if name == "background_noise" else name: one for name, one in beside.items()}


def noise_recordings(folder: str) -> Found:
    """Search the folder of background noise.

    Args:
        folder: as the setting names it.

    Returns:
        What was found.

    Raises:
        DataError: it is no folder, or holds no recording.
    """
    path = user_path(folder)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise DataError(f"background_noise: {printable(folder)} {what}; give a folder of recordings")
    found = find_recordings(path)
    if not found.files:
        raise DataError(f"background_noise: {printable(folder)} holds {found.holds()}; give a folder of recordings")
    return found


def noise_digest(folder: str) -> str:
    """Digest of the recordings of a folder: their names in it and their content.

    Args:
        folder: as the setting names it.

    Returns:
        32 hexadecimal digits, the same wherever the folder is.

    Raises:
        DataError: it is no folder, or holds no recording.
    """
    found = noise_recordings(folder)
    rows = list(zip(found.files, content_digests(found.paths), strict=True))
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]
