"""What an adapter may say of itself, whatever says it: its configuration, an exported graph, a folder of PEFT. torch is not needed."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from astune.data.labels import label_faults
from astune.errors import unknown_choice
from astune.printable import UNPRINTABLE, printable
from astune.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping

_FAULTS_SHOWN = 3


def _usable(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels from elsewhere are shown and served like one's own.

    Raises:
        ValueError: fewer than two, the same twice, or not as they can be shown.
    """
    faults = label_faults(labels, outer_spaces=True)
    if faults:
        raise ValueError("; ".join(faults[:_FAULTS_SHOWN]))
    return labels


def _known(task: str) -> str:
    """A task of a newer version would be scored as another one.

    Raises:
        ValueError: this version does not know it.
    """
    if task not in TASKS:
        raise ValueError(f"{unknown_choice('task', task, TASKS)}. A newer astune than {version('astune')} may know it")
    return task


def _line(text: str) -> str:
    """Check text that is shown in tables and cards.

    Raises:
        ValueError: it has letters that cannot be shown.
    """
    if printable(text) != text:
        raise ValueError(f"it holds {UNPRINTABLE}, or has several lines")
    return text


Labels = Annotated[tuple[str, ...], AfterValidator(_usable)]
"""Names of the classes of an adapter."""
TaskKey = Annotated[str, AfterValidator(_known)]
"""A key of :data:`astune.tasks.TASKS`."""
Line = Annotated[str, Field(max_length=4_096), AfterValidator(_line)]
"""One line of text that can be shown, such as a path."""
Threshold = Annotated[float, Field(ge=0, le=1)]


def refuse_other_labels(
    labels: tuple[str, ...], task: str, negatives: tuple[str, ...], thresholds: Mapping[str, float]
) -> None:
    """Compare what an adapter says of some labels with its labels.

    Args:
        labels: labels of the adapter.
        task: a key of :data:`astune.tasks.TASKS`.
        negatives: some of the labels; others would be never seen and never missed.
        thresholds: thresholds of all labels, because a label without one would be found by chance; or empty.

    Raises:
        ValueError: they are not of these labels, or labels that compete have thresholds.
    """
    known = set(labels)
    other = next((label for label in negatives if label not in known), None)
    if other is not None:
        raise ValueError(unknown_choice("negative label", other, labels))
    if not thresholds:
        return
    if TASKS[task].default_thresholds(len(labels)) is None:
        raise ValueError(f"thresholds are given, and the labels of the task {task!r} compete; leave them out")
    other = next((label for label in thresholds if label not in known), None)
    if other is not None:
        raise ValueError(unknown_choice("label with a threshold", other, labels))
    absent = next((label for label in labels if label not in thresholds), None)
    if absent is not None:
        raise ValueError(f"thresholds has none for {absent!r}; give one for each label")
