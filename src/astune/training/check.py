"""Everything that can be known to be wrong before anything is computed, in one message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from astune.backbone import load_config
from astune.compute import missing_compiler
from astune.counting import count
from astune.data import AudioDataset, Split, load_data
from astune.data.few_shot import few_shot
from astune.data.limit import limit_dataset
from astune.data.without_clips import untrained
from astune.errors import AstuneError, ConfigError, DataError, format_faults, unknown_choice
from astune.extras import install_command, missing_packages
from astune.methods import Method, parse_method
from astune.methods.compatibility import refuse_dropped_patches, refuse_pooling
from astune.names import LONGEST_INPUT
from astune.plurals import enumerated
from astune.training.augmentation_settings import refuse_unusable_augmentations
from astune.training.class_weights import weigh
from astune.training.config import TrainConfig, read_yaml
from astune.training.output_folder import refuse_unusable
from astune.training.processes import chosen_device, launched_processes
from astune.training.recipe import Facts, Recipe, complete, settle
from astune.training.schedule import Schedule, steps_per_epoch

_T = TypeVar("_T")


@dataclass(frozen=True)
class Checked:
    """A configuration with its data, method and recipe resolved."""

    method: Method
    dataset: AudioDataset
    split: Split
    parameters: int
    """Trained, as the paper counts them."""


def check(config: TrainConfig) -> Checked:
    """Find every fault of a configuration; the audio itself is read later.

    Args:
        config: of a run.

    Returns:
        Method, data and split.

    Raises:
        AstuneError: the one fault there is.
        ConfigError: with all of them, where there are several.
    """
    found, faults = _find(config, frozenset())
    if len(faults) > 1:
        raise ConfigError(format_faults([str(fault) for fault in faults], "this run cannot be started"))
    if found is None:
        raise faults[0]
    return found


def check_file(path: Path, **overrides: object) -> tuple[TrainConfig, Checked]:
    """Find every fault of a configuration file: of names, of values, and of what they stand for.

    Args:
        path: YAML.
        overrides: fields that replace or complete the file's.

    Returns:
        The configuration, and method, data and split.

    Raises:
        ConfigError: with all faults.
    """
    config, misstated = TrainConfig.build_sound({**read_yaml(path), **overrides})
    found, faults = _find(config, frozenset(misstated))
    if found is None or misstated:
        raise ConfigError(format_faults([*misstated.values(), *map(str, faults)], str(path)))
    return config, found


def _find(config: TrainConfig, unusable: frozenset[str]) -> tuple[Checked | None, list[AstuneError]]:
    """What a configuration stands for, if it has no fault, and all faults; nothing is asked of the unusable fields."""
    faults: list[AstuneError] = []

    def attempt(action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except AstuneError as fault:
            faults.append(fault)
            return None

    method = attempt(lambda: parse_method(config.method))
    if method and "pooling" not in unusable:
        attempt(lambda: refuse_pooling(method, config.pooling))
    if method and config.patchout and "patchout" not in unusable:
        attempt(lambda: refuse_dropped_patches(method))
    dataset = None if "data" in unusable else attempt(lambda: load_data(config.data, config.data_options))
    parts = attempt(lambda: split_of(dataset, config)) if dataset else None
    if parts and "class_weights" not in unusable:
        attempt(lambda: _balance(config, *parts))
    if method and dataset and not unusable & {"metric_for_best_model", "selection"}:
        attempt(lambda: _metric(config, method, dataset))
    shape = None if "backbone" in unusable else attempt(lambda: load_config(config.backbone))
    size = None
    if method and shape:
        if config.max_length:
            shape.max_length = config.max_length
        labels = max(2, len(dataset.labels)) if dataset else 2  # one class is a fault of its own
        size = attempt(lambda: count(method, labels, shape))
    if "output_dir" not in unusable:
        attempt(lambda: refuse_unusable(config, size.adapter_bytes if size else 0))
    if not {"background_noise", "time_shift", "max_length"} & unusable:
        attempt(lambda: refuse_unusable_augmentations(config))
    attempt(lambda: _tracker(config))
    attempt(lambda: chosen_device(config.device))
    attempt(lambda: _compiler(config))
    if method and parts:
        attempt(lambda: _refuse_endless_warmup(config, method, *parts))
        attempt(lambda: _refuse_blind_stopping(config, method, *parts))
        attempt(lambda: _refuse_unscored_epochs(config, method, *parts))
    if method is None or parts is None or size is None or faults:
        return None, faults
    return Checked(method, *parts, size.parameters), []


def _balance(config: TrainConfig, dataset: AudioDataset, split: Split) -> None:
    """Refuse weights that do not fit the classes, and to balance them twice.

    Raises:
        ConfigError: as of :func:`astune.training.class_weights.weigh`; or both settings balance.
    """
    weigh(config.class_weights, dataset, split.train)
    if config.class_weights == config.sampler == "balanced":
        raise ConfigError(
            "class_weights=balanced and sampler=balanced each make up for rare classes, and together for twice as much; leave one out"
        )


def _metric(config: TrainConfig, method: Method, dataset: AudioDataset) -> None:
    """Refuse a score that chooses the epoch where there is no such score, or no choice.

    Raises:
        ConfigError: it is unknown to the task, or the last epoch is kept whatever it scores and nothing stops before it.
    """
    metric = config.metric_for_best_model
    if metric is None:
        return
    if metric not in dataset.task.metrics:
        raise ConfigError(unknown_choice("metric_for_best_model", metric, dataset.task.metrics))
    settled = settle(config, method, dataset.recipe)
    if settled["selection"] == "last" and not settled["early_stopping_patience"]:
        whose = "" if config.selection else f", which {dataset.source} comes with,"
        raise ConfigError(
            f"metric_for_best_model={metric} chooses the best epoch, and selection=last{whose} keeps the last one; leave it out, or give "
            "selection=best-validation, or early_stopping_patience, which goes by it too"
        )


def _compiler(config: TrainConfig) -> None:
    """Refuse to translate for a CPU without a compiler, which torch.compile would find out behind the features.

    Raises:
        ConfigError: there is none.
    """
    name = missing_compiler()
    if config.compile and name and not torch.cuda.is_available():
        raise ConfigError(
            f"compile=True needs the C++ compiler {name!r}, which is not installed; install it, set CXX, or set compile=False"
        )


def _refuse_endless_warmup(config: TrainConfig, method: Method, dataset: AudioDataset, split: Split) -> None:
    """Refuse a warm-up as long as the run.

    Raises:
        ConfigError: it is.
    """
    recipe = _recipe(config, method, dataset, split)
    steps = recipe.num_train_epochs * steps_per_epoch(len(split.train), recipe, config, launched_processes())
    Schedule.of(recipe, steps)


def _recipe(config: TrainConfig, method: Method, dataset: AudioDataset, split: Split) -> Recipe:
    """The numbers of a run, but for those that depend on the input length, which wants the audio."""
    batches = launched_processes() * config.gradient_accumulation_steps
    return complete(settle(config, method, dataset.recipe), Facts(len(split.train), LONGEST_INPUT, batches))


def _refuse_blind_stopping(config: TrainConfig, method: Method, dataset: AudioDataset, split: Split) -> None:
    """Refuse early stopping that has no validation clips to go by, or a threshold without it.

    Raises:
        ConfigError: it has none.
    """
    if config.early_stopping_patience and not split.validation:
        raise ConfigError(
            f"early_stopping_patience={config.early_stopping_patience} needs validation clips, and {dataset.source} leaves none; "
            "give selection=best-validation, which holds a tenth out, or data with a validation split"
        )
    if config.early_stopping_threshold and not _recipe(config, method, dataset, split).early_stopping_patience:
        raise ConfigError(
            f"early_stopping_threshold={config.early_stopping_threshold:g} does nothing without early_stopping_patience; "
            "give how many epochs to wait, such as 5"
        )


def _refuse_unscored_epochs(config: TrainConfig, method: Method, dataset: AudioDataset, split: Split) -> None:
    """Refuse to choose among epochs whose validation clips are not scored.

    Raises:
        ConfigError: the settings ask for that.
    """
    if config.eval_strategy == "epoch":
        return
    recipe = _recipe(config, method, dataset, split)
    choosing = {"selection=best-validation": recipe.selection == "best-validation"}
    choosing[f"early_stopping_patience={recipe.early_stopping_patience}"] = bool(recipe.early_stopping_patience)
    if any(choosing.values()):
        raise ConfigError(
            f"eval_strategy=no scores no epoch, and {enumerated(name for name, is_set in choosing.items() if is_set)} "
            "would choose by the scores; give selection=last and early_stopping_patience=0 with it"
        )


def split_of(dataset: AudioDataset, config: TrainConfig) -> tuple[AudioDataset, Split]:
    """The clips of a run: fold, shots and limit applied.

    Args:
        dataset: all clips.
        config: of the run.

    Returns:
        The data set, smaller where ``limit_clips`` says so, and its split.

    Raises:
        AstuneError: what of them does not go together.
    """
    split = dataset.split(config.fold, config.seed, config.selection)
    refuse_untrained(dataset, split)
    if config.shots is not None:
        split = few_shot(dataset, split, config.shots, config.seed)
    return (
        (dataset, split)
        if config.limit_clips is None
        else limit_dataset(dataset, split, config.limit_clips, config.seed)
    )


def refuse_untrained(dataset: AudioDataset, split: Split) -> None:
    """Refuse data that nothing could be learned of, or nothing of one class.

    Args:
        dataset: the data.
        split: of them.

    Raises:
        DataError: there are fewer than two classes, no training clips, or none of one class.
    """
    if len(dataset.labels) < 2:
        there = f"only {dataset.labels[0]}" if dataset.labels else "no class"
        raise DataError(f"{dataset.source}: training needs two classes or more, and the data have {there}")
    if not split.train:
        only = (
            f"its only fold, {dataset.folds[0]}, tests" if len(dataset.folds) == 1 else "all of them validate or test"
        )
        raise DataError(f"{dataset.source} has no clips to train on: {only}")
    if reason := untrained(dataset, split):
        where = "" if split.fold is None else f", where fold {split.fold} tests"
        raise DataError(f"{dataset.source}{where}: {reason}")


def _tracker(config: TrainConfig) -> None:
    name = config.report_to
    if name != "none" and missing_packages(name):
        raise ConfigError(f"report_to={name} needs a package that is not installed; {install_command(name)}")
