"""Cross-validation: one run per fold."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING

from accelerate import PartialState

from astune.console import notify
from astune.data import load_data
from astune.errors import ConfigError, DataError, Interrupted
from astune.files import write_text
from astune.json_text import json_text
from astune.plurals import number_of
from astune.tasks import task_named
from astune.training import checkpoint
from astune.training.augmentation_settings import refuse_unusable_waveform
from astune.training.callbacks import refuse_other_callbacks
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.listening import listen_as_trained
from astune.training.loop import train
from astune.training.output_folder import writing
from astune.training.processes import many_on_cpu
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.features.waveform_augmentation import WaveformFunction
    from astune.training.callbacks import Callback


def cross_validate(
    config: TrainConfig,
    *,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
    waveform_augmentation: WaveformFunction | None = None,
) -> list[TrainResult]:
    """Train once per fold, in ``fold-<n>/`` of the output folder, and write ``cross_validation.json``.

    Args:
        config: as for :func:`train`, without a fold.
        quiet: no progress bars and no announcements.
        callbacks: called in each run, as for :func:`train`.
        waveform_augmentation: changes training clips in each run, as for :func:`train`.

    Returns:
        One result a fold.

    Raises:
        ConfigError: a fold was named, the data have none, a callback is none, or ``waveform_augmentation`` cannot be called.
        DataError: of a fold no test clip can be read.
        Interrupted: a KeyboardInterrupt that says what was kept.
        OutputError: the folder cannot be written.
    """
    refuse_other_callbacks(callbacks)
    refuse_unusable_waveform(config, waveform_augmentation)
    folds = load_data(config.data, config.data_options).folds
    if config.fold is not None:
        raise ConfigError(f"cross-validation trains every fold; leave fold {config.fold} out")
    if len(folds) < 2:
        raise ConfigError(
            f"{config.data} has no folds to cross-validate over; give a table with a column fold, or make_folds, such as 5"
        )
    main = PartialState(cpu=many_on_cpu()).is_main_process
    runs = [config.model_copy(update={"fold": n, "output_dir": config.output_dir / f"fold-{n}"}) for n in folds]
    for run in runs:  # what is wrong with the last fold should not be found after all others
        checked = check(run)
        if not run.resume:  # else the data may be others, which is said before anything is computed
            _refuse_untested(run, tested=bool(listen_as_trained(run, checked, quiet=quiet).split.test))
    results: list[TrainResult] = []
    for number, run in enumerate(runs, start=1):
        if main and not quiet:
            notify(f"Fold {run.fold}, {number} of {len(runs)}")
        try:
            results.append(train(run, quiet=quiet, callbacks=callbacks, waveform_augmentation=waveform_augmentation))
        except Interrupted as stop:
            if not results or checkpoint.latest(run.output_dir) is not None:
                raise
            done = f"{len(results)} of {number_of(len(runs), 'fold')} finished and kept"
            raise Interrupted(f"interrupted; {done}: the same command with resume=True continues from there") from stop
        _refuse_untested(run, tested="test" in results[-1].scores)
    task = task_named(results[0].task)
    found = {name: [result.scores["test"].get(name) for result in results] for name in task.shares}
    headline = [result.scores["test"][task.headline] for result in results]
    summary = {
        "spec": results[0].spec,
        "folds": list(folds),
        **{f"test_{name}": scores for name, scores in found.items() if None not in scores},
        "mean": mean(headline),
        "standard_deviation": stdev(headline),
    }
    if main:
        with writing(config.output_dir):
            write_text(config.output_dir / "cross_validation.json", json_text(summary, indent=2) + "\n")
    return results


def _refuse_untested(run: TrainConfig, *, tested: bool) -> None:
    if not tested:
        raise DataError(f"no test clip of fold {run.fold} can be read; fix them, or take the fold out of the data")
