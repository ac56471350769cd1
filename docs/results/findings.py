"""Which of the paper's findings hold here: paired differences of the rows that each one is about, as Markdown.

    python docs/results/findings.py

reads the plans and runs in this folder (`astune reproduce docs/results/table1.yaml --store docs/results`, and so on).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from astune.experiments.published import PUBLISHED
from astune.experiments.store import Store
from astune.reporting.aggregate import cells, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astune.reporting.aggregate import Cell, Pair

NEAREST = {"digits": "fluent_speech", "esc10": "esc50"}
"""The paper's data set whose printed figures stand beside ours: its hardest speech, its sounds of the same collection."""
FEW_SHOT = "esc50"
"""In Table II, where speech has other numbers of clips a class than ours and its sounds have the same."""
BLIND = 1
"""The fold that rates.py leaves out."""
SWEPT = ("Full FT", "Full FT, 5e-4", "Linear", "LoRA", "Bottleneck PF par")


@dataclass(frozen=True)
class Finding:
    """The paper's, about rows of one of its tables."""

    says: str
    first: str | tuple[str, ...]
    """A row, or several, whose mean on each fold counts."""
    second: str | tuple[str, ...]
    """Likewise."""
    expects: int = 1
    """1 where the first is to be ahead, 0 where nothing is to be between the two."""


PARALLEL = ("Bottleneck PF par", "Bottleneck HOU par", "Convpass PF par", "Convpass HOU par")
SEQUENTIAL = ("Bottleneck PF seq", "Bottleneck HOU seq", "Convpass PF seq", "Convpass HOU seq")
HOULSBY = ("Bottleneck HOU par", "Bottleneck HOU seq", "Convpass HOU par", "Convpass HOU seq")
PFEIFFER = ("Bottleneck PF par", "Bottleneck PF seq", "Convpass PF par", "Convpass PF seq")
BOTTLENECK = ("Bottleneck PF par", "Bottleneck PF seq", "Bottleneck HOU par", "Bottleneck HOU seq")
CONVPASS = ("Convpass PF par", "Convpass PF seq", "Convpass HOU par", "Convpass HOU seq")
FINDINGS = {
    "table1": (
        Finding("adapters and LoRA beat linear probing", "LoRA", "Linear"),
        Finding("Houlsby adapters are best", "Bottleneck HOU par", "LoRA"),
        Finding("Houlsby beats Pfeiffer", "Bottleneck HOU par", "Bottleneck PF par"),
        Finding("Pfeiffer beats deep prompts", "Bottleneck PF par", "DPT-25"),
        Finding("Pfeiffer beats shallow prompts", "Bottleneck PF par", "SPT-300"),
        Finding("Pfeiffer beats prefixes", "Bottleneck PF par", "Pref-T 24"),
        Finding("Pfeiffer beats BitFit", "Bottleneck PF par", "BitFit"),
        Finding("Houlsby beats Pfeiffer, all four", HOULSBY, PFEIFFER),
        Finding("parallel beats sequential, all four", PARALLEL, SEQUENTIAL),
        Finding("parallel beats sequential, Pfeiffer", "Bottleneck PF par", "Bottleneck PF seq"),
        Finding("parallel beats sequential, Houlsby", "Bottleneck HOU par", "Bottleneck HOU seq"),
        Finding("parallel beats sequential, Convpass", "Convpass PF par", "Convpass PF seq"),
        Finding("parallel beats sequential, Convpass Houlsby", "Convpass HOU par", "Convpass HOU seq"),
        Finding("convolution adds nothing, all four", CONVPASS, BOTTLENECK, 0),
        Finding("full fine-tuning is ahead on speech", "Full FT", "LoRA"),
        Finding("the same at a rate of its own", "Full FT, 5e-4", "LoRA"),
    ),
    "table2": (
        Finding("adapters beat LoRA on 1 to 8 clips a class", "Bottleneck", "LoRA"),
        Finding("adapters beat deep prompts", "Bottleneck", "DPT-25"),
        Finding("Convpass as good as bottleneck", "Convpass", "Bottleneck", 0),
        Finding("(ours, not the paper's)", "LayerMix", "Bottleneck"),
    ),
    "table3": (
        Finding("parallel at attention is best: against after the FFN", "MHSA-Par-Before", "FFN-Seq/Par-After"),
        Finding("as good: parallel to the FFN", "FFN-Par-Before", "FFN-Seq/Par-After", 0),
        Finding("in sequence before the FFN fails", "FFN-Seq/Par-After", "FFN-Seq-Before"),
        Finding("in sequence before attention is worse than parallel", "MHSA-Par-Before", "MHSA-Seq-Before"),
        Finding("after attention is worse than parallel", "MHSA-Par-Before", "MHSA-Seq/Par-After"),
    ),
    "table4": (
        Finding("all four matrices are best for speech", "q, k, v, o", "q, v"),
        Finding("q, v beats q, k", "q, v", "q, k"),
        Finding("q, v beats q alone", "q, v", "q"),
    ),
    "table5": (
        Finding("two adapters or one of twice the size", "HOU par", "PF MHSA-Par-Before x2", 0),
        Finding("twice the parameters help speech", "PF MHSA-Par-Before x2", "PF MHSA-Par-Before"),
        Finding("Hydra is worse than Houlsby", "HOU par", "HYDRA FFN"),
        Finding("mixed is as good as parallel", "HOU mixed", "HOU par", 0),
    ),
    "table6": (
        Finding("an adapter adds nothing to LoRA", "Adapter + LoRA", "LoRA", 0),
        Finding("prompts do harm beside an adapter", "PF MHSA-Par-Before x2", "Adapter + DPT-25"),
        Finding("all three are worse than LoRA", "LoRA", "Adapter + DPT-14 + LoRA"),
    ),
    "table7": (
        Finding("sequential adapters need the residual", "sequential, residual", "sequential, none"),
        Finding("parallel ones must do without", "parallel, none", "parallel, residual"),
    ),
}  # fmt: skip


