"""A moving average of the weights, which is scored and kept while training goes on with the weights themselves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    _Tensors = tuple[Tensor, ...] | list[Tensor]

_UPDATES = "updates"  # in a checkpoint, beside the names of tensors, all of which have a dot


class WeightAverage:
    """Exponential moving average of what is trained, one update for each optimiser step.

    The first update copies the weights. Update number n + 1 multiplies the average by ``min(decay, (1 + n) / (10 + n))``, as TensorFlow and
    diffusers do: short runs would otherwise end near the weights that they began with. Buffers, such as the statistics of
    BatchNorm, are averages already and are not averaged again.

    Args:
        parameters: what is trained, on the device of the run.
        decay: largest weight of the old average in the new one, from 0 to 1.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._names = list(parameters)
        self._trained = nn.ParameterList(parameters.values())
        self._averaged = AveragedModel(self._trained, multi_avg_fn=self._average)

    def _average(self, averaged: _Tensors, current: _Tensors, updates: Tensor | int) -> None:
        update = get_ema_multi_avg_fn(decay_of(self.decay, int(updates)))  # type: ignore[no-untyped-call]
        update(averaged, current, updates)

    def update(self) -> None:
        """Take the weights as they are after a step into the average."""
        self._averaged.update_parameters(self._trained)

    def tensors(self) -> dict[str, Tensor]:
        """The average of each trained tensor; not copied. Before the first update, the weights themselves."""
        source = self._averaged.module if self._averaged.n_averaged else self._trained
        return {name: tensor.detach() for name, tensor in zip(self._names, source.parameters(), strict=True)}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the weights for the time of a block; they have the same bits again after it."""
        own = [parameter.detach() for parameter in self._trained]
        before = [tensor.clone() for tensor in own]
        for tensor, average in zip(own, self.tensors().values(), strict=True):
            tensor.copy_(average)
        try:
            yield
        finally:
            for tensor, weights in zip(own, before, strict=True):
                tensor.copy_(weights)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {_UPDATES: self._averaged.n_averaged, **self.tensors()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state`.

        Args:
            state: as a checkpoint has it.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError: one has another shape.
        """
        with torch.no_grad():
            self._averaged.n_averaged.copy_(state[_UPDATES])
            for name, tensor in zip(self._names, self._averaged.module.parameters(), strict=True):
                tensor.copy_(state[name])


def decay_of(decay: float, updates: int) -> float:
    """How much of the old average is in the new one.

    Args:
        decay: that is approached.
        updates: made before this one.

    Returns:
        From 0 to ``decay``.
    """
    return min(decay, (1 + updates) / (10 + updates))
