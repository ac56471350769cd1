"""When a run ends before its last epoch: the validation score has not risen for a given number of epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.task import Task


def epochs_without_gain(
    history: Sequence[Mapping[str, Any]], task: Task, metric: str | None = None, threshold: float = 0.0
) -> int:
    """Epochs since the validation score last rose above all scores before it; what transformers' ``EarlyStoppingCallback`` counts.

    A lower loss at an equal score does not count as a gain here, although it decides whose weights are kept: the loss may fall for many
    epochs after every validation clip is right.

    Args:
        history: one entry for each finished epoch, with figures of the validation clips.
        task: knows which figure counts and in which direction.
        metric: name of the figure; the task's headline where None.
        threshold: gains up to it do not count.

    Returns:
        0 after an epoch with a gain.
    """
    waited = 0
    best: Mapping[str, float] | None = None
    for entry in history:
        figures = entry["validation"]
        gain = None if best is None else task.gain(figures, best, metric)
        waited = 0 if gain is None or gain > threshold else waited + 1
        if gain is None or gain > 0:
            best = figures
    return waited
