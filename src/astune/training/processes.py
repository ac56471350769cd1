"""Work shared by the processes of one run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from astune.classifier import evaluating
from astune.features import FeatureCache


def many_on_cpu() -> bool:
    """Whether this is one of several processes without an accelerator of their own; Accelerate joins those only when told so."""
    device = torch.accelerator.current_accelerator()
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and (device is None or device.type == "mps")


def batches(order: Sequence[int], size: int, processes: int, rank: int) -> Iterator[tuple[list[int], int]]:
    """A process's share of each batch.

    Args:
        order: all clips, in the order of the epoch.
        size: clips a step and process.
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
    model: torch.nn.Module, features: FeatureCache, clips: Sequence[int], size: int, accelerator: Accelerator
) -> Tensor:
    """Logits of some clips, in their order, computed by all processes together.

    Args:
        model: a classifier, not wrapped: a process that has no clip of the last step calls nothing.
        features: of the data set.
        clips: indices.
        size: clips a step and process.
        accelerator: the processes.

    Returns:
        (clips, classes), float32, on the CPU, the same in every process.
    """
    own: list[tuple[int, Tensor]] = []
    positions = range(len(clips))
    with evaluating(model), torch.inference_mode():
        for share, _ in batches(positions, size, accelerator.num_processes, accelerator.process_index):
            if share:
                inputs = features.batch([clips[position] for position in share]).to(accelerator.device)
                own += zip(share, model(inputs).logits.float().cpu(), strict=True)
    gathered = sorted(gather_object(own), key=lambda item: int(item[0]))
    return torch.stack([logits for _, logits in gathered])
