"""The label column of a table in Hugging Face's format: one label in a cell, or a list of them.

A sample: under ``List(ClassLabel(names=["dog", "rain"]))`` the cell ``[0, 1]`` is both labels. Under ``List(Value("int64"))``, where all
lists are of 0 and 1 and of one length, ``[0, 1, 1]`` is the labels ``1`` and ``2``, which are places in the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astune.data.label_cells import ONE_EACH, LabelCells, how_read
from astune.data.rows import not_a_number
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astune.names import TaskName


def item_of(feature: Any) -> Any | None:  # noqa: ANN401 - of a library that may be absent
    """The feature of which another one is a list.

    Args:
        feature: feature type of a column.

    Returns:
        The feature of the items; None where it is not a list, or is a list of lists.
    """
    item = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    return None if isinstance(item, list | dict) or getattr(item, "feature", None) is not None else item


@dataclass(frozen=True)
class LabelColumn:
    """How the labels of a column are read."""

    name: str
    names: list[str] | None
    """Names of the classes, by number; None if cells contain the labels themselves."""
    several: bool
    """Whether a clip may have any number of labels."""
    listed: bool = False
    """Whether a cell holds a list of labels."""
    indicators: int = 0
    """Length of the lists of 0 and 1, with one entry per label; 0 if cells are not such lists."""
    cells: LabelCells = ONE_EACH
    """How the text of a cell is split into labels."""
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, feature: Any, parts: Iterable[Any], task: TaskName | None) -> LabelColumn:  # noqa: ANN401
        """Decide it.

        Args:
            name: the name of the column.
            feature: its type.
            parts: all tables of the data set.
            task: the task that the user gave.
        """
        parts = list(parts)
        item = item_of(feature)
        shown = f"column {printable(name)}"
        if item is None:
            names = getattr(feature, "names", None)
            if (
                names is not None
                or task != "multi-label"
                or getattr(feature, "dtype", None) not in ("string", "large_string")
            ):
                return cls(name, names, task == "multi-label")
            texts = {value for part in parts for value in part.unique(name) if isinstance(value, str)}
            cells = how_read(texts, task, shown=shown)
            return cls(
                name, None, several=True, cells=cells, remarks=(f"Note: {cells.remark}",) if cells.remark else ()
            )
        names = getattr(item, "names", None)
        length = 0
        if names is None and str(getattr(item, "dtype", "")).startswith(("int", "uint", "bool")):
            length = _indicators(cell for part in parts for cell in part[name])
            names = [str(index) for index in range(length)] if length else None
        what = (
            f"lists of {length} values 0 or 1: labels are named by their place, from 0" if length else "lists of labels"
        )
        return cls(
            name, names, task != "single-label", listed=True, indicators=length, remarks=(f"Note: {shown} has {what}",)
        )

    def labels(self, value: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - a cell of any type
        """The labels of a cell.

        Args:
            value: the cell.

        Returns:
            Its labels; None where they cannot be used, or there must be one and there is another number.
        """
        if not self.listed:
            label = _label(value, self.names)
            if self.several and (value is None or value == ""):
                return ()
            return None if label is None or self.cells.fault(label) else self.cells.labels(label)
        items = [] if value is None else list(value)
        if self.indicators:
            items = [index for index, one in enumerate(items) if one]  # indices, which names name
        found = [_label(item, self.names) for item in items]
        labels = tuple(dict.fromkeys(label for label in found if label is not None))
        return labels if None not in found and (self.several or len(labels) == 1) else None


def _indicators(cells: Iterable[Any]) -> int:
    """Length of lists that are all of 0 and 1 and as long as each other, if it is 2 or more; else 0."""
    length = 0
    for cell in cells:
        if cell is None or not set(cell) <= {0, 1} or length not in (0, len(cell)):
            return 0
        length = len(cell)
    return length if length > 1 else 0


def _label(value: object, names: list[str] | None) -> str | None:
    if names is None:
        return None if value is None or value == "" or not_a_number(value) else str(value)
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
