"""Which method for my data? An experiment of one data set, planned, run and compared by what runs every other experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.architecture import Architecture
from astune.backbone import load_config
from astune.console import notify
from astune.data.layouts.base import load_data
from astune.errors import ConfigError, format_faults
from astune.experiments.comparison import Comparison
from astune.experiments.design import Asked, design, look_ahead, part_by_part
from astune.experiments.live_table import live_table
from astune.experiments.plan import PlannedRun, PlanOptions, distinct, plan, shard_of, to_saved_plan
from astune.experiments.plan_names import claim_name, digest_of_asked
from astune.experiments.results import Results
from astune.experiments.runner import fingerprints_of, pending_runs, run_here, run_on_ray
from astune.experiments.sources import own_entry
from astune.experiments.store import Store
from astune.experiments.table import Row, Table
from astune.methods import parse_method
from astune.methods.full import FullFineTuning
from astune.methods.registry import split_specs
from astune.names import COMPARED_METHODS, PUBLISHED_BACKBONE
from astune.training.config import TrainConfig
from astune.training.recipe import settle

if TYPE_CHECKING:
    from astune.data.dataset import DataRecipe
    from astune.experiments.records import SavedPlan

NO_NETWORK = "baseline"
"""Stands among the methods for :mod:`astune.experiments.baseline`."""
CANNOT_BE_COMPARED = "the methods cannot be compared"
_BASE_WIDTH = 768
_NARROW_RATE = (
    5e-4  # of full fine-tuning from a random head; docs/results: validation clips preferred it on both data sets
)


@dataclass(frozen=True)
class PlannedComparison:
    """A comparison before it is run."""

    plan: SavedPlan
    """With its usual name; a store may have another plan of that name, see :mod:`astune.experiments.plan_names`."""
    runs: list[PlannedRun]


def compare(
    data: str | Path,
    methods: str | Sequence[str] = COMPARED_METHODS,
    *,
    seeds: int | None = None,
    folds: Sequence[int] = (),
    store: str | Path = "results",
    workers: int = 1,
    shard: str | None = None,
    ray: str | None = None,
    gpus_per_run: float = 0.0,
    cpus_per_run: float = 1.0,
    **settings: Any,
) -> Comparison:
    """Train several methods on one data set, over folds or seeds, and say which one to use.

    Data with folds are tested fold by fold. Data with a test split are tested on it, with several seeds. Other data are divided into folds
    (:mod:`astune.data.made_folds`). Runs that are finished in the store are not run again, and those that were stopped go on.
    Each run is a process that imports the script it was started from: begin a script with ``if __name__ == "__main__":``.

    Args:
        data: as for :func:`astune.load_data`.
        methods: specs; ``baseline`` is logistic regression on log-Mel statistics, without a network. Text with commas is taken apart.
        seeds: runs of each method and fold; 1 where there are several folds and 3 where there is one split, by default.
        folds: test folds; all where empty.
        store: folder of the runs, shared with ``astune reproduce``.
        workers: runs side by side on this machine.
        shard: ``I/N`` for every N-th run from the I-th; the comparison is of what all shards have finished so far.
        ray: address of a Ray cluster to run on.
        gpus_per_run: share of a GPU that a run takes on Ray.
        cpus_per_run: cores that a run takes on Ray.
        settings: fields of :class:`astune.TrainConfig`, for all methods alike, such as ``backbone``, ``num_train_epochs`` or ``window``.

    Returns:
        Means, differences and a recommendation. Runs that failed are named in it, and missing.

    Raises:
        ConfigError: methods or settings that cannot be used, alone or with these data; all faults at once, before anything is trained.
        DataError: the data cannot be used, or some class has too few clips to be tested and trained.
        Interrupted: a KeyboardInterrupt; the same call goes on from there.
    """
    planned = plan_comparison(data, methods, seeds=seeds, folds=folds, **settings)
    if ray is not None and (shard is not None or workers > 1):
        raise ConfigError("ray shares the runs out itself; give it without workers and shard")
    runs_store = Store(Path(store))
    share = shard_of(distinct(planned.runs), shard)
    for note in planned.plan.notes:
        notify(note)
    waiting = part_by_part(pending_runs(share, runs_store, fingerprints_of(planned.runs)))
    look_ahead(waiting, runs_store, listen=ray is None, headline=CANNOT_BE_COMPARED)
    named = claim_name(planned.plan, runs_store)
    runs_store.write_plan(named)
    shown = live_table(named, runs_store)
    failures = (
        run_on_ray(waiting, runs_store, ray, gpus_per_run, cpus_per_run, shown)
        if ray
        else run_here(waiting, runs_store, workers, shown)
    )
    return Comparison.of(Results.of(named, runs_store), [str(failure) for failure in failures])


def plan_comparison(
    data: str | Path,
    methods: str | Sequence[str] = COMPARED_METHODS,
    *,
    seeds: int | None = None,
    folds: Sequence[int] = (),
    **settings: Any,
) -> PlannedComparison:
    """Decide how methods are compared.

    Args:
        data: as for :func:`astune.load_data`.
        methods: specs; text with commas is taken apart.
        seeds: runs of each method and fold; 1 where there are several folds and 3 where there is one split, by default.
        folds: test folds; all where empty.
        settings: fields of :class:`astune.TrainConfig`, for all methods alike.

    Returns:
        The plan and its runs.

    Raises:
        ConfigError: as of :func:`compare`.
        DataError: as of :func:`compare`.
    """
    asked = Asked.of(settings)
    rows, with_baseline = _rows(methods)
    dataset = load_data(data, asked.options)
    designed = design(dataset, asked.options, seeds, folds)
    rows, about_rows = _with_rates(rows, asked, dataset.recipe)
    entry = own_entry(str(data), options=designed.options)
    table = Table(
        title=f"Methods on {entry.name}",
        kind="comparison",
        notes=(*designed.notes, *about_rows),
        datasets=[entry],
        rows=rows,
    )
    wanted = PlanOptions(
        Path(), asked.backbone, designed.seeds, asked.settings,
        folds=tuple(folds), needs_data=True, with_baseline=with_baseline,
    )  # fmt: skip
    name = f"compare-{entry.name}"
    runs = plan(name, table, wanted)
    saved = to_saved_plan(name, table, runs)
    return PlannedComparison(replace(saved, asked=digest_of_asked(saved.entries)), runs)


def method_specs(methods: str | Sequence[str]) -> list[str]:
    """Specs of methods, each once.

    Args:
        methods: specs, or text with specs between commas; ``lora:targets=qv,layers=0-3`` is one.

    Returns:
        In the order given.
    """
    texts = [methods] if isinstance(methods, str) else list(methods)
    return list(dict.fromkeys(spec for text in texts for spec in split_specs(text) if spec))


def _rows(methods: str | Sequence[str]) -> tuple[list[Row], bool]:
    """Rows of the networks, and whether the baseline is compared too.

    Raises:
        ConfigError: fewer than two methods, or specs that are none.
    """
    specs = method_specs(methods)
    networks = [spec for spec in specs if spec != NO_NETWORK]
    if len(specs) < 2 or not networks:
        raise ConfigError(
            f"methods={', '.join(specs) or 'none'}: a comparison takes two or more, one of them with a network"
        )
    faults, rows = [], []
    for spec in networks:
        try:
            parse_method(spec)
        except ConfigError as fault:
            faults.append(str(fault))
        else:
            rows.append(Row(name=spec, method=spec))
    if faults:
        raise ConfigError(format_faults(faults, "methods"))
    return rows, len(networks) < len(specs)


def _with_rates(rows: list[Row], asked: Asked, stated: DataRecipe) -> tuple[list[Row], list[str]]:
    """Raise the rate of full fine-tuning on a narrow backbone where its head starts from random numbers, and say so.

    A head that is fitted first needs no higher rate, and can lose by it (``docs/explanations/own-recipe.md``, ``trained-to-the-end.md``).
    """
    suited, notes = [], []
    for row in rows:
        if _learns_too_slowly(row, asked, stated):
            row = row.model_copy(update={"settings": {"learning_rate": _NARROW_RATE}})
            notes.append(
                f"{row.name}: learning rate {_NARROW_RATE:g}, ten times that of the paper and of a training by itself: {asked.backbone} is "
                "narrower than AST-base, and validation clips of other data preferred it"
            )
        suited.append(row)
    return suited, notes


def _learns_too_slowly(row: Row, asked: Asked, stated: DataRecipe) -> bool:
    method = parse_method(row.method)
    if not isinstance(method, FullFineTuning) or asked.settings.get("learning_rate") is not None:
        return False
    config = TrainConfig(data=".", method=row.method, output_dir=Path(), **asked.settings)
    return settle(config, method, stated)["head_start"] == "random" and _is_narrow(asked.backbone)


def _is_narrow(backbone: str) -> bool:
    return backbone != PUBLISHED_BACKBONE and Architecture.of(load_config(backbone)).hidden_size < _BASE_WIDTH
