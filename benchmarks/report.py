"""What a benchmark says: the machine, tables in Markdown, claims and whether they hold."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich import box
from rich.table import Table
from typing_extensions import override

from astune.compute import bf16_is_faster
from astune.environment import source_state
from benchmarks.measure import Plan

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.measure import Outcome

_PACKAGES = ("astune", "torch", "transformers", "peft", "onnxruntime")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Options:
    """What the command line says; None where a benchmark decides."""

    backbone: str | None = None
    rounds: int | None = None
    steps: int | None = None
    threads: int = 1
    device: str = "cpu"

    def plan(self, rounds: int, steps: int, warm_up: int = 1) -> Plan:
        """A plan, of a benchmark's own numbers where the command line has none.

        Args:
            rounds: default.
            steps: default.
            warm_up: steps before the first round.

        Returns:
            The plan.
        """
        return Plan(self.rounds or rounds, self.steps or steps, warm_up, self.threads)


@dataclass(frozen=True)
class Finding:
    """A claim and what was measured."""

    text: str
    holds: bool | None
    """None where this machine or these options cannot tell."""

    @override
    def __str__(self) -> str:
        return f"{self.text}: {'cannot be told here' if self.holds is None else 'yes' if self.holds else 'NO'}"


@dataclass(frozen=True)
class Report:
    """One table and what follows from it."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    claims: list[Finding] = field(default_factory=list)
    checks: list[Finding] = field(default_factory=list)
    """That contestants compute the same; a benchmark fails by these alone."""
    notes: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def show(self, console: Console) -> None:
        """Print it.

        Args:
            console: on stdout.
        """
        table = Table(box=box.MARKDOWN, padding=(0, 1))
        for index, name in enumerate(self.columns):
            table.add_column(name, justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        lines = [
            f"- {kind}: {finding}"
            for kind, found in (("claim", self.claims), ("check", self.checks))
            for finding in found
        ]
        console.print(f"\n## {self.title}", markup=False)
        console.print(table)
        for line in [*lines, *(f"- {note}" for note in self.notes)]:
            console.print(line, markup=False, soft_wrap=True)

    def record(self) -> dict[str, object]:
        """As JSON, with the seconds of each round."""
        return {
            "title": self.title,
            "table": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "claims": {finding.text: finding.holds for finding in self.claims},
            "checks": {finding.text: finding.holds for finding in self.checks},
            "notes": self.notes,
            "outcomes": {name: outcome.record() for name, outcome in self.outcomes.items()},
        }


@dataclass(frozen=True)
class Benchmark:
    """One command."""

    name: str
    claim: str
    """In a line."""
    run: Callable[[Options], Iterator[Report]]
    slow: bool = False
    """Whether it takes hours; such a one is run only by its name."""
    any_device: bool = False
    """Whether it can measure another device than the CPU."""


def environment(threads: int) -> dict[str, str]:
    """What the numbers were measured on.

    Args:
        threads: of each contestant.

    Returns:
        Named lines.
    """
    commit, changed = source_state()
    return {
        "CPU": f"{_cpu_name()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "arithmetic": "bfloat16 (autocast)" if bf16_is_faster(CPU) else "float32 (faster here than bfloat16)",
        "threads": f"{threads} a contestant",
        "versions": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "commit": f"{(commit or 'not from a checkout')[:10]}{' with uncommitted changes' if changed else ''}",
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
