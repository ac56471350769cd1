"""Clips that are parts of a file: the samples of the whole, features of the part alone, and a run that knows where each begins."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from typing_extensions import override

from astune.cli import app
from astune.data import LAYOUTS, AudioDataset, Clip, DataRecipe, Layout, load_data
from astune.data import sound as decoding
from astune.data.audio import BEYOND, SAMPLING_RATE, duration, listen, read_audio, survey
from astune.data.check import check
from astune.data.layouts.base import dataset_of
from astune.data.layouts.example import write_text, write_tone
from astune.errors import AudioError, DataError
from astune.experiments import sources
from astune.features import FrontEnd, build_cache, listen_to_clip
from astune.training.config import TrainConfig
from astune.training.data_record import CLIPS, DataRecord, UsedClip, foreign_record
from astune.training.loop import train
from tests.unit.test_recordings import FORMATS, edited, noise, write

FRONT_END = FrontEnd(24)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_part_has_the_samples_of_the_whole(name: str, channels: int, tmp_path: Path) -> None:
    path = write(tmp_path, name, channels=channels)
    whole = read_audio(path)
    for first, count in ((0, 100), (1, 1), (16_000, 8_000), (31_999, 1), (12_345, 9_999)):
        part = read_audio(path, first / SAMPLING_RATE, count / SAMPLING_RATE)
        assert np.array_equal(part, whole[first : first + count])
    assert np.array_equal(read_audio(path, 1.5), whole[24_000:])


ENCODINGS = [
    (container, subtype)
    for container in sorted(soundfile.available_formats())
    for subtype in sorted(soundfile.available_subtypes(container))
    if container not in ("RAW", "SD2") and soundfile.check_format(container, subtype)
]


@pytest.mark.parametrize(("container", "subtype"), ENCODINGS)
def test_in_every_encoding_that_can_be_written(container: str, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "noise.bin"
    try:
        soundfile.write(path, noise(1.0, 16_000), 16_000, format=container, subtype=subtype)
        whole, rate = read_audio(path), soundfile.info(path).samplerate  # some formats know one rate alone
    except (soundfile.LibsndfileError, AudioError):
        pytest.skip("libsndfile cannot write it at 16 kHz, or not read what it wrote")
    for first, count in ((1, 1), (len(whole) // 3, 777), (len(whole) * 5 // 8, len(whole) // 4)):
        part = read_audio(path, first / SAMPLING_RATE, count / SAMPLING_RATE)
        np.testing.assert_allclose(
            part, whole[first : first + count], rtol=0, atol=0 if rate == SAMPLING_RATE else 1e-4
        )


@given(first=st.integers(0, 31_999), count=st.integers(1, 32_000), block=st.integers(10, 5_000))
def test_whatever_the_blocks(tmp_path_factory: pytest.TempPathFactory, first: int, count: int, block: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_BLOCK", block)
        for name in ("flac", "mp3"):
            path = folder / f"noise.{name}"
            path = path if path.exists() else write(folder, name)
            part = read_audio(path, first / SAMPLING_RATE, count / SAMPLING_RATE)
            assert np.array_equal(part, read_audio(path)[first : first + count])


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_056, 44_100, 44_101, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("start", [0.0, 0.0125, 0.7, 1.23456])
def test_a_part_is_resampled_as_the_whole_is(rate: int, start: float, tmp_path: Path) -> None:
    path = write(tmp_path, "float.wav", seconds=2.5, rate=rate)
    part = read_audio(path, start, 0.5)
    first = round(start * SAMPLING_RATE)
    assert len(part) == 8_000
    assert np.abs(part - read_audio(path)[first : first + 8_000]).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "from_the_beginning"), [("wav", False), ("flac", False), ("mp3", True), ("ogg", True)]
)
def test_what_lies_before_is_not_kept_and_not_decoded_where_a_seek_is_exact(
    name: str, from_the_beginning: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, name, seconds=60.0)
    whole = read_audio(path, 50.0, 1.0)
    decoded: list[int] = []
    read = soundfile.SoundFile.read

    def counted(*arguments: object, **options: object) -> object:
        block = read(*arguments, **options)
        decoded.append(len(block))
        return block

    monkeypatch.setattr(decoding, "_BLOCK", 10_000)
    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    assert np.array_equal(read_audio(path, 50.0, 1.0), whole)
    assert max(decoded) <= 10_000
    assert sum(decoded) == SAMPLING_RATE * (51 if from_the_beginning else 1) + SAMPLING_RATE // 10  # the margin


@pytest.mark.parametrize("name", ["wav", "mp3", "ogg"])
@pytest.mark.parametrize("beyond", [0.0, 0.1, 99.0])
def test_a_start_beyond_the_end_is_refused_in_words(name: str, beyond: float, tmp_path: Path) -> None:
    path = write(tmp_path, name)
    for read in (read_audio, duration, listen):
        with pytest.raises(AudioError, match=rf"noise.{name}: the file ends at 2.\d\d s, and the clip would start at"):
            read(path, duration(path) + beyond)


@pytest.mark.parametrize(
    ("start", "end"), [(-1.0, None), (math.nan, None), (math.inf, None), (1.0, 1.0), (1.0, math.nan)]
)
def test_moments_that_are_none(start: float, end: float | None, tmp_path: Path) -> None:
    path = write(tmp_path, "wav")
    with pytest.raises(AudioError, match=r"noise.wav: (start|end)=.*give seconds from the beginning"):
        listen(path, start, end=end)


def test_facts_are_those_of_the_part(tmp_path: Path) -> None:
    path = write(tmp_path, "wav")
    facts = listen(path, 0.5, 0.25, end=1.0)
    assert (facts.seconds, facts.heard_seconds, len(facts.samples)) == (0.5, 0.25, 4_000)
    assert len(listen(path, 0.5, 9.0, end=1.0).samples) == 8_000
    assert survey(path, len, 0.5, end=1.0).seconds == duration(path, 0.5, 1.0) == 0.5
    assert (duration(path, 0.1, 0.3), duration(path, 1.5), duration(path, 1.5, 9.0)) == (0.2, 0.5, 0.5)
    assert listen(path, 0.5, end=1.0).doubts == listen(path, 1.0, end=2.04).doubts == ()


def test_an_end_beyond_the_files_is_in_doubt(tmp_path: Path) -> None:
    path = write(tmp_path, "wav")
    recording = listen(path, 1.5, end=3.0)
    assert recording.doubts == (f"{BEYOND}: it should end at 3.00 s, and the file ends at 2.00 s",)
    assert (len(recording.samples), recording.seconds) == (8_000, 0.5)
    cache = build_cache([Clip("a", path, ("x",), start=1.5, end=3.0), path], FRONT_END, quiet=True)
    assert cache.notices(range(2), ["a", "b"])[-1].startswith(f"Warning: {BEYOND}: 1 of 2 clips: a (it should")


def test_levels_are_those_of_the_part(tmp_path: Path) -> None:
    """Neither what lies before and behind nor the resampler's margins make a silent part sound."""
    for rate in (SAMPLING_RATE, 44_100):
        sound = noise(3.0, rate)
        sound[rate : 2 * rate] = 0
        soundfile.write(tmp_path / "gap.wav", sound, rate)
        assert listen(tmp_path / "gap.wav", 1.0, end=2.0).doubts == ("digital silence: every sample is 0",)
        assert listen(tmp_path / "gap.wav", 1.0, 0.5).doubts == (
            "digital silence: every sample is 0 in its first 0.5 s",
        )
        assert listen(tmp_path / "gap.wav", 0.5, end=1.5).doubts == ()


