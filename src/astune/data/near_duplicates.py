"""Recordings that hold the same sound: encoded again, louder, at another rate, shifted, or a part of each other.

Fingerprints (:mod:`astune.data.fingerprints`) name pairs that may, and where. The pair is then read again at that place, and the
coherence of the two decides. It is 1 for the same sound, whatever a codec or an equaliser did to its phase and level, and low for two takes
of one word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import correlate

from astune.console import progress
from astune.data.audio import listen
from astune.data.fingerprints import FRAME_TICKS, RATE, TICK
from astune.data.spectra import power, spectra
from astune.data.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from astune.data.clip import Region
    from astune.data.fingerprints import Prints

_VOTES, _VOTES_SHARE, _VOTES_ENOUGH = (
    3,
    0.04,
    10,
)  # prints that have to agree: so many, or a share of the shorter clip's, up to the last
_EACH = 8  # clips that are looked at of those that share a print, and
_COMPARED = 5  # pairs that are compared for each clip: both keep the search linear in the clips
_AT_ONCE = 200_000  # prints looked up at a time
_SECONDS = 1.0  # that are compared
_LEAST_SECONDS = 0.1
_LAG = 0.05  # seconds by which the prints may be mistaken
_SEGMENT = 512  # samples of a spectrum
_BAND = (100.0, 3800.0)  # Hz
_AUDIBLE = 1e-5  # of the strongest frequency's power: weaker ones are a codec's own
_MANY = 25_000  # clips of which all prints are kept; of more, one in two, four, eight, so that memory does not grow on
SAME = 0.65
"""Coherence from which two sounds are the same: of low-rate MP3 and Vorbis, 95 of 100 short words have 0.74 or more, and two takes of one
word at most 0.58."""


@dataclass(frozen=True)
class Match:
    """Two recordings that hold the same sound."""

    first: int
    """Number of the first recording."""
    second: int
    offset_seconds: float
    """The sound at a time of the first is at that time plus this in the second."""
    coherence: float
    """Mean over the frequencies that are audible, 0 to 1."""


@dataclass(frozen=True)
class _Pair:
    """Two recordings that may hold the same sound."""

    first: int
    second: int
    votes: int
    offset: float
    """Offset between the two recordings, in ticks."""
    position: float
    """Position of the match in the first recording, in ticks."""


def prints_per_kept(clips: int) -> int:
    """How many prints there are to one that is kept, so that memory does not grow on with the clips of a data set.

    Args:
        clips: clips of the data set.

    Returns:
        A power of two; 1 up to 25,000 clips.
    """
    return 1 << max(0, (clips - 1) // _MANY).bit_length()


def near_duplicates(
    prints: Sequence[Prints],
    regions: Sequence[Region],
    alike: Callable[[int, int], bool] = lambda _first, _second: False,
    *,
    quiet: bool = False,
) -> list[Match]:
    """Find recordings that hold the same sound, in time that grows with their number and not with its square.

    Args:
        prints: fingerprints of each recording.
        regions: where in its file each clip is.
        alike: whether two recordings need no comparison.
        quiet: no progress bar.

    Returns:
        Pairs, in order. Of many copies each is paired with some of the others.

    Raises:
        AudioError: a recording can no longer be read.
    """
    pairs = _most_voted(pair for pair in _candidates(prints) if not alike(pair.first, pair.second))

    def hear(pair: _Pair) -> Match | None:
        return _matched(pair, regions[pair.first], regions[pair.second])

    found = []
    with progress("Comparing", len(pairs), quiet=quiet) as advance:
        for match in in_threads(hear, pairs):
            found += [match] if match else []
            advance(1, f"{len(found)} alike" if found else "")
    return found


def _most_voted(pairs: Iterator[_Pair]) -> list[_Pair]:
    """The best few of each recording."""
    counts: dict[int, int] = {}
    kept = []
    for pair in sorted(pairs, key=lambda pair: (-pair.votes, pair.first, pair.second)):
        if min(counts.get(pair.first, 0), counts.get(pair.second, 0)) < _COMPARED:
            kept.append(pair)
            for clip in (pair.first, pair.second):
                counts[clip] = counts.get(clip, 0) + 1
    return sorted(kept, key=lambda pair: (pair.first, pair.second))


def _candidates(prints: Sequence[Prints]) -> Iterator[_Pair]:
    """Pairs with enough equal prints at one distance."""
    if len(prints) < 2:
        return
    sizes = np.array([len(one.hashes) for one in prints])
    clips = np.repeat(np.arange(len(prints), dtype=np.int32), sizes)
    hashes, times = (np.concatenate([getattr(one, name) for one in prints]) for name in ("hashes", "times"))
    order = np.argsort(hashes, kind="stable")
    index = (hashes[order], times[order], clips[order])
    enough = np.clip(_VOTES_SHARE * sizes, _VOTES, _VOTES_ENOUGH)
    seen: dict[tuple[int, int], _Pair] = {}
    for start, end in _portions([len(one.sought) for one in prints]):
        for pair in _looked_up(prints[start:end], start, index):
            key = (pair.first, pair.second)
            if pair.votes >= min(enough[pair.first], enough[pair.second]) and (
                key not in seen or seen[key].votes < pair.votes
            ):
                seen[key] = pair
    yield from seen.values()


def _portions(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring clips whose prints are looked up together."""
    start = held = 0
    for clip, size in enumerate(sizes):
        if held and held + size > _AT_ONCE:
            yield start, clip
            start, held = clip, 0
        held += size
    yield start, len(sizes)


