"""What the backbone is pretrained on, as log-Mel energies on disk: real keywords, synthesised words, sounds made from formulas.

====================  ==============================================================================  ==================
part                  what                                                                            label
====================  ==============================================================================  ==================
``keywords``          the training speakers of Arabic Speech Commands, without the first of them      the word
``monitor``           that one speaker: watched during training, trained on by nobody                 the word
``words``             espeak-ng and flite, voices, pitches and speeds drawn, vocal tracts rescaled    the word
``sounds``            :mod:`pretraining.sounds`, five seconds each                                    kind, two factors
====================  ==============================================================================  ==================
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
import torch

from astune.console import notify, progress
from astune.data.audio import SAMPLING_RATE, read_audio
from astune.data.layouts.base import load_data
from astune.errors import AstuneError, DataError
from astune.features.log_mel import FrontEnd
from astune.files import write_text
from astune.keyed import keyed_generator
from pretraining import sounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

SPEECH_FRAMES, SOUND_FRAMES = 98, 498  # one second, five seconds: 1 + (samples - 400) // 160
_LOG_MEL = FrontEnd(SPEECH_FRAMES).log_mel
# fmt: off
_ESPEAK_VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "klatt", "klatt2", "klatt3", "klatt4",
    "Andy", "Annie", "Alex", "Lee", "Mario", "Michael", "linda", "steph", "belinda", "Denis", "Gene", "Hugo", "Jacky", "john", "max",
    "rob", "victor", "zac", "iven", "aunty", "boris", "shelby", "Henrique", "kaukovalta", "anika", "grandma", "grandpa", "paul",
    "pedro", "sandro", "travis",
)
# fmt: on
_ESPEAK_ENGLISH = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan")
_FLITE_VOICES = ("kal16", "awb", "rms", "slt")
_FLITE_SHARE = 0.35  # of the English takes
_Job = tuple[int, int, int]  # seed, word or kind, take


@dataclass(frozen=True)
class CorpusConfig:
    """Sizes of the corpus."""

    keywords: str
    """Folder of Arabic Speech Commands, in Google Speech Commands' layout."""
    takes_per_word: int = 28
    """Renderings of each synthesised word."""
    takes_per_sound: int = 72
    """Clips of each generator, over its four labels."""
    words: int | None = None
    """Only so many of the words; all where None."""
    sound_kinds: int | None = None
    """Only so many of the generators; all where None."""
    seed: int = 0
    """Of every draw."""


@dataclass(frozen=True)
class Part:
    """One part of the corpus."""

    features: NDArray[np.float16]
    """(clips, frames, 128) log-Mel energies, not normalised; memory-mapped."""
    lengths: NDArray[np.int64]
    """Frames of each clip that are sound; what lies behind them is zero and no sound."""
    labels: NDArray[np.int64]
    """Index of each clip's label in ``names``."""
    names: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path, name: str) -> Part:
        """Open a part that :func:`build` has written."""
        record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        features = np.load(folder / f"{name}.npy", mmap_mode="r")
        return cls(features, np.array(record["lengths"]), np.array(record["labels"]), tuple(record["names"]))


@dataclass(frozen=True)
class Corpus:
    """All parts."""

    keywords: Part
    monitor: Part
    words: Part
    sounds: Part

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Open a corpus that :func:`build` has written."""
        return cls(*(Part.load(folder, name) for name in ("keywords", "monitor", "words", "sounds")))

    @property
    def classes(self) -> int:
        """Labels of all parts in one list: keywords, words, sounds."""
        return len(self.keywords.names) + len(self.words.names) + len(self.sounds.names)


def build(folder: Path, config: CorpusConfig) -> Corpus:
    """Write the corpus, part by part; a part that is there is kept.

    Args:
        folder: where to.
        config: of what size.

    Returns:
        The corpus.

    Raises:
        DataError: a synthesiser is not installed, the keywords are not where they should be, or no speaker can be told apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _keywords(folder, config)
    _words(folder, config)
    _sounds(folder, config)
    return Corpus.load(folder)


def _entry(samples: NDArray[np.float32], frames: int, label: int) -> _Entry:
    """Log-Mel energies of one clip, cut or filled up with zeros."""
    found = _LOG_MEL(torch.from_numpy(samples)).numpy()[:frames]
    padded = np.zeros((frames, found.shape[1]), np.float16)
    padded[: len(found)] = found
    return _Entry(padded, len(found), label)


@dataclass(frozen=True)
class _Entry:
    """One clip of a part."""

    features: NDArray[np.float16]
    length: int
    label: int


def _write(folder: Path, name: str, names: Sequence[str], count: int, entries: Iterable[_Entry], frames: int) -> None:
    """Write one part; its JSON comes last, so that what has one is whole."""
    lengths, labels = [], []
    partial = folder / f".{name}.npy"
    store = np.lib.format.open_memmap(partial, "w+", np.float16, (count, frames, 128))
    with progress(f"Building {name}", count) as advance:
        for row, entry in enumerate(entries):
            store[row] = entry.features
            lengths.append(entry.length)
            labels.append(int(entry.label))
            advance(1, "")
    store.flush()
    partial.rename(folder / f"{name}.npy")
    record = {"names": list(names), "labels": labels, "lengths": lengths}
    write_text(folder / f"{name}.json", json.dumps(record))
    notify(f"{name}: {count} clips, {len(names)} labels")


def _in_processes(work: Callable[[_Job], _Entry], jobs: Sequence[_Job]) -> Iterable[_Entry]:
    with get_context("spawn").Pool(os.cpu_count(), torch.set_num_threads, (1,)) as pool:
        yield from pool.imap(work, jobs, chunksize=16)


