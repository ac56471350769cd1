"""Cells that hold several labels, and columns of 0 and 1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune.data.label_cells import (
    SEPARATORS,
    how_read,
    indicator_columns,
    labels_of_indicators,
    parts_of,
    shared_parts,
    split_list,
)

if TYPE_CHECKING:
    from astune.names import TaskName

NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=8)
QUOTED = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)


@given(st.lists(NAMES, unique=True, max_size=5), st.sampled_from(SEPARATORS), st.sampled_from(["", " ", "  "]))
def test_what_is_joined_is_separated(labels: list[str], mark: str, space: str) -> None:
    cell = f"{space}{mark}{space}".join(labels)
    assert parts_of(cell, mark) == tuple(labels)
    assert parts_of(f"{space}{cell}{mark}{mark}", mark) == tuple(labels)  # nothing between two signs is no label
    assert parts_of(f"{cell}{mark}{cell}", mark) == tuple(labels)


@given(st.lists(QUOTED, max_size=5))
def test_lists_of_json_and_python_are_read(labels: list[str]) -> None:
    assert split_list(json.dumps(labels)) == tuple(labels)
    assert split_list(json.dumps(labels, ensure_ascii=False)) == tuple(labels)
    assert split_list(str(labels)) == tuple(labels)


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_lists_of_numpy_are_read(labels: list[str]) -> None:
    """Python would join the texts of ``['dog' 'rain']`` into one."""
    assert split_list(str(np.array(labels))) == tuple(labels)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("[]", ()), ("[ ]", ()), ("[3, 1]", ("3", "1")), ("[dog, cow]", ("dog", "cow")), ('["a;b"]', ("a;b",)),
        ("['it\\'s']", ("it's",)), ("[noise]", None), ("[/noise]", None), ("dog", None), ("['dog'; 'owl']", None),
        ("[0.5, 1]", None), ("[true]", None), ('[["a"]]', None), ("['a'", None), ("", None),
    ],
)  # fmt: skip
def test_what_is_a_list(cell: str, labels: tuple[str, ...] | None) -> None:
    assert split_list(cell) == labels


@given(st.lists(st.lists(NAMES, unique=True, max_size=4), min_size=1, max_size=8), st.sampled_from(SEPARATORS))
def test_a_task_of_several_labels_separates_by_one_sign(rows: list[list[str]], mark: str) -> None:
    cells = [mark.join(labels) for labels in rows]
    found = how_read(cells, "multi-label", shown="column labels")
    assert found.several
    assert found.separator == (mark if any(mark in cell for cell in cells) else None)
    assert [found.labels(cell) for cell in cells] == [tuple(labels) for labels in rows]


@given(st.lists(NAMES, min_size=1, max_size=8), st.sampled_from([None, "single-label"]), st.booleans())
def test_one_label_in_each_cell_is_one_label(cells: list[str], task: TaskName | None, plural: bool) -> None:
    found = how_read(cells, task, shown="column labels", plural=plural)
    assert (found.several, found.separator, found.remark) == (False, None, None)
    assert [found.labels(f" {cell}") for cell in cells] == [
        (f" {cell}",) for cell in cells
    ]  # cleaned later, and announced


@pytest.mark.parametrize(
    ("cells", "plural", "several", "separator"),
    [
        (["dog;rain", "cat"], True, True, ";"),
        (["dog;rain", "cat"], False, False, None),  # the name of the column says one label
        (["dog|rain", "a;b"], True, True, ";"),
        (["dog,rain", "rain"], True, True, ","),
        (["dog,rain", "rain,cat"], True, True, ","),
        (["Child speech, kid speaking", "rain"], True, False, None),  # no part is anywhere else
        (["dog,rain", "dog;rain"], True, True, ";"),
        (["['dog', 'rain']", "rain"], False, True, None),
        (["['dog']", "rain;cat"], False, True, ";"),
        (["", "rain"], True, False, None),
    ],
)
def test_without_a_task_the_cells_decide(cells: list[str], plural: bool, several: bool, separator: str | None) -> None:
    found = how_read(cells, None, plural=plural)
    assert (found.several, found.separator) == (several, separator)
    assert how_read(cells, "single-label", plural=plural).several is False


def test_commas_that_are_parts_of_labels_are_said() -> None:
    remark = how_read(["a, b", "c"], None, shown="column tags", plural=True).remark
    assert remark == "commas in column tags are parts of labels (task=multi-label separates labels at them)"
    assert how_read(["a, b", "c"], None, shown="column label").remark is None
    assert how_read(["a;b", "[]"], "multi-label", shown="column x").remark == (
        "column x is read as several labels, as lists or separated by ';'"
    )


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True), NAMES)
def test_parts_are_shared_where_another_cell_has_them(labels: list[str], other: str) -> None:
    cell = ";".join(labels)
    assert shared_parts([cell, labels[0]], ";") == [cell]
    assert shared_parts([cell, f"{labels[-1]};{other}0"], ";")[0] == cell
    assert shared_parts([cell], ";") == []
    assert shared_parts([cell, f"{''.join(labels)}1"], ";") == []


@pytest.mark.parametrize(
    ("columns", "names", "others"),
    [
        ({"dog": "01", "rain": "10"}, ("dog", "rain"), ()),
        ({"dog": "01", "rain": ["1.0", "0.0"], "cat": ["True", "false"], "owl": "00"}, ("dog", "rain", "cat", "owl"), ()),
        ({"dog": "01", "rain": ["", "1"]}, ("dog", "rain"), ()),  # an empty cell is a fault of its row
        ({"dog": "01", "note": ["", ""]}, ("dog",), ("note",)),
        ({"dog": "01", "fold2": "12"}, ("dog",), ("fold2",)),
        ({"dog": "01", "rain": ["0.5", "1"]}, ("dog",), ("rain",)),
        ({"dog": "01", "duration": "11", "is_male": "01"}, ("dog",), ("duration", "is_male")),
        ({"isMale": "01", "verified": "10", "dog": "10"}, ("dog",), ("isMale", "verified")),
        ({"island": "01", "hasty": "01", "": "01", "Unnamed: 0": "01"}, ("island", "hasty"), ()),
        ({"dog": "01", "speaker": "01"}, ("dog",), ("speaker",)),
    ],
)  # fmt: skip
def test_columns_of_0_and_1(columns: dict[str, list[str]], names: tuple[str, ...], others: tuple[str, ...]) -> None:
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    found = indicator_columns(list(columns), rows, {"speaker"})
    assert (found.names, found.others) == (names, others)
    assert found.certain == (len(names) > 1 and not others)


def test_the_labels_of_a_row_are_its_ones() -> None:
    faults: list[str] = []
    row = {"dog": "1", "rain": " TRUE", "cat": "0", "owl": "1.0", "fox": "false", "x": "7"}
    assert labels_of_indicators(3, row, ("dog", "rain", "cat", "owl", "fox"), faults) == ("dog", "rain", "owl")
    assert faults == []
    labels_of_indicators(3, row, ("x",), faults)
    assert faults == ["line 3: x is '7', neither 0 nor 1"]


@pytest.mark.parametrize("cell", ['["dog"', '["dog",null]', '[["dog"]]', '{"dog": 1}', "[dog]"])
def test_a_cell_that_begins_like_a_list_is_no_class_among_lists(cell: str) -> None:
    among_lists = how_read([cell, '["dog", "rain"]'], None, shown="column labels")
    fault = among_lists.fault(f" {cell} ")
    assert fault is not None
    assert cell in fault
    assert among_lists.fault("dog") is None
    assert among_lists.fault("[]") is None
    assert how_read([cell, "rain"], "multi-label").fault(cell) is None  # such as [noise], where no cell is a list
