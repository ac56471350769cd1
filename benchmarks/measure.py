"""Contestants that take turns: each in a fresh process, several rounds, medians over the rounds.

Rounds alternate because other work on the machine comes and goes: a ratio is taken within each round, and its median is reported.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file
from typing_extensions import override

from astune.console import notify, progress
from astune.errors import AstuneError

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parents[1]


class BenchmarkError(AstuneError):
    """A contestant could not run."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Subject:
    """What a worker runs."""

    step: Callable[[], object] = _nothing
    """What is timed."""
    evidence: Callable[[], dict[str, Tensor]] = dict
    """What shows that the steps were right; asked for after the last one."""
    before: Callable[[], object] = _nothing
    """Untimed, before the steps of a round."""


@dataclass(frozen=True)
class Contestant:
    """One row of a contest."""

    name: str
    make: Callable[..., Subject]
    """A function at the top of a module; called in the worker."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Its arguments."""
    repeats: int = 1
    """Steps where another contestant makes one, because they are short."""
    timed: bool = True
    """Whether it takes part in the rounds; if not, it makes one step, for its evidence and memory."""


@dataclass(frozen=True)
class Plan:
    """How a contest goes."""

    rounds: int
    steps: int
    """Of each round."""
    warm_up: int = 1
    """Steps before the first round."""
    threads: int = 1
    """Of each contestant."""


@dataclass(frozen=True)
class Outcome:
    """What was measured of one contestant."""

    wall: list[float]
    """Seconds of a step, a mean each round."""
    cpu: list[float]
    """User and system seconds of a step, likewise; of the process and its children."""
    peak_mib: float
    """Largest resident set of the process, from its start (``ru_maxrss``)."""
    evidence: dict[str, Tensor]

    @property
    def seconds(self) -> float:
        """Of a step, the median over rounds."""
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """Of a step, the median over rounds."""
        return statistics.median(self.cpu)

    def record(self) -> dict[str, object]:
        """As JSON, evidence left out."""
        return {"wall_seconds": self.wall, "cpu_seconds": self.cpu, "peak_mib": self.peak_mib}


class Ratio(NamedTuple):
    """How many times longer one contestant took than another, round by round."""

    median: float
    low: float
    high: float

    @override
    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def ratio(one: Outcome, other: Outcome) -> Ratio:
    """How many times longer one contestant's steps took than another's.

    Args:
        one: of the same contest.
        other: of the same contest.

    Returns:
        Median, lowest and highest over the rounds.
    """
    rounds = [mine / theirs for mine, theirs in zip(one.wall, other.wall, strict=True)]
    return Ratio(statistics.median(rounds), min(rounds), max(rounds))


class Agreement(NamedTuple):
    """How a first step compares with the reference's."""

    loss: float
    """Relative error."""
    angle: float
    """1 - cosine between the gradients, all of them taken as one vector."""
    norm: float
    """Norm of the gradients' difference over the reference's norm."""


def agreement(evidence: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Agreement:
    """Compare losses and gradients.

    Args:
        evidence: ``loss`` and gradients by name.
        reference: the same names.

    Returns:
        The comparison, in float64.

    Raises:
        BenchmarkError: the names differ.
    """
    if evidence.keys() != reference.keys():
        raise BenchmarkError(f"gradients of other tensors: {sorted(evidence.keys() ^ reference.keys())[:4]}")
    names = sorted(reference.keys() - {"loss"})
    ours, theirs = (torch.cat([side[name].double().flatten() for name in names]) for side in (evidence, reference))
    loss, expected = float(evidence["loss"]), float(reference["loss"])
    cosine = float(ours @ theirs / (ours.norm() * theirs.norm()))
    return Agreement(
        abs(loss - expected) / abs(expected), max(0.0, 1 - cosine), float((ours - theirs).norm() / theirs.norm())
    )


class _Process:
    """A worker and its log."""

    def __init__(self, contestant: Contestant, plan: Plan, scratch: Path, stack: ExitStack) -> None:
        self.contestant = contestant
        self.log = scratch / f"{len(list(scratch.iterdir()))}.log"
        threads = str(plan.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker"],
                cwd=ROOT,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(self.log.open("w")),
            )
        )
        stack.callback(self.process.kill)
        make = f"{contestant.make.__module__}:{contestant.make.__qualname__}"
        self.ask(make=make, settings=dict(contestant.settings), threads=plan.threads)

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            BenchmarkError: the worker ended instead.
        """
        assert self.process.stdin and self.process.stdout  # noqa: S101, PT018 - for type checkers
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self.contestant.name} ended:\n{self.log.read_text()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class _Racer:
    """A contestant on its way through a contest."""

    def __init__(self, contestant: Contestant, plan: Plan, scratch: Path, stack: ExitStack) -> None:
        self.contestant, self.steps = contestant, plan.steps * contestant.repeats
        self.process = _Process(contestant, plan, scratch, stack)
        self.file = scratch / f"{len(list(scratch.iterdir()))}.safetensors"
        self.wall: list[float] = []
        self.cpu: list[float] = []
        warm_up = plan.warm_up if contestant.timed else 1
        if warm_up:
            self.process.ask(steps=warm_up)

    def round(self) -> None:
        answer = self.process.ask(steps=self.steps)
        self.wall.append(answer["wall"])
        self.cpu.append(answer["cpu"])

    def outcome(self) -> Outcome:
        answer = self.process.ask(evidence=str(self.file))
        return Outcome(self.wall, self.cpu, answer["peak_mib"], load_file(self.file))


def contest(title: str, contestants: Sequence[Contestant], plan: Plan) -> dict[str, Outcome]:
    """Let contestants take turns.

    Args:
        title: for the progress bar.
        contestants: of different names. Who begins moves on by one each round.
        plan: rounds, steps, threads.

    Returns:
        Outcomes by name.

    Raises:
        BenchmarkError: one of them could not run.
    """
    outcomes: dict[str, Outcome] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        advance = stack.enter_context(progress(title, len(contestants) + plan.rounds))
        racers: list[_Racer] = []
        for contestant in contestants:
            if contestant.timed:
                racers.append(_Racer(contestant, plan, scratch, stack))
            else:
                with ExitStack() as alone:
                    outcomes[contestant.name] = _Racer(contestant, plan, scratch, alone).outcome()
            advance(1, contestant.name)
        notify(f"{title}: {len(racers)} contestants take turns")
        for number in range(plan.rounds):
            first = number % len(racers)
            for racer in racers[first:] + racers[:first]:
                racer.round()
            advance(1, f"round {number + 1}")
        notify(f"{title}: {plan.rounds} rounds are over")
        outcomes |= {racer.contestant.name: racer.outcome() for racer in racers}
    return outcomes
