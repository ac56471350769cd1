"""The paper's printed figures: complete, under the names our tables use, and adding up but for the one row that does not."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest

from astune.experiments.plan import PlanOptions, plan
from astune.experiments.published import PUBLISHED
from astune.experiments.table import load_table, shipped_tables


def test_every_table_is_transcribed() -> None:
    assert set(PUBLISHED) == {name for name in shipped_tables() if name.startswith("table")}
    assert len(PUBLISHED) == 7


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_rows_and_columns_are_those_of_the_plan(name: str) -> None:
    printed = PUBLISHED[name]
    runs = plan(*load_table(name), PlanOptions(data_root=Path("/nowhere")))
    assert list(printed.rows) == list(dict.fromkeys(run.row for run in runs))
    assert list(printed.columns) == list(dict.fromkeys(run.column for run in runs))
    widths = {len(figures) for figures in printed.rows.values()}
    assert widths == {len(printed.columns) + printed.has_average}


def test_exactly_one_average_disagrees_with_its_cells() -> None:
    disagree = []
    for name, printed in PUBLISHED.items():
        for row, figures in printed.rows.items():
            if printed.has_average:
                *cells, average = figures
                if abs(mean(cells) - average) > 0.0051:  # halves round either way
                    disagree.append((name, row, average, round(mean(cells), 2)))
    assert disagree == [("table1", "Full FT", 90.07, 90.60)]


def test_rows_that_tables_share_have_the_same_figures() -> None:
    """What our plans run once, the paper prints alike: a transcription error in either would show."""
    figures: dict[str, set[float]] = {}
    for name, printed in PUBLISHED.items():
        for run in plan(*load_table(name), PlanOptions(data_root=Path("/nowhere"))):
            accuracy = printed.accuracy(run.row, run.column)
            assert accuracy is not None
            figures.setdefault(run.key, set()).add(accuracy)
    assert sum(len(values) == 1 for values in figures.values()) == len(figures)


def test_what_the_paper_has_not_is_none() -> None:
    printed = PUBLISHED["table2"]
    assert printed.accuracy("LoRA", "esc50, shots=2") == 42.2
    assert printed.accuracy("LoRA", "esc50, shots=3") is None
    assert printed.accuracy("Linear", "esc50, shots=2") is None
    assert printed.average("LoRA") is None
    assert PUBLISHED["table4"].average("q, v") == 84.97
