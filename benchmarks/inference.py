"""Logits of one clip and of eight: LoRA beside the backbone, merged into it, in bfloat16, compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch

from astune.compute import gains_from_bf16, missing_compiler
from benchmarks.measure import Contestant, Outcome, Plan, Subject, contest, ratio
from benchmarks.report import CPU, Benchmark, Finding, Options, Report
from benchmarks.train_step import classifier, random_inputs

Form = Literal["unmerged", "merged", "merged, bfloat16", "merged, compiled"]
_LENGTHS, _BATCHES = (100, 500), (1, 8)
_MOST_APART = 1e-4  # of logits, in float32


def logits(backbone: str, frames: int, batch: int, form: Form) -> Subject:
    """A LoRA classifier with a random update, in some form.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        batch: clips.
        form: of the same classifier.
    """
    model = classifier(backbone, frames, "lora").eval()
    inputs = random_inputs(batch, frames, model.front_end.num_mel_bins)
    if form != "unmerged":
        model = model.merge_and_unload()
    if form == "merged, bfloat16":
        model, inputs = model.to(torch.bfloat16), inputs.to(torch.bfloat16)
    run: Any = torch.compile(model) if form == "merged, compiled" else model

    @torch.inference_mode()
    def compute() -> torch.Tensor:
        values: torch.Tensor = run(inputs).logits
        return values.float()

    return Subject(compute, lambda: {"logits": compute().clone()})


def _forms() -> tuple[list[Form], list[str]]:
    """Those this machine can run, and why not the others."""
    forms: list[Form] = ["unmerged", "merged"]
    notes = []
    if gains_from_bf16(CPU):
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


def _report(backbone: str, frames: int, plan: Plan) -> Report:
    forms, notes = _forms()
    rows, checks = [], []
    all_outcomes: dict[str, Outcome] = {}
    for batch in _BATCHES:
        shape = {"backbone": backbone, "frames": frames, "batch": batch}
        entries = [Contestant(form, logits, {**shape, "form": form}) for form in forms]
        outcomes = contest(f"inference: {batch} x {frames} frames", entries, plan)
        first = outcomes["unmerged"]
        expected = first.evidence["logits"]
        for form, outcome in outcomes.items():
            apart = float((outcome.evidence["logits"] - expected).abs().max())
            times = f"{1e3 * outcome.seconds:.1f}", f"{1e3 * outcome.cpu_seconds:.1f}", str(ratio(first, outcome))
            rows.append((form, str(batch), *times, f"{apart:.1e}"))
            if form != "merged, bfloat16":
                checks.append(Finding(f"{form}, batch {batch}: logits at most {apart:.1e} apart", apart < _MOST_APART))
            all_outcomes[f"{form}, batch {batch}"] = outcome
    return Report(
        f"inference: lora on {backbone}, {frames} frames",
        ("form", "batch", "ms / call", "CPU ms / call", "speed-up over unmerged", "logits apart"),
        rows, checks=checks, notes=notes, outcomes=all_outcomes,
    )  # fmt: skip


BENCHMARK = Benchmark(
    "inference", "LoRA unmerged, merged, in bfloat16 and compiled, and how far the logits are apart", run
)
