"""Whether a graph gives the scores of the adapter that it was made of, on sounds made for this and on the user's clips."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from astune.console import progress
from astune.data.audio import SAMPLING_RATE, listen
from astune.data.audio_notices import TOLERANCE
from astune.environment import usable_cores
from astune.errors import AudioError, NumericalError
from astune.features import rounded_features
from astune.inference.batches import ahead
from astune.names import FRAME, HOP

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from astune.classifier import AudioClassifier
    from astune.data.audio import Recording
    from astune.features import FrontEnd
    from astune.inference.inputs import Expanded

    Samples = NDArray[np.float32]
    Scores = NDArray[np.float32]

_BATCH = 8


@dataclass(frozen=True)
class Scored:
    """Scores of the same inputs by several scorers."""

    made: dict[str, Scores]
    """Scores of generated sounds, computed in one batch, by scorer, (sounds, classes)."""
    alone: dict[str, Scores]
    """Scores of some of these sounds, computed one by one."""
    clips: dict[str, Scores]
    """Scores of the user's clips, computed one by one."""
    broken: tuple[str, ...]
    """Why clips could not be read."""
    files: int
    """Clips that were to be read."""
    longer: int
    """Clips of which only the beginning was used."""
    remarks: tuple[str, ...]
    """Remarks about folders."""

    def largest(self, one: str, other: str) -> float:
        """Largest difference of two scorers' scores.

        Args:
            one: a scorer.
            other: a scorer.
        """
        parts = (self.made, self.alone, self.clips)
        return max(float(np.abs(part[one] - part[other]).max(initial=0.0)) for part in parts)


class Scorer(Protocol):
    """What gives scores of sounds."""

    def scores(self, sounds: Sequence[Samples]) -> Scores:
        """Scores of a batch.

        Args:
            sounds: (samples,) each at 16 kHz, at most those that fill the input.

        Returns:
            (sounds, classes).
        """


class Torch:
    """The adapter in torch, as predictors run it.

    Args:
        model: the model, in evaluation mode, on the CPU.
    """

    def __init__(self, model: AudioClassifier) -> None:
        self._model = model

    @torch.inference_mode()
    def scores(self, sounds: Sequence[Samples]) -> Scores:
        """Score as :meth:`Scorer.scores` does.

        Args:
            sounds: (samples,) each.
        """
        features = np.stack([rounded_features(sound, self._model.front_end) for sound in sounds])
        logits = self._model(torch.from_numpy(features).float()).logits
        found: Scores = self._model.task.activate(logits).numpy()
        return found


def made_sounds(samples: int) -> list[Samples]:
    """Sounds on which front ends go wrong, if they do: tones, silence, an offset, and all lengths down to less than a frame.

    Args:
        samples: samples that fill the input.

    Returns:
        (samples,) each, at 16 kHz.
    """
    random = np.random.default_rng(0)
    time = np.arange(samples) / SAMPLING_RATE
    noise = random.normal(0, 0.1, samples)
    sweep = 0.5 * np.sin(2 * np.pi * (100 + 3_500 * time / time[-1]) * time)
    lengths = [samples // 2, HOP + FRAME, FRAME, FRAME // 4, 1]
    sounds = [
        noise, 1e-3 * noise, 0.9 * np.sin(2 * np.pi * 440 * time), sweep, np.clip(20 * noise, -1, 1), 0.5 + 0.01 * noise,
        np.zeros(samples), np.zeros(samples // 3 + 1), *(noise[:length] for length in lengths),
    ]  # fmt: skip
    return [sound.astype(np.float32) for sound in sounds]


def scored(scorers: dict[str, Scorer], front_end: FrontEnd, clips: Expanded, *, quiet: bool = False) -> Scored:
    """Score the same sounds with several scorers: those made for this one by one and as a batch, then the user's clips.

    Args:
        scorers: scorers by name.
        front_end: the front end of the adapter.
        clips: clips of the user; only the beginning of each is used.
        quiet: no progress bar.

    Returns:
        All scores.

    Raises:
        AudioError: clips are given, and none can be read.
        NumericalError: scores are NaN or infinite.
    """
    samples = front_end.samples
    sounds = made_sounds(samples)
    made = {name: scorer.scores(sounds) for name, scorer in scorers.items()}
    alone = {
        name: np.concatenate([scorer.scores([sound]) for sound in sounds[:: len(sounds) - 1]])
        for name, scorer in scorers.items()
    }
    reading = _Reading([one.reason for one in clips.left_out if not one.harmless])
    rows: dict[str, list[Scores]] = {name: [] for name in scorers}
    with (
        progress("Comparing scores", len(clips.paths), quiet=quiet) as advance,
        closing(reading.beginnings(clips.paths, front_end.seconds)) as batches,
    ):
        for batch in batches:
            for name, scorer in scorers.items() if batch else ():
                rows[name].append(scorer.scores(batch))
            advance(len(batch), "")
    if reading.broken and not reading.readable:
        raise AudioError(f"none of the clips can be read: {reading.broken[0]}")
    nothing = next(iter(made.values()))[:0]
    joined = {name: np.concatenate([nothing, *parts]) for name, parts in rows.items()}
    for name, part in [*made.items(), *alone.items(), *joined.items()]:
        if not np.isfinite(part).all():
            raise NumericalError(
                f"scores of {name} are NaN or infinite; check whether the adapter or its backbone is damaged"
            )
    files = reading.readable + len(reading.broken)
    return Scored(made, alone, joined, tuple(reading.broken), files, reading.longer, tuple(clips.remarks))


@dataclass
class _Reading:
    """What was met while clips were read."""

    broken: list[str]
    readable: int = 0
    longer: int = 0

    def beginnings(self, paths: Sequence[Path], seconds: float) -> Generator[list[Samples]]:
        """Beginnings of clips in batches, without those that cannot be read."""

        def hear(path: Path) -> Recording | AudioError:
            try:
                return listen(path, seconds=seconds)
            except AudioError as fault:
                return fault

        with closing(ahead(hear, paths, threads=usable_cores(), waiting=2 * _BATCH)) as recordings:
            while some := list(islice(recordings, _BATCH)):
                readable = [one for one in some if not isinstance(one, AudioError)]
                self.broken += [str(one) for one in some if isinstance(one, AudioError)]
                self.longer += sum(one.seconds - seconds > TOLERANCE for one in readable)
                self.readable += len(readable)
                yield [one.samples for one in readable]
