"""From a table to its runs: row x data set x setting x fold x seed, each with everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune import keyed
from astune.errors import AstuneError, ConfigError, format_faults, unknown_choices
from astune.experiments.baseline import BASELINE, DECIDING
from astune.experiments.records import PlanEntry, SavedPlan
from astune.experiments.shapes import Shapes
from astune.experiments.sources import Source, entries_of, found_data
from astune.experiments.table import Row, Table, check_varied
from astune.methods import Method, parse_method
from astune.methods.base import Sum
from astune.methods.published_code import PUBLISHED_CODE_SETTINGS, method_as_published
from astune.methods.registry import replace_fields
from astune.names import OLD_KERNELS, PUBLISHED_BACKBONE
from astune.training.augmentation_settings import settings_key_of_noise
from astune.training.config import TrainConfig
from astune.training.recipe import settle, without_defaults
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from astune.data.dataset import DataRecipe

_PAPER_WIDTH = 768  # of AST-base, for which the paper's reduction rates stand
_MOST_COLUMNS, _MOST_RUNS = 1_000, 100_000
BASELINE_ROW = "log-Mel statistics"
AS_PUBLISHED = "-as-published"
"""Ends the name of a table that was asked for in the published code's setting."""


@strict_constructor
@dataclass(frozen=True)
class PlanOptions:
    """What a user may change about a table as a whole."""

    data_root: Path = Path("data")
    """Folder of the data sets, each under its name."""
    backbone: str | None = None
    """The table's where None; the paper's checkpoint where neither states one."""
    seeds: int | None = None
    """Runs of each cell and fold, with seeds 0, 1, ...; the table's number where None, and 1 where neither states one."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of :class:`astune.TrainConfig` that win over the table's, such as the epochs."""
    only: tuple[str, ...] = ()
    """Rows; all where empty."""
    datasets: tuple[str, ...] = ()
    """Data sets of the table, or sources of the user's own that replace them; all where empty."""
    folds: tuple[int, ...] = ()
    """Test folds; all where empty."""
    vary: dict[str, list[Any]] = field(default_factory=dict)
    """Columns added: settings, or fields of the methods, with several values."""
    needs_data: bool = False
    """Whether published sizes may not stand for data sets that are not on this machine."""
    with_baseline: bool = False
    """Whether :mod:`astune.experiments.baseline` is a row too."""
    as_published: bool = False
    """Whether all runs have the setting of the published code, see :mod:`astune.methods.published_code`. Columns keep their names."""

    def seeds_of(self, table: Table) -> int:
        """Runs of each cell and fold.

        Args:
            table: may state a number.
        """
        return self.seeds or table.seeds or 1

    def backbone_of(self, table: Table) -> str:
        """Name of the backbone of rows that state none.

        Args:
            table: may state one.
        """
        return self.backbone or table.backbone or PUBLISHED_BACKBONE

    def name_of(self, name: str) -> str:
        """What a table is called in the store, so that both settings of it fit into one.

        Args:
            name: of the table.
        """
        return name + AS_PUBLISHED if self.as_published else name


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
    varied: dict[str, Any]
    """Settings that tell the columns of a data set apart."""
    fold: int | None
    seed: int
    method: Method | None
    """With the paper's bottleneck widths, whatever the backbone's; None for the baseline."""
    config: dict[str, Any]
    """Fields of :class:`astune.TrainConfig`, all but the output folder; of the baseline those that it knows."""
    recipe: DataRecipe
    """Recipe of the data set's layout, which decides what the configuration leaves open."""
    clips: str | None
    """Digest of the clips; None where the data are not on this machine."""
    dataset_clips: int | None
    """How many clips the data set has; None where the data are not on this machine."""
    parameters: int
    """Trained, as the paper counts them."""
    percent_of_full: float
    keeps_tokens: bool = False
    """Whether a picture wants the [CLS] tokens of its test clips."""
    trained: int | None = None
    """All trained parameters, the head and the final LayerNorm among them."""
    content: str | None = None
    """Digest of all files of the data set, see :class:`astune.experiments.sources.Source`."""

    @property
    def spec(self) -> str:
        """Spec string of the method."""
        return self.method.spec if self.method else BASELINE

    @property
    def backbone(self) -> str | None:
        """Name of the backbone; None for the baseline."""
        return self.config.get("backbone")

    @cached_property
    def settings_key(self) -> dict[str, Any]:
        """What decides the result, with the recipe's defaults written out. It does not depend on where the data are stored."""
        config = TrainConfig(**self.config, output_dir=Path())
        decided = config.settings_key()
        decided.pop("audio_dir", None)
        decided |= settings_key_of_noise(config)
        settled = settle(config, self.method, self.recipe)
        decided = {name: value for name, value in decided.items() if name not in settled} | without_defaults(settled)
        if not self.method:
            decided = {key: decided[key] for key in DECIDING if key in decided}
        return decided | {"data": self.dataset, "clips": self.clips, "method": self.spec, "format": keyed.FORMAT}

    @cached_property
    def key(self) -> str:
        """Name of the run's files: equal for equal results, whichever table asks."""
        return key_of(self.settings_key)

    @cached_property
    def entry(self) -> PlanEntry:
        """As it is written down."""
        return PlanEntry(
            key=self.key,
            row=self.row,
            column=self.column,
            dataset=self.dataset,
            series=self.series,
            varied=self.varied,
            fold=self.fold,
            seed=self.seed,
            method=self.spec,
            parameters=self.parameters,
            percent_of_full=self.percent_of_full,
            dataset_clips=self.dataset_clips,
            settings=self.settings_key,
            trained=self.trained,
        )


