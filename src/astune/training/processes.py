"""Work shared by the processes of one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from astune.compute import best_device, usable_device
from astune.errors import ConfigError
from astune.inference.batches import Inputs, fetch_ahead, outputs, refuse_non_finite

if TYPE_CHECKING:
    from astune.compute import Arithmetic

_Clip = TypeVar("_Clip")  # however a clip is named


def many_on_cpu() -> bool:
    """Whether this is one of several processes without an accelerator of their own; Accelerate joins those only when told so."""
    return launched_processes() > 1 and best_device().type in {"cpu", "mps"}


def launched_processes() -> int:
    """Number of processes that the launcher started for this run; known before they have found each other."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def computing_on(accelerator: Accelerator, device: str | None) -> Iterator[None]:
    """Compute on the device that was asked for, instead of the one that Accelerate chose, and give that one back at the end.

    Args:
        accelerator: the processes of the run.
        device: such as ``cpu`` or ``cuda:1``; None for Accelerate's choice.

    Raises:
        ConfigError: see :func:`chosen_device`.
    """
    chosen = chosen_device(device)
    own = accelerator.device
    accelerator.state.device = chosen or own  # Accelerate has no argument for it
    try:
        yield
    finally:
        accelerator.state.device = own


def chosen_device(device: str | None) -> torch.device | None:
    """The device that was asked for.

    Args:
        device: such as ``cpu`` or ``cuda:1``; None where none was.

    Raises:
        ConfigError: it is not there; or several processes were launched, each of which has a device of its own.
    """
    if device is None:
        return None
    chosen = usable_device(device)
    if launched_processes() > 1 and not (chosen.type == "cpu" and many_on_cpu()):
        raise ConfigError(
            f"device={device!r}: {launched_processes()} processes were launched, and each computes on a device of its own; leave device out"
        )
    return chosen


def batches(order: Sequence[_Clip], size: int, processes: int, rank: int) -> Iterator[tuple[list[_Clip], int]]:
    """A process's share of each batch.

    Args:
        order: all clips, in the order of the epoch.
        size: clips per step and process.
        processes: how many there are.
        rank: which one this is.

    Yields:
        Its clips of the step, and how many clips the step has over all processes. The last step may be short, down to no clip for
        a process.
    """
    whole = size * processes
    for start in range(0, len(order), whole):
        step = order[start : start + whole]
        yield list(step[rank::processes]), len(step)


def logits_of(
    model: torch.nn.Module,
    inputs: Inputs,
    clips: Sequence[int],
    size: int,
    accelerator: Accelerator,
    arithmetic: Arithmetic,
) -> Tensor:
    """Logits of some clips, in their order, computed by all processes together.

    Args:
        model: a classifier, or its upper layers; not wrapped: a process that has no clip of the last step calls nothing.
        inputs: what it takes of each clip.
        clips: indices.
        size: clips per step and process.
        accelerator: the processes.
        arithmetic: of the run.

    Returns:
        (clips, classes), float32, on the CPU, the same in every process.

    Raises:
        NumericalError: some are NaN or infinite.
    """
    logits = shared_outputs(model, lambda batch: model(batch).logits, inputs, clips, size, accelerator, arithmetic)
    refuse_non_finite(logits)
    return logits


def shared_outputs(
    model: torch.nn.Module,
    compute: Callable[[Tensor], Tensor],
    inputs: Inputs,
    clips: Sequence[int],
    size: int,
    accelerator: Accelerator,
    arithmetic: Arithmetic,
) -> Tensor:
    """What a model gives of some clips, in their order, computed by all processes together.

    Args:
        model: what computes; not wrapped.
        compute: gives the output (batch, ...) of a batch.
        inputs: what it takes of each clip.
        clips: indices.
        size: clips per step and process.
        accelerator: the processes.
        arithmetic: of the run.

    Returns:
        (clips, ...), float32, on the CPU, the same in every process.
    """
    positions = range(len(clips))
    shares = [share for share, _ in batches(positions, size, accelerator.num_processes, accelerator.process_index)]
    fetching = fetch_ahead(inputs, ([clips[position] for position in share] for share in shares))
    computed = outputs(model, compute, fetching, arithmetic)
    own = [pair for share, (_, some) in zip(shares, computed, strict=True) for pair in zip(share, some, strict=True)]
    gathered = sorted(gather_object(own), key=lambda item: int(item[0]))
    return torch.stack([output for _, output in gathered])
