"""Random crops of long clips and functions of waveforms: the features are those of the samples that they stand for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

from astune.data.audio import read_audio
from astune.data.clip import Clip
from astune.errors import AudioError, ConfigError
from astune.features import (
    FrontEnd,
    RandomCrop,
    WaveformAugmentation,
    build_cache,
    build_long_cache,
    long_cache,
    rounded_features,
)
from astune.features.waveform_augmentation import describe_function, refuse_other_functions
from astune.keyed import keyed_generator
from tests.unit.augmentations.batches import ROUNDING, batch_of, features, noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRONT_END = FrontEnd(48)
LENGTHS = [0.3, 2.0, 1.21]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """One shorter than the input, one of 16 kHz, one of 44.1 kHz, and a part of the second."""
    folder = tmp_path_factory.mktemp("long")
    for number, (seconds, rate) in enumerate(zip(LENGTHS, [16_000, 16_000, 44_100], strict=True)):
        samples = np.random.default_rng(number).normal(0, 0.1, round(rate * seconds))
        soundfile.write(folder / f"{number}.wav", samples, rate)
    whole = [Clip(f"{number}.wav", folder / f"{number}.wav", ("a",)) for number in range(3)]
    return [*whole, Clip("3.wav", folder / "1.wav", ("a",), start=0.4, end=1.6)]


def samples_of(clip: Clip) -> NDArray[np.float32]:
    path, start, end = clip.region
    return read_audio(path, start, None if end is None else end - start)


def test_any_part_has_the_bits_of_its_samples(clips: list[Clip]) -> None:
    whole = build_long_cache(clips, FRONT_END, quiet=True)
    plain = build_cache(clips, FRONT_END, quiet=True)
    assert whole.features.shape[0] == 1 + 5 + 3 + 3  # stretches of 48 frames in 28, 198, 119 and 118
    for number, clip in enumerate(clips):
        samples = samples_of(clip)
        assert whole.frames[number] == 1 + (len(samples) - 400) // 160
        if whole.frames[number] >= 48:
            assert torch.equal(whole.part(number, 0), plain.batch([number])[0])
        for first in (1, 17, 47, 48, 49, 60, whole.frames[number] - 48):
            if 0 <= first <= whole.frames[number] - 48:
                expected = torch.from_numpy(rounded_features(samples[160 * first :], FRONT_END)).float()
                assert torch.equal(whole.part(number, first), expected)


def test_a_part_begins_again_where_the_recording_ends(clips: list[Clip]) -> None:
    whole = build_long_cache(clips[:1], FRONT_END, quiet=True)
    part = whole.part(0, 20)
    assert whole.frames == (28,)
    assert torch.equal(part[8:36], whole.part(0, 0)[:28])
    assert torch.equal(part[:8], part[28:36])


def test_the_cache_is_found_again_and_bounded(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_long_cache(clips, FRONT_END, quiet=True)
    with monkeypatch.context() as patched:
        patched.setattr(long_cache, "listen", None)
        again = build_long_cache(clips, FRONT_END, quiet=True)
    assert again.frames == before.frames
    monkeypatch.setattr(long_cache, "LONGEST_USED", 1.0)
    assert build_long_cache(clips, FRONT_END, quiet=True).frames == (28, 98, 98, 98)


def test_broken_recordings_are_named_or_left_out(clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but no sound")
    paths: list[Clip | Path] = [tmp_path / "broken.wav", clips[1]]
    with pytest.raises(AudioError, match=r"1 of 2 audio files cannot be read:\n  - .*broken.wav"):
        build_long_cache(paths, FRONT_END, quiet=True)
    found = build_long_cache(paths, FRONT_END, skip_broken=True, quiet=True)
    assert list(found.broken) == [0]
    assert found.frames == (0, 198)
    assert torch.equal(found.part(1, 3), build_long_cache(clips[1:2], FRONT_END, quiet=True).part(0, 3))
    with pytest.raises(AudioError, match=r"1 of 2 audio files cannot be read:\n  - .*broken.wav"):
        build_long_cache(paths, FRONT_END, quiet=True)  # now from the cache


def test_long_clips_are_heard_elsewhere_each_epoch(clips: list[Clip]) -> None:
    whole = build_long_cache(clips[1:3], FRONT_END, quiet=True)
    plain = build_cache(clips[:3], FRONT_END, quiet=True).batch([0, 1, 2])
    crop = RandomCrop({1: 198, 2: 119}, lambda clip, first: whole.part(clip - 1, first), 48, 0)
    seen: set[int] = set()
    for epoch in range(30):
        cropped = crop.augment(batch_of(plain, epoch=epoch))
        assert torch.equal(cropped.inputs[0], plain[0])
        assert cropped.first_frames is not None
        assert cropped.first_frames[0] == 0
        expected = [
            int(keyed_generator(0, "random-crop", epoch, f"{n}.wav").integers(high)) for n, high in ((1, 151), (2, 72))
        ]
        assert list(cropped.first_frames[1:]) == expected
        seen.add(cropped.first_frames[1])
        for clip in (1, 2):
            first = cropped.first_frames[clip]
            samples = samples_of(clips[clip])[160 * first :]
            assert torch.equal(cropped.inputs[clip], features(samples, front_end=FRONT_END)[0])
    assert len(seen) > 15


def half(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    assert sample_rate == 16_000
    return samples * np.float32(0.5)


def same(samples: NDArray[np.float32], _rate: int) -> NDArray[np.float32]:
    return samples


@dataclass
class AddNoise:
    """As audiomentations' transforms are called, with the global generators that they draw from."""

    level: float = 0.1
    drawn: dict[str, float] = field(default_factory=dict)

    def __call__(self, samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
        del sample_rate
        self.drawn = {"level": self.level * random.random(), "torch": float(torch.rand(()))}  # noqa: S311
        added = np.random.normal(0, sum(self.drawn.values()), len(samples))  # noqa: NPY002
        return samples + added.astype(np.float32)


def generators() -> list[object]:
    """What the global generators are about to draw."""
    return [random.getstate(), *map(str, np.random.get_state()), torch.get_rng_state().tolist()]  # noqa: NPY002


def test_a_function_that_changes_nothing_changes_nothing(clips: list[Clip]) -> None:
    plain = batch_of(build_cache(clips, FRONT_END, quiet=True).batch([0, 1, 2, 3]))
    assert torch.equal(WaveformAugmentation(same, clips, FRONT_END, 0).augment(plain).inputs, plain.inputs)


def test_features_are_those_of_the_changed_samples(clips: list[Clip]) -> None:
    plain = batch_of(build_cache(clips, FRONT_END, quiet=True).batch([0, 1, 2, 3]))
    expected = features(*(half(samples_of(clip)[: (47 * 160) + 400], 16_000) for clip in clips), front_end=FRONT_END)
    assert torch.equal(WaveformAugmentation(half, clips, FRONT_END, 0).augment(plain).inputs, expected)


def test_a_crop_is_read_from_where_it_begins(clips: list[Clip]) -> None:
    plain = batch_of(build_cache(clips, FRONT_END, quiet=True).batch([0, 1, 2, 3]))
    cropped = RandomCrop({1: 198, 2: 119, 3: 118}, None, 48, 0).augment(plain)
    assert cropped.first_frames is not None
    assert torch.equal(cropped.inputs, plain.inputs)
    augmented = WaveformAugmentation(same, clips, FRONT_END, 0).augment(cropped).inputs
    whole = build_long_cache(clips, FRONT_END, quiet=True)
    for clip in (1, 2, 3):
        part = whole.part(clip, cropped.first_frames[clip])
        # what is resampled from elsewhere on is off by float32's rounding, and half precision may then round the other way
        torch.testing.assert_close(augmented[clip], part, atol=ROUNDING if clip == 2 else 0.0, rtol=0)


def test_random_numbers_are_each_clips_own_and_the_generators_are_put_back(clips: list[Clip]) -> None:
    plain = batch_of(build_cache(clips, FRONT_END, quiet=True).batch([0, 1, 2, 3]))
    augmentation = WaveformAugmentation(AddNoise(), clips, FRONT_END, 5)
    before = generators()
    whole = augmentation.augment(plain).inputs
    assert generators() == before
    assert [random.random(), np.random.random(), float(torch.rand(()))]  # noqa: NPY002, S311 - others from here on
    alone = augmentation.augment(batch_of(plain.inputs[2:3], first=2)).inputs
    assert torch.equal(whole[2:3], alone)
    assert not torch.equal(augmentation.augment(batch_of(plain.inputs, epoch=1)).inputs, whole)
    assert not torch.equal(WaveformAugmentation(AddNoise(), clips, FRONT_END, 6).augment(plain).inputs, whole)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "a NoneType"),
        ([0.0] * 100, "a list"),
        (np.zeros((2, 100), np.float32), r"an array of the shape \(2, 100\)"),
        (np.zeros(0, np.float32), r"an array of the shape \(0,\)"),
        (np.zeros(100, np.int16), "an array of int16"),
        (np.full(100, np.nan, np.float32), "NaN or infinity"),
        (np.full(100, 1e300), "NaN or infinity"),
    ],
)
def test_what_is_no_samples_is_refused_with_the_clips_name(given: object, said: str, clips: list[Clip]) -> None:
    plain = batch_of(torch.zeros(1, 48, 128), first=1)
    with pytest.raises(ConfigError, match=f"waveform_augmentation gave {said} for clip 1.wav"):
        WaveformAugmentation(lambda _samples, _rate: given, clips, FRONT_END, 0).augment(plain)


