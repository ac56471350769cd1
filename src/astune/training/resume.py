"""Whether a stopped or finished run is the one that is asked for: the same settings on the same data."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from astune import adapter_file, keyed
from astune.data import load_data
from astune.errors import AdapterError, AstuneError, CheckpointError, ConfigError, DataError
from astune.training import checkpoint
from astune.training.augmentation_settings import DRAWN, FUNCTION, settings_key_of_function, settings_key_of_noise
from astune.training.check import split_of
from astune.training.config import SETTINGS, TrainConfig
from astune.training.data_record import CLIPS, DataRecord
from astune.training.recipe import Recipe
from astune.training.result import RESULTS, TrainResult, read_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astune.features.waveform_augmentation import WaveformFunction

Settings = dict[str, object]
_SHOWN = 10  # labels of a run that does not say which clips it had
_WAY_OUT = "Give another output folder, or train again with overwrite_output_dir=True"


def finished_result(
    config: TrainConfig, announce: Callable[[str], None], waveform: WaveformFunction | None = None
) -> TrainResult:
    """Read a finished run.

    Args:
        config: what is asked for; its output folder holds the run.
        announce: takes what the user should know.
        waveform: the function that is to change waveforms.

    Returns:
        What training returned.

    Raises:
        CheckpointError: the run had other settings, its data have changed since, or its adapter is gone or damaged.
        DataError: its results cannot be read.
    """
    folder = config.output_dir
    result = replace(read_result(folder), output_dir=str(folder))  # it may have been moved since
    try:
        adapter_file.read(folder)
    except AdapterError as fault:
        raise CheckpointError(
            f"{folder} holds the results of a run, and not its adapter: {fault}. {_WAY_OUT}"
        ) from fault
    beside = dict(result.beside_settings)
    noise_then = {name: beside.pop(name) for name in ("background_noise",) if name in beside}
    then, mine = _settings_key_of(result, folder) | beside, config.settings_key() | settings_key_of_function(waveform)
    try:
        noise = settings_key_of_noise(config)
        now = DataRecord.of(*split_of(load_data(config.data, config.data_options), config))
    except AstuneError as fault:
        checkpoint.refuse_other_settings(folder, then, mine)
        announce(f"Note: the run was not compared with its data, which cannot be read now: {fault}")
    else:
        _refuse_other_settings(folder, then | noise_then, mine | noise, same_data=result.data_digest == now.digest)
        _refuse_other_data(folder, result.data_digest, tuple(result.labels), now, announce)
    announce(f"{folder} holds a finished run already")
    return result


def _settings_key_of(result: TrainResult, folder: Path) -> dict[str, object]:
    try:
        return TrainConfig(**result.config).settings_key()
    except ConfigError as fault:  # a newer version's, or damaged
        raise DataError(
            f"{folder / RESULTS} has settings that this version cannot read: {fault}. {_WAY_OUT}"
        ) from fault


def refuse_other_run(
    config: TrainConfig, now: DataRecord, announce: Callable[[str], None], waveform: WaveformFunction | None = None
) -> None:
    """Refuse to go on with a run that was started with other settings or on other data, before anything is computed.

    Args:
        config: what is asked for; its output folder may hold a checkpoint.
        now: the data as they are now.
        announce: takes what the user should know.
        waveform: the function that is to change waveforms.

    Raises:
        CheckpointError: each difference is named; or another version, which draws other masks, wrote the checkpoint.
    """
    if not config.resume or config.overwrite_output_dir:
        return
    stopped = checkpoint.latest(config.output_dir)
    if stopped is None:
        announce(f"Note: {config.output_dir} holds no run to continue; training starts from the beginning")
        return
    told, data = checkpoint.recorded_run(stopped)
    _refuse_other_masks(stopped, told)
    settled = {field.name for field in fields(Recipe)}  # by the data too, so they are compared later
    decided = config.settings_key() | settings_key_of_noise(config) | settings_key_of_function(waveform)
    mine = {key: value for key, value in decided.items() if key not in settled}
    comparable = {*SETTINGS, FUNCTION} - settled  # those at their default now are not among mine
    then = {key: told.get(key) for key in {**mine, **told} if key in mine or key in comparable}
    _refuse_other_settings(stopped, then, mine, same_data=data.get("digest") == now.digest)
    _refuse_other_data(config.output_dir, data.get("digest"), tuple(data.get("labels", ())), now, announce)


def _refuse_other_masks(stopped: Path, told: Settings) -> None:
    """Refuse a checkpoint of a version that draws other masks, where the run has any.

    Raises:
        CheckpointError: it is one.
    """
    drawn = told.get("randomness_format", 1)
    if drawn != keyed.FORMAT and any(told.get(name) for name in DRAWN):
        raise CheckpointError(
            f"{stopped} was written by another version of astune, which masks other parts of the clips; finish the run with that version, "
            "or start again with overwrite_output_dir=True"
        )


def _refuse_other_settings(folder: Path, then: Settings, mine: Settings, *, same_data: bool) -> None:
    """Refuse other settings; where the same data are now is none, as when a cluster copies them to each machine."""
    moved = {"data": then.get("data")} if same_data else {}
    checkpoint.refuse_other_settings(folder, then, {**mine, **moved})


def _refuse_other_data(
    folder: Path, then: str | None, labels: tuple[str, ...], now: DataRecord, announce: Callable[[str], None]
) -> None:
    if then is None:
        if labels and labels != now.labels:
            raise CheckpointError(
                f"{folder} belongs to a run on other data: its classes were {', '.join(labels[:_SHOWN])} and are "
                f"{', '.join(now.labels[:_SHOWN])}. {_WAY_OUT}"
            )
        announce(f"Note: {folder} does not say which clips it was trained on, so they are not compared")
    if then in {None, now.digest}:
        return
    record = DataRecord.read(folder, labels)
    changes = record.differences(now) if record is not None and record.digest == then else []
    shown = "; ".join(changes) or f"their digest was {then} and is {now.digest}, and {CLIPS} does not say more"
    raise CheckpointError(f"{folder} belongs to a run on other data: {shown}. {_WAY_OUT}")
