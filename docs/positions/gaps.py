"""The tables of the study: accuracies and, paired by fold and seed, what positions are worth to a method, and to its lead.

    python docs/positions/gaps.py

reads the runs in docs/results (`astune reproduce docs/positions/positions.yaml --store docs/results`).
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from astune.experiments.paired import by_fold
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.reporting.aggregate import cells, compare, mean_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astune.experiments.paired import Pair

FULL = "Full FT"
LEADS = ("fit", "zero", "change")


def main() -> None:
    """Print the tables as Markdown, in percent and percentage points."""
    results = Results.load(Store(Path(__file__).parents[1] / "results"), "positions")
    found, rows = cells(results), results.plan.rows
    names = list(dict.fromkeys(entry.dataset for entry in results.plan.entries))
    accuracies = {
        (row, name, positions): found[row, f"{name}, position_embeddings={positions}"].scores
        for row in rows
        for name in names
        for positions in ("fit", "zero")
    }
    worth = {
        (row, name): minus(accuracies[row, name, "fit"], accuracies[row, name, "zero"])
        for row in rows
        for name in names
    }
    print_line(["method", "parameters", *(f"{name}, {positions}" for name in names for positions in ("fit", "zero"))])
    print_line(["---"] * (2 + 2 * len(names)))
    for row in rows:
        line = [row, f"{found[row, f'{names[0]}, position_embeddings=fit'].parameters:,}"]
        print_line([*line, *(shown(accuracies[row, n, p], sign="") for n in names for p in ("fit", "zero"))])
    print()
    print_line(["fit minus zero", *names])
    print_line(["---"] * (1 + len(names)))
    for row in rows:
        print_line([row, *(shown(worth[row, name]) for name in names)])
    print()
    print_line(["lead over full fine-tuning", *(f"{name}, {what}" for name in names for what in LEADS)])
    print_line(["---"] * (1 + len(names) * len(LEADS)))
    for row in rows:
        if row == FULL:
            continue
        line = [row]
        for name in names:
            line += [
                shown(minus(accuracies[row, name, positions], accuracies[FULL, name, positions]))
                for positions in ("fit", "zero")
            ]
            change = minus(worth[row, name], worth[FULL, name])
            line.append(f"{shown(change)}, p {compare(worth[row, name], worth[FULL, name]).p_value:.2g}")
        print_line(line)


def minus(first: Mapping[Pair, float], second: Mapping[Pair, float]) -> dict[Pair, float]:
    """Difference by fold and seed, of the same ones."""
    return {pair: value - second[pair] for pair, value in first.items()}


def shown(shares: Mapping[Pair, float], sign: str = "+") -> str:
    """Mean and 95 % interval of it, in percent or points."""
    values = [100 * share for share in by_fold(shares)]
    interval = mean_interval(values)
    assert interval is not None  # noqa: S101 - the study has several folds
    return f"{mean(values):{sign}.1f} [{interval[0]:.1f}, {interval[1]:.1f}]"


def print_line(fields: Iterable[str]) -> None:
    """A row of a Markdown table."""
    print("| " + " | ".join(fields) + " |")


if __name__ == "__main__":
    main()
