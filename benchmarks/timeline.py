"""Long recordings: memory of three hours beside one minute, and hours of audio a minute beside plain loops over the same windows."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from astune import AudioClassifier, Predictor, load_backbone
from astune.names import BUNDLED_BACKBONE, FRAME
from benchmarks.measure import Contestant, Subject, contest, ratio
from benchmarks.report import Benchmark, Finding, Options, Report

_RATE, _MODEL_RATE = 44_100, 16_000  # Hz
_FRAMES = 98  # of a window
_MINUTES = (1, 180)  # of the recordings whose memory is compared
_TIMED = 10  # minutes of the recording that is timed
_BATCH = 16
_GROWTH = 150.0  # MiB
_MOST_APART = 1e-5  # of scores, in float32
_MOST_APART_PEER = 1e-3
_PEER = "opensoundscape"


def write_recording(path: Path, minutes: int) -> Path:
    """A stereo recording with a click each second, which costs next to nothing to write and to store.

    Args:
        path: a FLAC file.
        minutes: of it.

    Returns:
        The path.
    """
    minute = np.zeros((60 * _RATE, 2), np.int16)
    minute[::_RATE] = 20_000
    minute[1::_RATE, 0] = -15_000
    with soundfile.SoundFile(path, "w", _RATE, 2, "PCM_16") as file:
        for _ in range(minutes):
            file.write(minute)
    return path


def _classifier(backbone: str) -> AudioClassifier:
    torch.manual_seed(0)
    return AudioClassifier(load_backbone(backbone, _FRAMES), "lora", ["a", "b", "c"]).eval()


def windows(backbone: str, recording: str) -> Subject:
    """``Predictor.timeline``.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        recording: a path.
    """
    predictor = Predictor(_classifier(backbone), device="cpu", batch_size=_BATCH)
    found: dict[str, torch.Tensor] = {}

    def step() -> None:
        found["scores"] = torch.from_numpy(predictor.timeline(recording).scores)

    return Subject(step, lambda: found)


def loop(backbone: str, recording: str, batch: int) -> Subject:
    """What one would write: read it all, resample it all, and label window after window.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        recording: a path.
        batch: windows that the model takes at a time.
    """
    model = _classifier(backbone)
    size = round(model.front_end.seconds * _MODEL_RATE)
    found: dict[str, torch.Tensor] = {}

    @torch.inference_mode()
    def step() -> None:
        samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
        mono = torch.from_numpy(soxr.resample(samples.mean(axis=1), rate, _MODEL_RATE))
        rows = []
        parts = [mono[start : start + size] for start in range(0, len(mono) - FRAME + 1, size)]  # not less than a frame
        for start in range(0, len(parts), batch):
            features = torch.stack([model.front_end(part) for part in parts[start : start + batch]])
            rows.append(model(features.half().float()).logits.softmax(dim=-1))
        found["scores"] = torch.cat(rows)

    return Subject(step, lambda: found)


def peer(backbone: str, recording: str, batch: int) -> Subject:
    """Windows of opensoundscape: its data set cuts, decodes and resamples them one by one; features and model are ours.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        recording: a path.
        batch: windows that the model takes at a time.
    """
    from opensoundscape.ml.datasets import AudioFileDataset
    from opensoundscape.preprocess.preprocessors import AudioPreprocessor

    model = _classifier(backbone)
    found: dict[str, torch.Tensor] = {}

    @torch.inference_mode()
    def step() -> None:
        clips = AudioFileDataset([recording], AudioPreprocessor(model.front_end.seconds, _MODEL_RATE))
        rows = []
        for start in range(0, len(clips), batch):
            some = [clips[number].data.samples for number in range(start, min(start + batch, len(clips)))]
            features = torch.stack([model.front_end(torch.from_numpy(samples)) for samples in some])
            rows.append(model(features.half().float()).logits.softmax(dim=-1))
        found["scores"] = torch.cat(rows)

    return Subject(step, lambda: found)


def run(options: Options) -> Iterator[Report]:
    """Memory, then speed.

    Args:
        options: of the command line.

    Yields:
        A table each.
    """
    backbone = options.backbone or BUNDLED_BACKBONE
    with tempfile.TemporaryDirectory() as folder:
        yield memory(backbone, Path(folder), options, _MINUTES)
        yield speed(backbone, Path(folder), options, _TIMED)


def memory(backbone: str, folder: Path, options: Options, minutes: tuple[int, int]) -> Report:
    """A table of two recordings, each heard once in a fresh process.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        folder: for the recordings.
        options: of the command line.
        minutes: of each.

    Returns:
        The table.
    """
    entries = [
        Contestant(
            f"{length:,} min",
            windows,
            {"backbone": backbone, "recording": str(write_recording(folder / f"{length}.flac", length))},
            timed=False,
        )
        for length in minutes
    ]
    outcomes = contest("timeline: memory", entries, options.plan(0, 1))
    short, long = (outcomes[entry.name] for entry in entries)
    rows = [
        (name, f"{len(outcome.evidence['scores']):,}", f"{outcome.peak_mib:,.0f}") for name, outcome in outcomes.items()
    ]
    growth = long.peak_mib - short.peak_mib
    return Report(
        f"timeline: memory on {backbone}, stereo at 44.1 kHz", ("recording", "windows", "peak MiB"), rows,
        [Finding(f"{minutes[1]:,} min take {growth:+,.0f} MiB, less than {_GROWTH:,.0f} more", growth < _GROWTH)],
        outcomes=outcomes,
    )  # fmt: skip


def speed(backbone: str, folder: Path, options: Options, minutes: int) -> Report:
    """A table of ways to hear one recording.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        folder: for the recording.
        options: of the command line.
        minutes: of the recording.

    Returns:
        The table.
    """
    given = {"backbone": backbone, "recording": str(write_recording(folder / "speed.flac", minutes))}
    entries = [
        Contestant("timeline", windows, given),
        Contestant(f"plain loop, {_BATCH} windows at a time", loop, {**given, "batch": _BATCH}),
        Contestant("plain loop, window by window", loop, {**given, "batch": 1}),
    ]
    here = importlib.util.find_spec(_PEER) is not None
    if here:
        entries.append(Contestant(f"{_PEER}'s windows, {_BATCH} at a time", peer, {**given, "batch": _BATCH}))
    outcomes = contest("timeline: speed", entries, options.plan(5, 1))
    ours = outcomes["timeline"]
    rows, checks = [], []
    for name, outcome in outcomes.items():
        # The peer fills a short last window with silence, where training fills it with the mean.
        common = len(ours.evidence["scores"]) - name.startswith(_PEER)
        apart = float((outcome.evidence["scores"][:common] - ours.evidence["scores"][:common]).abs().max())
        hours = minutes / outcome.seconds  # minutes a second are hours a minute
        times = f"{outcome.seconds:.2f}", f"{outcome.cpu_seconds:.2f}", f"{hours:.2f}", str(ratio(outcome, ours))
        rows.append((name, *times, f"{outcome.peak_mib:,.0f}"))
        # The peer resamples each window by itself, which changes the samples at its edges.
        most = _MOST_APART_PEER if name.startswith(_PEER) else _MOST_APART
        checks.append(Finding(f"{name}: scores of {common:,} windows at most {apart:.1e} apart", apart < most))
    return Report(
        f"timeline: {minutes} min of stereo at 44.1 kHz, lora on {backbone}",
        ("contestant", "s", "CPU s", "hours of audio / min", "times timeline's", "peak MiB"), rows,
        checks=checks, outcomes=outcomes,
        notes=[
            "torch computes on the threads that --threads gives; timeline decodes and computes features in others",
            *([] if here else [f"{_PEER} is not installed, and left out"]),
        ],
    )  # fmt: skip


BENCHMARK = Benchmark(
    "timeline", "three hours need hardly more memory than a minute; hours of audio a minute beside plain loops", run
)
