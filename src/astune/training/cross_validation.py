"""One run a fold."""

from __future__ import annotations

from statistics import mean, stdev

from accelerate import PartialState

from astune import adapter_file
from astune.console import say
from astune.data import load_data
from astune.errors import ConfigError
from astune.json_text import json_text
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.output_folder import writing
from astune.training.processes import many_on_cpu
from astune.training.result import TrainResult


def cross_validate(config: TrainConfig, *, quiet: bool = False) -> list[TrainResult]:
    """Train once a fold, in ``fold-<n>/`` of the output folder, and write ``cross_validation.json``.

    Args:
        config: as for :func:`train`, without a fold.
        quiet: no progress bars and no announcements.

    Returns:
        One result a fold.

    Raises:
        ConfigError: a fold was named, or the data have none.
        OutputError: the folder cannot be written.
    """
    folds = load_data(config.data).folds
    if config.fold is not None:
        raise ConfigError(f"cross-validation trains every fold; leave fold {config.fold} out")
    if len(folds) < 2:
        raise ConfigError(f"{config.data} has no folds to cross-validate over; give a table with a column fold")
    main = PartialState(cpu=many_on_cpu()).is_main_process
    results = []
    for fold in folds:
        if main and not quiet:
            say(f"Fold {fold} of {len(folds)}")
        update = {"fold": fold, "output_dir": config.output_dir / f"fold-{fold}"}
        results.append(train(config.model_copy(update=update), quiet=quiet))
    accuracies = [result.scores["test"]["accuracy"] for result in results]
    summary = {
        "spec": results[0].spec,
        "folds": list(folds),
        "test_accuracy": accuracies,
        "mean": mean(accuracies),
        "standard_deviation": stdev(accuracies),
    }
    if main:
        with writing(config.output_dir):
            adapter_file.write_text(config.output_dir / "cross_validation.json", json_text(summary, indent=2) + "\n")
    return results
