"""The figures of the study in which all methods are trained to their end, as Markdown.

    python docs/results/study.py

reads the plans and runs in this folder (`astune reproduce docs/results/study.yaml --store docs/results`, and so on).
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.reporting.aggregate import cells, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from astune.reporting.aggregate import Cell

    Cells = Mapping[tuple[str, str], Cell]

STORE = Store(Path(__file__).parent)
COLUMNS = {"digits": "study", "esc10": "study", "arabic": "study-arabic"}
"""Data sets, and the experiments that have them."""
SHOTS = (1, 4, 16)


def main() -> None:
    """Print accuracies, differences, losses and the table of few clips."""
    results = {name: Results.load(STORE, name) for name in dict.fromkeys(COLUMNS.values())}
    found: dict[tuple[str, str], Cell] = {}
    for one in results.values():
        found |= cells(one)
    rows = results["study"].plan.rows
    few = Results.load(STORE, "study-few")
    parts = (
        accuracies(found, rows),
        differences(found, rows),
        losses(results.values(), rows),
        few_clips(cells(few), few.plan.rows),
    )
    print(*("\n".join(part) for part in parts), sep="\n\n")


def accuracies(found: Cells, rows: tuple[str, ...]) -> Iterator[str]:
    """Mean test accuracy in percent, with the 95 % interval."""
    yield f"| method | parameters, digits | {' | '.join(COLUMNS)} |"
    yield f"| --- | --- | {' | '.join('---' for _ in COLUMNS)} |"
    for row in rows:
        shown = []
        for column in COLUMNS:
            interval = found[row, column].interval
            ends = "" if interval is None else f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
            shown.append(f"{100 * found[row, column].mean:.1f}{ends}")
        yield f"| {row} | {found[row, 'digits'].parameters:,} | {' | '.join(shown)} |"


def differences(found: Cells, rows: tuple[str, ...]) -> Iterator[str]:
    """Each row minus linear probing, and full fine-tuning minus LoRA, in points with the 95 % interval, paired by fold and seed."""
    yield f"| first - second | {' | '.join(COLUMNS)} |"
    yield f"| --- | {' | '.join('---' for _ in COLUMNS)} |"
    pairs = [(row, "Linear") for row in rows if row != "Linear"]
    pairs += [(row, "LoRA") for row in rows if row.startswith("Full FT")]
    for first, second in pairs:
        shown = [difference(found[first, column], found[second, column]) for column in COLUMNS]
        yield f"| {first} - {second} | {' | '.join(shown)} |"


def difference(first: Cell, second: Cell) -> str:
    """In points, with its interval."""
    pair = compare(first.scores, second.scores)
    shown = f"{100 * pair.difference:+.1f}"
    return shown if pair.interval is None else f"{shown} [{100 * pair.interval[0]:.1f}, {100 * pair.interval[1]:.1f}]"


def losses(results: Iterable[Results], rows: tuple[str, ...]) -> Iterator[str]:
    """Mean training loss of the first tenth of the epochs, of the last fifth but one, and of the last fifth."""
    yield f"| training loss: first tenth, next-to-last fifth, last fifth | {' | '.join(COLUMNS)} |"
    yield f"| --- | {' | '.join('---' for _ in COLUMNS)} |"
    curves: dict[tuple[str, str], list[list[float]]] = {}
    for one in results:
        for entry in one.plan.entries:
            history = [epoch["train_loss"] for epoch in STORE.read(entry.key).result.history]
            part = len(history) // 10
            if part:
                tail = (history[:part], history[-4 * part : -2 * part], history[-2 * part :])
                curves.setdefault((entry.row, entry.column), []).append([mean(one) for one in tail])
    for row in rows:
        if (row, "digits") in curves:
            shown = [
                ", ".join(f"{mean(figures):.3f}" for figures in zip(*curves[row, column], strict=True))
                for column in COLUMNS
            ]
            yield f"| {row} | {' | '.join(shown)} |"


def few_clips(found: Cells, rows: tuple[str, ...]) -> Iterator[str]:
    """Mean test accuracy in percent, and what each row differs from linear probing, in points; `*` where some seeds are missing.

    A dash stands for a cell that lacks a fold.
    """
    places = [(name, f"{name}, shots={shots}") for name in ("digits", "esc10") for shots in SHOTS]
    yield f"| clips per class | {' | '.join(place.replace('shots=', '') for _, place in places)} |"
    yield f"| --- | {' | '.join('---' for _ in places)} |"
    folds = {name: {fold for fold, _ in found["Linear", place].scores} for name, place in places}

    def cell(row: str, name: str, place: str) -> Cell | None:
        one = found.get((row, place))
        return one if one and {fold for fold, _ in one.scores} == folds[name] else None

    def mark(one: Cell) -> str:
        return "" if one.finished else "*"

    for row in rows:
        shown = [f"{100 * one.mean:.1f}{mark(one)}" if (one := cell(row, *place)) else "-" for place in places]
        yield f"| {row} | {' | '.join(shown)} |"
    for row in rows:
        pairs = [(cell(row, *place), cell("Linear", *place)) for place in places]
        shown = [difference(one, other) + mark(one) if one and other else "-" for one, other in pairs]
        if row != "Linear":
            yield f"| {row} - Linear, points | {' | '.join(shown)} |"


if __name__ == "__main__":
    main()
