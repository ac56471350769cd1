"""Labels of one clip from the shell, whole processes: torch, an exported graph, the same in int8, and transformers' pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from astune import export_adapter, load_backbone
from astune.names import FRAME, HOP
from benchmarks.measure import Contestant, Outcome, Subject, contest, ratio
from benchmarks.report import Benchmark, Finding, Options, Report
from benchmarks.train_step import CLASSES, classifier

_FRAMES, _MOST_APART = 500, 1e-4
_TORCH, _GRAPH, _INT8, _PIPELINE = "astune predict ADAPTER", "astune predict graph.onnx", "the same, int8", "pipeline"
_PEAK = "peak_mib"
# Linux counts a process's peak from before it becomes another program, so a small one starts the command, not this one.
_MEASURED = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
output = child.stdout.read().decode()
_, status, use = os.wait4(child.pid, 0)
print(json.dumps({"status": status, "peak": use.ru_maxrss, "output": output}))
"""
_ASK_PIPELINE = """
import json, sys
from transformers import pipeline
print(json.dumps([{"labels": pipeline("audio-classification", sys.argv[1], top_k=None)(sys.argv[2])}]))
"""


def command(arguments: Sequence[str]) -> Subject:
    """A whole process that labels one clip.

    Args:
        arguments: of Python.
    """
    found: dict[str, torch.Tensor] = {}

    def step() -> None:
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-S", "-c", _MEASURED, sys.executable, *arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        answer = json.loads(done.stdout)
        assert answer["status"] == 0, arguments  # noqa: S101 - timings of what failed would mean nothing
        labels = json.loads(answer["output"])[0]["labels"]
        scores = {int(label["label"]): label["score"] for label in labels}
        found["scores"] = torch.tensor([scores[index] for index in range(CLASSES)])
        found[_PEAK] = torch.tensor([answer["peak"] / 1024])

    return Subject(step, lambda: found)


def prepare(folder: Path, backbone: str, frames: int) -> list[Contestant]:
    """Write the adapter, its exports and a clip.

    Args:
        folder: that is there.
        backbone: as for :func:`astune.load_backbone`; random weights are written to files, so that nobody has to draw them.
        frames: of the input.

    Returns:
        The contestants.
    """
    name = backbone
    if backbone.startswith("random:"):
        name = str(folder / "backbone")
        load_backbone(backbone).model.save_pretrained(name)
    adapter, clip = folder / "adapter", folder / "clip.wav"
    classifier(name, frames, "lora").eval().save_pretrained(adapter)
    for precision in ("float32", "int8"):
        export_adapter(adapter, folder / f"{precision}.onnx", int8=precision == "int8")
    export_adapter(adapter, folder / "pipeline", "transformers")
    sound = 0.1 * np.random.default_rng(0).normal(size=(frames - 1) * HOP + FRAME)
    soundfile.write(clip, sound, 16_000, "FLOAT")
    predict = ["-m", "astune", "predict"]
    asked = [str(clip), "--top-k", str(CLASSES), "--json"]
    commands = {
        _TORCH: [*predict, str(adapter), *asked, "--runtime", "torch"],
        _GRAPH: [*predict, str(folder / "float32.onnx"), *asked],
        _INT8: [*predict, str(folder / "int8.onnx"), *asked],
        _PIPELINE: ["-c", _ASK_PIPELINE, str(folder / "pipeline"), str(clip)],
    }
    return [Contestant(one, command, {"arguments": arguments}) for one, arguments in commands.items()]


def run(options: Options) -> Iterator[Report]:
    """A table a backbone.

    Args:
        options: of the command line.

    Yields:
        The tables.
    """
    for backbone in (options.backbone,) if options.backbone else ("bundled", "random:base"):
        with tempfile.TemporaryDirectory() as folder:
            entries = prepare(Path(folder), backbone, _FRAMES)
            sizes = {one: (Path(folder) / f"{one}.onnx").stat().st_size / 1e6 for one in ("float32", "int8")}
            outcomes = contest(f"one clip on {backbone}", entries, options.plan(3, 1))
        yield report(backbone, outcomes, [f"{one}.onnx has {size:.1f} MB" for one, size in sizes.items()])


def report(backbone: str, outcomes: dict[str, Outcome], notes: list[str]) -> Report:
    """The table.

    Args:
        backbone: for the title.
        outcomes: of the contestants.
        notes: below it.
    """
    first = outcomes[_TORCH]
    rows, checks = [], []
    for name, outcome in outcomes.items():
        apart = float((outcome.evidence["scores"] - first.evidence["scores"]).abs().max())
        peak = float(outcome.evidence[_PEAK])
        figures = f"{outcome.seconds:.2f}", f"{outcome.cpu_seconds:.2f}", f"{peak:,.0f}"
        rows.append((name, *figures, str(ratio(first, outcome)), f"{apart:.1e}"))
        if name != _INT8:
            checks.append(Finding(f"{name}: scores at most {apart:.1e} apart", apart < _MOST_APART))
    columns = ("command", "s", "CPU s", "peak MiB", "speed-up over torch", "scores apart")
    title = f"one clip of {_FRAMES / 100:.0f} s: lora on {backbone}"
    return Report(title, columns, rows, checks=checks, notes=notes, outcomes=outcomes)


BENCHMARK = Benchmark("one-clip", "seconds and memory of labelling one clip from the shell, torch and exported", run)
