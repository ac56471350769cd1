"""What the pages say of the studies is what their committed runs give."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from astune.experiments.plan import BASELINE_ROW
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.experiments.table import load_table, shipped_tables
from astune.reporting.aggregate import cells
from astune.reporting.grid import grid
from astune.reporting.rendered import render
from astune.reporting.tables import to_markdown

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results"
STORE = Store(RESULTS)


@pytest.mark.parametrize(
    ("script", "page", "lines"),
    [
        ("positions/gaps.py", "explanations/positions.md", 11),
        ("results/findings.py", "results/README.md", 70),
        ("results/study.py", "explanations/trained-to-the-end.md", 50),
    ],
)
def test_a_page_prints_what_its_script_computes(script: str, page: str, lines: int) -> None:
    done = subprocess.run([sys.executable, str(DOCS / script)], capture_output=True, text=True, check=True)
    figures = [line for line in done.stdout.splitlines() if re.match(r"\| .*\d\.\d", line)]
    assert len(figures) == lines
    printed = (DOCS / page).read_text(encoding="utf-8")
    assert [line for line in figures if line not in printed.splitlines()] == []
    verdicts = [line for line in done.stdout.splitlines() if line.endswith(" inconclusive")]
    assert [line for line in verdicts if line not in printed] == []


def test_findings_are_about_rows_of_their_tables() -> None:
    script = runpy.run_path(str(RESULTS / "findings.py"))
    findings, rows_of = script["FINDINGS"], script["rows_of"]
    assert set(findings) == {name for name in shipped_tables() if name.startswith("table")} | {"figure3"}
    for name in findings:
        about = findings[name] + script["OURS"].get(name, ())
        rows = {BASELINE_ROW, *(row.name for row in load_table(RESULTS / f"{name}.yaml")[1].rows)}
        assert {row for finding in about for row in (*rows_of(finding.first), *rows_of(finding.second))} <= rows


def test_findings_are_what_the_papers_figures_say() -> None:
    script = runpy.run_path(str(RESULTS / "findings.py"))
    checked = 0
    for table, findings in script["FINDINGS"].items():
        for finding, name in product(findings, script["NEAREST"]):
            sides = [script["rows_of"](side) for side in (finding.first, finding.second)]
            for columns in script["printed_columns"](table, name).values():
                difference = script["printed_difference"](table, sides, columns)
                expected = getattr(finding, name)
                if difference is not None and expected is not None:
                    assert difference > 0 if expected else difference <= script["LEVEL"], (finding, columns)
                    checked += 1
    assert checked == 96


@pytest.mark.parametrize(
    ("expected", "shares", "verdict"),
    [  # a mean of 10, 0 or -10 points, +- 3.182 (t of three degrees of freedom) * 1.1547 / 2
        (1, (0.09, 0.09, 0.11, 0.11), "confirmed"),
        (0, (0.09, 0.09, 0.11, 0.11), "contradicted"),
        (None, (0.09, 0.09, 0.11, 0.11), ""),
        (1, (-0.01, -0.01, 0.01, 0.01), "inconclusive"),
        (0, (-0.01, -0.01, 0.01, 0.01), "confirmed"),
        (0, (0.0, 0.0, 0.02, 0.02), "inconclusive"),
        (1, (-0.11, -0.11, -0.09, -0.09), "contradicted"),
    ],
)
def test_a_verdict_is_what_the_interval_says(expected: int | None, shares: tuple[float, ...], verdict: str) -> None:
    first = {(fold, 0): 0.5 + share for fold, share in enumerate(shares)}
    found = runpy.run_path(str(RESULTS / "findings.py"))["outcome"](expected, first, dict.fromkeys(first, 0.5))
    centre = 100 * sum(shares) / 4
    assert found == (verdict, f"{centre:+.1f} [{centre - 1.837:.1f}, {centre + 1.837:.1f}]")


def test_the_verdicts_stand_over_figures_of_the_runs() -> None:
    page = (RESULTS / "README.md").read_text(encoding="utf-8").splitlines()
    whole, few = (cells(Results.load(STORE, name)) for name in ("table1", "table2"))
    names = {
        "BitFit": "BitFit", "LoRA": "LoRA", "Bottleneck adapter (PF par)": "Bottleneck PF par", "LayerMix": "LayerMix",
        "Linear probe, trained to its end": "Linear, from the cache", "Full fine-tuning at 5e-4": "Full FT, 5e-4",
    }  # fmt: skip
    for shown, row in names.items():
        figures = []
        for column in ("digits", "esc10"):
            interval = whole[row, column].interval
            assert interval is not None
            low, high = (100 * end for end in interval)
            figures.append(f"{100 * whole[row, column].mean:.1f} [{low:.1f}, {high:.1f}]")
        assert any(line.startswith(f"| {shown} | {' | '.join(figures)} |") for line in page), shown
    names = {
        "LoRA": "LoRA", "Bottleneck adapter": "Bottleneck", "Deep prompts (DPT-25)": "DPT-25",
        "Convpass adapter": "Convpass", "LayerMix": "LayerMix",
    }  # fmt: skip
    for shown, row in names.items():
        shares = (few[row, f"digits, shots={shots}"].mean for shots in (1, 2, 4, 8))
        assert f"| {shown} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |" in page
    trained = {entry.row: entry for entry in STORE.read_plan("table1").entries if entry.dataset == "digits"}
    for shown, row in (("LoRA", "LoRA"), ("BitFit", "BitFit"), ("Full fine-tuning", "Full FT")):
        assert any(
            line.startswith(f"| {shown} | {trained[row].trained:,} | {trained[row].parameters:,} |") for line in page
        ), shown


@pytest.mark.parametrize("name", STORE.planned())
def test_the_report_of_a_table_is_that_of_its_runs(name: str) -> None:
    page = (RESULTS / "reports" / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(to_markdown(render(grid(Results.load(STORE, name)))))
    pictures = re.findall(r"^!\[.*\]\((.*)\)$", page, re.MULTILINE)
    assert pictures
    assert all((RESULTS / "reports" / picture).is_file() for picture in pictures)


def test_plans_count_what_the_runs_trained() -> None:
    """At the input length of each run: the positions are parameters of full fine-tuning."""
    entries = [entry for name in STORE.planned() for entry in STORE.read_plan(name).entries]
    finished = [entry for entry in entries if STORE.path(entry.key).is_file()]
    assert len(finished) == 1719
    assert [e for e in finished if e.parameters != STORE.read(e.key).result.trainable_parameters] == []
    whole = {(e.dataset, e.parameters) for e in finished if e.method == "full-ft"}
    d, frames = 192, {"digits": 64, "esc10": 250, "arabic": 100}
    columns = {name: (length - 16) // 10 + 1 for name, length in frames.items()}
    fixed = (
        2_832_576 - 12 * 49 * d
    )  # all but the positions of patches, which are 12 by 49 at the backbone's own 500 frames
    assert whole == {(name, fixed + 12 * number * d) for name, number in columns.items()}


def test_the_accuracies_of_layermix_are_those_of_its_runs() -> None:
    results = Results.load(STORE, "layermix")
    found = cells(results)
    lines = (DOCS / "performance.md").read_text().splitlines()
    assert len(results.plan.rows) == 8
    for row in results.plan.rows:
        (line,) = (line for line in lines if line.startswith(f"| {row} |"))
        for dataset in ("digits", "esc10"):
            cell = found[row, dataset]
            assert cell.interval is not None
            low, high = cell.interval
            assert f"| {100 * cell.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in line
        assert f"| {found[row, 'digits'].parameters:,} |" in line