def main() -> None:
    """Print a table for each of the paper's tables that has finished runs here."""
    store = Store(Path(__file__).parent)
    found = {}
    for table in store.planned():
        if table in FINDINGS:
            entries = store.read_plan(table).entries
            done = {entry.key: store.read(entry.key) for entry in entries if store.path(entry.key).exists()}
            found[table] = cells(entries, done)
            print(f"Table {PUBLISHED[table].numeral}\n")
            print("\n".join(lines_of(table, found[table])), end="\n\n")
    print(f"Fold {BLIND} alone\n")
    print("\n".join(blind_lines(found["table1"])))


def lines_of(table: str, found: dict[tuple[str, str], Cell]) -> Iterator[str]:
    """A Markdown table: by finding and data set the printed difference, ours with its 95 % interval, and whether it holds."""
    data: dict[str, list[str]] = defaultdict(list)
    for column in dict.fromkeys(column for _, column in found):
        data[column.partition(",")[0]].append(column)
    theirs = {name: FEW_SHOT if len(columns) > 1 else NEAREST[name] for name, columns in data.items()}
    heads = [head for name in data for head in (f"paper, {theirs[name]}", name)]
    yield "| " + " | ".join(["the paper finds", "first minus second", *heads]) + " |"
    yield "| " + " | ".join(["---"] * (2 + len(heads))) + " |"
    for finding in FINDINGS[table]:
        sides = [rows_of(finding.first), rows_of(finding.second)]
        fields = [finding.says, "the mean of each" if len(sides[0]) > 1 else " - ".join(side[0] for side in sides)]
        for name, columns in data.items():
            first, second = (
                printed(table, side, [column.replace(name, theirs[name]) for column in columns]) for side in sides
            )
            fields.append("-" if first is None or second is None else f"{first - second:+.1f}")
            fields.append(shown(finding, *(accuracies(found, side, columns) for side in sides)))
        yield "| " + " | ".join(fields) + " |"


def rows_of(side: str | tuple[str, ...]) -> tuple[str, ...]:
    """One row or several."""
    return (side,) if isinstance(side, str) else side


def printed(table: str, rows: Sequence[str], columns: Sequence[str]) -> float | None:
    """The mean of the paper's figures; nothing where one is not printed."""
    figures = [PUBLISHED[table].accuracy(row, column) for row, column in product(rows, columns)]
    known = [figure for figure in figures if figure is not None]
    return mean(known) if len(known) == len(figures) else None


def accuracies(found: dict[tuple[str, str], Cell], rows: Sequence[str], columns: Sequence[str]) -> dict[Pair, float]:
    """The mean over rows and columns, of each fold and seed that all of them have."""
    runs = [found[place].accuracies if place in found else {} for place in product(rows, columns)]
    shared = set(runs[0]).intersection(*runs[1:])
    return {pair: mean(one[pair] for one in runs) for pair in runs[0] if pair in shared}


def blind_lines(found: dict[tuple[str, str], Cell]) -> Iterator[str]:
    """A Markdown table of the fold that no rate was chosen on, in percent, seed by seed."""
    columns = list(dict.fromkeys(column for _, column in found))
    yield "| " + " | ".join([f"fold {BLIND}", *columns]) + " |"
    yield "| " + " | ".join(["---"] * (1 + len(columns))) + " |"
    for row in SWEPT:
        runs = [found[row, column].accuracies if (row, column) in found else {} for column in columns]
        fields = [", ".join(f"{100 * value:.1f}" for (fold, _), value in one.items() if fold == BLIND) for one in runs]
        yield "| " + " | ".join([row, *(field or "-" for field in fields)]) + " |"


def shown(finding: Finding, first: dict[Pair, float], second: dict[Pair, float]) -> str:
    """Difference in points, interval, and ``holds``, ``does not`` or ``open`` as the interval says."""
    if not first.keys() & second.keys():
        return "-"
    outcome = compare(first, second)
    if outcome.interval is None:
        return f"{100 * outcome.difference:+.1f}, one run"
    low, high = (100 * end for end in outcome.interval)
    if finding.expects:
        holds = "holds" if low > 0 else "does not" if high < 0 else "open"
    else:
        holds = "no difference seen" if low <= 0 <= high else "does not"
    return f"{100 * outcome.difference:+.1f} [{low:.1f}, {high:.1f}] {holds}"


if __name__ == "__main__":
    main()
