"""Timelines: the same scores as window by window, events by hand, scores of the whole, and the models that make them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from astune import AudioClassifier, Predictor, load_backbone
from astune.data.streaming import stream
from astune.errors import AudioError, ConfigError, NumericalError
from astune.features.log_mel import mel_filters
from astune.inference.events import Event, Finder
from astune.inference.timeline import Timeline

RATE = 16_000  # Hz
LABELS = ("low", "high", "none")


def timeline(scores: list[list[float]], window: float = 1.0, hop: float = 1.0, short: float = 0.0) -> Timeline:
    """One of given scores, whose last window is shorter by so many seconds."""
    starts = np.arange(len(scores), dtype=np.float64) * hop
    ends = np.asarray(starts + window, np.float64)
    ends[-1] -= short
    labels = LABELS[: len(scores[0])]
    return Timeline(
        "x.wav", labels, "single-label", window, hop, starts, ends, np.array(scores, np.float32), float(ends[-1])
    )


def spans(events: list[Event]) -> list[tuple[float, float, str]]:
    return [(event.onset, event.offset, event.label) for event in events]


@pytest.mark.parametrize(
    ("scores", "settings", "expected"),
    [
        ([0.1, 0.9, 0.6, 0.1, 0.7], {}, [(1, 3), (4, 5)]),
        ([0.5, 0.4], {}, [(0, 1)]),  # a score that equals the threshold reaches it
        ([0.7, 0.4], {"threshold": 0.7}, [(0, 1)]),  # float32's 0.7 is below float64's
        ([0.1, 0.2], {}, []),
        (
            [0.4, 0.9, 0.4, 0.4, 0.2, 0.4],
            {"low": 0.3},
            [(1, 4)],
        ),  # it begins at the high one, goes on down to the low one
        ([0.9, 0.4, 0.9], {"low": 0.3}, [(0, 3)]),
        ([0.9, 0.2, 0.9], {"merge_gap": 1}, [(0, 3)]),  # exactly as far apart
        ([0.9, 0.2, 0.9], {"merge_gap": 0.9}, [(0, 1), (2, 3)]),
        ([0.9, 0.2, 0.9, 0.1, 0.1, 0.9], {"min_length": 2}, []),
        ([0.9, 0.2, 0.9, 0.1, 0.1, 0.9], {"min_length": 2, "merge_gap": 1}, [(0, 3)]),  # merged first
        ([0.9, 0.9, 0.1], {"min_length": 2}, [(0, 2)]),
        ([0.2, 0.3], {"threshold": 0}, [(0, 2)]),
    ],
)
def test_events_of_windows_that_follow_each_other(
    scores: list[float], settings: dict[str, Any], expected: list[tuple[float, float]]
) -> None:
    found = timeline([[score] for score in scores]).events(**settings)
    assert spans(found) == [(*span, "low") for span in expected]


def test_events_of_windows_that_overlap() -> None:
    """Three seconds every second: a window stands for the second in its middle, the first and the last one also for what is beside it."""
    overlapping = timeline([[0.1], [0.9], [0.8], [0.1], [0.7], [0.1], [0.1], [0.1], [0.6]], window=3)
    assert spans(overlapping.events()) == [(2, 4, "low"), (5, 6, "low"), (9, 11, "low")]
    assert spans(overlapping.events(merge_gap=1)) == [(2, 6, "low"), (9, 11, "low")]
    assert [event.score for event in overlapping.events()] == pytest.approx([0.9, 0.7, 0.6])
    two = timeline([[0.9], [0.1], [0.9]], window=2)
    assert spans(two.events()) == [(0, 1.5, "low"), (2.5, 4, "low")]
    assert two.heard_seconds == 4
    turns = timeline([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]], window=2.5, hop=0.5)
    assert spans(turns.events()) == [(0, 2, "low"), (2, 4, "high")]  # the middles of windows 1 and 2 are 1.75 and 2.25


def test_windows_with_gaps_between_them_are_not_one_event() -> None:
    gaps = timeline([[0.9], [0.9]], window=1, hop=2.5)
    assert spans(gaps.events()) == [(0, 1, "low"), (2.5, 3.5, "low")]
    assert spans(gaps.events(merge_gap=1.5)) == [(0, 3.5, "low")]
    assert gaps.heard_seconds == 2
    assert gaps.used_part == "2.0 of 3.5 s in 2 windows of 1 s every 2.5 s, 1.5 s between two of them not heard"


def test_events_of_several_labels() -> None:
    both = timeline([[0.6, 0.9], [0.7, 0.1], [0.1, 0.4]], short=0.25)
    assert spans(both.events()) == [(0, 2, "low"), (0, 1, "high")]
    assert spans(both.events({"high": 0.4})) == [(0, 1, "high"), (2, 2.75, "high")]
    assert spans(both.events({"high": 0.9, "low": 0.7}, low={"high": 0.05})) == [(0, 2.75, "high"), (1, 2, "low")]
    assert both.events()[0].record() == {"onset": 0, "offset": 2, "label": "low", "score": pytest.approx(0.7)}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"threshold": 1.5}, r"threshold=1\.5: give a score from 0 to 1"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"threshold": {"low": "x"}}, "threshold='x'"),
        ({"threshold": {"lo": 0.5}}, "unknown label 'lo'; choose one of: low, high; did you mean 'low'"),
        ({"threshold": None}, "threshold=None"),
        ({"low": {"hihg": 0.2}}, "unknown label 'hihg'"),
        ({"low": 0.6}, r"low=0\.6 of 'low' is above its threshold of 0\.5"),
        ({"min_length": -1}, "min_length=-1: give seconds, 0 or more"),
        ({"merge_gap": float("inf")}, "merge_gap=inf"),
        ({"merge_gap": True}, "merge_gap=True"),
    ],
)
def test_what_events_cannot_be_is_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        timeline([[0.1, 0.2]]).events(**settings)


def test_scores_of_the_whole() -> None:
    scores = timeline([[0.2, 0.8], [0.4, 0.6], [1.0, 0.0]], short=0.75)
    assert scores.pool().tolist() == pytest.approx(
        [(0.2 + 0.4 + 0.25) / 2.25, 1.4 / 2.25]
    )  # the last one lasts a quarter
    assert scores.pool("max").tolist() == pytest.approx([1.0, 0.8])
    assert scores.pool("first").tolist() == pytest.approx([0.2, 0.8])
    with pytest.raises(ConfigError, match="unknown pool 'min'; choose one of: mean, max, first"):
        scores.pool("min")  # type: ignore[arg-type]
    odd = [[0.1, 1 / 3]]
    assert np.array_equal(timeline(odd, short=0.1).pool(), np.array(odd[0], np.float32))  # one window's bits


def test_finders_need_no_timeline() -> None:
    assert Finder({}).find(np.array([0.0]), np.array([1.0]), np.ones((1, 2), np.float32), ("a", "b")) == []


def classifier(frames: int = 48) -> AudioClassifier:
    torch.manual_seed(0)
    return AudioClassifier(load_backbone("random:tiny", frames), "lora", LABELS)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(classifier(), batch_size=4, threads=2)


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray[Any, Any]:
    frames = round(seconds * rate)
    return np.random.default_rng(frames).normal(0, 0.1, (frames, channels)).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_windows_score_as_recordings_of_their_own(rate: int, predictor: Predictor, tmp_path: Path) -> None:
    """The samples of each window, given by themselves, have the same scores but for rounding in batches of another size."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3.3, rate, 2), rate, subtype="FLOAT")
    whole = torch.from_numpy(np.concatenate(list(stream(path))))
    for window, hop in ((None, None), (0.3, 0.2), (0.2, 0.7)):
        found = predictor.timeline(path, window=window, hop=hop)
        for start, end, row in zip(found.starts, found.ends, found.scores, strict=True):
            alone = predictor.logits(whole[round(start * RATE) : round(end * RATE)], sampling_rate=RATE)
            np.testing.assert_allclose(alone.softmax(-1)[0], row, atol=1e-6)
        held = soundfile.read(path, dtype="float32")[0].T
        again = predictor.timeline(held, window=window, hop=hop, sampling_rate=rate)
        assert np.array_equal(found.scores, again.scores)
        assert (found.name, again.name, found.seconds, found.sampling_rate) == (str(path), "inputs", 3.3, rate)
        assert found.labels == LABELS
        assert found.scores.dtype == np.float32
        assert found.scores.shape == (len(found.starts), 3)


