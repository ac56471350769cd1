"""Same inputs, same bytes: some of what `python -m tests.faults determinism` tries."""

from __future__ import annotations

import json
import sys

import pytest

from astune.json_record import read_record
from astune.training.progress import Progress
from tests.faults import determinism

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cores and umask are set as Linux does")


def test_other_orders_paths_locales_workers_and_a_resume_give_the_same_bytes() -> None:
    found = determinism.compare((determinism.ALL_AT_ONCE,), table=False)
    assert found.other == {}
    assert found.files > 20


@pytest.mark.slow
def test_a_table_and_its_report_have_the_same_bytes_too() -> None:
    found = determinism.compare((determinism.ALL_AT_ONCE,))
    assert found.other == {}
    assert found.files > 40


def test_counts_stay_counts_where_a_run_goes_on() -> None:
    """A checkpoint that made 6 clips 6.0 gave a resumed run other results."""
    figures = {"clips": 6, "accuracy": 0.5}
    before = {"start": figures, "history": [{"validation": figures}], "epoch": 1}
    assert json.dumps(read_record(Progress, json.dumps(before)).record()["start"]) == json.dumps(figures)
