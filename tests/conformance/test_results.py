"""What the pages say of the studies is what their committed runs give."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from astune.experiments.store import Store
from astune.experiments.table import load_table, shipped_tables
from astune.reporting.aggregate import cells
from astune.reporting.grid import grid
from astune.reporting.report import records_of
from astune.reporting.tables import to_markdown

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results"
STORE = Store(RESULTS)


@pytest.mark.parametrize(
    ("script", "page", "lines"),
    [("positions/gaps.py", "positions.md", 11), ("results/findings.py", "results/README.md", 42)],
)
def test_a_page_prints_what_its_script_computes(script: str, page: str, lines: int) -> None:
    done = subprocess.run([sys.executable, str(DOCS / script)], capture_output=True, text=True, check=True)
    figures = [line for line in done.stdout.splitlines() if re.match(r"\| .*\d\.\d", line)]
    assert len(figures) == lines
    printed = (DOCS / page).read_text(encoding="utf-8").splitlines()
    assert [line for line in figures if line not in printed] == []


def test_findings_are_about_rows_of_their_tables() -> None:
    script = runpy.run_path(str(RESULTS / "findings.py"))
    findings, rows_of = script["FINDINGS"], script["rows_of"]
    assert set(findings) == {name for name in shipped_tables() if name.startswith("table")}
    for name, ours in findings.items():
        rows = {row.name for row in load_table(RESULTS / f"{name}.yaml")[1].rows}
        assert {row for finding in ours for row in (*rows_of(finding.first), *rows_of(finding.second))} <= rows


@pytest.mark.parametrize("name", STORE.planned())
def test_the_report_of_a_table_is_that_of_its_runs(name: str) -> None:
    saved = STORE.read_plan(name)
    page = (RESULTS / "reports" / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(to_markdown(grid(saved, records_of(saved, STORE))))
    pictures = re.findall(r"^!\[.*\]\((.*)\)$", page, re.MULTILINE)
    assert pictures
    assert all((RESULTS / "reports" / picture).is_file() for picture in pictures)


def test_the_accuracies_of_layermix_are_those_of_its_runs() -> None:
    saved = STORE.read_plan("layermix")
    found = cells(saved.entries, records_of(saved, STORE))
    lines = (DOCS / "performance.md").read_text().splitlines()
    rows = list(dict.fromkeys(entry.row for entry in saved.entries))
    assert len(rows) == 8
    for row in rows:
        (line,) = (line for line in lines if line.startswith(f"| {row} |"))
        for dataset in ("digits", "esc10"):
            cell = found[row, dataset]
            assert cell.interval is not None
            low, high = cell.interval
            assert f"| {100 * cell.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in line
        assert f"| {found[row, 'digits'].parameters:,} |" in line
