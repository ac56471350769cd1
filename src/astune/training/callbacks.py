"""What happens beside the training: the progress bar, trackers, checkpoints, and what a user adds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list, gather_object
from typing_extensions import override

from astune.console import duration
from astune.errors import ConfigError
from astune.files import write_text
from astune.json_text import json_text
from astune.training import checkpoint
from astune.training.output_folder import TRACKED
from astune.training.result import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from astune.training.engine import Engine
    from astune.training.progress import Progress
    from astune.training.result import TrainResult


class Callback:
    """Called while a run trains, in every process; each method does nothing unless a subclass overrides it."""

    def on_train_begin(self, engine: Engine, progress: Progress) -> None:
        """Before the first step, or the first one after a checkpoint.

        Args:
            engine: of the run.
            progress: how far it has come.
        """

    def on_step_end(self, engine: Engine, progress: Progress) -> None:
        """After each step of the optimiser, of one batch or of several whose gradients are added.

        Args:
            engine: of the run.
            progress: the step is counted in it; after the last step of an epoch the epoch is not.
        """

    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        """After each epoch, when its validation clips have been scored.

        The model has the weights that training goes on with; ``with engine.kept_weights():`` has their average, where there is one.

        Args:
            engine: of the run.
            progress: the last entry of its history is the epoch's; setting its ``stopped`` ends the run.
        """

    def on_save(self, engine: Engine, progress: Progress) -> None:
        """After a checkpoint has been saved, which holds what callbacks did after the step or the epoch.

        Args:
            engine: of the run.
            progress: as it was saved.
        """

    def on_train_end(self, engine: Engine, result: TrainResult) -> None:
        """After the run's files have been written.

        Args:
            engine: of the run.
            result: what it gave.
        """


def refuse_other_callbacks(callbacks: object) -> None:
    """Refuse what cannot be called while a run trains, before anything is computed.

    Args:
        callbacks: as the user gave them.

    Raises:
        ConfigError: it is no list, or holds something else than callbacks.
    """
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise ConfigError(f"callbacks is of type {type(callbacks).__name__}; give a list of Callback objects")
    for one in callbacks:
        if not isinstance(one, Callback):
            name = f"the class {one.__name__}" if isinstance(one, type) else f"of type {type(one).__name__}"
            raise ConfigError(
                f"callbacks holds one that is {name}; give objects of subclasses of astune.training.callbacks.Callback"
            )


class ConsoleBar(Callback):
    """The progress bar.

    Args:
        advance: takes steps and a note, see :func:`astune.console.progress`.
    """

    def __init__(self, advance: Callable[[int, str], None]) -> None:
        self._advance = advance

    @override
    def on_train_begin(self, engine: Engine, progress: Progress) -> None:
        """Show what was done before."""
        self._advance(engine.global_step(progress), "")

    @override
    def on_step_end(self, engine: Engine, progress: Progress) -> None:
        """Show the mean loss so far."""
        del engine
        self._advance(1, f"loss {progress.loss_sum / progress.clips:.3f}")

    @override
    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        """Show the headline figure of the validation clips, and the one that chooses the epoch."""
        self._advance(0, _told(engine, progress.history[-1]))


class EpochLines(Callback):
    """A line per epoch, for logs and notebooks, where a bar would leave nothing.

    Args:
        seconds: at least, between the lines of two epochs: those from a cache take milliseconds. The last epoch always has its line.
        within: seconds without a line after which one says how far a long epoch is; None where a bar shows it.
    """

    def __init__(self, seconds: float = 1.0, within: float | None = None) -> None:
        self._seconds = seconds
        self._within = math.inf if within is None else within
        self._said = -math.inf
        self._began = 0.0
        self._before = 0

    @override
    def on_train_begin(self, engine: Engine, progress: Progress) -> None:
        """Start the clock by which the time left is estimated."""
        self._began = self._said = time.perf_counter()
        self._before = engine.global_step(progress)

    @override
    def on_step_end(self, engine: Engine, progress: Progress) -> None:
        """Say how far the epoch is, where nothing was said for long."""
        if progress.step < engine.steps_per_epoch and time.perf_counter() - self._said >= self._within:
            mean = f"step {progress.step} of {engine.steps_per_epoch}, loss {progress.loss_sum / progress.clips:.3f}"
            self._say(engine, progress, progress.epoch + 1, mean)

    @override
    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        """Say loss, the headline figure of the validation clips, and the training time so far."""
        if engine.is_over(progress) or progress.epoch == 1 or time.perf_counter() - self._said >= self._seconds:
            self._say(engine, progress, progress.epoch, _told(engine, progress.history[-1]))

    def _say(self, engine: Engine, progress: Progress, epoch: int, figures: str) -> None:
        self._said = time.perf_counter()
        done = engine.global_step(progress)
        left = (engine.total_steps - done) * (self._said - self._began) / max(done - self._before, 1)
        most = "up to" if engine.setup.recipe.early_stopping_patience else "about"
        rest = f", {most} {duration(left)} left" if left and not progress.stopped else ""
        epochs = engine.setup.recipe.num_train_epochs
        engine.setup.announce(f"Epoch {epoch} of {epochs}: {figures}, {progress.seconds:.0f} s{rest}")


class Tracker(Callback):
    """Sends metrics to TensorBoard or W&B."""

    @override
    def on_train_begin(self, engine: Engine, progress: Progress) -> None:
        """Start it with the run's settings.

        Raises:
            ConfigError: it cannot start.
        """
        del progress
        settings = {
            key: value
            if isinstance(value, int | float | str)
            else json_text(value)  # trackers take no lists and mappings
            for key, value in engine.setup.settings.items()
            if value is not None
        }
        try:
            engine.accelerator.init_trackers(TRACKED, config=settings)
        except Exception as fault:
            name = engine.setup.config.report_to
            hint = "; log in with `wandb login`, or set WANDB_MODE=offline" if name == "wandb" else ""
            raise ConfigError(f"report_to={name} cannot start: {fault}{hint}") from fault

    @override
    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        """Send the epoch's numbers."""
        engine.accelerator.log(_flat(progress.history[-1]), step=engine.global_step(progress))

    @override
    def on_train_end(self, engine: Engine, result: TrainResult) -> None:
        """Send the scores of the test clips."""
        steps = len(result.history) * engine.steps_per_epoch
        engine.accelerator.log(_flat({"test": result.scores.get("test", {})}), step=steps)
        # Not with end_training: it would part the processes, and the next fold needs them.
        for tracker in engine.accelerator.trackers:
            tracker.finish()


