"""An adapter as a value: everything that one task needs in addition to the backbone.

It has tensors of its own, so that training on, or loading another adapter into the classifier, changes no adapter made before. Their names
are those of the file; :attr:`astune.AudioClassifier.module_names` says where each one goes in a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from typing_extensions import override

from astune.adapter_rules import Labels, Line, TaskKey, Threshold, refuse_other_labels
from astune.counting import trained_by
from astune.errors import AdapterError, format_faults
from astune.features.log_mel import FrontEnd
from astune.methods.registry import MOST_MEMBERS, method_from_record
from astune.names import Pooling
from astune.summary import Summarised, Summary, here, of_model
from astune.task import Task
from astune.tasks import SINGLE_LABEL, task_named
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from astune.backbone import Backbone, Origin
    from astune.methods import Method

FORMAT_VERSION = 2
"""Version of the files written; 2 has the keys that PEFT and transformers look for, and the pooling ``special``."""
_MOST_PARAMETERS = 10**15


class BackboneReference(BaseModel):
    """Which backbone an adapter was trained on."""

    model_config = ConfigDict(frozen=True)

    name_or_path: Line
    fingerprint: Line
    """See :func:`astune.backbone.backbone.fingerprint_of`."""


class AdapterConfig(BaseModel):
    """The content of ``adapter_config.json``: all that an adapter folder records in addition to its weights."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")  # else they would silently become null

    format_version: int = Field(ge=1, le=FORMAT_VERSION)
    spec: Line
    """The method for people; :meth:`read_method` reads the record below, in which no default is left out."""
    method: list[dict[str, Any]] = Field(min_length=1, max_length=MOST_MEMBERS)
    backbone: BackboneReference
    task: TaskKey = SINGLE_LABEL.name
    """A key of :data:`astune.tasks.TASKS`; files from before there were several have none."""
    labels: Labels
    pooling: Pooling
    position_embeddings: Literal["fit", "zero"]
    front_end: FrontEnd
    compute_dtype: Line
    """Data type of matrix products in training: float32 or bfloat16. The file is float32."""
    trainable_parameters: int = Field(ge=0, le=_MOST_PARAMETERS)
    """Number of trainable parameters, counted as in the paper."""
    training: dict[str, Any] = {}
    """Data, fold, seed and every number of the recipe."""
    metrics: dict[str, dict[str, Any]] = {}
    """Scores by split."""
    negatives: tuple[str, ...] = ()
    """Labels that mean none of the others and are never events; files from before there were any have none."""
    thresholds: dict[str, Threshold] = {}
    """The score from which on each label counts, chosen on validation clips; empty for a task whose labels compete."""
    versions: dict[Line, Line] = {}

    @model_validator(mode="after")
    def _fits_its_labels(self) -> Self:
        refuse_other_labels(self.labels, self.task, self.negatives, self.thresholds)
        return self

    def read_method(self) -> Method:
        """Read the method that an adapter was trained with.

        Raises:
            AdapterError: this version does not know it.
        """
        try:
            return method_from_record(self.method)
        except ValueError as fault:
            raise AdapterError(f"the adapter's method is not known to astune {version('astune')}: {fault}") from fault


@strict_constructor
@dataclass(frozen=True, eq=False, repr=False)
class Adapter(Summarised):
    """What one task adds to a backbone.

    Args:
        config: what it is and what it fits.
        tensors: everything trained, and the buffers of what the method added; copied.
        name: folder or hub id it was read from, for messages.
    """

    config: AdapterConfig
    """The content of ``adapter_config.json``."""
    tensors: dict[str, Tensor]
    """Tensors by their names in the file; on the CPU, with floating point numbers in float32."""
    name: str = "this adapter"
    """Name of the adapter in messages."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", {name: _own_copy(tensor) for name, tensor in self.tensors.items()})

    @override
    def _summary(self) -> Summary:
        config = self.config
        return of_model(
            "Adapter", here(self.name), labels=self.labels, frames=self.front_end.max_length,
            parameters=config.trainable_parameters, method=config.spec, backbone=here(config.backbone.name_or_path),
            pooling=config.pooling, task=config.task,
        )  # fmt: skip

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.config.labels

    @property
    def negatives(self) -> tuple[str, ...]:
        """Labels that mean none of the others, and are never events."""
        return self.config.negatives

    @property
    def thresholds(self) -> dict[str, float]:
        """The score from which on each label counts; empty for a task whose labels compete."""
        return dict(self.config.thresholds)

    @property
    def front_end(self) -> FrontEnd:
        """How audio becomes the adapter's input."""
        return self.config.front_end

    @cached_property
    def method(self) -> Method:
        """Read the method that an adapter was trained with.

        Raises:
            AdapterError: this version does not know it.
        """
        return self.config.read_method()

    @property
    def task(self) -> Task:
        """The task: single-label or multi-label classification."""
        return task_named(self.config.task)

    def refuse_other_backbone(self, backbone: Backbone) -> None:
        """Refuse a backbone it was not trained on, and tensors that do not fit it.

        Args:
            backbone: the candidate, fitted to a length.

        Raises:
            AdapterError: other weights, another length or another position setting; a tensor is missing, unknown, or of another shape.
            ConfigError: the backbone lacks a layer that the method changes.
        """
        config, origin = self.config, backbone.origin
        self.refuse_other_weights(origin)
        if origin.position_embeddings != config.position_embeddings:
            raise AdapterError(
                f"{self.name} was trained with position_embeddings={config.position_embeddings}; the backbone given has "
                f"{origin.position_embeddings}"
            )
        if backbone.max_length != config.front_end.max_length:
            raise AdapterError(
                f"{self.name} takes {config.front_end.max_length} frames; the backbone given was loaded for {backbone.max_length}"
            )
        # With sizes alone, before a model has memory: an adapter may ask for more than its file has.
        sizes = trained_by(self.method, len(self.labels), backbone.model.config).tensors
        refuse_other_shapes(self.tensors, {name: tuple(one.shape) for name, one in sizes.items()}, config.spec)

    def refuse_other_weights(self, origin: Origin) -> None:
        """Refuse a backbone with other weights than those it was trained on, at whatever input length.

        Args:
            origin: the origin of the candidate.

        Raises:
            AdapterError: it has other weights.
        """
        trained_on = self.config.backbone
        if origin.fingerprint != trained_on.fingerprint:
            raise AdapterError(
                f"{self.name} was trained on the backbone {trained_on.name_or_path} (fingerprint {trained_on.fingerprint[:12]}), and "
                f"{origin.name} is another ({origin.fingerprint[:12]}); an adapter means nothing on other weights. Give the right one as "
                "backbone"
            )


def refuse_other_shapes(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], method: str) -> None:
    """Refuse tensors that are not those of a method.

    Args:
        state: tensors by their names in the file.
        shapes: shapes that they must have, by name.
        method: spec, for the message.

    Raises:
        AdapterError: a tensor is missing, unknown, or of another shape.
    """
    faults = [f"{name} is missing" for name in shapes if name not in state]
    faults += [f"{name} is unknown to {method}" for name in state if name not in shapes]
    faults += [
        f"{name} has the shape {tuple(state[name].shape)}, not {tuple(shape)}"
        for name, shape in shapes.items()
        if name in state and state[name].shape != shape
    ]
    if faults:
        raise AdapterError(format_faults(faults, "its tensors do not fit"))


def _own_copy(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()