def key_of(settings_key: Mapping[str, Any]) -> str:
    """The name that a run's files have.

    Args:
        settings_key: what decides its result.

    Returns:
        16 hexadecimal digits.
    """
    # Files of earlier releases are named by the names that attention kernels had then, so those are hashed.
    then = {new: old for old, new in OLD_KERNELS.items()}
    hashed = {name: then.get(one, one) if name == "attention_kernel" else one for name, one in settings_key.items()}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:16]


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
    try:
        check_varied(options.vary)
    except ValueError as fault:
        raise ConfigError(str(fault)) from fault
    known: dict[str, Row | None] = {row.name: row for row in table.rows}
    rows = _chosen("row", options.only, {**known, BASELINE_ROW: None} if options.with_baseline else known)
    entries = entries_of(table, options.datasets)
    if table.kind == "comparison" and (options.vary or len(entries) > 1):
        raise ConfigError(f"{name}: a comparison has one data set, and nothing that varies; plan one for each")
    shapes = Shapes()
    runs: list[PlannedRun] = []
    faults: list[str] = []
    found: list[Source] = []
    for entry in entries:
        try:
            found.append(
                found_data(
                    entry,
                    data_root=options.data_root,
                    given=options.datasets,
                    folds=options.folds,
                    needs_data=options.needs_data,
                )
            )
        except AstuneError as fault:
            faults.append(f"{entry.name}: {fault}")
    if not faults:
        _refuse_too_many(name, table, len(rows), found, options)
    for row, data in product(rows, found):
        try:
            runs += _runs(name, table, row, data, options, shapes)
        except AstuneError as fault:
            faults.append(f"{row.name if row else BASELINE_ROW}, {data.entry.name}: {fault}")
    if faults:
        raise ConfigError(format_faults(faults, name))
    return runs


