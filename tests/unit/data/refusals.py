"""What the tests of data sets share: a table, and the message with which data are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astune.data import load_data
from astune.errors import DataError
from tests.example_layouts import write_text

if TYPE_CHECKING:
    from pathlib import Path


def refusal(data: str | Path) -> str:
    """The message of the refusal."""
    with pytest.raises(DataError) as caught:
        load_data(data)
    return str(caught.value)


def table(folder: Path, *lines: str) -> Path:
    """A table named ``clips.csv``."""
    return write_text(folder / "clips.csv", *lines)
