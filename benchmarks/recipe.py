"""The search for the recipe of own data, on validation clips alone; ``docs/explanations/own-recipe.md`` says what came of it.

``ASTUNE_STUDY_DATA`` names the folder with the three data sets (``../shared/data`` where it is not set). What is finished lies in
``docs/results/work/recipe.jsonl``, a line a run, and is not run again: stop it, and start it again. A GPU is used where there is one.
"""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from astune.console import notify
from benchmarks.recipe_cells import SIZES, SOURCES, Study, study
from benchmarks.recipe_search import Candidate, Replica, Stack, settings
from benchmarks.report import Benchmark, Finding, Options, Report

RECORDS = Path("docs/results/work/recipe.jsonl")
SEEDS = {"digits": (0, 1), "esc10": (0,), "keywords": (0, 1)}
STACKED = {"digits": 32, "esc10": 8, "keywords": 16}
"""Runs at a time."""

_NEAR: dict[str, Any] = {"start": "probe", "warmup": 0.1, "share": 1 / 3}
_AROUND: dict[str, dict[str, Any]] = {
    "": {}, "without masks": {"masks": False}, "label smoothing 0.1": {"smoothing": 0.1}, "mixup 0.3": {"mixup": 0.3},
    "both": {"smoothing": 0.1, "mixup": 0.3}, "weight decay 0.01": {"decay": 0.01}, "head at a tenth": {"head_ratio": 0.1},
    "head fixed": {"head_ratio": 0.0}, "without warm-up": {"warmup": 0.0}, "a sixth of the steps": {"share": 1 / 6},
}  # fmt: skip


def candidates() -> list[Candidate]:
    """All that were tried."""
    found = []
    for method, paper in (("lora", 5e-3), ("bottleneck-pf-par", 5e-3), ("bitfit", 5e-3), ("full-ft", 5e-5)):
        found.append(Candidate("paper", method, paper))
        rates = (4 * paper, paper, 0.4 * paper, 0.2 * paper, 0.1 * paper, 0.04 * paper)
        found += [Candidate(f"probe, rate {rate:g}", method, rate, **_NEAR) for rate in rates[method != "full-ft" :]]
    found += [
        Candidate(f"random head, rate {rate:g}, a third of the steps", rate=rate, warmup=0.1, share=1 / 3)
        for rate in (2e-3, 1e-3, 5e-4)
    ]
    found += [
        Candidate(f"probe, rate 0.001, {name}", **{"rate": 1e-3, **_NEAR, **fields})
        for name, fields in _AROUND.items()
        if name
    ]
    return found


def _jobs(name: str, ready: Study, finished: set[str]) -> Iterator[list[Replica]]:
    """Runs that can be stacked: of one method, size and length."""
    groups: dict[tuple[Any, ...], list[Replica]] = defaultdict(list)
    for cell, head in zip(ready.cells, ready.heads, strict=True):
        if name == "keywords" and cell.fold != "first":
            continue  # the other half trains on the same clips: both halves are scored, and change places in the tables
        for candidate in candidates():
            if _key(candidate, cell.name) not in finished:
                groups[cell.size or math.inf, candidate.method, candidate.share].append(Replica(candidate, cell, head))
    for _, members in sorted(groups.items()):
        for first in range(0, len(members), STACKED[name]):
            yield members[first : first + STACKED[name]]


def _key(candidate: Candidate, cell: Sequence[str | int]) -> str:
    return json.dumps([settings(candidate), list(cell)], sort_keys=True)


