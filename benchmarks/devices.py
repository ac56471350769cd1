"""What a device gives: clips a second in training and in inference, and memory, by method, length and precision."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch.nn import functional as F

from astune.compute import Arithmetic
from benchmarks.measure import Contestant, Plan, Subject, contest
from benchmarks.report import Benchmark, Finding, Options, Report
from benchmarks.train_step import CLASSES, classifier, random_inputs

_METHODS = ("linear", "lora", "bottleneck-pf-par", "full-ft")
_FRAMES = (100, 1024)
_PRECISIONS = ("float32", "bfloat16")
_BATCH = 32
_MOST_APART = {"float32": 1e-3, "bfloat16": 5e-2}  # of logits, which are below 10, from float32 on the CPU
_CHECKED = 4  # clips of the batch that a CPU computes too


def measured(backbone: str, method: str, frames: int, precision: str, device: str, rounds: int) -> Subject:
    """Training steps and inference of one method, in turns.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        method: a preset or spec.
        frames: of 10 ms.
        precision: float32 or bfloat16.
        device: that computes.
        rounds: of each; the median counts.
    """
    torch_device = torch.device(device)
    found: dict[str, torch.Tensor] = {}

    def step() -> None:
        model = classifier(backbone, frames, method)
        inputs = random_inputs(_BATCH, frames, model.front_end.num_mel_bins)
        targets = torch.arange(_BATCH) % CLASSES
        with torch.no_grad():
            expected = model.eval()(inputs[:_CHECKED]).logits
        arithmetic = Arithmetic.of(torch_device, precision == "bfloat16")
        arithmetic.prepare(model.to(torch_device).sites)
        inputs, targets = inputs.to(torch_device), targets.to(torch_device)
        with torch.no_grad(), arithmetic.products(), arithmetic.computing():
            logits = model(inputs[:_CHECKED]).logits.float()
        found["apart"] = (logits.cpu() - expected).abs().max()
        parameters = list(model.trained_parameters().values())
        optimizer = arithmetic.optimizer(parameters, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)

        def train() -> None:
            with arithmetic.computing():
                logits = model(inputs).logits
            F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        @torch.inference_mode()
        def infer() -> None:
            with arithmetic.computing():
                model(inputs)

        for name, work, ready in (("train", train, model.train), ("infer", infer, model.eval)):
            ready()
            _start_of_memory(torch_device)
            with arithmetic.products():
                found[f"{name} seconds"] = torch.tensor(_median_seconds(work, torch_device, rounds))
            found[f"{name} MiB"] = torch.tensor(_peak_mib(torch_device))

    return Subject(step, lambda: found)


def _start_of_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_mib(device: torch.device) -> float:
    """Of a GPU; a CPU keeps no such account."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else float("nan")


def _median_seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Of one call, after two that warm up."""
    seconds = []
    for turn in range(rounds + 2):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds += [time.perf_counter() - began] if turn >= 2 else []
    return statistics.median(seconds)


def run(options: Options) -> Iterator[Report]:
    """A table a length.

    Args:
        options: of the command line.

    Yields:
        The tables.
    """
    for frames in _FRAMES:
        yield table(options.backbone or "random:base", frames, options)


def table(backbone: str, frames: int, options: Options) -> Report:
    """Methods and precisions at one length.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        options: of the command line.

    Returns:
        The table.
    """
    rows, checks, outcomes = [], [], {}
    for method in _METHODS:
        for precision in _PRECISIONS:
            name = f"{method}, {precision}"
            settings = {"backbone": backbone, "method": method, "frames": frames, "precision": precision}
            settings |= {"device": options.device, "rounds": options.rounds or 10}
            entry = Contestant(name, measured, settings, timed=False)
            outcome = contest(f"devices: {name}, {frames} frames", [entry], Plan(0, 0, threads=options.threads))[name]
            found = {key: float(value) for key, value in outcome.evidence.items()}
            speeds = [f"{_BATCH / found[f'{kind} seconds']:,.0f}" for kind in ("train", "infer")]
            peaks = [found[f"{kind} MiB"] for kind in ("train", "infer")]
            memory = ["–" if math.isnan(peak) else f"{peak:,.0f}" for peak in peaks]
            rows.append((method, precision, *speeds, *memory))
            apart = found["apart"]
            checks.append(
                Finding(f"{name}: logits at most {apart:.1e} from the CPU's", apart <= _MOST_APART[precision])
            )
            outcomes[name] = outcome
    return Report(
        f"devices: {backbone}, {frames} frames, batches of {_BATCH}, {options.device}",
        ("method", "precision", "clips / s, training", "clips / s, inference", "MiB, training", "MiB, inference"),
        rows, checks=checks, outcomes=outcomes,
    )  # fmt: skip


BENCHMARK = Benchmark(
    "devices", "clips a second and memory of a device, in training and inference", run, slow=True, any_device=True
)
