"""From a table to its runs: row x data set x setting x fold x seed, each with everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import ASTConfig

from astune.backbone import load_config
from astune.counting import Count, count
from astune.data.base import DataRecipe
from astune.data.layout import LAYOUTS, load_data
from astune.errors import AstuneError, ConfigError, listing, unknown
from astune.experiments.table import DataEntry, Row, Table
from astune.methods import Method, parse_method
from astune.methods.base import Sum, default_learning_rate
from astune.names import PUBLISHED_BACKBONE
from astune.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PAPER_WIDTH = 768  # of AST-base, for which the paper's reduction rates stand
_FORMAT = 1  # raised when equal settings no longer give equal results


@dataclass(frozen=True)
class PlanOptions:
    """What a user may change about a table as a whole."""

    data_root: Path = Path("data")
    """Folder of the data sets, each under its name."""
    backbone: str = PUBLISHED_BACKBONE
    seeds: int = 1
    """Runs of each cell and fold, with seeds 0, 1, ..."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of :class:`astune.TrainConfig` that win over the table's, such as the epochs."""
    only: tuple[str, ...] = ()
    """Rows; all where empty."""
    datasets: tuple[str, ...] = ()
    """Data sets of the table, or sources of the user's own that stand in their place; all where empty."""
    folds: tuple[int, ...] = ()
    """Test folds; all where empty."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a table."""

    table: str
    row: str
    column: str
    """Data set, and what varies."""
    dataset: str
    """Name of the data set."""
    series: str | None
    fold: int | None
    seed: int
    method: Method
    """With the paper's bottleneck widths, whatever the backbone's."""
    config: dict[str, Any]
    """Fields of :class:`astune.TrainConfig`, all but the output folder."""
    recipe: DataRecipe
    """Of the data set's layout, which settles what the configuration leaves open."""
    parameters: int
    """Trained, as the paper counts them."""
    percent_of_full: float

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the result, with the recipe's defaults written out; says nothing of where the data lie."""
        config = TrainConfig(**self.config, output_dir=Path())
        decided = config.identity()
        stated = {key: value for key, value in vars(self.recipe).items() if value is not None}
        stated |= {"learning_rate": default_learning_rate(self.method)}
        decided = {key: stated.get(key) if value is None else value for key, value in decided.items()}
        return decided | {"data": self.dataset, "method": self.method.spec, "format": _FORMAT}

    @cached_property
    def key(self) -> str:
        """Name of the run's files: equal for equal results, whichever table asks."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "key": self.key, "table": self.table, "row": self.row, "column": self.column, "dataset": self.dataset,
            "series": self.series, "fold": self.fold, "seed": self.seed, "method": self.method.spec,
            "parameters": self.parameters, "percent_of_full": self.percent_of_full, "settings": self.identity,
        }  # fmt: skip


def plan(name: str, table: Table, options: PlanOptions) -> list[PlannedRun]:
    """All runs of a table, in its order.

    Args:
        name: of the table.
        table: what to run.
        options: the user's.

    Returns:
        One entry a run; folds of a published data set are known without it.

    Raises:
        ConfigError: rows or data sets that are not in the table, or settings that cannot be used; all faults at once.
        BackboneError: the backbone's shape cannot be had.
    """
    rows = _chosen("row", options.only, {row.name: row for row in table.rows})
    entries = list(_entries(table, options))
    shape = _shape(options.backbone)
    size_of = cache(lambda method, classes: count(method, classes, shape))
    runs: list[PlannedRun] = []
    faults: list[str] = []
    for row, entry in product(rows, entries):
        try:
            runs += _runs(name, table, row, entry, options, shape.hidden_size, size_of)
        except AstuneError as fault:
            faults.append(f"{row.name}, {entry.name}: {fault}")
    if faults:
        raise ConfigError(listing(faults, name))
    return runs


def distinct(runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """The runs that have to be run: one of each key.

    Args:
        runs: of any tables.
    """
    return list({run.key: run for run in reversed(list(runs))}.values())[::-1]


def at_width(method: Method, width: int) -> Method:
    """A method with the bottleneck widths it would have on AST-base.

    Args:
        method: as the paper has it.
        width: of the backbone.

    Returns:
        The same with reduction rates times width / 768, so that r stays.
    """
    if width == _PAPER_WIDTH:
        return method
    if isinstance(method, Sum):
        return Sum(parts=tuple(at_width(part, width) for part in method.parts))
    rate = getattr(method, "reduction_rate", None)
    if rate is None:
        return method
    return method.model_copy(update={"reduction_rate": rate * width / _PAPER_WIDTH})


def _shape(backbone: str) -> ASTConfig:
    # Asking the hub for its configuration would make a dry run wait for a network.
    config = ASTConfig() if backbone == PUBLISHED_BACKBONE else load_config(backbone)
    config.max_length = 500
    return config


def _chosen(kind: str, names: tuple[str, ...], known: dict[str, Row]) -> list[Row]:
    absent = [unknown(kind, name, known) for name in names if name not in known]
    if absent:
        raise ConfigError(listing(absent, "this table cannot be planned"))
    return [known[name] for name in names] if names else list(known.values())


def _entries(table: Table, options: PlanOptions) -> Iterator[DataEntry]:
    known = {entry.name: entry for entry in table.datasets}
    if not options.datasets:
        yield from table.datasets
    for name in options.datasets:
        if name in known:
            yield known[name]
        elif ":" in name or Path(name).exists():
            # A source of the user's own takes the place of the table's data sets, with what varies in the first of them.
            yield DataEntry(name=Path(name.partition(":")[2] or name).name, data=name, vary=table.datasets[0].vary)
        else:
            raise ConfigError(f"{unknown('data set', name, known)}; or give a source of your own, such as folder:PATH")


def _source(entry: DataEntry, options: PlanOptions) -> str:
    layout, colon, path = (entry.data or f"{entry.name}:{entry.name}").partition(":")
    if not colon:
        return str(entry.data)
    given = entry.data in options.datasets or LAYOUTS[layout].may_be_remote
    return f"{layout}:{path if given else options.data_root / path}"


def _folds_and_classes(entry: DataEntry, source: str) -> tuple[tuple[int | None, ...], int]:
    """Of the data where they are, of the data set as published where they are not.

    Raises:
        AstuneError: a data set of the user's own is not there.
    """
    layout = LAYOUTS.get(source.partition(":")[0])
    try:
        data = load_data(source)
    except AstuneError:
        if layout is None or layout.published_classes is None or entry.data is not None:
            raise
        return layout.published_folds or (None,), layout.published_classes
    return data.folds or (None,), len(data.labels)


def _runs(
    name: str,
    table: Table,
    row: Row,
    entry: DataEntry,
    options: PlanOptions,
    width: int,
    size_of: Callable[[Method, int], Count],
) -> Iterator[PlannedRun]:
    source = _source(entry, options)
    layout = LAYOUTS.get(source.partition(":")[0])
    method = at_width(parse_method(row.method), width)
    varied = table.vary | entry.vary
    folds, classes = _folds_and_classes(entry, source)
    if options.folds:
        absent = [
            unknown("fold", fold, [f for f in folds if f is not None]) for fold in options.folds if fold not in folds
        ]
        if absent and folds != (None,):
            raise ConfigError(listing(absent, entry.name))
        folds = tuple(fold for fold in folds if fold in options.folds or fold is None)
    size = size_of(method, classes)
    for values in product(*varied.values()):
        setting = dict(zip(varied, values, strict=True))
        column = ", ".join([entry.name, *(f"{key}={value}" for key, value in setting.items())])
        settings = table.settings | entry.settings | row.settings | setting | options.settings
        for fold, seed in product(folds, range(options.seeds)):
            config = {
                "backbone": options.backbone,
                **settings,
                "data": source,
                "method": method.spec,
                "fold": fold,
                "seed": seed,
            }
            recipe = layout.recipe if layout else DataRecipe()
            TrainConfig.build({**config, "output_dir": "."}, column)
            yield PlannedRun(
                name,
                row.name,
                column,
                entry.name,
                row.series,
                fold,
                seed,
                method,
                config,
                recipe,
                size.parameters,
                size.percent_of_full,
            )
