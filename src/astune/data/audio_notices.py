"""How much of the audio an input length cuts off, and which recordings are suspicious: the same sentences from every command."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.data.audio import SAMPLING_RATE
from astune.errors import AudioWarning
from astune.names import samples_of
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NAMED = 3  # clips that a sentence names
TOLERANCE = 0.1
"""Seconds after the input that are too few to mention."""


@dataclass(frozen=True)
class CutOff:
    """How much of the clips is cut off because they are longer than the input."""

    input_seconds: float
    """Length of the model's input, in seconds."""
    longer_clips: int
    """Number of clips that are longer than the input."""
    seconds: float
    """Seconds after the end of the input, summed over the longer clips."""
    share: float
    """Share of all the audio, from 0 to 1."""

    def longer(self, total: int, noun: str = "clip") -> str:
        """How many are longer, as the beginning of a sentence: ``1 of 5 clips is longer``.

        Args:
            total: number of recordings.
            noun: what one of them is.
        """
        verb = "is" if self.longer_clips == 1 else "are"
        return f"{self.longer_clips:,} of {number_of(total, noun)} {verb} longer"

    @property
    def lost(self) -> str:
        """The audio that is not used, as a phrase."""
        return f"{_percent(self.share)} of the audio ({_span(self.seconds)})"


def input_seconds(frames: int) -> float:
    """Audio that fills an input.

    Args:
        frames: frames of 10 ms.

    Returns:
        Seconds.
    """
    return samples_of(frames) / SAMPLING_RATE


def cut_off(seconds: Iterable[float], window: float) -> CutOff:
    """Measure the audio after the end of an input.

    Args:
        seconds: length of each clip.
        window: seconds of each clip that are used.

    Returns:
        How many clips are longer, and by how much in all.
    """
    lengths = list(seconds)
    behind = [length - window for length in lengths if length - window > TOLERANCE]
    return CutOff(window, len(behind), sum(behind), sum(behind) / sum(lengths) if behind else 0.0)


def audio_notices(
    seconds: Mapping[int, float],
    doubts: Mapping[int, Sequence[str]],
    names: Sequence[str],
    window: float,
    noun: str = "clip",
) -> list[str]:
    """Sentences for the user about the recordings that are used.

    Args:
        seconds: length of each recording, by its index.
        doubts: what is suspicious of a recording, by its index, as :attr:`astune.data.audio.Facts.doubts`.
        names: names of all recordings.
        window: seconds of each recording that are used.
        noun: what one of them is.

    Returns:
        The audio that was not used, then one sentence per kind of doubt, with the first recordings that it concerns.
    """
    behind = cut_off(seconds.values(), window)
    longer = (
        f"Note: {behind.longer(len(seconds), noun)} than the input: "
        f"only the first {window:.1f} s are used, {behind.lost} is not"
    )
    suspicious = ((names[clip], doubt) for clip in seconds for doubt in doubts.get(clip, ()))
    return ([longer] if behind.longer_clips else []) + doubt_notices(suspicious, len(seconds), noun)


def by_kind(doubts: Iterable[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Sort doubts by their kind.

    Args:
        doubts: name of a recording and what is suspicious of it, once a doubt.

    Returns:
        Names and figures of each kind.
    """
    kinds: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, doubt in doubts:
        kind, _, figures = doubt.partition(": ")
        kinds[kind].append((name, figures))
    return dict(kinds)


def doubt_notices(doubts: Iterable[tuple[str, str]], total: int, noun: str = "clip") -> list[str]:
    """One sentence a kind of doubt.

    Args:
        doubts: see :func:`by_kind`.
        total: number of recordings.
        noun: what one of them is.

    Returns:
        The sentences.
    """
    return [
        f"Warning: {kind}: {len(found):,} of {number_of(total, noun)}: {_named(found)}"
        for kind, found in by_kind(doubts).items()
    ]


def warn_of(doubts: Iterable[tuple[str, str]], total: int, stacklevel: int) -> None:
    """Warn whoever calls from Python, where nobody prints notices.

    Args:
        doubts: see :func:`by_kind`.
        total: number of recordings.
        stacklevel: stack level of :func:`warnings.warn`, counted from the function that calls this one.

    Warns:
        AudioWarning: one for each kind of doubt.
    """
    for sentence in doubt_notices(doubts, total, "recording"):
        warnings.warn(sentence.removeprefix("Warning: "), AudioWarning, stacklevel=stacklevel + 1)


def _named(found: list[tuple[str, str]]) -> str:
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return ", ".join(f"{printable(name)} ({figures})" for name, figures in found[:_NAMED]) + more


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
