"""``astune reproduce``: a table of the paper, or of one's own, from plan to figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
)
from astune.console import notify, print_result, results, results_table, shell_word, stderr_console
from astune.json_text import json_text
from astune.names import PUBLISHED_BACKBONE
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.experiments.plan import PlannedRun
    from astune.experiments.records import SavedPlan
    from astune.experiments.store import Store
    from astune.reporting.grid import Grid


_EVERYDAY = (
    "data_root",
    "store",
    "seeds",
    "only",
    "datasets",
    "folds",
    "dry_run",
    "as_json",
    "workers",
    "limit_clips",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "reproduce",
        reproduce,
        examples=[
            "astune reproduce table1 --data-root data --dry-run",
            "astune reproduce table1 --row LoRA --dataset esc50",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


def reproduce(
    table: Annotated[
        str, typer.Argument(help="table1 to table7, figure2 to figure4, all, or a YAML file of your own.")
    ],
    *,
    data_root: Annotated[Path, typer.Option(help="Folder of the data sets, each under its name.")] = Path("data"),
    store: StoreOption = Path("results"),
    backbone: Annotated[
        str | None,
        typer.Option(
            help=f"As for `astune train`. By default the one that the experiment states, or else {PUBLISHED_BACKBONE}."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs of each fold, with seeds 0, 1, ... By default what the experiment states, or else 1."
        ),
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Use the setting of the published code, which made the figures printed in the paper: no position "
            "embeddings, its initial weights, the last epoch.",
        ),
    ] = False,
    epochs: Annotated[
        int | None, typer.Option("--num-train-epochs", min=1, help="Epochs of all rows, instead of the recipe's.")
    ] = None,
    limit_clips: Annotated[
        int | None, typer.Option(min=1, help="Trial run on this many clips of each split; not a result.")
    ] = None,
    with_baseline: Annotated[
        bool, typer.Option("--with-baseline", help="One row more: logistic regression on log-Mel statistics.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--row", help="Row to run; may be repeated. The baseline is a row too.")
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="Data set of the table, or layout:PATH of your own; may be repeated."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE,VALUE: a column for each, of a setting or a field of the methods, such as "
            "position_embeddings=fit,zero, selection=best-validation,last or init=identity,normal."
        ),
    ] = None,
    folds: FoldsOption = None,
    workers: RunsSideBySideOption = 1,
    shard: ShardOption = None,
    ray: RunsOnRayOption = None,
    gpus_per_run: GpusPerRunOption = 0,
    cpus_per_run: CpusPerRunOption = 1,
    dry_run: DryRunOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan, or the results, as JSON.")] = False,
) -> None:
    """Run what is missing of a table and show it; stopped, it goes on where it was."""
    from astune.errors import ConfigError, format_list
    from astune.experiments.plan import PlanOptions, distinct, plan, shard_of, to_saved_plan
    from astune.experiments.results import Results
    from astune.experiments.runner import fingerprints_of, pending_runs, run_here, run_on_ray
    from astune.experiments.store import Store
    from astune.experiments.table import load_table, shipped_tables, varied
    from astune.reporting.grid import grid

    if ray is not None and (shard is not None or workers > 1):
        raise ConfigError("--ray shares the runs out itself; give it without --workers and --shard")
    given = {"num_train_epochs": epochs, "limit_clips": limit_clips}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    options = PlanOptions(
        data_root, backbone, seeds, settings, tuple(only or ()), tuple(datasets or ()), tuple(folds or ()),
        dict(map(varied, vary or ())), needs_data=not dry_run, with_baseline=with_baseline, as_published=as_published,
    )  # fmt: skip
    tables = [load_table(name) for name in (shipped_tables() if table == "all" else [table])]
    named = [(options.name_of(name), one) for name, one in tables]
    plans = [
        (to_saved_plan(name, one, runs, as_published=as_published), runs)
        for name, one in named
        for runs in [plan(name, one, options)]
    ]
    runs = [run for _, planned in plans for run in planned]
    share = shard_of(distinct(runs), shard)
    runs_store = Store(store)
    fingerprints = fingerprints_of(runs)
    if dry_run and as_json:
        status = {run.key: runs_store.status(run, fingerprints) for run in distinct(runs)}
        typer.echo(json_text([{"table": r.table, **asdict(r.entry), "status": status[r.key]} for r in runs]))
        return
    show_plan(plans, share, runs_store, fingerprints, on_stderr=not dry_run)
    if dry_run:
        return
    waiting = pending_runs(share, runs_store, fingerprints)
    for one, _ in plans:
        runs_store.write_plan(one)
    failures = (
        run_on_ray(waiting, runs_store, ray, gpus_per_run, cpus_per_run)
        if ray
        else run_here(waiting, runs_store, workers)
    )
    grids = [grid(Results.of(one, runs_store)) for one, _ in plans]
    _show_results(grids, as_json=as_json)
    name = shell_word(plans[0][0].name) if len(plans) == 1 else "all"
    notify(f"Tables, pictures and comparisons: astune report {name} --store {shell_word(store)}")
    if failures:
        failed = f"{number_of(len(failures), 'run')} failed"
        notify(f"error: {format_list([str(failure) for failure in failures], failed)}")
        raise typer.Exit(1)


def show_plan(
    plans: Sequence[tuple[SavedPlan, Sequence[PlannedRun]]],
    share: Sequence[PlannedRun],
    store: Store,
    fingerprints: Mapping[str, str],
    *,
    on_stderr: bool,
) -> None:
    """Print what is planned, one row in each line, and how many runs are missing.

    Args:
        plans: with their runs.
        share: of the distinct runs, those to be run here.
        store: may have some.
        fingerprints: of the backbones as they are now.
        on_stderr: whether results follow on stdout.
    """
    from astune.experiments.plan import distinct

    runs = [run for _, planned in plans for run in planned]
    status = {run.key: store.status(run, fingerprints) for run in distinct(runs)}
    console = stderr_console() if on_stderr else results()
    for one, planned in plans:
        lines = [((run.row, run.spec, run.parameters, run.percent_of_full), run.key) for run in planned]
        rows = Counter(line for line, _ in lines)
        done = Counter(line for line, key in lines if status[key] == "done")
        console.print(printable(f"{one.name}: {one.title}"), style="bold", soft_wrap=True)
        shown = results_table(["row", "method"], ["parameters", "% of full", "runs", "done"])
        for line, count in rows.items():
            row, spec, parameters, percent = line
            shown.add_row(row, spec, f"{parameters:,}", f"{percent:.2f}", str(count), str(done[line]))
        console.print(shown)
    missing = sum(status[run.key] != "done" for run in share)
    console.print(f"{number_of(len(runs), 'run')}, {len(status):,} distinct; {missing} to run here")


def _show_results(grids: Sequence[Grid], *, as_json: bool) -> None:
    if as_json:
        found = [
            {"table": table.plan.name, "row": row.name, "column": column, "mean": cell.mean, "deviation": cell.deviation,
             "interval": cell.interval, "runs": len(cell.scores), "planned": cell.planned, "parameters": cell.parameters,
             "printed": table.printed(row.name, column), "unlike_the_paper": table.unlike_the_paper}
            for table in grids for row in table.rows for column, cell in row.cells.items()
        ]  # fmt: skip
        typer.echo(json_text(found))
        return
    from rich.text import Text

    from astune.reporting.rendered import render

    marks = {1: "bold", 2: "underline"}
    console = results()
    for table in map(render, grids):
        console.print(printable(table.headline), style="bold", soft_wrap=True)
        shown = results_table(["row", "parameters", *table.columns])
        for row in table.rows:
            cells = [
                Text.assemble((cell.value, marks.get(cell.rank, "")), f" {cell.details}" * bool(cell.details))
                for cell in row.cells
            ]
            shown.add_row(row.name, row.parameters, *cells)
        console.print(shown)
        for line in (
            table.summary,
            *table.ran,
            *(f"Difference from the paper: {line}" for line in table.unlike_the_paper),
        ):
            print_result(line)
