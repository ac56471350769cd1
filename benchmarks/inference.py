"""Scores of one clip and of eight: LoRA beside the backbone, merged into it, in bfloat16, compiled, and exported to ONNX."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from astune import OnnxPredictor, export_adapter
from astune.compute import bf16_is_faster, missing_compiler
from astune.names import FRAME, HOP
from benchmarks.measure import Contestant, Outcome, Plan, Subject, contest, ratio
from benchmarks.report import CPU, Benchmark, Finding, Options, Report
from benchmarks.train_step import classifier

Form = Literal["unmerged", "merged", "merged, bfloat16", "merged, compiled"]
_LENGTHS, _BATCHES = (100, 500), (1, 8)
_MOST_APART = 1e-4  # of scores, in float32
_ROUNDED = ("merged, bfloat16", "onnx, int8")  # forms whose scores are others


def sounds(batch: int, frames: int) -> torch.Tensor:
    """Noise, the same in every process.

    Args:
        batch: clips.
        frames: that they fill.

    Returns:
        (batch, samples) at 16 kHz.
    """
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(batch, (frames - 1) * HOP + FRAME, generator=generator)


def graph(path: str, batch: int, frames: int) -> Subject:
    """The same classifier as a graph, which has to make its features too.

    Args:
        path: of the file.
        batch: clips.
        frames: of 10 ms.
    """
    predictor = OnnxPredictor(path, cores=torch.get_num_threads(), batch_size=batch)
    clips = list(sounds(batch, frames).numpy())
    return Subject(lambda: predictor.scores(clips), lambda: {"scores": torch.from_numpy(predictor.scores(clips))})


def logits(backbone: str, frames: int, batch: int, form: Form) -> Subject:
    """A LoRA classifier with a random update, in some form.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        batch: clips.
        form: of the same classifier.
    """
    model = classifier(backbone, frames, "lora").eval()
    inputs = model.front_end(sounds(batch, frames)).half().float()
    if form != "unmerged":
        model = model.merge_and_unload()
    if form == "merged, bfloat16":
        model, inputs = model.to(torch.bfloat16), inputs.to(torch.bfloat16)
    run: Any = torch.compile(model) if form == "merged, compiled" else model

    @torch.inference_mode()
    def compute() -> torch.Tensor:
        values: torch.Tensor = run(inputs).logits
        return values.float()

    return Subject(compute, lambda: {"logits": compute().clone(), "scores": compute().softmax(dim=-1)})


def _forms() -> tuple[list[Form], list[str]]:
    """Those this machine can run, and why not the others."""
    forms: list[Form] = ["unmerged", "merged"]
    notes = []
    if bf16_is_faster(CPU):
        forms.append("merged, bfloat16")
    else:
        notes.append("bfloat16 is left out: this processor is faster in float32")
    compiler = missing_compiler()
    if compiler is None:
        forms.append("merged, compiled")
    else:
        notes.append(f"torch.compile is left out: it needs the C++ compiler {compiler!r}")
    return forms, notes


def run(options: Options) -> Iterator[Report]:
    """A table a length.

    Args:
        options: of the command line.

    Yields:
        The tables.
    """
    for frames in _LENGTHS:
        yield _report(options.backbone or "random:base", frames, options.plan(5, 2))


def _export(backbone: str, frames: int, folder: Path) -> dict[str, str]:
    """Files of the graph, by form."""
    model = classifier(backbone, frames, "lora").eval()
    made = {form: export_adapter(model, folder / f"{form}.onnx", int8=form == "int8") for form in ("float32", "int8")}
    return {f"onnx, {form}": str(done.path) for form, done in made.items()}


def _report(backbone: str, frames: int, plan: Plan) -> Report:
    forms, notes = _forms()
    rows, checks = [], []
    all_outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        graphs = _export(backbone, frames, Path(folder))
        for batch in _BATCHES:
            shape = {"frames": frames, "batch": batch}
            entries = [Contestant(form, logits, {"backbone": backbone, **shape, "form": form}) for form in forms]
            entries += [Contestant(form, graph, {"path": path, **shape}) for form, path in graphs.items()]
            outcomes = contest(f"inference: {batch} x {frames} frames", entries, plan)
            first = outcomes["unmerged"]
            expected = first.evidence["scores"]
            for form, outcome in outcomes.items():
                apart = float((outcome.evidence["scores"] - expected).abs().max())
                times = f"{1e3 * outcome.seconds:.1f}", f"{1e3 * outcome.cpu_seconds:.1f}", str(ratio(first, outcome))
                rows.append((form, str(batch), *times, f"{apart:.1e}"))
                if form not in _ROUNDED:
                    found = f"{form}, batch {batch}: scores at most {apart:.1e} apart"
                    checks.append(Finding(found, apart < _MOST_APART))
                all_outcomes[f"{form}, batch {batch}"] = outcome
    return Report(
        f"inference: lora on {backbone}, {frames} frames",
        ("form", "batch", "ms / call", "CPU ms / call", "speed-up over unmerged", "scores apart"),
        rows, checks=checks, notes=notes, outcomes=all_outcomes,
    )  # fmt: skip


BENCHMARK = Benchmark(
    "inference", "LoRA unmerged, merged, in bfloat16, compiled and as a graph, and how far the scores are apart", run
)
