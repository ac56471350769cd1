"""Which of the paper's findings are confirmed here: paired differences of the rows that each one is about, as Markdown.

    python docs/results/findings.py

reads the plans and runs in this folder (`astune reproduce docs/results/table1.yaml --store docs/results`, and so on).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from astune.experiments.published import PUBLISHED
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.reporting.aggregate import cells, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astune.experiments.paired import Pair
    from astune.reporting.aggregate import Cell

    Cells = Mapping[tuple[str, str], Cell]

NEAREST = {"digits": ("speech_commands", "fluent_speech"), "esc10": ("esc50",)}
"""The paper's data sets of the same kind as ours; their printed differences stand beside ours."""
MOST_SHOTS = 8
"""Clips a class: ours; what the paper prints of more is another question."""
LEVEL = 2.0
"""Points: the first of two rows is not ahead if the whole interval of the difference lies below."""
BLIND = 1
"""The fold that rates.py leaves out."""
SWEPT = ("Full FT", "Full FT, 5e-4", "Linear", "LoRA", "Bottleneck PF par")
TRAINED_ON = {"Full FT, 5e-4": "Full FT", "Linear, from the cache": "Linear"}
"""Rows of ours that stand for one of the paper's where 8 epochs at its rate end before the loss does."""


@dataclass(frozen=True)
class Finding:
    """The paper's, about rows of one of its tables."""

    says: str
    first: str | tuple[str, ...]
    """A row, or several, whose mean on each fold counts."""
    second: str | tuple[str, ...]
    """Likewise."""
    digits: int | None = 1
    """What the paper's speech leads to expect: 1, the first is ahead; 0, it is not ahead; nothing, it claims nothing or is of two minds."""
    esc10: int | None = 1
    """Likewise, of its sounds."""


