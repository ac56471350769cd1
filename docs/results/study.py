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
NEWER = ("digits", "esc10")
"""Data sets of the newer methods."""
SHOTS = (1, 4, 16)


def main() -> None:
    """Print accuracies, differences and losses, of the paper's methods, with few clips, and of newer methods."""
    results = {name: Results.load(STORE, name) for name in dict.fromkeys(COLUMNS.values())}
    found: dict[tuple[str, str], Cell] = {}
    for one in results.values():
        found |= cells(one)
    rows = results["study"].plan.rows
    few, newer = Results.load(STORE, "study-few"), Results.load(STORE, "study-newer")
    places = tuple(f"{name}, shots={shots}" for name in COLUMNS for shots in SHOTS)
    full = [(row, "LoRA") for row in rows if row.startswith("Full FT")]
    parts = (
        accuracies(found, rows, tuple(COLUMNS)),
        differences(found, [*to_linear(rows), *full], tuple(COLUMNS)),
        losses(results.values(), rows, tuple(COLUMNS)),
        accuracies(cells(few), few.plan.rows, places, means_alone=True),
        differences(cells(few), to_linear(few.plan.rows), places),
        accuracies(cells(newer), newer.plan.rows, NEWER),
        differences(cells(newer), to_linear(newer.plan.rows), NEWER),
        losses([newer], newer.plan.rows, NEWER),
    )
    print(*("\n".join(part) for part in parts), sep="\n\n")


def accuracies(
    found: Cells, rows: tuple[str, ...], columns: tuple[str, ...], *, means_alone: bool = False
) -> Iterator[str]:
    """Mean test accuracy in percent; unless there is no room, with its 95 % interval, and the parameters on digits."""
    yield f"| method | {'' if means_alone else 'parameters, digits | '}{' | '.join(shown(columns))} |"
    yield f"| --- | {'' if means_alone else '--- | '}{' | '.join('---' for _ in columns)} |"
    for row in rows:
        figures = [] if means_alone else [f"{found[row, 'digits'].parameters:,}"]
        for column in columns:
            interval = None if means_alone else found[row, column].interval
            ends = "" if interval is None else f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
            figures.append(f"{100 * found[row, column].mean:.1f}{ends}")
        yield f"| {row} | {' | '.join(figures)} |"


def shown(columns: tuple[str, ...]) -> list[str]:
    """Heads of columns."""
    return [column.replace("shots=", "") for column in columns]


def to_linear(rows: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each row, and linear probing."""
    return [(row, "Linear") for row in rows if row != "Linear"]


def differences(found: Cells, pairs: list[tuple[str, str]], columns: tuple[str, ...]) -> Iterator[str]:
    """First row minus second, in points with the 95 % interval, paired by fold and seed."""
    yield f"| first minus second, points | {' | '.join(shown(columns))} |"
    yield f"| --- | {' | '.join('---' for _ in columns)} |"
    for first, second in pairs:
        figures = [difference(found[first, column], found[second, column]) for column in columns]
        yield f"| {first} - {second} | {' | '.join(figures)} |"


def difference(first: Cell, second: Cell) -> str:
    """In points, with its interval."""
    pair = compare(first.scores, second.scores)
    points = f"{100 * pair.difference:+.1f}"
    return points if pair.interval is None else f"{points} [{100 * pair.interval[0]:.1f}, {100 * pair.interval[1]:.1f}]"


def losses(results: Iterable[Results], rows: tuple[str, ...], columns: tuple[str, ...]) -> Iterator[str]:
    """Mean training loss of the first tenth of the epochs, of the last fifth but one, and of the last fifth."""
    yield f"| training loss: first tenth, next-to-last fifth, last fifth | {' | '.join(columns)} |"
    yield f"| --- | {' | '.join('---' for _ in columns)} |"
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
            figures = [
                ", ".join(f"{mean(part):.3f}" for part in zip(*curves[row, column], strict=True)) for column in columns
            ]
            yield f"| {row} | {' | '.join(figures)} |"


if __name__ == "__main__":
    main()
