"""One contestant in a process of its own: requests come as JSON lines on stdin, answers go as JSON lines to stdout."""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from astune.environment import peak_memory_mib
from benchmarks.measure import Subject


def main() -> None:
    """Serve requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    subject: Subject | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if subject is None:
            torch.set_num_threads(request["threads"])
            subject = _make(request)
            answer: dict[str, Any] = {}
        elif "evidence" in request:
            tensors = {name: tensor.contiguous() for name, tensor in subject.evidence().items()}
            save_file(tensors, Path(request["evidence"]))
            answer = {"peak_mib": peak_memory_mib(torch.device("cpu"))}
        else:
            answer = _timed(subject, request["steps"])
        print(json.dumps(answer), file=answers, flush=True)


def _make(request: dict[str, Any]) -> Subject:
    module, _, function = request["make"].partition(":")
    subject = getattr(importlib.import_module(module), function)(**request["settings"])
    assert isinstance(subject, Subject)  # noqa: S101 - for type checkers
    return subject


def _timed(subject: Subject, steps: int) -> dict[str, float]:
    """Mean wall and CPU seconds of a step."""
    subject.before()
    cpu, wall = _cpu_seconds(), time.perf_counter()
    for _ in range(steps):
        subject.step()
    return {"wall": (time.perf_counter() - wall) / steps, "cpu": (_cpu_seconds() - cpu) / steps}


def _cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    main()