class Checkpoints(Callback):
    """Saves after each epoch, and after every ``save_steps`` steps.

    Args:
        seconds: at least, between the checkpoints of epochs that train from a cache: those may take less time than a checkpoint.
        callbacks: that are called after each one.
    """

    def __init__(self, seconds: float, callbacks: Sequence[Callback]) -> None:
        self._seconds = seconds
        self._callbacks = callbacks
        self._saved = 0.0

    @override
    def on_train_begin(self, engine: Engine, progress: Progress) -> None:
        """Start the clock."""
        del engine, progress
        self._saved = time.perf_counter()

    @override
    def on_step_end(self, engine: Engine, progress: Progress) -> None:
        """Save within the epoch."""
        if progress.step < engine.steps_per_epoch and self._at_a_multiple(engine, progress):
            engine.refuse_unsound(progress)
            self._save(engine, progress)

    @override
    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        """Save, unless this epoch was a short one and not the last."""
        setup = engine.setup
        due = not engine.stage.cached_layers or engine.is_over(progress)
        due |= self._at_a_multiple(engine, progress)
        # Only the main process's clock may decide for all.
        if due or broadcast_object_list([time.perf_counter() - self._saved > self._seconds])[0]:
            if engine.accelerator.is_main_process:
                lines = "".join(json_text(line) + "\n" for line in progress.history)
                write_text(setup.config.output_dir / METRICS, lines)
            self._save(engine, progress)

    @staticmethod
    def _at_a_multiple(engine: Engine, progress: Progress) -> bool:
        every = engine.setup.config.save_steps
        return every is not None and engine.global_step(progress) % every == 0

    def _save(self, engine: Engine, progress: Progress) -> None:
        setup = engine.setup
        random_states = gather_object([checkpoint.random_states(engine.accelerator.device)])
        if engine.accelerator.is_main_process:
            checkpoint.save(
                setup.config.output_dir,
                engine.global_step(progress),
                progress,
                setup.settings,
                {"digest": setup.record.digest, "labels": list(setup.record.labels)},
                engine.states(),
                random_states,
            )
        engine.accelerator.wait_for_everyone()
        self._saved = time.perf_counter()
        for callback in self._callbacks:
            callback.on_save(engine, progress)


def _told(engine: Engine, entry: dict[str, Any]) -> str:
    """What is shown of an epoch."""
    task, metric = engine.task, engine.setup.config.metric_for_best_model
    scores = entry.get("validation", {})
    names = [name for name in dict.fromkeys([task.headline, metric or task.headline]) if name in scores]
    shown = [
        f"{task.shares[name]} {scores[name]:.1%}" if name in task.shares else f"{name} {scores[name]:.3f}"
        for name in names
    ]
    validation = f", validation {', '.join(shown)}" if shown else ""
    return f"loss {entry['train_loss']:.3f}{validation}"


def _flat(entry: dict[str, Any]) -> dict[str, float]:
    """Numbers of a nested record under ``outer/inner`` names, as trackers want them."""
    flat: dict[str, float] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            flat |= {f"{key}/{inner}": number for inner, number in _flat(value).items()}
        elif isinstance(value, int | float):
            flat[key] = value
    return flat
