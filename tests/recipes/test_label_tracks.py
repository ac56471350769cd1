"""From label tracks to events: an adapter that is trained on labelled regions finds the events of recordings it never heard.

The layout here is the smallest one with regions; the shipped ones have tests of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import soundfile
from typing_extensions import override

from astune import Predictor
from astune.data import LAYOUTS, AudioDataset, Layout, load_data
from astune.data.audio import read_audio
from astune.data.generated import TASKS
from astune.data.layouts.base import dataset_of
from astune.data.options import DataOptions
from astune.data.regions import LabelledRegion, cut
from astune.keyed import keyed_generator
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.example_layouts import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from astune.data import Clip
    from astune.inference.events import Event

RATE = 16_000  # Hz
SOUNDS = ("coin_spin", "filling_bottle", "frog_chorus")


class Tracks(Layout):
    """``X.txt`` beside ``X.wav``: a line a region, ``start end label``."""

    tree = "PATH/\n  X.wav\n  X.txt\n"
    reads = frozenset({"window", "hop", "min_overlap", "background"})

    @override
    def recognises(self, path: Path) -> bool:
        """Never by itself."""
        return not path

    @override
    def load(self, path: Path) -> AudioDataset:
        """Without options."""
        return self.load_with(path, DataOptions())

    @override
    def load_with(self, path: Path, options: DataOptions) -> AudioDataset:
        """Cut the regions of all tracks."""
        regions, recordings = [], {}
        for track in sorted(path.glob("*.txt")):
            file = track.with_suffix(".wav")
            recordings[file.name] = file
            for number, line in enumerate(track.read_text().splitlines(), 1):
                start, end, label = line.split()
                location = f"{track.name} line {number}"
                regions.append(LabelledRegion(file.name, file, float(start), float(end), label, location))
        made = cut(regions, options, events=True, recordings=recordings)
        return dataset_of(self, path, made.clips, remarks=made.remarks, locations=made.locations, window=made.window)

    @override
    def write_example(self, folder: Path) -> Path:
        """Two recordings."""
        for number in range(2):
            write_recording(folder, number, seconds=6)
        return folder


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tracks, "name", "tracks")
    monkeypatch.setitem(LAYOUTS, "tracks", Tracks())


class Sound(NamedTuple):
    """What sounds from when to when, in seconds."""

    start: float
    end: float
    label: str


def write_recording(folder: Path, number: int, seconds: float) -> list[Sound]:
    """A recording with a sound of about a second every two to four seconds, and its track."""
    draw = keyed_generator("tracks", number)
    samples = 0.003 * draw.standard_normal(round(seconds * RATE))
    known: list[Sound] = []
    start = draw.uniform(1, 2)
    while start + 1.5 < seconds:
        label = SOUNDS[draw.integers(len(SOUNDS))]
        length = draw.uniform(0.8, 1.2)
        first, count = round(start * RATE), round(length * RATE)
        sound = TASKS["environment"][label](count, draw)
        samples[first : first + count] += 0.3 * sound / np.abs(sound).max()
        known.append(Sound(start, start + length, label))
        start += length + draw.uniform(2, 3)
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{number:02d}.wav", samples, RATE, subtype="PCM_16")
    write_text(folder / f"{number:02d}.txt", *(f"{one.start:.3f} {one.end:.3f} {one.label}" for one in known))
    return known


def matches(event: Event, sound: Sound, hop: float, seconds: float) -> bool:
    """Found within a hop, and half of one because windows stand for whole hops; what ends with the recording has its end there."""
    near = 1.5 * hop
    return (
        event.label == sound.label
        and abs(event.onset - sound.start) <= near
        and (abs(event.offset - sound.end) <= near or event.offset == seconds)
    )


def test_events_of_an_unheard_recording_are_found_within_a_hop(tmp_path: Path) -> None:
    for number in range(6):
        write_recording(tmp_path / "train", number, seconds=40)
    train(
        TrainConfig(
            data=f"tracks:{tmp_path / 'train'}", window=1.0, hop=0.5, background="background", backbone="bundled",
            method="linear", num_train_epochs=60, learning_rate=1e-2, per_device_train_batch_size=16,
            output_dir=tmp_path / "adapter", freq_mask=0, time_mask=0,
        ),
        quiet=True,
    )  # fmt: skip
    predictor, hop = Predictor(tmp_path / "adapter"), 0.25
    assert predictor.negatives == ("background",)
    assert predictor.training["window"] == 1.0
    known = {number: write_recording(tmp_path / "new", number, seconds=40) for number in (100, 101)}
    files = [tmp_path / "new" / f"{number}.wav" for number in known]
    for timeline, sounds in zip(predictor.timelines(files, window=1.0, hop=hop), known.values(), strict=True):
        events = timeline.events(0.5)
        assert len(events) == len(sounds)
        for event, sound in zip(events, sounds, strict=True):
            assert matches(event, sound, hop, seconds=40)


@pytest.mark.slow
def test_an_hour_of_real_sounds(real_audio: Path, tmp_path: Path) -> None:
    """ESC-10 in an hour of faint noise: clips of folds 1 to 3 train as a label track, and those of folds 4 and 5 are found.

    Each label is right about as often as for the clips by themselves, which are scored with the same adapter.
    """
    clips = load_data(real_audio / "esc10").clips
    trained = [clip for clip in clips if clip.fold in (1, 2, 3)]
    tested = [clip for clip in clips if clip.fold in (4, 5)]
    for part, chosen, gap in (("train", trained, 5.0), ("new", tested, 17.5)):
        concatenate(tmp_path / part, chosen, gap)
    train(
        TrainConfig(
            data=f"tracks:{tmp_path / 'train'}", window=5.0, background="background", backbone="bundled", method="linear",
            num_train_epochs=40, learning_rate=3e-3, selection="last", freq_mask=0, time_mask=0,
            output_dir=tmp_path / "adapter",
        ),
        quiet=True,
    )  # fmt: skip
    predictor, file = Predictor(tmp_path / "adapter"), tmp_path / "new" / "00.wav"
    assert soundfile.info(file).duration == pytest.approx(3600, rel=0.01)
    alone = sum(
        next(one["label"] for one in found if one["label"] != "background") == clip.label
        for found, clip in zip(predictor.predict([clip.path for clip in tested], top_k=2), tested, strict=True)
    )
    window, hop = 5.0, 2.5
    events = predictor.timeline(file, window=window, hop=hop).events(0.5)
    beside = (window - hop) / 2  # seconds that the windows of an event hold before and after it
    sounds = [
        Sound(float(a), float(b), label)
        for a, b, label in map(str.split, file.with_suffix(".txt").read_text().splitlines())
    ]
    found = sum(any(same(event, sound) and event.label == sound.label for event in events) for sound in sounds)
    some = sum(any(same(event, sound) for event in events) for sound in sounds)
    apart = [max(overlap(event, sound) for sound in sounds) for event in events]
    false = sum(-shared >= beside for shared in apart)
    near = sum(0 <= -shared < beside for shared in apart)
    print(
        f"{len(sounds)} sounds: {some} found, {found} rightly named, {alone} as clips; {len(events)} events, {near} just beside a "
        f"sound that their windows hold a part of, {false} in the noise"
    )
    assert near <= 0.1 * len(sounds)
    assert some >= 0.95 * len(sounds)
    assert false <= 0.05 * len(sounds)
    assert found >= alone - 0.1 * len(sounds)


def overlap(event: Event, sound: Sound) -> float:
    """Seconds that an event and a sound have in common."""
    return min(event.offset, sound.end) - max(event.onset, sound.start)


def same(event: Event, sound: Sound) -> bool:
    """Whether they are at the same time, for two of the five seconds or more."""
    return overlap(event, sound) >= 2


def concatenate(folder: Path, clips: Sequence[Clip], gap: float) -> None:
    """One recording of all clips in a drawn order, with faint noise between them, and its track."""
    draw = keyed_generator("hour", len(clips))
    parts: list[NDArray[np.float32]] = []
    lines, moment = [], 0.0
    for number in draw.permutation(len(clips)):
        quiet = (0.001 * draw.standard_normal(round(gap * RATE))).astype(np.float32)
        sound = read_audio(clips[number].path)
        start = moment + gap
        moment = start + len(sound) / RATE
        parts += [quiet, sound]
        lines.append(f"{start:.3f} {moment:.3f} {clips[number].label}")
    folder.mkdir()
    soundfile.write(folder / "00.wav", np.concatenate(parts), RATE, subtype="PCM_16")
    write_text(folder / "00.txt", *lines)