def test_many_recordings_share_batches_and_keep_their_order(predictor: Predictor, tmp_path: Path) -> None:
    lengths = (0.1, 5.0, 0.495, 0.4, 1.0, 0.2, 3.0)
    sounds = [noise(seconds)[:, 0] for seconds in lengths]
    broken = tmp_path / "b.wav"
    broken.write_bytes(b"no sound")
    found = list(predictor.timelines([*sounds[:3], broken, *sounds[3:]], sampling_rate=RATE))
    assert isinstance(found[3].error, AudioError)
    assert (found[3].seconds, len(found[3].starts), found[3].heard_seconds) == (None, 0, 0)
    for ask in (found[3].events, found[3].pool):
        with pytest.raises(AudioError, match=r"b\.wav"):
            ask()
    del found[3]
    assert [one.seconds for one in found] == list(lengths)
    assert [one.heard_seconds for one in found] == [0.1, 5.0, 0.495, 0.4, 0.99, 0.2, 3.0]  # 10 ms are less than a frame
    assert [len(one.starts) for one in found] == [1, 11, 1, 1, 2, 1, 7]
    for one, sound in zip(found, sounds, strict=True):
        np.testing.assert_allclose(predictor.timeline(sound, sampling_rate=RATE).scores, one.scores, atol=1e-6)