def search(root: Path, records: Path) -> None:
    """Run what is missing.

    Args:
        root: folder of the data sets.
        records: file that gets a line a run.
    """
    records.parent.mkdir(parents=True, exist_ok=True)
    finished = {_key(Candidate(**one["candidate"]), one["cell"]) for one in _read(records)}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name in SOURCES:
        ready = study(root, name, SEEDS[name])
        probes = {json.dumps(cell.name): figures for cell, figures in zip(ready.cells, ready.probes, strict=True)}
        there = replace(ready, inputs=ready.inputs.to(device), targets=ready.targets.to(device))
        for replicas in _jobs(name, ready, finished):
            curves = Stack(there, replicas, device).run()
            with records.open("a", encoding="utf-8") as file:
                for replica, curve in zip(replicas, curves, strict=True):
                    cell = replica.cell.name
                    line = {
                        "candidate": settings(replica.candidate),
                        "cell": cell,
                        "probe": probes[json.dumps(cell)],
                        "curve": curve,
                    }
                    file.write(json.dumps(line) + "\n")
            notify(
                f"{name}: {len(replicas)} runs of {replicas[0].candidate.method}, size {replicas[0].cell.size or 'all'}"
            )


def _read(records: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()] if records.exists() else []


def kept(curve: Sequence[Sequence[float]], start: str, *, score: int = 3) -> float:
    """Accuracy on the scoring clips with the weights that do best on the choosing ones, by accuracy and then by loss.

    Args:
        curve: rows of :meth:`benchmarks.recipe_search.Stack.run`.
        start: of the head; the weights before the first step are among those chosen from where it is ``probe``.
        score: column of the scoring clips' accuracy; 1 where the two halves change places.
    """
    choose = 4 - score
    rows = curve if start == "probe" else curve[1:]
    return max(rows, key=lambda row: (row[choose], -row[choose + 1], -row[0]))[score]


def gains(records: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[tuple[str, int], list[float]]]:
    """Percentage points over the frozen probe of the same clips, by method and candidate, then by data set and size.

    Args:
        records: of the search.
    """
    found: dict[tuple[str, str], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in records:
        candidate, (data, size, _, _) = one["candidate"], one["cell"]
        for score in (3, 1) if data == "keywords" else (3,):
            probe = one["probe"][1 if score == 3 else 0]
            accuracy = kept(one["curve"], candidate["start"], score=score)
            found[candidate["method"], candidate["name"]][data, size].append(100 * (accuracy - probe))
    return found


def interval(values: Sequence[float]) -> str:
    """Mean and half of a 95 % interval of it, in points.

    Args:
        values: of runs.
    """
    if not values:
        return "-"
    half = f" ±{1.96 * stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    return f"{mean(values):+.1f}{half}"


def tables(records: Sequence[dict[str, Any]]) -> Iterator[Report]:
    """A table a method.

    Args:
        records: of the search.

    Yields:
        Points over the probe: a row a candidate, a column a cell.
    """
    found = gains(records)
    columns = [(data, size) for data in SOURCES for size in SIZES]
    for method in dict.fromkeys(method for method, _ in found):
        rows = []
        for (other, name), cells in found.items():
            if other == method:
                every = [value for values in cells.values() for value in values]
                rows.append((name, interval(every), *(interval(cells.get(column, [])) for column in columns)))
        yield Report(
            f"recipe: {method}, points over the frozen probe (kept: best on the clips that choose)",
            ("candidate", "all", *(f"{data} {size or 'all'}" for data, size in columns)),
            rows,
        )


def run(options: Options) -> Iterator[Report]:
    """Search, and show what is recorded.

    Args:
        options: of the command line; the search has its own numbers.

    Yields:
        A table a method.
    """
    del options
    root = Path(os.environ.get("ASTUNE_STUDY_DATA", "../shared/data"))
    if not root.is_dir():
        note = f"{root} is not there: set ASTUNE_STUDY_DATA to the folder of the three data sets"
        yield Report(
            "recipe", ("",), [], [Finding("the default run is not below the frozen probe", None)], notes=[note]
        )
        return
    search(root, RECORDS)
    yield from tables(_read(RECORDS))


BENCHMARK = Benchmark("recipe", "the recipe for own data is at no task below the frozen probe", run, slow=True)
