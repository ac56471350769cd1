"""A table as people read it: rows by columns, marks, averages, the printed figures beside ours, and what was run.

Best and second best of a column are marked as the paper marks them, full fine-tuning standing outside (Table I underlines 92.55 for
speech commands, where full fine-tuning has 97.31). The average is the mean over the data sets, as the paper's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from astune.data.layouts.base import LAYOUTS
from astune.experiments.baseline import BASELINE
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.published import PUBLISHED
from astune.experiments.table import load_table, shipped_tables
from astune.methods import parse_method
from astune.methods.base import default_learning_rate
from astune.plurals import number_of
from astune.reporting.aggregate import Cell, cells, device_of
from astune.training.confusion import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astune.experiments.store import PlanEntry, RunRecord, SavedPlan

_FULL = "full-ft"
_UNSEEN = ("data", "clips", "method", "seed", "fold")  # settings that columns, rows and counts of runs show already


@dataclass(frozen=True)
class GridRow:
    """One row."""

    name: str
    methods: tuple[str, ...]
    """Specs; several where data sets have settings of their own."""
    parameters: tuple[int, int]
    """Fewest and most over the columns: heads differ."""
    percent_of_full: tuple[float, float]
    cells: dict[str, Cell]
    """By column, as far as there are finished runs."""
    average: float | None
    """Mean over the columns, 0 to 1, where each is a data set and all runs are finished."""


@dataclass(frozen=True)
class Grid:
    """One table."""

    name: str
    title: str
    kind: str
    beside: str | None
    """Which of the paper's tables stands beside it."""
    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]
    places: dict[tuple[str, str], int]
    """1 for the best and 2 for the second best, by row and column (or ``Avg``); the others are not in it."""
    ran: tuple[str, ...]
    """What was run, a sentence a line."""
    unlike_the_paper: tuple[str, ...]
    """Each way in which the runs are not the paper's; empty for a faithful, complete run."""
    devices: dict[str, str]
    """What the runs ran on, with a letter for each where they are several; one has none."""

    @property
    def has_average(self) -> bool:
        """Whether a column of averages makes sense: several data sets, nothing varied."""
        return any(row.average is not None for row in self.rows)

    def printed(self, row: str, column: str) -> float | None:
        """The paper's figure, percent, where it has this cell.

        Args:
            row: name.
            column: name.
        """
        table = PUBLISHED.get(self.beside or "")
        return table.accuracy(row, column) if table else None

    def printed_average(self, row: str) -> float | None:
        """The paper's average, percent, where our columns are the paper's.

        Args:
            row: name.
        """
        table = PUBLISHED.get(self.beside or "")
        return table.average(row) if table and table.columns == self.columns else None


AVERAGE = "Avg"


def grid(saved: SavedPlan, records: Mapping[str, RunRecord]) -> Grid:
    """Lay a table out.

    Args:
        saved: its plan.
        records: finished runs, by key.

    Returns:
        The table; rows and columns in the order of the plan, cells as far as they are finished.
    """
    found = cells(saved.entries, records)
    columns = tuple(dict.fromkeys(entry.column for entry in saved.entries))
    averaged = len(columns) > 1 and not any(entry.varied for entry in saved.entries)
    rows = []
    for name in dict.fromkeys(entry.row for entry in saved.entries):
        members = [entry for entry in saved.entries if entry.row == name]
        own = {column: found[name, column] for column in columns if (name, column) in found}
        whole = averaged and len(own) == len(columns) and all(cell.finished for cell in own.values())
        parameters, percents = [entry.parameters for entry in members], [entry.percent_of_full for entry in members]
        rows.append(
            GridRow(
                name,
                tuple(dict.fromkeys(entry.method for entry in members)),
                (min(parameters), max(parameters)),
                (min(percents), max(percents)),
                own,
                mean(cell.mean for cell in own.values()) if whole else None,
            )
        )
    done = {entry.key: records[entry.key] for entry in saved.entries if entry.key in records}
    devices = _lettered(device_of(record.result) for record in done.values())
    return Grid(
        saved.name, saved.title, saved.kind, saved.printed, columns, tuple(rows), _places(rows, columns),
        tuple(_what_ran(saved, done, devices)), tuple(_unlike(saved, done)), devices,
    )  # fmt: skip


def _lettered(devices: Iterable[str]) -> dict[str, str]:
    names = sorted(set(devices))
    return dict(zip(names, ascii_lowercase if len(names) > 1 else [""], strict=False))


