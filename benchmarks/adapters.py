"""Many adapters in one process: what they cost in memory, and batches whose rows belong to different ones, on a CPU or a GPU."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astune import AudioClassifier, Predictor, load_backbone
from astune.adapter import Adapter
from benchmarks.measure import Contestant, Plan, Subject, contest
from benchmarks.report import Benchmark, Finding, Options, Report

_FRAMES = 100
_COUNTS = (1, 200)
"""Adapters whose memory is compared."""
_SHARE = 1.3  # of the files, that adapters may take in memory
_MIXES = ((8, 4), (8, 8), (16, 4), (16, 16))
"""Rows of a batch, and adapters that they belong to."""
_MOST_APART = 1e-5  # of scores
_MODES = ("one adapter", "adapter by adapter", "stacked")


def trained(backbone: str, method: str, classes: int, count: int) -> Iterator[Adapter]:
    """Adapters with random values.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        method: spec.
        classes: of each.
        count: how many.

    Yields:
        The adapters.
    """
    torch.manual_seed(0)
    model = AudioClassifier(load_backbone(backbone, _FRAMES), method, [f"label {number}" for number in range(classes)])
    for _ in range(count):
        with torch.no_grad():
            for parameter in model.trained_parameters().values():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
        yield model.to_adapter()


def write(folder: Path, backbone: str, count: int) -> int:
    """Write LoRA adapters.

    Args:
        folder: for theirs.
        backbone: as for :func:`astune.load_backbone`.
        count: how many.

    Returns:
        Bytes of their largest file, which has the weights.
    """
    from astune import adapter_file

    size = 0
    for number, one in enumerate(trained(backbone, "lora", 10, count)):
        adapter_file.write(folder / f"{number:03d}", one)
        size = (folder / f"{number:03d}" / adapter_file.WEIGHTS).stat().st_size
    return size


def resident_mib() -> float:
    """Memory of this process that is in RAM now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def loaded(folder: str, count: int) -> Subject:
    """A Predictor with adapters, every one of which has answered once.

    Args:
        folder: of the adapters.
        count: how many of them.
    """
    first, *others = sorted(Path(folder).iterdir())[:count]
    found: dict[str, torch.Tensor] = {}

    def step() -> None:
        predictor = Predictor(first, device="cpu", precision="float32", threads=1)
        for other in others:
            predictor.load_adapter(other)
        gc.collect()
        found["loaded"] = torch.tensor(resident_mib())
        (samples,) = _sounds(1)
        for name in predictor.adapters:
            predictor.scores([predictor.features(samples, name)], [name])
        gc.collect()
        found["resident"] = torch.tensor(resident_mib())
        found["scores"] = torch.from_numpy(predictor.scores([predictor.features(samples, "000")], ["000"])[0])

    return Subject(step, lambda: found)


def mixed(backbone: str, method: str, device: str, rounds: int) -> Subject:
    """Batches of rows of several adapters, adapter by adapter and stacked, beside as many rows of one adapter, in turns.

    On a CPU the seconds are those of the process, because other work on the machine comes and goes.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        method: spec.
        device: that computes.
        rounds: of each.
    """
    found: dict[str, torch.Tensor] = {}
    clock = time.process_time if device == "cpu" else time.perf_counter
    most = max(max(mix) for mix in _MIXES)

    def step() -> None:
        adapters = list(trained(backbone, method, 10, most))
        predictor = Predictor(
            adapters[0], backbone, device=device, precision="float32", threads=1, batch_size=most, adapter_name="0"
        )
        for number, one in enumerate(adapters[1:], 1):
            predictor.load_adapter(one, str(number))
        for rows, count in _MIXES:
            features = [predictor.features(samples, "0") for samples in _sounds(rows)]
            names = {"one adapter": ["1"] * rows}
            mix = [str(row % count) for row in range(rows)]
            seconds: dict[str, list[float]] = {mode: [] for mode in _MODES}
            scores = {}
            for turn in range(rounds + 1):  # the first one warms up
                for mode in _MODES if turn % 2 else reversed(_MODES):
                    predictor.stacks_rows = mode == "stacked"
                    began = clock()
                    scores[mode] = np.stack(predictor.scores(features, names.get(mode, mix)))
                    seconds[mode] += [clock() - began] if turn else []
            apart = np.abs(scores["stacked"] - scores["adapter by adapter"]).max()
            found[f"{rows} {count}"] = torch.tensor([seconds[mode] for mode in _MODES])
            found[f"{rows} {count} apart"] = torch.tensor(apart)

    return Subject(step, lambda: found)


