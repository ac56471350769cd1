"""Recordings of any length, in pieces that the model takes at a time.

Short recordings are read in threads, many at a time. A long one is decoded by one thread, which cuts it into windows; others turn
windows into what the model takes, such as features, and the model computes meanwhile. How much is held at a time is limited.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice, repeat
from typing import TYPE_CHECKING, Any, TypeVar

from astune.data.audio import SAMPLING_RATE
from astune.data.threads import ahead
from astune.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from numpy.typing import NDArray

    from astune.data.audio import Facts
    from astune.inference.inputs import Source
    from astune.inference.windows import Hearing, Window

    Assigned = tuple[Source, Hearing]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_GROUP = 4  # windows that are cut at a time


@dataclass(frozen=True)
class Piece:
    """A window of an input; with the last one comes what is known of the input."""

    name: str
    """Name of the input."""
    hearing: Hearing
    """How the input is processed."""
    start: float = 0.0
    """Seconds from the beginning of the recording."""
    end: float = 0.0
    features: NDArray[Any] | None = None
    """The model's input, one row of a batch; None if the input cannot be read."""
    facts: Facts | None = None
    """Facts about the whole recording; set on its last piece."""
    error: AudioError | None = None
    """Why there are no more of it."""

    @property
    def last(self) -> bool:
        """Whether the input is over."""
        return self.facts is not None or self.error is not None


@dataclass(frozen=True)
class Cutting:
    """How inputs become pieces."""

    threads: int
    """Number of threads that read short recordings, or compute the features of long ones."""
    size: int
    """Pieces of a batch; those of two more may be ready before they are asked for."""
    beginning: bool = False
    """Whether only the first window of each input is used."""
    begin: Callable[[], object] | None = None
    """Is called once in each thread before it works."""

    def batches(
        self, found: Iterator[Assigned], *, single: bool
    ) -> Generator[tuple[list[Piece], list[NDArray[Any]]], None, None]:
        """Read inputs for the model.

        Args:
            found: see :meth:`pieces`.
            single: see :meth:`pieces`.

        Returns:
            Gives batches as :func:`batched`.
        """
        return batched(self.pieces(found, single=single), self.size)

    def pieces(self, found: Iterator[Assigned], *, single: bool) -> Generator[Piece, None, None]:
        """Read inputs.

        Args:
            found: the inputs, and how each is processed; they are drawn in the caller's thread.
            single: whether there is one alone, for which no threads are started to read short ones.

        Yields:
            Their pieces, input after input.
        """
        for long, some in groupby(found, self._fills_memory):
            if long:  # drawn one by one: several at a time would fill the memory
                for assigned in some:
                    yield from self._streamed(assigned)
            else:
                yield from self._read_ahead(some, single=single)

    def _fills_memory(self, assigned: Assigned) -> bool:
        """Whether the input is a long recording in memory that is used whole."""
        source, hearing = assigned
        if self.beginning or source.samples is None:
            return False
        return not hearing.windows.one_is_enough(len(source.samples) / source.sampling_rate)

    def _read_ahead(self, found: Iterator[Assigned], *, single: bool) -> Iterator[Piece]:
        met = (self._first(one) if self.beginning and one[0].read_once else one for one in found)
        begun = self._ahead(self._begin, met, threads=0 if single else self.threads, waiting=2 * self.size)
        with closing(begun):
            for one in begun:
                if isinstance(one, Piece):
                    yield one
                else:
                    yield from self._streamed(one)

    def _begin(self, one: Assigned | Piece) -> Piece | Assigned:
        """The only piece of a recording. One that has more comes back as it is, and so does a pipe: it is read where it is met."""
        return one if isinstance(one, Piece) or one[0].read_once else self._first(one)

    def _first(self, assigned: Assigned) -> Piece | Assigned:
        source, hearing = assigned
        try:
            recording = source.beginning(hearing.windows.window)
            if not (self.beginning or hearing.windows.one_is_enough(recording.seconds)):
                return assigned
            end = len(recording.samples) / SAMPLING_RATE
            return Piece(source.name, hearing, 0.0, end, hearing.hear(recording.samples), recording.facts)
        except AudioError as fault:
            return Piece(source.name, hearing, error=fault)

    def _streamed(self, assigned: Assigned) -> Iterator[Piece]:
        """The pieces of a long recording."""
        source, hearing = assigned
        stream = source.stream()
        cut = partial(_some, hearing.windows.over(stream))
        with closing(stream), closing(self._ahead(cut, repeat(None), threads=1, waiting=2)) as groups:
            made = partial(_piece, source.name, hearing)
            with closing(self._ahead(made, _joined(groups), threads=self.threads, waiting=2 * self.size)) as featured:
                held = next(featured)
                for piece in featured:
                    yield held
                    held = piece
                yield replace(held, facts=stream.facts)

    def _ahead(
        self, work: Callable[[_Item], _Result], items: Iterable[_Item], *, threads: int, waiting: int
    ) -> Generator[_Result, None, None]:
        return ahead(work, items, threads=threads, waiting=waiting, begin=self.begin)


def batched(pieces: Iterable[Piece], size: int) -> Generator[tuple[list[Piece], list[NDArray[Any]]], None, None]:
    """Put pieces together for the model.

    Args:
        pieces: any.
        size: pieces of a batch.

    Yields:
        Pieces, and what the model takes of those that could be read.
    """
    left = iter(pieces)
    while batch := list(islice(left, size)):
        yield batch, [one.features for one in batch if one.features is not None]


def _piece(name: str, hearing: Hearing, window: Window | AudioError) -> Piece:
    if isinstance(window, AudioError):
        return Piece(name, hearing, error=window)
    return Piece(name, hearing, window.start, window.end, hearing.hear(window.samples))


def _some(windows: Iterator[Window], _: None) -> list[Window | AudioError]:
    """The next windows; none at the end of the recording, and in the place of those that cannot be read why."""
    try:
        return list(islice(windows, _GROUP))
    except AudioError as fault:
        return [fault]


def _joined(groups: Iterator[list[Window | AudioError]]) -> Iterator[Window | AudioError]:
    """The windows of all groups, up to an error."""
    for group in groups:
        if not group:
            return
        yield from group
        if isinstance(group[-1], AudioError):
            return