PARALLEL = ("Bottleneck PF par", "Bottleneck HOU par", "Convpass PF par", "Convpass HOU par")
SEQUENTIAL = ("Bottleneck PF seq", "Bottleneck HOU seq", "Convpass PF seq", "Convpass HOU seq")
HOULSBY = ("Bottleneck HOU par", "Bottleneck HOU seq", "Convpass HOU par", "Convpass HOU seq")
PFEIFFER = ("Bottleneck PF par", "Bottleneck PF seq", "Convpass PF par", "Convpass PF seq")
BOTTLENECK = ("Bottleneck PF par", "Bottleneck PF seq", "Bottleneck HOU par", "Bottleneck HOU seq")
CONVPASS = ("Convpass PF par", "Convpass PF seq", "Convpass HOU par", "Convpass HOU seq")
FINDINGS = {
    "table1": (
        Finding("LoRA beats linear probing", "LoRA", "Linear, from the cache"),
        Finding("- at the paper's rate and 8 epochs", "LoRA", "Linear", None, None),
        Finding("LoRA beats Pfeiffer adapters on speech", "LoRA", "Bottleneck PF par", esc10=None),
        Finding("Pfeiffer adapters beat LoRA on sounds", "Bottleneck PF par", "LoRA", None),
        Finding("LoRA beats BitFit", "LoRA", "BitFit"),
        Finding("LoRA beats deep prompts on speech", "LoRA", "DPT-25", esc10=None),
        Finding("LoRA beats prefixes", "LoRA", "Pref-T 24"),
        Finding("LoRA beats shallow prompts", "LoRA", "SPT-300"),
        Finding("Pfeiffer beats BitFit", "Bottleneck PF par", "BitFit"),
        Finding("Pfeiffer beats deep prompts", "Bottleneck PF par", "DPT-25"),
        Finding("Pfeiffer beats prefixes", "Bottleneck PF par", "Pref-T 24"),
        Finding("Pfeiffer beats shallow prompts", "Bottleneck PF par", "SPT-300"),
        Finding("Houlsby beats Pfeiffer on speech, all four", HOULSBY, PFEIFFER, esc10=None),
        Finding("parallel beats sequential, all four", PARALLEL, SEQUENTIAL),
        Finding("- Pfeiffer bottleneck", "Bottleneck PF par", "Bottleneck PF seq", None, None),
        Finding("- Houlsby bottleneck", "Bottleneck HOU par", "Bottleneck HOU seq", None, None),
        Finding("- Pfeiffer Convpass", "Convpass PF par", "Convpass PF seq", None, None),
        Finding("- Houlsby Convpass", "Convpass HOU par", "Convpass HOU seq", None, None),
        Finding("convolution is not ahead, all four", CONVPASS, BOTTLENECK, 0, 0),
        Finding("full fine-tuning is ahead of LoRA on speech", "Full FT, 5e-4", "LoRA", esc10=None),
        Finding("full fine-tuning is not ahead of adapters on sounds", "Full FT, 5e-4", "Bottleneck PF par", None, 0),
        Finding("- at the paper's rate and 8 epochs", "Full FT", "Bottleneck PF par", None, None),
    ),
    "table2": (
        Finding("adapters beat LoRA on few clips", ("Bottleneck", "Convpass"), "LoRA"),
        Finding("- Bottleneck", "Bottleneck", "LoRA", None, None),
        Finding("- against deep prompts", "Bottleneck", "DPT-25", None),
    ),
    "table3": (
        Finding("parallel at attention beats parallel to the FFN", "MHSA-Par-Before", "FFN-Par-Before"),
        Finding("parallel at attention beats after the FFN on sounds", "MHSA-Par-Before", "FFN-Seq/Par-After", None),
        Finding("parallel to the FFN is not ahead of after it", "FFN-Par-Before", "FFN-Seq/Par-After", 0, 0),
        Finding("in sequence before the FFN is worse (figures)", "FFN-Seq/Par-After", "FFN-Seq-Before"),
        Finding("in sequence before attention is worse on sounds (figures)", "MHSA-Par-Before", "MHSA-Seq-Before", None),
        Finding("after attention is worse than parallel (figures)", "MHSA-Par-Before", "MHSA-Seq/Par-After"),
    ),
    "table4": (
        Finding("all four matrices are best for speech", "q, k, v, o", "q, v", esc10=0),
        Finding("q, v beats q, k", "q, v", "q, k"),
        Finding("q, v beats q alone", "q, v", "q"),
        Finding("all four beat q, k", "q, k, v, o", "q, k"),
        Finding("all four beat q alone", "q, k, v, o", "q"),
    ),
    "table5": (
        Finding("an adapter at each sub-layer helps the harder task, over all budgets",
                ("HOU par", "HOU seq"), ("PF MHSA-Par-Before x2", "PF FFN-Seq-After x2"), 1, 0),
        Finding("twice the size helps speech only (figures)", "PF MHSA-Par-Before x2", "PF MHSA-Par-Before", esc10=0),
        Finding("Hydra is worse than Houlsby", "HOU par", "HYDRA FFN"),
        Finding("Hydra is worse than one larger adapter", "PF MHSA-Par-Before x2", "HYDRA FFN"),
        Finding("mixed is not ahead of parallel (figures)", "HOU mixed", "HOU par", 0, 0),
    ),
    "table6": (
        Finding("an adapter beside LoRA helps on sounds only", "Adapter + LoRA", "LoRA", 0),
        Finding("LoRA beats adapters of its size on speech", "LoRA", "PF MHSA-Par-Before x2", esc10=None),
        Finding("adapter and prompts are worse than one larger adapter", "PF MHSA-Par-Before x2", "Adapter + DPT-25"),
        Finding("prompts are worse than LoRA beside an adapter", "Adapter + LoRA", "Adapter + DPT-25"),
        Finding("all three are worse than adapter and LoRA", "Adapter + LoRA", "Adapter + DPT-14 + LoRA"),
        Finding("all three are worse than LoRA on speech", "LoRA", "Adapter + DPT-14 + LoRA", esc10=None),
    ),
    "table7": (
        Finding("sequential adapters need the residual", "sequential, residual", "sequential, none"),
        Finding("parallel ones must do without", "parallel, none", "parallel, residual"),
    ),
    "figure3": (
        Finding("LoRA gains from size on speech", "LoRA RR 32", "LoRA RR 512", esc10=None),
        Finding("the largest LoRA beats the largest adapter", "LoRA RR 32", "Bottleneck RR 16", esc10=None),
        Finding("the largest LoRA beats the most prompts", "LoRA RR 32", "DPT 100 tokens", esc10=None),
    ),
}  # fmt: skip
"""As the paper says it, or, where so marked, as its figures show it. Lines that begin with a dash are parts of the one above."""
OURS = {
    "table1": (
        Finding("what pretraining is worth to LoRA", "LoRA", "LoRA, random weights", None, None),
        Finding("linear probing against no network at all", "Linear, from the cache", "log-Mel statistics", None, None),
        Finding("LayerMix against linear probing", "LayerMix", "Linear, from the cache", None, None),
        Finding("LayerMix against LoRA", "LayerMix", "LoRA", None, None),
        Finding("the higher rate of full fine-tuning", "Full FT, 5e-4", "Full FT", None, None),
    ),
    "table2": (Finding("LayerMix against LoRA on few clips", "LayerMix", "LoRA", None, None),),
}  # fmt: skip


