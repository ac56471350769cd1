"""Audio to features: the front end against transformers', the cache against decoding alone, a batch against a step."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch
from transformers import ASTFeatureExtractor
from transformers.utils.import_utils import is_speech_available

from astune.data.audio import SAMPLING_RATE, read_audio
from astune.features import FeatureCache, build_cache
from astune.features.log_mel import FrontEnd
from astune.keyed import keyed_generator
from astune.names import BUNDLED_BACKBONE, FRAME, HOP
from benchmarks import train_step
from benchmarks.measure import Contestant, Outcome, Plan, Subject, contest, ratio
from benchmarks.report import Benchmark, Finding, Options, Report

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILE_RATE = 44_100  # Hz, as most recordings have
_FILES, _FILE_SECONDS = 256, 5
_BATCH, _FRAMES = 8, 500
_MOST_APART = 1e-3  # of normalised features; the cache keeps 3 digits


def _noise(seconds: float, rate: int, *key: int) -> NDArray[np.float32]:
    return (0.1 * keyed_generator(*key).standard_normal(round(seconds * rate))).astype(np.float32)


def _front_end(seconds: float) -> FrontEnd:
    """That all of a clip fills."""
    return FrontEnd(1 + (round(seconds * SAMPLING_RATE) - FRAME) // HOP)


def ours(seconds: float) -> Subject:
    """Our front end on a waveform of noise.

    Args:
        seconds: its length.
    """
    front_end, samples = _front_end(seconds), torch.from_numpy(_noise(seconds, SAMPLING_RATE))
    return Subject(lambda: front_end(samples), lambda: {"features": front_end(samples)})


def transformers(seconds: float) -> Subject:
    """The same, by transformers' ``ASTFeatureExtractor``.

    Args:
        seconds: its length.
    """
    extract: Any = ASTFeatureExtractor(max_length=_front_end(seconds).max_length)  # type: ignore[no-untyped-call]
    samples = _noise(seconds, SAMPLING_RATE)

    def features() -> torch.Tensor:
        values: torch.Tensor = extract(samples, sampling_rate=SAMPLING_RATE, return_tensors="pt")["input_values"]
        return values[0]

    return Subject(features, lambda: {"features": features()})


def _paths(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.wav"))


def _new_folder(parent: str) -> Path:
    """One that goes with its parent."""
    return Path(tempfile.mkdtemp(dir=parent))


def decode(folder: str) -> Subject:
    """Read and resample all files of a folder.

    Args:
        folder: with WAV files.
    """
    paths, front_end = _paths(folder), _front_end(_FILE_SECONDS)
    return Subject(lambda: [read_audio(path, seconds=front_end.seconds) for path in paths])


def build(folder: str) -> Subject:
    """Build the feature cache of all files of a folder, on all cores.

    Args:
        folder: with WAV files.
    """
    paths, front_end = _paths(folder), _front_end(_FILE_SECONDS)

    def compute() -> FeatureCache:
        return build_cache(paths, front_end, root=_new_folder(folder), quiet=True)

    def evidence() -> dict[str, torch.Tensor]:
        exact = front_end(torch.from_numpy(read_audio(paths[-1], seconds=front_end.seconds)))
        return {"cached": compute().batch([len(paths) - 1])[0], "computed": exact}

    return Subject(compute, evidence)


def read_batch(folder: str) -> Subject:
    """Read a batch of random clips from the feature cache.

    Args:
        folder: with WAV files.
    """
    cache = build_cache(_paths(folder), FrontEnd(_FRAMES), root=_new_folder(folder), quiet=True)
    draw = keyed_generator("clips")
    return Subject(lambda: cache.batch(draw.integers(0, len(cache.features), _BATCH)))


def run(options: Options) -> Iterator[Report]:
    """The front end, the cache, a batch.

    Args:
        options: of the command line.

    Yields:
        Three tables.
    """
    yield _extraction(options.plan(5, 20))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_FILES):
            noise = _noise(_FILE_SECONDS, _FILE_RATE, number)
            soundfile.write(Path(folder) / f"{number:03d}.wav", noise, _FILE_RATE, subtype="PCM_16")
        yield _cache(folder, options.plan(5, 1))
        yield _batch(folder, options.backbone or BUNDLED_BACKBONE, options.plan(5, 2))


def _extraction(plan: Plan) -> Report:
    rows, claims, checks = [], [], []
    all_outcomes: dict[str, Outcome] = {}
    for seconds in (1.0, 5.0):
        settings = {"seconds": seconds}
        title = f"front-end: {seconds:g} s"
        names = f"ours, {seconds:g} s", f"transformers, {seconds:g} s"
        makers = ours, transformers
        entries = [Contestant(name, make, settings) for name, make in zip(names, makers, strict=True)]
        outcomes = contest(title, entries, plan)
        mine, theirs = (outcomes[name] for name in names)
        faster = ratio(theirs, mine)
        apart = float((mine.evidence["features"] - theirs.evidence["features"]).abs().max())
        rows += [
            (name, f"{1e3 * outcome.seconds:.2f}", f"{1e3 * outcome.cpu_seconds:.2f}", str(ratio(theirs, outcome)))
            for name, outcome in outcomes.items()
        ]
        claims.append(
            Finding(f"{faster} times as fast as transformers on {seconds:g} s, at least 6", faster.median >= 6)
        )
        checks.append(Finding(f"features of {seconds:g} s are at most {apart:.1e} apart", apart < _MOST_APART))
        all_outcomes |= outcomes
    path = "torchaudio" if is_speech_available() else "numpy"
    return Report(
        "front-end: a clip to normalised log-Mel features",
        ("contestant", "ms / clip", "CPU ms / clip", "speed-up over transformers"),
        rows, claims, checks, [f"transformers' extractor takes its {path} path here"], all_outcomes,
    )  # fmt: skip


def _cache(folder: str, plan: Plan) -> Report:
    settings = {"folder": folder}
    entries = [Contestant("decode, one process", decode, settings), Contestant("build the cache", build, settings)]
    outcomes = contest("front-end: the cache", entries, plan)
    decoding, building = outcomes.values()
    apart = float((building.evidence["cached"] - building.evidence["computed"]).abs().max())
    rows = [
        (name, *(f"{1e3 * value / _FILES:.2f}" for value in (outcome.seconds, outcome.cpu_seconds)), str(ratio(outcome, decoding)))
        for name, outcome in outcomes.items()
    ]  # fmt: skip
    return Report(
        f"front-end: {_FILES} WAV files of {_FILE_SECONDS} s at {_FILE_RATE:,} Hz",
        ("contestant", "ms / clip", "CPU ms / clip", "times decoding"),
        rows,
        checks=[Finding(f"the last clip's cached features are at most {apart:.1e} from those computed", apart < 5e-3)],
        notes=["decoding is astune's read_audio, resampling included; the cache is built on all cores, files in memory"],
        outcomes=outcomes,
    )  # fmt: skip


def _batch(folder: str, backbone: str, plan: Plan) -> Report:
    step = {"backbone": backbone, "frames": _FRAMES, "batch": _BATCH}
    entries = [
        Contestant("read a batch", read_batch, {"folder": folder}, repeats=50),
        Contestant("train step, lora", train_step.ours, step),
        Contestant("train step, reference", train_step.ours, {**step, "reference": True}, timed=False),
    ]
    outcomes = contest("front-end: a batch", entries, plan)
    reading, training = outcomes["read a batch"], outcomes["train step, lora"]
    share = ratio(reading, training)
    rows = [
        (name, f"{1e3 * outcome.seconds:.2f}", f"{1e3 * outcome.cpu_seconds:.2f}")
        for name, outcome in outcomes.items()
        if outcome.wall
    ]
    return Report(
        f"front-end: a batch of {_BATCH} clips of {_FRAMES} frames, {backbone}",
        ("contestant", "ms", "CPU ms"),
        rows,
        claims=[Finding(f"reading a batch takes {share.median:.2%} of a step, less than 1 %", share.median < 0.01)],
        checks=[train_step.first_step("train step, lora", outcomes["train step, lora"], outcomes["train step, reference"])],
        outcomes={"read a batch": reading, "train step, lora": training},
    )  # fmt: skip


BENCHMARK = Benchmark("front-end", "audio to features against transformers, the cache, a batch against a step", run)
