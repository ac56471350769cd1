"""``astune compare``: which method for my data?"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from astune.cli.help import add_command
from astune.cli.options import (
    CpusPerRunOption,
    DryRunOption,
    FoldsOption,
    GpusPerRunOption,
    RunsOnRayOption,
    RunsSideBySideOption,
    ShardOption,
    StoreOption,
    end_of_runs,
    options_given,
    with_fields,
)
from astune.console import print_note, print_result, results
from astune.data.options import DataOptions
from astune.json_text import json_text
from astune.names import COMPARED_METHODS
from astune.training.config import TrainConfig, settings_where

_DECIDED = set(settings_where(placed=True)) - {"data", *DataOptions.model_fields}
"""Settings that a run's place in the comparison decides."""


_METHODS = [",".join(COMPARED_METHODS)]
_EVERYDAY = (
    "methods",
    "seeds",
    "folds",
    "store",
    "dry_run",
    "as_json",
    "backbone",
    "num_train_epochs",
    "workers",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "compare",
        compare,
        examples=[
            "astune compare recordings --method baseline --method linear --method lora",
            "astune compare recordings --method linear,lora --seeds 3 --dry-run",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


@with_fields(TrainConfig, arguments=["data"], without=_DECIDED)
def compare(
    context: typer.Context,
    *,
    methods: Annotated[
        list[str],
        typer.Option(
            "--method",
            help="Method, or several divided by commas; may be repeated. The method baseline is a logistic regression on log-Mel "
            "statistics, without a network.",
        ),
    ] = _METHODS,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs of each method and fold; by default 1 where there are folds, and 3 where there is one split.",
        ),
    ] = None,
    folds: FoldsOption = None,
    store: StoreOption = Path("results"),
    workers: RunsSideBySideOption = 1,
    shard: ShardOption = None,
    ray: RunsOnRayOption = None,
    gpus_per_run: GpusPerRunOption = 0,
    cpus_per_run: CpusPerRunOption = 1,
    dry_run: DryRunOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan, or the comparison, as JSON.")] = False,
    **fields: Any,
) -> None:
    """Train several methods on your data, over folds or seeds, and say which one to use; stopped, it goes on where it was."""
    from astune.experiments.compare import compare as compare_methods

    settings = options_given(context, fields)
    data = settings.pop("data")
    how: dict[str, Any] = {"methods": ",".join(methods), "seeds": seeds, "folds": folds or ()}
    if dry_run:
        _show_plan(store, as_json=as_json, data=data, **how, **settings)
        return
    found = compare_methods(
        data, **how, store=store, workers=workers, shard=shard, ray=ray, gpus_per_run=gpus_per_run, cpus_per_run=cpus_per_run, **settings
    )  # fmt: skip
    if as_json:
        typer.echo(json_text(found.record()))
    else:
        from astune.experiments.live_table import table_of

        results().print(table_of(found))
        print_result(found.recommendation)
    end_of_runs(found.name, store, found.failures)


def _show_plan(store: Path, *, as_json: bool, **wanted: Any) -> None:
    from astune.cli.reproduce import show_plan
    from astune.experiments.compare import CANNOT_BE_COMPARED, plan_comparison
    from astune.experiments.design import look_ahead
    from astune.experiments.plan import distinct
    from astune.experiments.plan_names import describe_name, name_in_store
    from astune.experiments.runner import fingerprints_of, unfinished
    from astune.experiments.store import Store

    planned = plan_comparison(**wanted)
    runs_store, fingerprints = Store(store), fingerprints_of(planned.runs)
    waiting = unfinished(distinct(planned.runs), runs_store, fingerprints)
    look_ahead(waiting, runs_store, listen=False, headline=CANNOT_BE_COMPARED)
    name = name_in_store(planned.plan, runs_store)
    if as_json:
        runs = [asdict(run.entry) | {"status": runs_store.status(run, fingerprints)} for run in planned.runs]
        typer.echo(json_text({"name": name, "design": planned.plan.notes, "runs": runs}))
        return
    for note in (*filter(None, [describe_name(planned.plan, name, runs_store)]), *planned.plan.notes):
        print_note(note)
    show_plan(
        [(replace(planned.plan, name=name), planned.runs)],
        distinct(planned.runs),
        runs_store,
        fingerprints,
        on_stderr=False,
    )