def main() -> None:
    """Print how many are confirmed, a table for each of the paper's that is planned here, ours, zeroed positions, and the blind fold."""
    store = Store(Path(__file__).parent)
    counts: Counter[str] = Counter()
    found: dict[str, Cells] = {}
    lines: dict[str, list[str]] = {}
    for table in store.planned():
        results = Results.load(store, table)
        found[table] = cells(results)
        if table in FINDINGS:
            lines[table] = list(lines_of(table, found[table], results.plan.columns, counts))
    print(
        ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("confirmed", "contradicted", "inconclusive")),
        end="\n\n",
    )
    for table in sorted(lines, key=lambda name: (not name.startswith("table"), name)):
        head = f"Table {PUBLISHED[table].numeral}" if table in PUBLISHED else "Figure 3"
        print(f"**{head}**", "", *lines[table], "", sep="\n")
    print("**Beyond the paper**", "", *our_lines(found), "", sep="\n")
    print("**Zeroed positions**", "", *position_lines(found.get("zero", {})), "", sep="\n")
    print(*blind_lines(found.get("table1", {})), sep="\n")


def lines_of(table: str, found: Cells, columns: Sequence[str], counts: Counter[str]) -> Iterator[str]:
    """A Markdown table: by finding and data set the printed differences, ours with its interval, and whether it holds; counted."""
    data: dict[str, list[str]] = defaultdict(list)
    for column in columns:
        data[column.partition(",")[0]].append(column)
    theirs = {name: printed_columns(table, name) for name in data}  # none of a figure, whose values are not printed
    heads = [head for name in data for head in (f"paper, {' / '.join(theirs[name]) or 'no figures'}", name)]
    yield "| " + " | ".join(["the paper finds", "first - second", *heads]) + " |"
    yield "| " + " | ".join(["---"] * (2 + len(heads))) + " |"
    for finding in FINDINGS[table]:
        sides = rows_of(finding.first), rows_of(finding.second)
        fields = [finding.says, "their means" if len(sides[0]) > 1 else " - ".join(side[0] for side in sides)]
        for name, ours in data.items():
            fields.append(" / ".join(printed(table, sides, columns) for columns in theirs[name].values()) or "-")
            verdict, shown = outcome(getattr(finding, name), *(accuracies(found, side, ours) for side in sides))
            counts[verdict] += 1
            fields.append(f"{shown} {verdict}".strip())
        yield "| " + " | ".join(fields) + " |"


def our_lines(found: Mapping[str, Cells]) -> Iterator[str]:
    """A Markdown table of comparisons that no finding of the paper is about."""
    yield "| ours | first - second | digits | esc10 |"
    yield "| --- | --- | --- | --- |"
    for table in filter(found.__contains__, OURS):
        columns = list(dict.fromkeys(column for _, column in found[table]))
        for one in OURS[table]:
            fields = []
            for name in NEAREST:
                own = [column for column in columns if column.partition(",")[0] == name]
                sides = (accuracies(found[table], rows_of(side), own) for side in (one.first, one.second))
                fields.append(outcome(None, *sides)[1])
            yield f"| {one.says} | {one.first} - {one.second} | {' | '.join(fields)} |"


