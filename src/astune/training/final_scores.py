"""The scores of a finished run: validation clips choose the thresholds of labels, then the test clips are scored once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astune.training.engine import Engine


@dataclass(frozen=True)
class FinalScores:
    """The scores of a run with the weights that are kept."""

    scores: dict[str, dict[str, Any]]
    """By split, as far as it has clips; validation first."""
    notices: tuple[str, ...]
    """What to know of them: labels that no clip of a split has, and thresholds that nothing could choose."""


def final_scores(engine: Engine) -> FinalScores:
    """Score a run, and give its model the thresholds of its labels; all processes together.

    Args:
        engine: of the run, with the weights that are kept.

    Returns:
        The scores.

    Raises:
        NumericalError: logits are not finite.
    """
    split, labels, task = engine.setup.split, engine.setup.dataset.labels, engine.task
    thresholds = task.default_thresholds(len(labels))
    scores: dict[str, dict[str, Any]] = {}
    if split.validation:
        validation, thresholds = engine.validate()
        scores["validation"] = validation.record()
    if split.test:
        scores["test"] = engine.score(split.test, thresholds).record()
    engine.model.thresholds = dict(zip(labels, thresholds or (), strict=False))
    notices = [sentence for part, found in scores.items() for sentence in task.left_out(found, labels, part)]
    notices += task.describe_unchosen(scores.get("validation"), labels)
    return FinalScores(scores, tuple(notices))
