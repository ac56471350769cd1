"""One adapter of a Predictor: what a call needs of it, and keeps until it is over, whatever is deleted meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from astune.adapter_info import AdapterInfo
from astune.errors import ConfigError
from astune.features import rounded_features
from astune.tasks import task_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    from numpy.typing import NDArray

    from astune.adapter import Adapter, AdapterConfig
    from astune.classifier import AudioClassifier
    from astune.features import FrontEnd
    from astune.task import Task

_ALIGNED = 64  # bytes, as torch aligns a tensor: products of values with another alignment may be rounded otherwise


@dataclass(frozen=True)
class Kind:
    """What adapters have in common that can take turns in one set of modules."""

    method: str
    pooling: str
    position_embeddings: str
    max_length: int

    @classmethod
    def of(cls, config: AdapterConfig) -> Kind:
        """Return the kind of an adapter.

        Args:
            config: the adapter's.
        """
        method = json.dumps(config.method, sort_keys=True)
        return cls(method, config.pooling, config.position_embeddings, config.front_end.max_length)


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """An adapter as a Predictor has it."""

    info: AdapterInfo
    """Name, labels, input, task."""
    task: Task
    front_end: FrontEnd
    """The front end that turns audio into the model's input."""
    source: str
    """Folder or hub id; of a classifier in memory, its method."""
    config: AdapterConfig | None = None
    """None for a classifier in memory."""
    kind: Kind | None = None
    """None for a classifier in memory."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors by their names in the file, on the device that computes; empty for a classifier in memory."""

    @classmethod
    def of(cls, adapter: Adapter, name: str, device: torch.device, others: Iterable[LoadedAdapter] = ()) -> Self:
        """Copy an adapter.

        Args:
            adapter: any.
            name: under which it is known.
            device: the device that computes.
            others: adapters that are loaded already. Equal front ends are shared, because their filters are half as large as an adapter.

        Raises:
            ConfigError: its task is unknown.
        """
        config = adapter.config
        tensors = own_copies(adapter.tensors, device)
        front_end = next((one.front_end for one in others if one.front_end == config.front_end), config.front_end)
        return cls(
            AdapterInfo.of(config, name), task_named(config.task), front_end, adapter.name, config, Kind.of(config), tensors
        )  # fmt: skip

    @classmethod
    def of_classifier(cls, model: AudioClassifier, name: str) -> Self:
        """Describe a classifier that is used as it is.

        Args:
            model: any.
            name: under which it is known.
        """
        front_end = model.front_end
        info = AdapterInfo(
            name=name, labels=model.labels, task=model.task.name, method=model.method.spec, backbone=model.origin.name,
            max_length=front_end.max_length, num_mel_bins=front_end.num_mel_bins, mean=front_end.mean, std=front_end.std,
            negatives=model.negatives, thresholds=dict(model.thresholds),
        )  # fmt: skip
        return cls(info, model.task, front_end, model.method.spec)

    @property
    def name(self) -> str:
        """The name under which the adapter is loaded."""
        return self.info.name

    @property
    def bytes(self) -> int:
        """Size of its tensors in bytes."""
        return sum(one.nbytes for one in self.tensors.values())

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float16]:
        """Its input, of audio; may be called by any thread.

        Args:
            samples: (samples,) at 16 kHz, in -1 to 1; samples after ``info.samples`` are ignored.

        Returns:
            (max_length, num_mel_bins), normalised log-Mel features, as training had them.

        Raises:
            ConfigError: samples of another shape or type.
        """
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ConfigError(
                f"samples have the shape {samples.shape} and the type {samples.dtype}; give (samples,) in float32, at 16 kHz"
            )
        return rounded_features(samples, self.front_end)

    def refuse_other_features(self, features: NDArray[np.float16]) -> None:
        """Look whether features are its input.

        Args:
            features: the result of :meth:`features`.

        Raises:
            ConfigError: they have another shape.
        """
        wanted = (self.info.max_length, self.info.num_mel_bins)
        if features.shape != wanted:
            raise ConfigError(
                f"features for the adapter {self.name!r} have the shape {features.shape}, and it takes {wanted}; make them with "
                f"features(samples, {self.name!r})"
            )


def own_copies(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copies of an adapter's tensors in one piece of memory for each type, which leaves no gaps when it is freed.

    Args:
        tensors: tensors by name.
        device: device for the copies.

    Returns:
        The copies, by name.
    """
    copies: dict[str, Tensor] = {}
    for dtype in {tensor.dtype for tensor in tensors.values()}:
        chosen = {name: tensor for name, tensor in tensors.items() if tensor.dtype == dtype}
        step = _ALIGNED // dtype.itemsize
        sizes = {name: -(-tensor.numel() // step) * step for name, tensor in chosen.items()}
        whole, begin = torch.empty(sum(sizes.values()), dtype=dtype, device=device), 0
        for name, tensor in chosen.items():
            copies[name] = whole[begin : begin + tensor.numel()].view(tensor.shape).copy_(tensor)
            begin += sizes[name]
    return copies