def printed_columns(table: str, name: str) -> dict[str, list[str]]:
    """Columns of a printed table, by data set, of those nearest to one of ours; several where clips a class vary."""
    every = PUBLISHED[table].columns if table in PUBLISHED else ()
    asked = [column for column in every if int(column.partition("shots=")[2] or 0) <= MOST_SHOTS]
    return {one: own for one in NEAREST[name] if (own := [column for column in asked if column.startswith(one)])}


def rows_of(side: str | tuple[str, ...]) -> tuple[str, ...]:
    """One row or several."""
    return (side,) if isinstance(side, str) else side


def printed_difference(table: str, sides: Sequence[Sequence[str]], columns: Sequence[str]) -> float | None:
    """First minus second in the paper, points, rows and columns averaged; nothing where a figure is not printed."""
    means = []
    for side in sides:
        printed = (TRAINED_ON.get(row, row) for row in side)
        figures = [PUBLISHED[table].accuracy(row, column) for row, column in product(printed, columns)]
        known = [figure for figure in figures if figure is not None]
        if len(known) < len(figures):
            return None
        means.append(mean(known))
    return means[0] - means[1]


def printed(table: str, sides: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """The same, as shown."""
    difference = printed_difference(table, sides, columns)
    return "-" if difference is None else f"{difference:+.1f}"


def accuracies(found: Cells, rows: Sequence[str], columns: Sequence[str]) -> dict[Pair, float]:
    """The mean over rows and columns, of each fold and seed that all of them have; nothing while a cell is unfinished."""
    places = [found.get(place) for place in product(rows, columns)]
    runs = [cell.scores for cell in places if cell is not None and cell.finished]
    if not runs or len(runs) < len(places):
        return {}
    shared = set(runs[0]).intersection(*runs[1:])
    return {pair: mean(one[pair] for one in runs) for pair in runs[0] if pair in shared}


def outcome(expected: int | None, first: Mapping[Pair, float], second: Mapping[Pair, float]) -> tuple[str, str]:
    """``confirmed``, ``contradicted`` or ``inconclusive``, or nothing where nothing is expected; and the difference in points."""
    if not first.keys() & second.keys():
        return "", "-"
    found = compare(first, second)
    shown = f"{100 * found.difference:+.1f}"
    if found.interval is None:
        return "", f"{shown}, one fold"
    low, high = (100 * end for end in found.interval)
    shown += f" [{low:.1f}, {high:.1f}]"
    if expected is None:
        return "", shown
    holds = low > 0 if expected else high <= LEVEL
    fails = high < 0 if expected else low > 0
    return "confirmed" if holds else "contradicted" if fails else "inconclusive", shown


def position_lines(found: Cells) -> Iterator[str]:
    """A Markdown table: accuracy with positions kept and zeroed, in percent, and what zeroing them costs, by method."""
    yield "| method | kept | zeroed | kept - zeroed |"
    yield "| --- | --- | --- | --- |"
    for row in dict.fromkeys(row for row, _ in found):
        sides = [accuracies(found, [row], [f"digits, position_embeddings={value}"]) for value in ("fit", "zero")]
        means = (f"{100 * mean(side.values()):.1f}" if side else "-" for side in sides)
        yield f"| {row} | {' | '.join(means)} | {outcome(None, sides[0], sides[1])[1]} |"


def blind_lines(found: Cells) -> Iterator[str]:
    """A Markdown table of the fold that no rate was chosen on, in percent, by seed."""
    columns = list(dict.fromkeys(column for _, column in found))
    yield "| " + " | ".join([f"fold {BLIND}", *columns]) + " |"
    yield "| " + " | ".join(["---"] * (1 + len(columns))) + " |"
    for row in SWEPT:
        runs = [found[row, column].scores if (row, column) in found else {} for column in columns]
        fields = [", ".join(f"{100 * value:.1f}" for (fold, _), value in one.items() if fold == BLIND) for one in runs]
        yield "| " + " | ".join([row, *(field or "-" for field in fields)]) + " |"


if __name__ == "__main__":
    main()
