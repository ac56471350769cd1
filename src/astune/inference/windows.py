"""Windows over a recording: where they begin and end, and their samples, cut from a stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from astune.data.audio import SAMPLING_RATE
from astune.data.dataset import frames_of
from astune.errors import ConfigError
from astune.names import FRAME, LONGEST_INPUT
from astune.validated import fits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

_SHORTEST = FRAME / SAMPLING_RATE  # seconds of a window: one frame of features
_LONGEST = 1e9  # seconds: more than 30 years
_CLOSEST = 0.01  # seconds from one window to the next: features come no closer


class HasLength(Protocol):
    """What has an input of fixed length: a front end, a predictor, the description of an adapter."""

    @property
    def seconds(self) -> float:
        """Seconds of audio that fill the input."""


@dataclass(frozen=True)
class Window:
    """A part of a recording that the model processes at a time."""

    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds; where the recording ends, if it ends within the window."""
    samples: NDArray[np.float32]
    """(samples,) at 16 kHz, from ``start`` to ``end``."""


@dataclass(frozen=True)
class Windows:
    """A window of so many seconds every so many seconds.

    The first begins with the recording. They go on until one reaches its end; that one may be shorter, and the front end pads it as
    training pads short clips. What is left after the last full window is not a window if it is shorter than one frame of features,
    25 ms. So a recording that is not longer than a window gives one.
    """

    window: float
    """Seconds of each."""
    hop: float
    """Seconds from the start of one to the start of the next."""

    @classmethod
    def of(cls, model: HasLength, window: float | None = None, hop: float | None = None) -> Windows:
        """Windows that a model can process.

        Args:
            model: the model, or its front end.
            window: length in seconds, at most that of the input, which is the default.
            hop: seconds from one window to the next; by default ``window``. A larger hop leaves gaps that are not used.

        Returns:
            The windows.

        Raises:
            ConfigError: a window longer than the input or shorter than a frame, or a hop below 10 ms.
        """
        longest = model.seconds
        window = longest if window is None else _seconds("window", window)
        # What is less than a step longer gives no frame more: clips of 1 s train an input of 0.995 s.
        if window >= longest + _CLOSEST:
            raise ConfigError(
                f"window={window:g} is longer than the adapter's input of {longest:g} s; give at most {longest:g}, or train an adapter "
                f"with max_length={frames_of(window, LONGEST_INPUT)}"
            )
        if window < _SHORTEST:
            raise ConfigError(f"window={window:g}: give at least {_SHORTEST:g} seconds, one frame of features")
        hop = window if hop is None else _seconds("hop", hop)
        if hop < _CLOSEST:
            raise ConfigError(f"hop={hop:g}: give at least {_CLOSEST:g} seconds, the step of the features")
        return cls(window, hop)

    @property
    def gap(self) -> float:
        """Seconds of the gap between two windows; 0 if there is no gap."""
        return max(0.0, self.hop - self.window)

    @property
    def gap_note(self) -> str | None:
        """Remarks for the user about the gaps; None if there are none."""
        if not self.gap:
            return None
        return (
            f"Note: windows of {self.window:g} s every {self.hop:g} s: {self.gap:g} s between two of them are not heard"
        )

    def one_is_enough(self, seconds: float) -> bool:
        """Whether a recording gives a single window.

        Args:
            seconds: its length.
        """
        total, second = round(seconds * SAMPLING_RATE), self._first(1)
        return total < second + self._samples and total - max(self._samples, second) < FRAME

    def over(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Window]:
        """Cut a stream into windows.

        Args:
            blocks: (samples,) at 16 kHz, one after the other.

        Yields:
            The windows, each as soon as its samples have come; what no window needs any more is let go.
        """
        held, begin, number, covered = np.empty(0, np.float32), 0, 0, 0
        for block in blocks:
            held = np.concatenate((held, block)) if len(held) else block
            while (start := self._first(number)) + self._samples <= begin + len(held):
                covered = start + self._samples
                yield _window(start, held[start - begin : covered - begin])
                number += 1
            passed = min(max(start - begin, 0), len(held))
            held, begin = held[passed:], begin + passed
        start, total = self._first(number), begin + len(held)
        if total - max(covered, start) >= FRAME or (not number and len(held)):
            yield _window(start, held[start - begin :])

    @property
    def _samples(self) -> int:
        return round(self.window * SAMPLING_RATE)

    def _first(self, number: int) -> int:
        """The sample that a window begins with, by its number from 0: rounded each time, so that errors do not add up."""
        return round(number * self.hop * SAMPLING_RATE)


@dataclass(frozen=True, eq=False)
class Hearing:
    """How the model processes an input."""

    windows: Windows
    """Windows into which recordings are cut."""
    hear: Callable[[NDArray[np.float32]], NDArray[Any]]
    """Makes what the model takes of samples at 16 kHz, (samples,); in several threads."""


def _window(start: int, samples: NDArray[np.float32]) -> Window:
    return Window(start / SAMPLING_RATE, (start + len(samples)) / SAMPLING_RATE, samples)


def _seconds(name: str, value: float) -> float:
    """A setting that is a number of seconds.

    Raises:
        ConfigError: the value is invalid.
    """
    if not fits(value, float) or not 0 < value < math.inf:
        raise ConfigError(f"{name}={value!r}: give seconds, a number above 0")
    if float(value) > _LONGEST:  # its samples could not be counted
        raise ConfigError(f"{name}={value:g}: give at most {_LONGEST:g} seconds")
    return float(value)