def test_recordings_that_fit_have_the_bits_of_their_beginning(predictor: Predictor) -> None:
    sounds = [noise(seconds)[:, 0] for seconds in (0.1, 0.3, 0.495, 0.5, 0.51)]  # what lies behind is less than a frame
    first = predictor.predict(sounds, sampling_rate=RATE, pool="first", top_k=None)
    assert predictor.predict(sounds, sampling_rate=RATE, top_k=None) == first
    assert predictor.predict(sounds, sampling_rate=RATE, top_k=None, pool="max") == first


def test_predictions_pool_the_timeline(predictor: Predictor) -> None:
    sound = noise(4.2)[:, 0]
    for pool in ("mean", "max", "first"):
        scores = predictor.timeline(sound, sampling_rate=RATE).pool(pool)
        labels = {
            one["label"]: one["score"] for one in predictor.predict(sound, sampling_rate=RATE, pool=pool, top_k=None)
        }
        assert [labels[label] for label in LABELS] == pytest.approx(scores.tolist(), abs=1e-6)


def test_a_recording_that_breaks_off_is_an_error_and_the_others_go_on(predictor: Predictor, tmp_path: Path) -> None:
    wild = noise(150)
    wild[-1] = np.nan
    soundfile.write(tmp_path / "wild.wav", wild, RATE, subtype="FLOAT")
    good = noise(1.0)[:, 0]
    first, second, third = predictor.predict([good, tmp_path / "wild.wav", good], sampling_rate=RATE, errors="return")
    assert "not finite numbers" in str(second)
    assert [one["label"] for one in first] == [one["label"] for one in third]
    with pytest.raises(AudioError, match="not finite numbers"):
        predictor.timeline(tmp_path / "wild.wav")


def test_pipes_are_heard_whole(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pipe = tmp_path / "a.wav", tmp_path / "pipe"
    soundfile.write(path, noise(3.0, 44_100), 44_100)
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(path.read_bytes(),))
    thread.start()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    file, named, standard = predictor.timelines([path, pipe, "-"])
    thread.join()
    np.testing.assert_allclose(named.scores, file.scores, atol=1e-6)
    np.testing.assert_allclose(standard.scores, file.scores, atol=1e-6)
    assert (named.seconds, standard.seconds) == (3.0, 3.0)


def test_progress_is_told_in_seconds(predictor: Predictor) -> None:
    told: list[tuple[str, float]] = []
    sound = noise(4.0)[:, 0]
    list(predictor.timelines([sound, sound], sampling_rate=RATE, on_window=lambda *seen: told.append(seen)))
    assert [name for name, _ in told] == ["inputs[0]"] * 2 + ["inputs[1]"] * 2
    assert told[0][1] == pytest.approx(4 * 0.495)


