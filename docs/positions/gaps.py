"""What the report of the study does not print: paired by fold and seed, what positions are worth to a method, and to its lead.

    python docs/positions/gaps.py

reads the runs beside it (`astune reproduce docs/positions/positions.yaml --store docs/positions`).
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from astune.experiments.store import Store
from astune.reporting.aggregate import bootstrap_interval, cells, compare

FULL = "Full FT"


def main() -> None:
    """Print both tables as Markdown, in percentage points."""
    store = Store(Path(__file__).parent)
    saved = store.read_plan("positions")
    found = cells(saved.entries, {entry.key: store.read(entry.key) for entry in saved.entries})
    rows = list(dict.fromkeys(row for row, _ in found))
    names = list(dict.fromkeys(column.split(",")[0] for _, column in found))
    worth = {
        (row, name): {
            pair: 100 * (accuracy - found[row, f"{name}, position_embeddings=zero"].accuracies[pair])
            for pair, accuracy in found[row, f"{name}, position_embeddings=fit"].accuracies.items()
        }
        for row in rows
        for name in names
    }
    print("| fit minus zero | " + " | ".join(names) + " |\n| --- |" + " --- |" * len(names))
    for row in rows:
        print(f"| {row} | " + " | ".join(_shown(list(worth[row, name].values())) for name in names) + " |")
    print(
        "\n| lead over full fine-tuning | " + " | ".join(f"{name}, {what}" for name in names for what in _LEADS) + " |"
    )
    print("| --- |" + " --- |" * (len(names) * len(_LEADS)))
    for row in rows:
        if row == FULL:
            continue
        line = []
        for name in names:
            leads = []
            for positions in ("fit", "zero"):
                of = [found[one, f"{name}, position_embeddings={positions}"].accuracies for one in (row, FULL)]
                leads.append([100 * (of[0][pair] - of[1][pair]) for pair in of[0]])
            test = compare(worth[row, name], worth[FULL, name])
            change = [worth[row, name][pair] - worth[FULL, name][pair] for pair in worth[row, name]]
            line += [*map(_shown, leads), f"{_shown(change)}, p {test.p_value:.2g}"]
        print(f"| {row} | " + " | ".join(line) + " |")


_LEADS = ("fit", "zero", "change")


def _shown(differences: list[float]) -> str:
    interval = bootstrap_interval(differences)
    assert interval is not None  # noqa: S101 - the study has several folds
    return f"{mean(differences):+.1f} [{interval[0]:.1f}, {interval[1]:.1f}]"


if __name__ == "__main__":
    main()
