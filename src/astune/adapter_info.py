"""What a user of an adapter asks of it, without its weights: labels, input, task. torch is not needed."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from astune.data.labels import label_faults
from astune.errors import unknown
from astune.names import FARTHEST_MEAN, LONGEST_INPUT, MOST_MEL_BINS, STD_BOUNDS, samples_of
from astune.printable import UNPRINTABLE, printable
from astune.tasks import TASKS
from astune.validated import Validated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from astune.adapter import AdapterConfig

_RATE = 16_000  # Hz
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
        raise ValueError(f"{unknown('task', task, TASKS)}. A newer astune than {version('astune')} may know it")
    return task


def _line(text: str) -> str:
    """Text that stands in tables and cards.

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
        labels: of the adapter.
        task: a key of :data:`astune.tasks.TASKS`.
        negatives: some of the labels; others would be never seen and never missed.
        thresholds: of all labels, because a label without one would be found by chance; or empty.

    Raises:
        ValueError: they are not of these labels, or labels that compete have thresholds.
    """
    known = set(labels)
    other = next((label for label in negatives if label not in known), None)
    if other is not None:
        raise ValueError(unknown("negative label", other, labels))
    if not thresholds:
        return
    if TASKS[task].default_thresholds(len(labels)) is None:
        raise ValueError(f"thresholds are given, and the labels of the task {task!r} compete; leave them out")
    other = next((label for label in thresholds if label not in known), None)
    if other is not None:
        raise ValueError(unknown("label with a threshold", other, labels))
    absent = next((label for label in labels if label not in thresholds), None)
    if absent is not None:
        raise ValueError(f"thresholds has none for {absent!r}; give one for each label")


class AdapterInfo(Validated):
    """An adapter as predictors, exported graphs and the service describe it."""

    name: str
    """Under which it was loaded."""
    labels: Labels
    """Of the classes, in the order of the scores."""
    task: TaskKey
    """A key of :data:`astune.tasks.TASKS`."""
    method: str
    """Spec string."""
    backbone: str
    """Name or hub id; of a folder its name alone: graphs and services go to other machines, which have no use for its path."""
    max_length: int = Field(ge=1, le=LONGEST_INPUT)
    """Frames of 10 ms that the model takes."""
    num_mel_bins: int = Field(ge=1, le=MOST_MEL_BINS)
    mean: float = Field(ge=-FARTHEST_MEAN, le=FARTHEST_MEAN)
    """Of the log-Mel energies, with which features are normalised."""
    std: float = Field(ge=STD_BOUNDS[0], le=STD_BOUNDS[1])
    negatives: tuple[str, ...] = ()
    """Labels that mean none of the others, and are never events."""
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """The score from which on each label counts; empty where the labels compete."""

    @model_validator(mode="after")
    def _fits_its_labels(self) -> Self:
        refuse_other_labels(self.labels, self.task, self.negatives, self.thresholds)
        return self

    @classmethod
    def of(cls, config: AdapterConfig, name: str) -> AdapterInfo:
        """Of an adapter.

        Args:
            config: the adapter's.
            name: under which it is known.
        """
        from astune.public import public_backbone  # imports torch, as whoever has a configuration did

        front_end = config.front_end
        return cls(
            name=name, labels=config.labels, task=config.task, method=config.spec,
            backbone=public_backbone(config.backbone.name_or_path), max_length=front_end.max_length,
            num_mel_bins=front_end.num_mel_bins, mean=front_end.mean, std=front_end.std,
            negatives=config.negatives, thresholds=dict(config.thresholds),
        )  # fmt: skip

    @property
    def samples(self) -> int:
        """Samples at 16 kHz that fill the input; what lies behind them is not heard."""
        return samples_of(self.max_length)

    @property
    def seconds(self) -> float:
        """Seconds that fill the input."""
        return self.samples / _RATE

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return self.model_dump(mode="json")
