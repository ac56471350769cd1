"""The training loop: epochs of steps, validation after each unless that is left out, and the callbacks in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from astune.training.callbacks import Callback
    from astune.training.engine import Engine
    from astune.training.progress import Progress


def fit(engine: Engine, progress: Progress, callbacks: Sequence[Callback] = ()) -> None:
    """Train to the end, or until the validation score has not risen for long; all processes together.

    Args:
        engine: of the run.
        progress: where to begin; it is moved along.
        callbacks: called in this order.

    Raises:
        NumericalError: a loss, a weight or a score is not finite.
    """
    for callback in callbacks:
        callback.on_train_begin(engine, progress)
    if engine.setup.recipe.head_start == "probe" and not (progress.epoch or progress.step):
        _score_start(engine, progress)
    while not engine.is_over(progress):
        _fit_epoch(engine, progress, callbacks)


def _score_start(engine: Engine, progress: Progress) -> None:
    """Score what the head start gave: training may make it no better."""
    if engine.setup.split.validation:
        progress.start = engine.validate()[0].figures()
        _keep_if_best(engine, progress, progress.start, -1)


def _fit_epoch(engine: Engine, progress: Progress, callbacks: Sequence[Callback]) -> None:
    mark = time.perf_counter()

    def count_seconds() -> None:
        nonlocal mark
        now = time.perf_counter()
        progress.seconds += now - mark
        mark = now

    batches = engine.steps(progress.epoch, progress.step)
    batch = next(batches, None)
    losses: list[Tensor] = []
    while batch is not None:
        losses.append(engine.backward(batch))
        loss = engine.step(losses, engine.global_step(progress)) if batch.ends_step else None
        following = next(batches, None)  # on its way to a GPU before reading the loss waits for it
        if loss is not None:
            progress.add_step(engine.finite(loss, progress), batch.clips_of_step)
            losses.clear()
            count_seconds()
            for callback in callbacks:
                callback.on_step_end(engine, progress)
        batch = following
    engine.refuse_unsound(progress)
    entry: dict[str, Any] = {"epoch": progress.epoch, "train_loss": progress.loss_sum / progress.clips}
    if engine.setup.split.validation and engine.setup.config.eval_strategy == "epoch":
        with engine.kept_weights():
            scores, _ = engine.validate()
            entry["validation"] = scores.figures()
            _keep_if_best(engine, progress, scores.figures(), progress.epoch)
    count_seconds()
    entry |= {"learning_rate": engine.rate(engine.global_step(progress) - 1), "seconds": round(progress.seconds, 3)}
    progress.end_epoch(entry)
    progress.stopped |= engine.has_lost_patience(progress.scored)
    for callback in callbacks:
        callback.on_epoch_end(engine, progress)


def _keep_if_best(engine: Engine, progress: Progress, figures: dict[str, float], epoch: int) -> None:
    if engine.setup.recipe.selection != "best-validation":
        return
    if engine.task.better(figures, progress.best_figures, engine.setup.config.metric_for_best_model):
        progress.best_epoch = epoch
        # Copied: what a state dict holds changes with the next step.
        progress.best = {name: tensor.cpu().clone() for name, tensor in engine.model.adapter_state().items()}
