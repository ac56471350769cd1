"""What a user of an adapter asks of it, without its weights: labels, input, task. torch is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from astune.adapter_rules import Labels, TaskKey, Threshold, refuse_other_labels
from astune.names import FARTHEST_MEAN, LONGEST_INPUT, MOST_MEL_BINS, STD_BOUNDS, samples_of
from astune.validated import Validated

if TYPE_CHECKING:
    from typing import Self

    from astune.adapter import AdapterConfig

_RATE = 16_000  # Hz


class AdapterInfo(Validated):
    """An adapter as predictors, exported graphs and the service describe it."""

    name: str
    """Under which it was loaded."""
    labels: Labels
    """Labels of the classes, in the order of the scores."""
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
    """Mean of the log-Mel energies, which normalises features."""
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
        """Describe an adapter.

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
        """Samples at 16 kHz that fill the input; what comes after them is not used."""
        return samples_of(self.max_length)

    @property
    def seconds(self) -> float:
        """Seconds that fill the input."""
        return self.samples / _RATE

    def record(self) -> dict[str, Any]:
        """The description as JSON."""
        return self.model_dump(mode="json")
