"""The one loop in which a model computes without training: prediction, scoring, tokens and frozen layers all use it.

Threads prepare what comes next while the model computes.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from astune.compute import one_core_each
from astune.data.threads import ahead as threads_ahead
from astune.errors import NumericalError
from astune.shared_change import evaluating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from astune.compute import Arithmetic
    from astune.inference.pieces import Piece

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Inputs(Protocol):
    """What clips are to a model: their features, or what its frozen layers give of them."""

    def batch(self, clips: Sequence[int]) -> Tensor:
        """(batch, ...), float32, of clips by their index in the data set."""


def outputs(
    model: nn.Module,
    compute: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[_Item, Tensor]],
    arithmetic: Arithmetic,
) -> Iterator[tuple[_Item, Tensor]]:
    """Compute batch by batch, without gradients, with the model in evaluation mode.

    Args:
        model: what computes, on the arithmetic's device.
        compute: gives the output (batch, ...) of a batch on that device.
        batches: what each batch is of, and the batch (batch, ...) on the CPU.
        arithmetic: device and precision.

    Yields:
        What the batch is of, and its output in float32 on the CPU. Nothing is computed for a batch of nothing: it comes back as it is.
    """
    try:
        for item, batch in batches:
            if not len(batch):
                yield item, batch
                continue
            # Entered for each batch: these modes belong to the thread, and the caller works between two batches.
            with evaluating(model), torch.inference_mode(), arithmetic.products(), arithmetic.computing():
                output = compute(arithmetic.to_device(batch)).float().cpu()
            yield item, output
    finally:
        if isinstance(batches, Generator):  # else its threads wait for as long as somebody keeps the model's exception
            batches.close()


def fetch_ahead(inputs: Inputs, parts: Iterable[Sequence[int]]) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Batches of clips, each fetched while the model computes the one before it.

    Args:
        inputs: the model's input for each clip.
        parts: the clips of each batch.

    Yields:
        The clips and their batch, for :func:`outputs`.
    """
    return ahead(lambda clips: (clips, inputs.batch(clips)), parts, threads=1, waiting=1)


def slices(clips: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut a list of clips into batches.

    Args:
        clips: all of them.
        size: clips a batch.

    Yields:
        The clips of each batch; the last one may be short.
    """
    for start in range(0, len(clips), size):
        yield clips[start : start + size]


def ahead(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, threads: int, waiting: int
) -> Generator[_Result, None, None]:
    """:func:`astune.data.threads.ahead`, each thread with one core for torch.

    Args:
        work: what is done with each.
        items: the things; they are drawn in the caller's thread.
        threads: number of threads that work at a time; 0 to work in the caller's thread.
        waiting: results that may be ready, or in work, before the caller asks for them.

    Returns:
        Gives the results in order. When the caller stops early, so does the work.
    """
    return threads_ahead(work, items, threads=threads, waiting=waiting, begin=one_core_each())


def stacked(
    batches: Iterable[tuple[list[Piece], list[NDArray[Any]]]],
) -> Generator[tuple[list[Piece], Tensor], None, None]:
    """Batches of pieces for the model.

    Args:
        batches: pieces, and the rows of those that could be read, all of one shape.

    Yields:
        The pieces, and their rows: (rows, ...), float32.
    """
    for batch, rows in batches:
        features = [torch.from_numpy(row).float() for row in rows]
        yield batch, torch.stack(features) if features else torch.empty(0, 1)


def refuse_non_finite(logits: Tensor) -> None:
    """Refuse scores that are no numbers.

    Args:
        logits: (clips, classes).

    Raises:
        NumericalError: some are NaN or infinite.
    """
    sound = logits.isfinite().all(dim=-1)
    if not sound.all():
        raise NumericalError(
            f"the model gives {int((~sound).sum())} of {len(logits)} clips scores that are not finite (NaN or infinity), as "
            "after training at too high a rate; train it again from the beginning with a lower learning rate"
        )
