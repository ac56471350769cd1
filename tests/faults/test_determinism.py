"""Same inputs, same bytes: some of what `python -m tests.faults determinism` tries."""

from __future__ import annotations

import sys

import pytest

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
