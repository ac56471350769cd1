"""What an adapter is, for people: method, labels, backbone, sizes, scores and how it was trained. The backbone is not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astune.adapter_file import read
from astune.adapter_info import AdapterInfo
from astune.backbone.hub import find_files
from astune.errors import AdapterError
from astune.names import ADAPTER_WEIGHTS
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from pathlib import Path


@strict_constructor
@dataclass(frozen=True)
class AdapterDescription:
    """An adapter as :func:`astune.describe_adapter` describes it."""

    adapter: str
    """Folder or hub id, as it was given."""
    method: str
    """Spec of the method, such as ``lora:reduction_rate=64``."""
    task: str
    """``single-label`` or ``multi-label``."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the scores."""
    negative_labels: tuple[str, ...]
    """Labels that mean none of the others."""
    thresholds: dict[str, float]
    """The score from which each label counts; empty for a single-label task."""
    backbone: str
    """Name or hub id of the backbone that it was trained on."""
    backbone_fingerprint: str
    """Digest of the weights of that backbone."""
    max_length: int
    """Length of the input, in frames of 10 ms."""
    input_seconds: float
    """Length of the input, in seconds."""
    trainable_parameters: int
    """Number of trained parameters, as the paper counts them: without the head and the final LayerNorm."""
    stored_parameters: int
    """Number of values in the adapter's file, with the head."""
    file_bytes: int
    """Size of the file of weights, in bytes."""
    compute_dtype: str
    """Precision of the matrix products in training: ``float32`` or ``bfloat16``."""
    recipe: str | None
    """Name of the training recipe: ``paper`` or ``own``; None if the adapter does not say."""
    training: dict[str, Any]
    """Data, fold, seed and hyperparameters of the training."""
    scores: dict[str, dict[str, float]]
    """Scores by split, such as ``scores["test"]["accuracy"]``."""
    astune_version: str | None
    """Version of astune that trained it; None if the adapter does not say."""
    versions: dict[str, str]
    """Versions of Python and the packages that trained it."""


def describe_adapter(adapter: str | Path) -> AdapterDescription:
    """Describe an adapter without loading its backbone.

    Args:
        adapter: adapter folder, or its hub id: ``user/name`` or ``user/name@revision``.

    Returns:
        The description.

    Raises:
        AdapterError: it is not an adapter, it is damaged, or it was written by a newer version.
    """
    found = read(adapter)
    config, name = found.config, str(adapter)
    info = AdapterInfo.of(config, name)
    size = find_files(name, [ADAPTER_WEIGHTS], error=AdapterError)[ADAPTER_WEIGHTS].stat().st_size
    recipe = config.training.get("recipe")
    return AdapterDescription(
        adapter=name,
        method=config.spec,
        task=config.task,
        labels=config.labels,
        negative_labels=config.negatives,
        thresholds=dict(config.thresholds),
        backbone=config.backbone.name_or_path,
        backbone_fingerprint=config.backbone.fingerprint,
        max_length=info.max_length,
        input_seconds=info.seconds,
        trainable_parameters=config.trainable_parameters,
        stored_parameters=sum(tensor.numel() for tensor in found.tensors.values()),
        file_bytes=size,
        compute_dtype=config.compute_dtype,
        recipe=None if recipe is None else str(recipe),
        training=dict(config.training),
        scores={split: _numbers(scores) for split, scores in config.metrics.items()},
        astune_version=config.versions.get("astune"),
        versions=dict(config.versions),
    )


def _numbers(scores: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if isinstance(value, int | float)}
