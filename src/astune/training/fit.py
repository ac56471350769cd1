"""The training loop: epochs of steps, validation after each, and the callbacks in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.tasks import Scores
    from astune.training.callbacks import Callback
    from astune.training.engine import Engine
    from astune.training.progress import Progress


def fit(engine: Engine, progress: Progress, callbacks: Sequence[Callback] = ()) -> None:
    """Train to the end; all processes together.

    Args:
        engine: of the run.
        progress: where to begin; it is moved along.
        callbacks: called in this order.

    Raises:
        NumericalError: a loss, a weight or a score is not finite.
    """
    for callback in callbacks:
        callback.on_train_begin(engine, progress)
    while progress.epoch < engine.setup.recipe.num_train_epochs:
        _fit_epoch(engine, progress, callbacks)


def _fit_epoch(engine: Engine, progress: Progress, callbacks: Sequence[Callback]) -> None:
    mark = time.perf_counter()

    def count_seconds() -> None:
        nonlocal mark
        now = time.perf_counter()
        progress.seconds += now - mark
        mark = now

    steps = engine.steps(progress.epoch, progress.step)
    step = next(steps, None)
    while step is not None:
        loss = engine.step(step, engine.global_step(progress))
        following = next(steps, None)  # on its way to a GPU before reading the loss waits for it
        progress.add_step(engine.finite(loss, progress), step.clips)
        step = following
        count_seconds()
        for callback in callbacks:
            callback.on_step_end(engine, progress)
    engine.refuse_unsound(progress)
    entry: dict[str, Any] = {"epoch": progress.epoch, "train_loss": progress.loss_sum / progress.clips}
    if engine.setup.split.validation:
        scores, _ = engine.validate()
        entry["validation"] = scores.figures()
        _keep_if_best(engine, progress, scores)
    count_seconds()
    entry |= {"learning_rate": engine.rate(engine.global_step(progress) - 1), "seconds": round(progress.seconds, 3)}
    progress.end_epoch(entry)
    for callback in callbacks:
        callback.on_epoch_end(engine, progress)


def _keep_if_best(engine: Engine, progress: Progress, scores: Scores) -> None:
    if engine.setup.recipe.selection != "best-validation":
        return
    best = None if progress.best_epoch is None else progress.history[progress.best_epoch]["validation"]
    if engine.task.better(scores.figures(), best):
        progress.best_epoch = progress.epoch
        # Copied: what a state dict holds changes with the next step.
        progress.best = {name: tensor.cpu().clone() for name, tensor in engine.model.adapter_state().items()}