def _keywords(folder: Path, config: CorpusConfig) -> None:
    if all((folder / f"{name}.json").exists() for name in ("keywords", "monitor")):
        return
    try:
        data = load_data(f"speech_commands:{config.keywords}")
    except AstuneError as fault:
        raise DataError(f"no keywords to pretrain on; name their folder with --data-root: {fault}") from fault
    # <speaker>_nohash_<take>.flac, as in Google Speech Commands
    training = [clip for clip in data.clips if clip.split == "train"]
    speakers = sorted({clip.path.name.split("_")[0] for clip in training})
    if len(speakers) < 2:
        raise DataError(
            f"{config.keywords} has {len(speakers)} training speakers; one watches the training, so 2 are needed"
        )
    for name, wanted in (("monitor", speakers[:1]), ("keywords", speakers[1:])):
        clips = [clip for clip in training if clip.path.name.split("_")[0] in wanted]
        entries = (_entry(read_audio(clip.path), SPEECH_FRAMES, data.labels.index(clip.label)) for clip in clips)
        _write(folder, name, data.labels, len(clips), entries, SPEECH_FRAMES)


def _words(folder: Path, config: CorpusConfig) -> None:
    if (folder / "words.json").exists():
        return
    missing = [tool for tool in ("espeak-ng", "flite") if shutil.which(tool) is None]
    if missing:
        raise DataError(f"{' and '.join(missing)} cannot be found; install: apt-get install {' '.join(missing)}")
    words = vocabulary()[: config.words]
    jobs = [(config.seed, word, take) for word in range(len(words)) for take in range(config.takes_per_word)]
    names = [f"{language}:{word}" for language, word in words]
    _write(folder, "words", names, len(jobs), _in_processes(_word, jobs), SPEECH_FRAMES)


@cache
def vocabulary() -> tuple[tuple[str, str], ...]:
    """Language and spelling of every word to be synthesised, from ``vocabulary.txt``."""
    lines = Path(__file__).with_name("vocabulary.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":") for line in lines if not line.startswith("#"))
    return tuple((language, word) for language, words in pairs for word in words.split())


def _word(job: _Job) -> _Entry:
    """One rendering; its draws are keyed by the word and the take."""
    seed, index, take = job
    language, word = vocabulary()[index]
    draw = keyed_generator(seed, "word", word, take)
    samples, rate = np.zeros(0, np.float32), SAMPLING_RATE
    while len(samples) < 0.1 * rate:  # a few voices stay silent
        samples, rate = (
            _flite(word, draw) if language == "en" and draw.random() < _FLITE_SHARE else _espeak(language, word, draw)
        )
    # Played faster or slower, pitch and formants move together, as those of a smaller or larger speaker.
    tract = float(np.exp(draw.uniform(np.log(0.84), np.log(1.2)))) if draw.random() < 0.6 else 1.0
    samples = soxr.resample(samples, rate * tract, SAMPLING_RATE, quality="MQ")
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    samples = samples[max(0, loud[0] - 300) : loud[-1] + 600]
    samples = samples / np.abs(samples).max() * 10 ** draw.uniform(-1.25, 0)
    noise = draw.standard_normal(len(samples)) * 10 ** draw.uniform(-5, -3)
    return _entry((samples + noise).astype(np.float32), SPEECH_FRAMES, index)


def _espeak(language: str, word: str, draw: np.random.Generator) -> tuple[NDArray[np.float32], int]:
    accent = draw.choice(_ESPEAK_ENGLISH) if language == "en" else language
    voice = f"{accent}+{draw.choice(_ESPEAK_VARIANTS)}"
    settings = ["-p", str(draw.integers(15, 95)), "-s", str(draw.integers(120, 230))]
    spoken = subprocess.run(
        ["espeak-ng", "-v", voice, *settings, "--stdout", "-z", word], capture_output=True, check=True
    ).stdout
    # Written to a pipe, its header states no length.
    samples = np.frombuffer(spoken[44:], np.int16).astype(np.float32)
    return np.asarray(samples / np.float32(32768)), 22_050


def _flite(word: str, draw: np.random.Generator) -> tuple[NDArray[np.float32], int]:
    settings = [f"duration_stretch={draw.uniform(0.75, 1.4):.2f}", f"int_f0_target_mean={draw.uniform(80, 220):.0f}"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "word.wav"
        options = [option for setting in settings for option in ("--setf", setting)]
        subprocess.run(
            ["flite", "-voice", draw.choice(_FLITE_VOICES), *options, "-t", word, "-o", str(file)],
            capture_output=True,
            check=True,
        )
        samples, rate = soundfile.read(io.BytesIO(file.read_bytes()), dtype="float32")
    return samples, rate


def _sounds(folder: Path, config: CorpusConfig) -> None:
    if (folder / "sounds.json").exists():
        return
    kinds = list(sounds.SOUNDS)[: config.sound_kinds]
    jobs = [(config.seed, kind, take) for kind in range(len(kinds)) for take in range(config.takes_per_sound)]
    names = [f"{kind}:{quarter}" for kind in kinds for quarter in range(4)]
    _write(folder, "sounds", names, len(jobs), _in_processes(_sound, jobs), SOUND_FRAMES)


def _sound(job: _Job) -> _Entry:
    seed, kind, take = job
    name = list(sounds.SOUNDS)[kind]
    samples, quarter = sounds.make(name, keyed_generator(seed, "sound", name, take))
    return _entry(samples, SOUND_FRAMES, 4 * kind + quarter)