_Index = tuple["NDArray[np.uint64]", "NDArray[np.int32]", "NDArray[np.int32]"]


def _looked_up(seekers: Sequence[Prints], first: int, index: _Index) -> Iterator[_Pair]:
    """For each pair with a common print, the distance that most prints agree on within a frame."""
    hashes, times, clips = index
    seeker = np.repeat(np.arange(first, first + len(seekers)), [len(one.sought) for one in seekers])
    sought = np.concatenate([one.sought for one in seekers])
    sought_times = np.concatenate([one.sought_times for one in seekers])
    low, high = (np.searchsorted(hashes, sought, side) for side in ("left", "right"))
    seeking, found = [], []
    for number in range(_EACH + 1):  # itself is among them
        rows = np.flatnonzero(low + number < high)
        entries = low[rows] + number
        other = clips[entries] != seeker[rows]
        seeking.append(rows[other])
        found.append(entries[other])
    rows, entries = np.concatenate(seeking), np.concatenate(found)
    if not len(rows):
        return
    bins = (times[entries] - sought_times[rows]) // FRAME_TICKS
    order = np.lexsort((bins, clips[entries], seeker[rows]))
    keys = np.stack([seeker[rows], clips[entries], bins])[:, order]
    starts = np.flatnonzero(np.r_[True, np.any(np.diff(keys) != 0, axis=0)])
    votes = np.diff(np.r_[starts, len(order)])
    middle = np.add.reduceat(sought_times[rows][order], starts) / votes
    keys = keys[:, starts]
    following = np.r_[np.all(keys[:, 1:] == keys[:, :-1] + np.array([[0], [0], [1]]), axis=0), False]
    both = votes + np.where(following, np.r_[votes[1:], 0], 0)
    best = np.lexsort((-both, keys[1], keys[0]))
    best = best[np.r_[True, np.any(np.diff(keys[:2, best]) != 0, axis=0)]]
    for one in best[both[best] >= _VOTES]:
        mine, theirs, distance = keys[:, one].tolist()
        offset = (distance + (1.0 if following[one] else 0.5)) * FRAME_TICKS
        swapped = mine > theirs
        yield _Pair(
            theirs if swapped else mine,
            mine if swapped else theirs,
            int(both[one]),
            -offset if swapped else offset,
            middle[one] + (offset if swapped else 0.0),
        )


def _matched(pair: _Pair, first: Region, second: Region) -> Match | None:
    """Listen to both where their prints agree."""
    offset = pair.offset * TICK
    start = pair.position * TICK - _SECONDS / 2 + 0.05
    one = _part(first, start, _SECONDS)
    other = _part(second, start + offset - _LAG, _SECONDS + 2 * _LAG)
    lag = _best_lag(one, other)
    score = coherence(one, other[lag : lag + len(one)])
    if score < SAME:
        return None
    return Match(pair.first, pair.second, round(offset - _LAG + lag / RATE, 4), round(score, 3))


def _part(region: Region, start: float, seconds: float) -> NDArray[np.float32]:
    """So many seconds of a clip from a moment of it on; zeros where it has none."""
    wanted = round(seconds * RATE)
    before = max(0, -round(start * RATE))
    path, beginning, end = region
    if before >= wanted:
        return np.zeros(wanted, np.float32)
    samples = listen(path, beginning + max(0.0, start), seconds - before / RATE, end=end, pipes=False).samples
    return np.pad(samples[: wanted - before], (before, max(0, wanted - before - len(samples))))


def _best_lag(one: NDArray[np.float32], other: NDArray[np.float32]) -> int:
    """Where in the longer one the shorter one fits best; by differences, so that low frequencies do not decide."""
    return int(np.argmax(np.abs(correlate(np.diff(other), np.diff(one), "valid", "fft"))))


def coherence(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How alike two aligned sounds are, whatever their levels and equalisers are.

    Args:
        one: (samples,) at 16 kHz; zeros at its ends are no part of it.
        other: (samples,), as long.

    Returns:
        Magnitude-squared coherence, averaged over the frequencies that are audible in both; 0 where they share less than 0.1 s.
    """
    both = np.flatnonzero((one != 0) & (other != 0))
    if not len(both) or both[-1] - both[0] < _LEAST_SECONDS * RATE:
        return 0.0
    one, other = one[both[0] : both[-1] + 1], other[both[0] : both[-1] + 1]
    size = min(_SEGMENT, len(one) // 4)
    frequencies = np.arange(size // 2 + 1) * RATE / size
    inside = (frequencies > _BAND[0]) & (frequencies < _BAND[1])
    ours, theirs = (spectra(sound, size, size // 4)[:, inside] for sound in (one, other))
    first, second = power(ours).sum(axis=0), power(theirs).sum(axis=0)
    cross = power((ours.conj() * theirs).sum(axis=0))
    audible = (first > _AUDIBLE * first.max()) & (second > _AUDIBLE * second.max())
    if not audible.any():
        return 0.0
    return float((cross[audible] / (first[audible] * second[audible])).mean())