def distinct(runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """The runs that have to be run: one of each key.

    Args:
        runs: of any tables.
    """
    found: dict[str, PlannedRun] = {}
    for run in runs:
        if run.key not in found or (run.keeps_tokens and not found[run.key].keeps_tokens):
            found[run.key] = run
    return list(found.values())


def shard_of(runs: Sequence[PlannedRun], shard: str | None) -> list[PlannedRun]:
    """Every n-th run from the i-th: the shards of one plan share no run, and are all of it together.

    Args:
        runs: of :func:`distinct`, finished or not, so that all shards count alike.
        shard: ``i/n`` with i from 1 to n; None for all runs.

    Raises:
        ConfigError: the shard cannot be read.
    """
    if shard is None:
        return list(runs)
    number, _, total = shard.partition("/")
    if not (number.isdigit() and total.isdigit() and 1 <= int(number) <= int(total)):
        raise ConfigError(f"invalid shard {shard!r}: expected I/N with 1 <= I <= N, such as 1/4 (SLURM: --array=1-4)")
    return list(runs[int(number) - 1 :: int(total)])


def to_saved_plan(name: str, table: Table, runs: Iterable[PlannedRun], *, as_published: bool = False) -> SavedPlan:
    """A plan as it is written down.

    Args:
        name: of the table.
        table: what was planned.
        runs: of :func:`plan`.
        as_published: whether it was asked for in the published code's setting, beside what the table says.
    """
    return SavedPlan(
        name=name,
        title=table.title,
        kind=table.kind,
        printed=table.printed,
        entries=tuple(run.entry for run in runs),
        notes=table.notes,
        as_published=as_published or table.as_published,
    )


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


def _chosen(kind: str, names: tuple[str, ...], known: dict[str, Row | None]) -> list[Row | None]:
    absent = unknown_choices(kind, names, known)
    if absent:
        raise ConfigError(format_faults(absent, "this table cannot be planned"))
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def _refuse_too_many(name: str, table: Table, rows: int, found: Sequence[Source], options: PlanOptions) -> None:
    """Count before anything is planned: ten settings of ten values each would be more runs than memory holds.

    Raises:
        ConfigError: there are too many columns or runs.
    """
    columns = [prod(map(len, (table.vary | data.entry.vary | options.vary).values())) for data in found]
    if sum(columns) > _MOST_COLUMNS:
        raise ConfigError(
            f"{name}: what varies gives {sum(columns):,} columns, and a table has {_MOST_COLUMNS:,} at most; vary fewer values"
        )
    runs = (
        rows
        * options.seeds_of(table)
        * sum(number * len(data.folds) for number, data in zip(columns, found, strict=True))
    )
    if runs > _MOST_RUNS:
        raise ConfigError(
            f"{name}: it has {runs:,} runs, and a plan has {_MOST_RUNS:,} at most; give fewer seeds, rows or columns"
        )


def _runs(
    name: str, table: Table, row: Row | None, data: Source, options: PlanOptions, shapes: Shapes
) -> Iterator[PlannedRun]:
    """Runs of one row, or of the baseline, on one data set.

    Raises:
        ConfigError: settings that cannot be used.
    """
    entry = data.entry
    varied = table.vary | entry.vary | options.vary
    for values in product(*varied.values()):
        setting = dict(zip(varied, values, strict=True))
        column = ", ".join([entry.name, *(f"{key}={value}" for key, value in setting.items())])
        usual = {"backbone": options.backbone_of(table)} | ({"recipe": "paper"} if table.paper else {})
        usual |= PUBLISHED_CODE_SETTINGS if table.as_published else {}
        settings = usual | table.settings | entry.settings | (row.settings if row else {})
        fields = {key: value for key, value in setting.items() if key not in TrainConfig.model_fields}
        settings |= dict(PUBLISHED_CODE_SETTINGS) if options.as_published else {}
        settings |= options.settings | {key: value for key, value in setting.items() if key not in fields}
        settings |= {"data": data.source} | data.options.given_data_options
        backbone = settings["backbone"]
        method: Method | None = None
        if row:
            method = parse_method(row.method)
            method = method_as_published(method) if table.as_published or options.as_published else method
            method = at_width(method, shapes.width(backbone)) if table.paper else method
            method = replace_fields(method, fields)
            settings["method"] = method.spec
        else:
            settings = {key: value for key, value in settings.items() if key in DECIDING}
        config = TrainConfig.build({**settings, "backbone": backbone, "output_dir": "."}, column)
        if row and config.class_weights is not None:  # the content of a file, so that the run is what was planned
            settings["class_weights"] = config.class_weights
        limit = settings.get("limit_clips")
        if limit is not None and limit < data.classes:
            raise ConfigError(
                f"limit_clips={limit}: {entry.name} has {data.classes} classes; give {data.classes} or more"
            )
        for fold, seed in product(data.folds, range(options.seeds_of(table))):
            parameters, percent, trained = shapes.size(
                method, config.model_copy(update={"fold": fold, "seed": seed}), data
            )
            yield PlannedRun(
                table=name, row=row.name if row else BASELINE_ROW, column=column, dataset=entry.name,
                series=row.series if row else None, varied=setting, fold=fold, seed=seed, method=method,
                config=settings | {"fold": fold, "seed": seed}, recipe=data.recipe, clips=data.digest, dataset_clips=data.clips,
                parameters=parameters, percent_of_full=percent, keeps_tokens=table.kind == "tsne" and row is not None,
                content=data.content, trained=trained,
            )  # fmt: skip