def test_headers_that_lie(tmp_path: Path) -> None:
    """A file that is cut short is counted, and its parts are found by decoding."""
    path = write(tmp_path, "wav")
    whole = read_audio(path)
    edited(path, lambda data: data.__delitem__(slice(len(data) - 16_000, None)))
    assert np.array_equal(read_audio(path, 1.0, 0.25), whole[16_000:20_000])
    assert listen(path, 1.0).seconds == duration(path, 1.0) == 0.5
    with pytest.raises(AudioError, match=r"the file ends at 1\.50 s"):
        read_audio(path, 1.6)


def test_clips_are_checked() -> None:
    clip = Clip("a", Path("a.wav"), ("dog",), start=1, end=2)
    assert (clip.label, clip.span, clip.region) == ("dog", (1.0, 2.0), (Path("a.wav"), 1.0, 2.0))
    assert Clip("a", Path("a.wav"), ("dog",), start=0.0).span == ()
    assert Clip("a", Path("a.wav"), ("dog",), start=np.float32(1.5), end=np.int64(2)).span == (1.5, 2.0)  # type: ignore[arg-type]
    for start, end in (
        (-1, None),
        (math.nan, None),
        (None, math.inf),
        ("1", None),
        (True, None),
        (2, 2),
        (3.0, 2.5),
        (None, 0),
    ):
        with pytest.raises(DataError, match="clip a: "):
            Clip("a", Path("a.wav"), ("dog",), start=start, end=end)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"clip a: labels is 'dog'; give a tuple, such as \('dog',\)"):
        Clip("a", Path("a.wav"), "dog")  # type: ignore[arg-type]
    for labels, found in (((), "no label"), (("dog", "rain"), r"2 labels \(dog, rain\)")):
        with pytest.raises(DataError, match=f"clip a has {found}; a task with one label a clip needs exactly one"):
            _ = Clip("a", Path("a.wav"), labels).label