def _sounds(count: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    return list(np.random.default_rng(0).normal(0, 0.1, (count, 16_000)).astype(np.float32))


def run(options: Options) -> Iterator[Report]:
    """Memory on a CPU, then mixed batches.

    Args:
        options: of the command line.

    Yields:
        A table each.
    """
    backbone = options.backbone or "random:base"
    if options.device == "cpu":
        with tempfile.TemporaryDirectory() as folder:
            yield memory(backbone, Path(folder), options, _COUNTS)
    yield batches(backbone, "lora", options)


def memory(backbone: str, folder: Path, options: Options, counts: tuple[int, int]) -> Report:
    """A table of two processes: one adapter, and many.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        folder: for the adapters.
        options: of the command line.
        counts: of adapters.

    Returns:
        The table.
    """
    file = write(folder, backbone, max(counts)) / 2**20
    held = sum(parameter.nbytes for parameter in load_backbone(backbone, _FRAMES).parameters()) / 2**20
    entries = [Contestant(str(count), loaded, {"folder": str(folder), "count": count}, timed=False) for count in counts]
    entries += [Contestant("none", nothing, timed=False)]
    outcomes = contest("adapters: memory", entries, Plan(rounds=0, steps=0, threads=options.threads))
    bare = float(outcomes["none"].evidence["resident"])
    rows = []
    for count in counts:
        evidence = outcomes[str(count)].evidence
        figures = [float(evidence["loaded"]), float(evidence["resident"])]
        rows.append((str(count), *(f"{one:,.0f}" for one in (count * file, *figures, figures[1] - bare))))
    few, many = (float(outcomes[str(count)].evidence["resident"]) for count in counts)
    more, all_files, above = counts[1] - counts[0], counts[1] * file, many - bare - held
    grown, files = many - few, more * file
    same = torch.equal(*(outcomes[str(count)].evidence["scores"] for count in counts))
    return Report(
        f"adapters: memory of LoRA adapters on {backbone}, files of {file:.2f} MiB, backbone of {held:,.0f} MiB",
        ("adapters", "files MiB", "resident MiB, loaded", "after use", "above imports"),
        rows,
        claims=[
            Finding(f"{more} more adapters take {grown:,.0f} MiB, {grown / files:.2f} of their files", grown <= _SHARE * files),
            Finding(
                f"{counts[1]} take {above:,.0f} MiB above one backbone, {above / all_files:.2f} of their files",
                above <= _SHARE * all_files,
            ),
        ],
        checks=[Finding("the first adapter scores alone as among many", same)],
        outcomes=outcomes,
    )  # fmt: skip


def nothing() -> Subject:
    """A process that has imported what a Predictor needs, computed something small, and loaded nothing."""
    found: dict[str, torch.Tensor] = {}

    def step() -> None:
        from astune.features import rounded_features

        model = AudioClassifier(load_backbone("random:tiny", _FRAMES), "lora", ["a", "b"])
        model(torch.from_numpy(rounded_features(_sounds(1)[0], model.front_end))[None].float())
        del model
        gc.collect()
        found["resident"] = torch.tensor(resident_mib())

    return Subject(step, lambda: found)


def batches(backbone: str, method: str, options: Options) -> Report:
    """A table of rows and adapters, in float32: in bfloat16 no rows are stacked.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        method: spec.
        options: of the command line.

    Returns:
        The table.
    """
    settings = {
        "backbone": backbone,
        "method": method,
        "device": options.device,
        "rounds": options.rounds or 3,
    }
    entry = Contestant("mixed", mixed, settings, timed=False)
    outcome = contest("adapters: mixed batches", [entry], Plan(0, 0, threads=options.threads))["mixed"]
    rows, checks = [], []
    for count, adapters in _MIXES:
        seconds, apart = (outcome.evidence[f"{count} {adapters}{kind}"] for kind in ("", " apart"))
        ratios = (seconds[1] / seconds[2]).sort().values
        times = (f"{1e3 * one.median():.1f}" for one in seconds)
        gain = f"{ratios.median():.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        rows.append((str(count), str(adapters), *times, gain, f"{apart:.1e}"))
        sound = bool(apart <= _MOST_APART)
        checks.append(Finding(f"{count} rows of {adapters}: scores at most {apart:.1e} apart", sound))
    kind = "CPU ms" if options.device == "cpu" else "ms"
    return Report(
        f"adapters: mixed batches of {method} on {backbone}, {_FRAMES} frames, {options.device}, float32",
        ("rows", "adapters", *(f"{kind}, {mode}" for mode in _MODES), "speed-up of stacked", "scores apart"),
        rows, checks=checks, outcomes={"mixed": outcome},
    )  # fmt: skip


BENCHMARK = Benchmark("adapters", "memory of hundreds of adapters, and batches of different ones", run, any_device=True)