def test_other_lengths_and_precisions_are_taken(clips: list[Clip]) -> None:
    def faster(samples: NDArray[np.float32], _rate: int) -> NDArray[np.float64]:
        return samples[::2].astype(np.float64)

    plain = batch_of(build_cache(clips, FRONT_END, quiet=True).batch([0]))
    changed = WaveformAugmentation(faster, clips, FRONT_END, 0).augment(plain).inputs
    assert torch.equal(changed, features(samples_of(clips[0])[::2], front_end=FRONT_END))


def test_a_fault_of_the_function_names_the_clip(clips: list[Clip]) -> None:
    def broken(_samples: object, _rate: int) -> object:
        raise KeyError("level")

    with pytest.raises(KeyError) as caught:
        WaveformAugmentation(broken, clips, FRONT_END, 0).augment(batch_of(torch.zeros(1, 48, 128), first=2))
    assert caught.value.__notes__ == ["It was raised by waveform_augmentation, for clip 2.wav."]


def test_what_cannot_be_called_is_refused() -> None:
    for function in (half, same, AddNoise(), partial(half), np.add, lambda samples, _: samples, None):
        refuse_other_functions(function)
    with pytest.raises(ConfigError, match="is of type str; give a function of samples and their rate"):
        refuse_other_functions("gain")
    with pytest.raises(ConfigError, match="is the class AddNoise"):
        refuse_other_functions(AddNoise)
    with pytest.raises(ConfigError, match="cannot be called with two values"):
        refuse_other_functions(lambda samples: samples)


def test_a_function_is_described_alike_in_every_process_and_otherwise_where_it_is_another() -> None:
    def one(samples: NDArray[np.float32], _rate: int) -> NDArray[np.float32]:
        return samples if "a" in {"a", "b", "c"} else samples * 2

    def other(samples: NDArray[np.float32], _rate: int) -> NDArray[np.float32]:
        return samples if "a" in {"a", "b", "d"} else samples * 2

    assert describe_function(half).startswith("tests.unit.augmentations.test_waveforms.half (")
    assert describe_function(one).split("(")[1] != describe_function(other).split("(")[1]
    transform = AddNoise(0.2)
    said = describe_function(transform)
    assert said == "tests.unit.augmentations.test_waveforms.AddNoise(level=0.2)"
    transform(noise(0), 16_000)
    assert describe_function(transform) == said  # what it remembers of a call is no part of it
    assert describe_function(partial(half, sample_rate=3)).endswith("sample_rate=3)")
    loop: list[object] = [transform]
    loop.append(loop)
    assert "[...]" in describe_function(loop)  # what holds itself is not followed for ever
    assert " at 0x" not in describe_function([transform, half, transform.__call__, loop])
