"""``astune reproduce``: a table of the paper, or of one's own, from plan to figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.names import PUBLISHED_BACKBONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.experiments.plan import PlannedRun
    from astune.experiments.runner import Failure
    from astune.experiments.store import Store


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("reproduce", epilog="Example: `astune reproduce table1 --data-root data --dry-run`")(reproduce)


def reproduce(
    table: Annotated[
        str, typer.Argument(help="table1 to table7, figure2 to figure4, all, or a YAML file of your own.")
    ],
    *,
    data_root: Annotated[Path, typer.Option(help="Folder of the data sets, each under its name.")] = Path("data"),
    store: Annotated[Path, typer.Option(help="Where finished runs are kept, a JSON each.")] = Path("results"),
    backbone: Annotated[str, typer.Option(help="As for `astune train`.")] = PUBLISHED_BACKBONE,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each fold, with seeds 0, 1, ...")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's, for all rows alike.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A row; may be given several times.")] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option(help="A data set of the table, or layout:PATH of your own; may be given several times."),
    ] = None,
    folds: Annotated[list[int] | None, typer.Option(help="A test fold; may be given several times.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan, or the results, as JSON.")] = False,
) -> None:
    """Run what is missing of a table and show it; stopped, it goes on where it was."""
    from astune.backbone import load_backbone, origin_of
    from astune.backbone.load import RANDOM_BACKBONES
    from astune.experiments.plan import PlanOptions, distinct, plan
    from astune.experiments.runner import run_missing
    from astune.experiments.store import Store
    from astune.experiments.table import load_table, shipped_tables
    from astune.names import BUNDLED_BACKBONE

    settings: dict[str, Any] = {} if epochs is None else {"num_train_epochs": epochs}
    options = PlanOptions(
        data_root, backbone, seeds, settings, tuple(only or ()), tuple(datasets or ()), tuple(folds or ())
    )
    names = list(shipped_tables()) if table == "all" else [table]
    runs = [run for name in names for run in plan(*load_table(name), options)]
    place = Store(store)
    # Of a hub's backbone the weights are not asked for before they are needed.
    local = backbone in {BUNDLED_BACKBONE, *RANDOM_BACKBONES} or Path(backbone).is_dir()
    fingerprint = origin_of(load_backbone(backbone)).fingerprint if local and not dry_run else None
    if dry_run:
        _show_plan(runs, place, as_json=as_json)
        return
    failures = run_missing(distinct(runs), place, workers=workers, fingerprint=fingerprint)
    _show_results(runs, place, as_json=as_json)
    if failures:
        _report(failures)
        raise typer.Exit(1)


def _show_plan(runs: Sequence[PlannedRun], store: Store, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([run.record() | {"status": store.status(run, None)} for run in runs]))
        return
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from astune.experiments.plan import distinct

    shown = Table("table", "row", "method", "parameters", "% of full", "runs", "done")
    rows = Counter((run.table, run.row, run.method.spec, run.parameters, run.percent_of_full) for run in runs)
    done = Counter((run.table, run.row) for run in runs if store.status(run, None) == "done")
    for (table, row, spec, parameters, percent), count in rows.items():
        shown.add_row(table, row, spec, f"{parameters:,}", f"{percent:.2f}", str(count), str(done[table, row]))
    console = Console()
    console.print(shown)
    missing = sum(store.status(run, None) != "done" for run in distinct(runs))
    console.print(f"{len(runs)} runs, {len(distinct(runs))} of them distinct, {missing} to run")


def _show_results(runs: Sequence[PlannedRun], store: Store, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from astune.reporting.aggregate import cells

    records = {run.key: store.read(run.key) for run in runs if store.status(run, None) == "done"}
    for name in dict.fromkeys(run.table for run in runs):
        found = cells([run for run in runs if run.table == name], records)
        if as_json:
            rows = [
                {"table": name, "row": row, "column": column, "mean": cell.mean, "deviation": cell.deviation,
                 "interval": cell.interval, "runs": len(cell.accuracies), "planned": cell.planned, "parameters": cell.parameters}
                for (row, column), cell in found.items()
            ]  # fmt: skip
            typer.echo(json.dumps(rows))
            continue
        shown = Table(
            "row", "column", "parameters", "test accuracy", "95 % interval", "runs", title=name, title_justify="left"
        )
        for (row, column), cell in found.items():
            spread = f" ± {100 * cell.deviation:.1f}" if cell.deviation is not None else ""
            interval = "to".join(f" {100 * end:.1f} " for end in cell.interval).strip() if cell.interval else "-"
            accuracy = f"{100 * cell.mean:.1f}{spread}"
            shown.add_row(
                row, column, f"{cell.parameters:,}", accuracy, interval, f"{len(cell.accuracies)} of {cell.planned}"
            )
        Console().print(shown)


def _report(failures: Sequence[Failure]) -> None:
    from astune.console import say
    from astune.errors import listing

    reasons = [f"{f.run.row}, {f.run.column}, fold {f.run.fold}, seed {f.run.seed}: {f.reason}" for f in failures]
    say(f"error: {listing(reasons, 'runs failed')}")
