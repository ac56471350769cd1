"""Which of the paper's findings hold here: paired differences of the rows that each one is about, as Markdown.

    python docs/results/findings.py

reads the plans and runs in this folder (`astune reproduce docs/results/table1.yaml --store docs/results`, and so on).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astune.experiments.published import PUBLISHED
from astune.experiments.store import Store
from astune.reporting.aggregate import cells, compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astune.reporting.aggregate import Cell

NEAREST = {"digits": "fluent_speech", "esc10": "esc50"}
"""The paper's data set whose printed figures stand beside ours: its hardest speech, its sounds of the same collection."""
FEW = {"shots=1": "esc50", "shots=2": "speech_commands", "shots=4": "esc50", "shots=8": "speech_commands"}
"""In Table II, where speech has no 1 or 4 clips a class."""

BLIND = 1
"""The fold that rates.py leaves out."""
SWEPT = ("Full FT", "Full FT, 5e-4", "Linear", "LoRA", "Bottleneck PF par")


@dataclass(frozen=True)
class Finding:
    """The paper's, about two rows of one of its tables."""

    says: str
    first: str
    second: str
    expects: int = 1
    """1 where the first is to be ahead, 0 where nothing is to be between the two."""


FINDINGS = {
    "table1": (
        Finding("adapters and LoRA beat linear probing", "LoRA", "Linear"),
        Finding("Houlsby adapters are best", "Bottleneck HOU par", "LoRA"),
        Finding("Houlsby beats Pfeiffer", "Bottleneck HOU par", "Bottleneck PF par"),
        Finding("Pfeiffer beats deep prompts", "Bottleneck PF par", "DPT-25"),
        Finding("Pfeiffer beats shallow prompts", "Bottleneck PF par", "SPT-300"),
        Finding("Pfeiffer beats prefixes", "Bottleneck PF par", "Pref-T 24"),
        Finding("Pfeiffer beats BitFit", "Bottleneck PF par", "BitFit"),
        Finding("parallel beats sequential, Pfeiffer", "Bottleneck PF par", "Bottleneck PF seq"),
        Finding("parallel beats sequential, Houlsby", "Bottleneck HOU par", "Bottleneck HOU seq"),
        Finding("parallel beats sequential, Convpass", "Convpass PF par", "Convpass PF seq"),
        Finding("parallel beats sequential, Convpass Houlsby", "Convpass HOU par", "Convpass HOU seq"),
        Finding("convolution adds nothing, Pfeiffer", "Convpass PF par", "Bottleneck PF par", 0),
        Finding("convolution adds nothing, Houlsby", "Convpass HOU par", "Bottleneck HOU par", 0),
        Finding("full fine-tuning is ahead on speech", "Full FT", "LoRA"),
        Finding("the same at a rate of its own", "Full FT, 5e-4", "LoRA"),
    ),
    "table2": (
        Finding("adapters beat LoRA on few clips", "Bottleneck", "LoRA"),
        Finding("adapters beat deep prompts on few clips", "Bottleneck", "DPT-25"),
        Finding("Convpass as good as bottleneck", "Convpass", "Bottleneck", 0),
        Finding("(ours)", "LayerMix", "Bottleneck"),
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
    """A Markdown table: by finding and column of ours the printed difference, ours with its 95 % interval, and whether it holds."""
    columns = list(dict.fromkeys(column for _, column in found))
    heads = [head for column in columns for head in (f"paper, {beside(column)}", column)]
    yield "| " + " | ".join(["the paper finds", "first minus second", *heads]) + " |"
    yield "| " + " | ".join(["---"] * (2 + len(heads))) + " |"
    for finding in FINDINGS[table]:
        fields = [finding.says, f"{finding.first} - {finding.second}"]
        for column in columns:
            printed = [PUBLISHED[table].accuracy(row, beside(column)) for row in (finding.first, finding.second)]
            fields.append("-" if None in printed else f"{printed[0] - printed[1]:+.1f}")  # type: ignore[operator]
            fields.append(shown(finding, found.get((finding.first, column)), found.get((finding.second, column))))
        yield "| " + " | ".join(fields) + " |"


def blind_lines(found: dict[tuple[str, str], Cell]) -> Iterator[str]:
    """A Markdown table of the fold that no rate was chosen on, in percent, seed by seed."""
    columns = list(dict.fromkeys(column for _, column in found))
    yield "| " + " | ".join([f"fold {BLIND}", *columns]) + " |"
    yield "| " + " | ".join(["---"] * (1 + len(columns))) + " |"
    for row in SWEPT:
        runs = [found[row, column].accuracies if (row, column) in found else {} for column in columns]
        shown = [", ".join(f"{100 * value:.1f}" for (fold, _), value in one.items() if fold == BLIND) for one in runs]
        yield "| " + " | ".join([row, *(one or "-" for one in shown)]) + " |"


def beside(column: str) -> str:
    """The paper's column that is nearest to one of ours."""
    name, _, shots = column.partition(", ")
    return f"{FEW[shots]}, {shots}" if shots else NEAREST[name]


def shown(finding: Finding, first: Cell | None, second: Cell | None) -> str:
    """Difference in points, interval, and ``holds``, ``does not`` or ``open`` as the interval says."""
    if first is None or second is None or not first.accuracies.keys() & second.accuracies.keys():
        return "-"
    outcome = compare(first.accuracies, second.accuracies)
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