def _places(rows: Iterable[GridRow], columns: Iterable[str]) -> dict[tuple[str, str], int]:
    """1 and 2 for the best and second best finished cells of a column, ties sharing a place, at the two decimals that are printed."""
    places: dict[tuple[str, str], int] = {}
    ranked = [row for row in rows if row.methods != (_FULL,)]
    for column in [*columns, AVERAGE]:
        figures = {}
        for row in ranked:
            cell = row.cells.get(column)
            value = row.average if column == AVERAGE else cell.mean if cell and cell.finished else None
            if value is not None:
                figures[row.name] = round(100 * value, 2)
        for place, figure in enumerate(sorted(set(figures.values()), reverse=True)[:2], 1):
            places |= {(row, column): place for row, value in figures.items() if value == figure and len(figures) > 1}
    return places


def _values(entries: Iterable[PlanEntry], done: Mapping[str, RunRecord], setting: str) -> str:
    """What a setting was: as the runs resolved it where they are finished, as planned where not."""
    found: set[float | str] = set()
    for entry in entries:
        resolved = done[entry.key].result.recipe if entry.key in done else {}
        value = resolved.get(setting, entry.settings.get(setting))
        if value is not None:
            found.add(value)
    return (
        ", ".join(str(value) for value in sorted(found, key=lambda value: (isinstance(value, str), value)))
        or "as the data decide"
    )


def _what_ran(saved: SavedPlan, done: Mapping[str, RunRecord], devices: Mapping[str, str]) -> list[str]:
    entries = saved.entries
    keys = {entry.key for entry in entries}
    lines = [f"Backbone: {_values(entries, done, 'backbone')}"]
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        own = [entry for entry in entries if entry.dataset == dataset]
        sizes = Counter(
            (len(record.result.labels), counted(record.result.scores["test"]["confusion"])[1])
            for entry in own
            if (record := done.get(entry.key))
        )
        tested = [clips for _, clips in sizes]
        size = f"{max(labels for labels, _ in sizes)} classes, {_range(tested)} test clips a run; " if sizes else ""
        folds = sorted({entry.fold for entry in own if entry.fold is not None})
        lines.append(
            f"{dataset}: {size}{f'folds {_listed(folds)}' if folds else 'its own split'}; "
            f"epochs {_values(own, done, 'num_train_epochs')}, frames {_values(own, done, 'max_length')}, "
            f"selection {_values(own, done, 'selection')}"
        )
    lines += _rows_apart(entries)
    lines.append(f"Seeds: {_listed(sorted({entry.seed for entry in entries}))}")
    lines.append(f"Runs: {len(done)} of {len(keys)} finished")
    lines.append(f"Position embeddings: {_values(entries, done, 'position_embeddings')}")
    if done:
        weights = Counter((one.identity.get("backbone"), one.backbone_fingerprint) for one in done.values())
        names = [name for name, _ in weights if name]
        lines += [f"Weights: {name} of two kinds!" for name in sorted({n for n in names if names.count(n) > 1})]
        states = Counter((record.commit, record.dirty) for record in done.values())
        lines.append("Commit: " + ", ".join(_commit(*state) for state in states))
        lines.append(
            "Device: " + "; ".join(f"{letter}: {name}" if letter else name for name, letter in devices.items())
        )
        versions = (record.result.versions for record in done.values())
        shown = dict.fromkeys(f"torch {one['torch']}, transformers {one['transformers']}" for one in versions)
        lines.append(f"Versions: {'; '.join(shown)}")
    return lines


def _rows_apart(entries: Iterable[PlanEntry]) -> list[str]:
    """One line on rows whose settings are not those of most rows of their column, if there are any."""
    columns: dict[str, list[PlanEntry]] = defaultdict(list)
    for entry in entries:
        if entry.method != BASELINE:
            columns[entry.column].append(entry)
    apart: dict[str, dict[str, None]] = defaultdict(dict)
    for own in columns.values():
        for name in sorted({name for entry in own for name in entry.settings} - set(_UNSEEN)):
            values = [
                "the method's" if _is_default_rate(name, entry) else _shown(entry.settings.get(name)) for entry in own
            ]
            usual = Counter(values).most_common(1)[0][0]
            for entry, value in zip(own, values, strict=True):
                if value != usual:
                    apart[entry.row][f"{name} {value}"] = None
    ordered = dict.fromkeys(entry.row for own in columns.values() for entry in own if entry.row in apart)
    told = "; ".join(f"{row} ({', '.join(apart[row])})" for row in ordered)
    return [f"Rows with settings of their own: {told}"] if told else []