def test_who_stops_early_leaves_nothing_behind(predictor: Predictor) -> None:
    before = threading.active_count()
    several = predictor.timelines([noise(0.3)[:, 0], noise(60)[:, 0], noise(60)[:, 0]], sampling_rate=RATE)
    next(several)
    several.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_what_cannot_be_a_timeline_is_refused(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="timeline takes one recording; give several to timelines"):
        predictor.timeline([noise(1.0)], sampling_rate=RATE)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"window=1 is longer than the adapter's input of 0\.495 s"):
        predictor.timeline(noise(1.0)[:, 0], sampling_rate=RATE, window=1)
    with pytest.raises(ConfigError, match="hop=0"):
        predictor.timeline(noise(1.0)[:, 0], sampling_rate=RATE, hop=0)
    model = classifier()
    with torch.no_grad():
        model.head.weight.fill_(3e38)
    with pytest.raises(NumericalError, match="its scores are not numbers; check whether the adapter 'default' or"):
        Predictor(model).timeline(noise(1.0)[:, 0], sampling_rate=RATE)


def oracle(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """A model that knows its two tones: it compares the energies of their Mel filters in the loudest frames."""
    model = classifier()
    filters = mel_filters(128)
    low, high = (int(filters[round(hertz * 512 / RATE)].argmax()) for hertz in (440, 2_000))

    class Output:
        def __init__(self, logits: torch.Tensor) -> None:
            self.logits = logits

    def forward(features: torch.Tensor) -> Output:
        energies = features[:, :, [low, high]].topk(6, dim=1).values.mean(dim=1)
        return Output(torch.cat((20 * energies, torch.full((len(features), 1), 13.0)), dim=1))

    monkeypatch.setattr(model, "forward", forward)
    return Predictor(model)


@pytest.mark.parametrize(("window", "hop"), [(0.495, 0.495), (0.4, 0.1), (0.2, 0.2), (0.3, 0.05)])
def test_known_events_are_found_within_half_a_window(
    window: float, hop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tones in quiet noise at 44.1 kHz stereo: each event has its label, and its ends are within half a window and a hop of the tone's."""
    rate, truth = 44_100, [(2.0, 4.0, "low"), (6.5, 7.5, "high"), (9.0, 12.0, "low"), (15.0, 15.8, "high")]
    sound = np.random.default_rng(0).normal(0, 1e-4, (2, 20 * rate))
    for onset, offset, label in truth:
        inside = slice(round(onset * rate), round(offset * rate))
        sound[:, inside] += 0.3 * np.sin(
            2 * np.pi * (440 if label == "low" else 2_000) * np.arange(20 * rate)[inside] / rate
        )
    found = oracle(monkeypatch).timeline(sound, sampling_rate=rate, window=window, hop=hop)
    events = found.events({"low": 0.5, "high": 0.5})
    assert [event.label for event in events] == [label for *_, label in truth]
    for event, (onset, offset, _) in zip(events, truth, strict=True):
        assert abs(event.onset - onset) <= (window + hop) / 2
        assert abs(event.offset - offset) <= (window + hop) / 2


_MEASURE = """
import resource, sys
from astune import AudioClassifier, Predictor, load_backbone
predictor = Predictor(AudioClassifier(load_backbone("random:tiny", 98), "linear", ["a", "b"]), device="cpu", threads=2)
predictor.timeline(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = predictor.timeline(sys.argv[2])
print(len(found.starts), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """An hour of stereo at 44.1 kHz is 635 MB of PCM; after a minute was heard, it takes less than 150 MiB more."""
    for name, minutes in (("short", 1), ("long", 60)):
        with soundfile.SoundFile(tmp_path / f"{name}.flac", "w", 44_100, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(np.zeros((44_100 * 60, 2), np.int16))
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURE, tmp_path / "short.flac", tmp_path / "long.flac"],
        check=True,
        capture_output=True,
        text=True,
    )
    windows, kibibytes = map(int, ended.stdout.split())
    assert windows == 3_619  # of 0.995 s
    assert kibibytes * (1 if sys.platform == "linux" else 1 / 1024) < 150 * 1024


def test_it_says_what_it_is(predictor: Predictor) -> None:
    found = predictor.timeline(noise(1.0)[:, 0], sampling_rate=RATE)
    assert repr(found) == (
        "Timeline('inputs': 1.0 of 1.0 s in 2 windows of 0.495 s every 0.495 s, 3 labels (low, high, none))"
    )
    assert isinstance(found.events({"low": 0.1}), list)
    thresholds: Mapping[str, float] = dict.fromkeys(LABELS, 0.0)
    assert {event.label for event in found.events(thresholds)} == set(LABELS)