class Regions(Layout):
    """A table of regions of one recording, for these tests alone."""

    name: ClassVar[str] = "regions"
    tree: ClassVar[str] = "  PATH/\n    long.wav  regions.csv     name,start,end,label,split\n"

    @override
    def recognises(self, path: Path) -> bool:
        """A folder with ``regions.csv``."""
        return (path / "regions.csv").is_file()

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read the table."""
        if not self.recognises(path):
            raise self.missing(path, "there is no regions.csv")
        rows = csv.DictReader((path / "regions.csv").read_text().splitlines())
        clips = [
            Clip(
                row["name"], path / "long.wav", (row["label"],),
                start=float(row["start"]), end=float(row["end"]), split=row["split"],  # type: ignore[arg-type]
            )
            for row in rows
        ]  # fmt: skip
        return dataset_of(self, path, clips)

    @override
    def write_example(self, folder: Path) -> Path:
        """Twenty-four tones after one another, of two classes."""
        folder.mkdir(parents=True, exist_ok=True)
        pieces, rows = [], []
        for number in range(24):
            label, split = ("low", "high")[number % 2], ("train", "train", "validation", "test")[number // 2 % 4]
            moments = np.arange(8_000) / SAMPLING_RATE
            pieces.append(0.3 * np.sin(2 * np.pi * ((200, 2_000)[number % 2] + 20 * number) * moments))
            rows.append(f"{split}/{label}/{number:02d}.wav,{number / 2},{(number + 1) / 2},{label},{split}")
        soundfile.write(folder / "long.wav", np.concatenate(pieces), SAMPLING_RATE)
        write_text(folder / "regions.csv", "name,start,end,label,split", *rows)
        return folder


@pytest.fixture
def regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(LAYOUTS, "regions", Regions())
    return Regions().write_example(tmp_path / "regions")


@pytest.fixture
def saved(regions: Path, tmp_path: Path) -> Path:
    """The same regions as files, in the layout ``folder``."""
    whole, _ = soundfile.read(regions / "long.wav", dtype="int16")
    for clip in Regions().load(regions).clips:
        _, start, end = clip.region
        file = tmp_path / "saved" / clip.name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, whole[round(start * SAMPLING_RATE) : round((end or 0) * SAMPLING_RATE)], SAMPLING_RATE)
    return tmp_path / "saved"


def config(data: Path, folder: Path) -> TrainConfig:
    return TrainConfig(
        data=str(data), output_dir=folder, backbone="random:tiny", method="bitfit", num_train_epochs=2,
        per_device_train_batch_size=4,
    )  # fmt: skip


def test_regions_of_one_file_train_as_the_files_of_the_regions_do(regions: Path, saved: Path, tmp_path: Path) -> None:
    parts, files = load_data(regions), load_data(saved)
    assert [clip.name for clip in parts.clips] == [clip.name for clip in files.clips]
    features = [build_cache(data.clips, FRONT_END, quiet=True).features for data in (parts, files)]
    assert np.array_equal(features[0], features[1])
    assert parts.length_percentile(range(24)) == files.length_percentile(range(24))
    of_parts, of_files = check(parts, quiet=True), check(files, quiet=True)
    assert (of_parts.recordings, of_files.recordings) == (1, len(files.clips))
    assert replace(of_parts, source=files.source, recordings=of_files.recordings) == of_files
    one = train(config(regions, tmp_path / "one"), quiet=True)
    other = train(config(saved, tmp_path / "other"), quiet=True)
    losses = [[epoch["train_loss"] for epoch in result.history] for result in (one, other)]
    assert losses[0] == losses[1]
    assert one.scores == other.scores
    scores = []
    for data in (regions, saved):
        done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "one"), str(data), "--split", "all", "--json"])
        assert done.exit_code == 0, done.output
        scores.append(json.loads(done.stdout))
    assert scores[0]["loss"] == scores[1]["loss"]
    assert (scores[0]["trained_on"], scores[1]["trained_on"]) == (12, 0)  # the files of the regions are other files


def test_a_run_on_regions_knows_where_each_begins(regions: Path, tmp_path: Path) -> None:
    run = config(regions, tmp_path / "out")
    result = train(run, quiet=True)
    header, first, *_ = (tmp_path / "out" / CLIPS).read_text().splitlines()
    assert header == "name,label,split,sha256,start,end"
    assert first.endswith(",0.5,1.0")
    dataset = load_data(regions)
    record = DataRecord.of(dataset, dataset.split())
    assert DataRecord.read(tmp_path / "out", result.labels) == record
    assert record.digest == result.data_digest
    assert foreign_record(tmp_path / "out") == []
    assert train(run.model_copy(update={"resume": True}), quiet=True) == result
    table = regions / "regions.csv"
    write_text(table, *table.read_text().replace(",0.5,1.0,", ",0.4,1.0,").splitlines())
    moved = DataRecord.of(load_data(regions), dataset.split())
    changed = "1 clip starts or ends elsewhere, train/high/01.wav ('0.5 s to 1 s' then, '0.4 s to 1 s' now)"
    assert record.differences(moved) == [changed]
    assert moved.digest != record.digest


def test_the_caches_key_covers_the_span(tmp_path: Path) -> None:
    path = write(tmp_path, "wav")
    clips = [Clip("a", path, ("x",), start=0.5, end=1.0), Clip("b", path, ("x",), start=0.5), Clip("c", path, ("x",))]
    cache = build_cache(clips, FRONT_END, quiet=True)
    assert list(cache.seconds) == [0.5, 1.5, 2.0]
    for row, clip in enumerate(clips):
        assert np.array_equal(cache.features[row], listen_to_clip(clip, FRONT_END).features)
    later = build_cache([replace(clips[0], start=0.6), *clips[1:]], FRONT_END, quiet=True)
    assert not np.array_equal(later.features[0], cache.features[0])
    assert np.array_equal(later.features[1:], cache.features[1:])


def test_records_of_whole_files_are_what_they_were() -> None:
    """Runs of before spans go on: digest and table are the same."""
    record = DataRecord(("x", "y"), {"a": UsedClip("x", "train", "1"), "b": UsedClip("y", "test", "2")})
    rows = [["a", "x", "train", "1"], ["b", "y", "test", "2"]]
    assert record.digest == hashlib.sha256(json.dumps([["x", "y"], rows]).encode()).hexdigest()[:32]
    with_span = DataRecord(record.labels, {**record.clips, "a": UsedClip("x", "train", "1", (0.5, None))})
    assert with_span.digest != record.digest
    assert record.differences(with_span)[0].endswith("a ('the whole file' then, 'from 0.5 s on' now)")


def test_the_digest_of_a_plan_covers_spans_where_there_are_any(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav")
    data = AudioDataset("x", (Clip("a", path, ("x",)),), ("x",), DataRecipe())
    digests = [
        sources._digest(replace(data, clips=(replace(data.clips[0], start=start, end=end),)))
        for start, end in ((None, None), (0.0, None), (0.01, None), (None, 0.02))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
