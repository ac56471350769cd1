"""Which method for my data? An experiment of one data set, planned, run and compared by what runs every other experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.architecture import Architecture
from astune.backbone import load_config
from astune.console import notify
from astune.data.layouts.base import load_data
from astune.data.made_folds import usual_folds, with_folds
from astune.data.options import DataOptions
from astune.errors import AstuneError, ConfigError, DataError, format_faults
from astune.experiments.comparison import Comparison
from astune.experiments.live_table import live_table
from astune.experiments.plan import PlannedRun, PlanOptions, distinct, plan, shard_of, to_saved_plan
from astune.experiments.results import Results
from astune.experiments.runner import fingerprints_of, pending_runs, run_here, run_on_ray
from astune.experiments.sources import own_entry
from astune.experiments.store import Store
from astune.experiments.table import Row, Table, check_settings
from astune.methods import parse_method
from astune.methods.full import FullFineTuning
from astune.methods.registry import split_specs
from astune.names import BUNDLED_BACKBONE, COMPARED_METHODS, PUBLISHED_BACKBONE
from astune.plurals import number_of
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.listening import listen_as_trained

if TYPE_CHECKING:
    from astune.data.dataset import AudioDataset
    from astune.experiments.records import SavedPlan
    from astune.training.check import Checked

NO_NETWORK = "baseline"
"""Stands among the methods for :mod:`astune.experiments.baseline`."""
_SEEDS = 3  # of one split
_BASE_WIDTH = 768
_NARROW_RATE = 5e-4  # of full fine-tuning; docs/results: validation clips preferred it on both data sets


@dataclass(frozen=True)
class PlannedComparison:
    """A comparison before it is run."""

    plan: SavedPlan
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
    waiting = _part_by_part(pending_runs(share, runs_store, fingerprints_of(planned.runs)))
    _look_ahead(waiting, runs_store, listen=ray is None)
    runs_store.write_plan(planned.plan)
    shown = live_table(planned.plan, runs_store)
    failures = (
        run_on_ray(waiting, runs_store, ray, gpus_per_run, cpus_per_run, shown)
        if ray
        else run_here(waiting, runs_store, workers, shown)
    )
    return Comparison.of(Results.of(planned.plan, runs_store), [str(failure) for failure in failures])


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
    if seeds is not None and seeds < 1:
        raise ConfigError(f"seeds={seeds}; give 1 or more")
    options = DataOptions.among(settings)
    own = {name: value for name, value in settings.items() if name not in DataOptions.model_fields}
    backbone = own.pop("backbone", BUNDLED_BACKBONE)
    try:
        check_settings(own)
    except ValueError as fault:
        raise ConfigError(str(fault)) from fault
    rows, with_baseline, about_rows = _rows(methods, backbone, own)
    options, seeds, about_runs = _design(load_data(data, options), options, seeds, folds)
    entry = own_entry(str(data), options=options)
    table = Table(
        title=f"Methods on {entry.name}",
        kind="comparison",
        notes=(*about_runs, *about_rows),
        datasets=[entry],
        rows=rows,
    )
    wanted = PlanOptions(Path(), backbone, seeds, own, folds=tuple(folds), needs_data=True, with_baseline=with_baseline)
    name = f"compare-{entry.name}"
    runs = plan(name, table, wanted)
    return PlannedComparison(to_saved_plan(name, table, runs), runs)


def method_specs(methods: str | Sequence[str]) -> list[str]:
    """Specs of methods, each once.

    Args:
        methods: specs, or text with specs between commas; ``lora:targets=qv,layers=0-3`` is one.

    Returns:
        In the order given.
    """
    texts = [methods] if isinstance(methods, str) else list(methods)
    return list(dict.fromkeys(spec for text in texts for spec in split_specs(text) if spec))


def _rows(methods: str | Sequence[str], backbone: str, settings: dict[str, Any]) -> tuple[list[Row], bool, list[str]]:
    """Rows of the networks, whether the baseline is compared too, and what to say of them.

    Raises:
        ConfigError: fewer than two methods, or specs that are none.
    """
    specs = method_specs(methods)
    networks = [spec for spec in specs if spec != NO_NETWORK]
    if len(specs) < 2 or not networks:
        raise ConfigError(
            f"methods={', '.join(specs) or 'none'}: a comparison takes two or more, one of them with a network"
        )
    faults, rows, notes = [], [], []
    for spec in networks:
        try:
            method = parse_method(spec)
        except ConfigError as fault:
            faults.append(str(fault))
            continue
        own: dict[str, Any] = {}
        if isinstance(method, FullFineTuning) and settings.get("learning_rate") is None and _is_narrow(backbone):
            own = {"learning_rate": _NARROW_RATE}
            notes.append(
                f"{spec}: learning rate {_NARROW_RATE:g}, ten times the paper's: {backbone} is narrower than AST-base, and validation "
                "clips of other data preferred it"
            )
        rows.append(Row(name=spec, method=spec, settings=own))
    if faults:
        raise ConfigError(format_faults(faults, "methods"))
    return rows, len(networks) < len(specs), notes


def _is_narrow(backbone: str) -> bool:
    return backbone != PUBLISHED_BACKBONE and Architecture.of(load_config(backbone)).hidden_size < _BASE_WIDTH


def _design(
    data: AudioDataset, options: DataOptions, seeds: int | None, folds: Sequence[int]
) -> tuple[DataOptions, int, list[str]]:
    """How the data are read, how many seeds there are, and a sentence on each decision. Labels, groups and splits decide, no audio."""
    if not data.folds and not any(clip.split == "test" for clip in data.clips):
        count = usual_folds(data)
        options, data = options.model_copy(update={"make_folds": count}), with_folds(data, count)
    made = options.make_folds is not None
    tested = list(dict.fromkeys(folds)) or list(data.folds)
    several = len(tested) > 1
    seeds = seeds or (1 if several else _SEEDS)
    if made:
        how = next(line.removeprefix("Note: ") for line in data.remarks if "test folds are made" in line)
        notes = [f"Folds: the data have neither folds nor a test split, so {how}", *_ungrouped(data)]
    elif data.folds:
        notes = [f"Folds: those of the data ({', '.join(map(str, data.folds))})"]
    else:
        notes = ["Test clips: the test split of the data, in every run"]
    if data.folds:
        shown = ", ".join(map(str, tested))
        notes.append(
            f"Each of the folds {shown} tests once per seed" if several else f"Fold {shown} tests in every run"
        )
    notes.append(f"Seeds: {number_of(seeds, 'run')} of each method" + (" and fold" if several else ""))
    notes.append("Test clips choose nothing: not the epoch, no setting, no fold")
    notes.append(_about_intervals(data, tested, seeds))
    return options, seeds, notes


def _ungrouped(data: AudioDataset) -> list[str]:
    if any(clip.group is not None for clip in data.clips):
        return []
    columns = f"; {' or '.join(data.group_like)} may" if data.group_like else ""
    return [
        "Warning: nothing says which clips share a speaker, session or device (column group of a table, or group_by"
        f"{columns}); if some do, they are in several folds and all scores are too good"
    ]


def _about_intervals(data: AudioDataset, tested: Sequence[int], seeds: int) -> str:
    if len(tested) > 1:
        return (
            f"Intervals: 95 %, Student's over {len(tested)} folds, the seeds of a fold averaged first, and widened because folds share "
            "training clips (Nadeau and Bengio, 2003)"
        )
    over = f"for other seeds (Student's over {seeds})" if seeds > 1 else "not for other seeds, because there is one"
    clips = len(data.split(tested[0] if tested else None).test)
    if data.task.counts_clips:
        return f"Intervals: 95 %, {over} and for other test clips ({clips:,} here), but not for other training clips"
    return f"Intervals: 95 %, {over}, and not for other test or training clips"


def _part_by_part(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """All methods on one fold and seed, then on the next: what is finished can be compared at any time."""
    order = {part: number for number, part in enumerate(dict.fromkeys((run.fold, run.seed) for run in runs))}
    return sorted(runs, key=lambda run: order[run.fold, run.seed])


def _look_ahead(waiting: Sequence[PlannedRun], store: Store, *, listen: bool) -> None:
    """Find what is wrong with a method, a fold or a recording before an hour has gone into the others.

    Raises:
        ConfigError: with all faults.
    """
    rows: set[str] = set()
    parts: set[tuple[int | None, int]] = set()
    faults: dict[str, list[str]] = {}
    for run in waiting:
        part = run.fold, run.seed
        if run.method is None or (run.row in rows and part in parts):
            continue
        config = TrainConfig(**run.config, output_dir=store.work(run.key), overwrite_output_dir=True)
        who = run.row
        try:
            checked = check(config)
            if listen and part not in parts:
                who = run.dataset
                _listen(config, checked, announced=bool(parts))
        except AstuneError as fault:
            faults.setdefault(str(fault), []).append(who)
            listen = listen and who == run.row  # what is broken would be read again for each fold
        rows.add(run.row)
        parts.add(part)
    if faults:
        named = [f"{', '.join(dict.fromkeys(some))}: {fault}" for fault, some in faults.items()]
        raise ConfigError(format_faults(named, "the methods cannot be compared"))


def _listen(config: TrainConfig, checked: Checked, *, announced: bool) -> None:
    """Compute the features of a fold, which its runs then find.

    Raises:
        AudioError: recordings cannot be read.
        DataError: what can be read leaves nothing to test, or nothing of a class to train on.
    """
    listened = listen_as_trained(config, checked)
    for notice in () if announced else listened.notices:
        notify(notice)
    if not listened.split.test:
        where = "the test split" if config.fold is None else f"fold {config.fold}"
        raise DataError(f"no test clip of {where} can be read; repair or remove them")