def _is_default_rate(setting: str, entry: PlanEntry) -> bool:
    """Whether this is the learning rate that the entry's method asks for: the paper's differ between methods."""
    return setting == "learning_rate" and entry.settings[setting] == default_learning_rate(parse_method(entry.method))


def _commit(commit: str | None, dirty: bool | None) -> str:
    return "not from a checkout" if commit is None else commit[:10] + (" with uncommitted changes" if dirty else "")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _range(numbers: list[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)} to {max(numbers)}"


def _unlike(saved: SavedPlan, done: Mapping[str, RunRecord]) -> list[str]:
    """In what the runs differ from the shipped table as it stands, which is the paper's protocol."""
    limits = {limit for entry in saved.entries if (limit := entry.settings.get("limit_clips"))}
    tried = [f"tried out on at most {_listed(sorted(limits))} clips of each split: no result"] if limits else []
    if saved.name not in shipped_tables():
        return [*tried, "a table of its author's own, not the paper's"]
    paper = plan(*load_table(saved.name), PlanOptions(data_root=Path("no data, published sizes")))
    settings = {(run.row, run.column): run.identity for run in paper}
    found: dict[str, None] = dict.fromkeys(tried)
    for entry in saved.entries:
        if entry.method == BASELINE:  # an addition, which changes nothing else
            continue
        theirs = settings.get((entry.row, entry.column))
        if theirs is None:
            found[_outside(entry, {run.column for run in paper})] = None
            continue
        if _but_for_the_rate(entry.method) != _but_for_the_rate(theirs["method"]) or (
            entry.settings["backbone"] == theirs["backbone"] and entry.method != theirs["method"]
        ):
            found[f"{entry.row}: method {entry.method} instead of {theirs['method']}"] = None
        for name in {**theirs, **entry.settings}:
            if name not in {*_UNSEEN, "limit_clips"} and entry.settings.get(name) != theirs.get(name):
                found[f"{name} {_shown(entry.settings.get(name))} instead of {_shown(theirs.get(name))}"] = None
    found |= dict.fromkeys(_unlike_published(saved, done))
    for what, shown, all_of_them in (
        ("rows", {e.row for e in saved.entries if e.method != BASELINE}, {run.row for run in paper}),
        ("columns", {e.column for e in saved.entries}, {run.column for run in paper}),
    ):
        if len(shown & all_of_them) < len(all_of_them):
            found[f"{len(shown & all_of_them)} of the paper's {len(all_of_them)} {what}"] = None
    for column in dict.fromkeys(entry.column for entry in saved.entries):
        ours = {entry.fold for entry in saved.entries if entry.column == column}
        folds = {run.fold for run in paper if run.column == column}
        if folds and ours != folds:
            found[f"{column}: {len(ours)} of {len(folds)} folds"] = None
    if saved.entries and (missing := len({entry.key for entry in saved.entries} - done.keys())):
        found[f"{number_of(missing, 'run')} {'is' if missing == 1 else 'are'} not finished"] = None
    return list(found)


def _but_for_the_rate(spec: str) -> list[tuple[str, dict[str, Any]]]:
    """A method without what a backbone of another width changes."""
    return [(one.family, one.model_dump(exclude={"reduction_rate"})) for one in parse_method(spec).members]


def _outside(entry: PlanEntry, columns: set[str]) -> str:
    if entry.column not in columns:
        return f"the column {entry.column!r} is not the paper's"
    return f"the row {entry.row!r} is not the paper's"


def _shown(value: Any) -> str:  # noqa: ANN401 - any setting
    return "unset" if value is None else str(value)


def _unlike_published(saved: SavedPlan, done: Mapping[str, RunRecord]) -> list[str]:
    """Data sets that are not whole, or not the published ones at all."""
    found: dict[str, None] = {}
    for entry in saved.entries:
        layout = LAYOUTS.get(entry.dataset)
        if layout is None:
            continue
        clips, classes = entry.dataset_clips, len(done[entry.key].result.labels) if entry.key in done else None
        for what, here, published in (
            ("clips", clips, layout.published_clips), ("classes", classes, layout.published_classes)
        ):  # fmt: skip
            if here is not None and published is not None and here != published:
                found[f"{entry.dataset} has {here:,} {what} here, {published:,} as published"] = None
    return list(found)
