"""``astune search``: which sizes, layer by layer, for a number of trained parameters?"""

from __future__ import annotations

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
    StoreOption,
    end_of_runs,
    options_given,
    with_fields,
)
from astune.console import print_note, print_result, results, results_table, shell_word
from astune.data.options import DataOptions
from astune.json_text import json_text
from astune.names import SEARCHED_METHODS
from astune.training.config import TrainConfig, settings_where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.experiments.searched import SearchResult

_DECIDED = set(settings_where(placed=True)) - {"data", *DataOptions.model_fields}
"""Settings that a training's place in the search decides."""


_METHODS = [",".join(SEARCHED_METHODS)]
_EVERYDAY = (
    "parameters",
    "methods",
    "candidates",
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
        "search",
        search,
        examples=[
            "astune search recordings --parameters 250k --dry-run",
            "astune search recordings --parameters 250k --candidates 27 --workers 4",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


@with_fields(TrainConfig, arguments=["data"], without=_DECIDED)
def search(
    context: typer.Context,
    *,
    parameters: Annotated[str, typer.Option(metavar="N", help="Most trained parameters, such as 250k or 1.2M.")],
    methods: Annotated[
        list[str],
        typer.Option(
            "--method",
            help="Method whose sizes are chosen for each layer, or several divided by commas; may be repeated.",
        ),
    ] = _METHODS,
    candidates: Annotated[int, typer.Option(min=2, help="Configurations that are drawn for each seed.")] = 12,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Searches on each fold; by default 1 where there are folds, and 3 where there is one split."
        ),
    ] = None,
    folds: FoldsOption = None,
    store: StoreOption = Path("results"),
    workers: RunsSideBySideOption = 1,
    ray: RunsOnRayOption = None,
    gpus_per_run: GpusPerRunOption = 0,
    cpus_per_run: CpusPerRunOption = 1,
    dry_run: DryRunOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan, or what was found, as JSON.")] = False,
    **fields: Any,
) -> None:
    """Choose the sizes of LoRA, adapters and prompts for each layer, within a number of parameters; stopped, it goes on where it was."""
    from astune.experiments.search import search as search_sizes

    settings = options_given(context, fields)
    how: dict[str, Any] = {
        "data": settings.pop("data"), "parameters": parameters, "methods": ",".join(methods), "candidates": candidates,
        "seeds": seeds, "folds": folds or (),
    }  # fmt: skip
    if dry_run:
        _show_plan(store, as_json=as_json, **how, **settings)
        return
    found = search_sizes(
        **how, store=store, workers=workers, ray=ray, gpus_per_run=gpus_per_run, cpus_per_run=cpus_per_run, **settings
    )
    if as_json:
        typer.echo(json_text(found.record()))
    else:
        _show(found)
    end_of_runs(found.name, store, found.failures)


def _show_plan(store: Path, *, as_json: bool, **wanted: Any) -> None:
    from astune.experiments.plan_names import describe_name, name_in_store
    from astune.experiments.search_plan import plan_search
    from astune.experiments.store import Store

    planned = plan_search(**wanted)
    runs_store = Store(store)
    planned.refuse_faults(runs_store, listen=False)
    name = name_in_store(planned.draft, runs_store)
    if as_json:
        typer.echo(json_text(planned.record() | {"name": name}))
        return
    if note := describe_name(planned.draft, name, runs_store):
        print_note(note)
    for note in planned.notes:
        print_note(note)
    print_result(f"Budget: {planned.space.budget:,} trained parameters; {planned.size}")


def _show(found: SearchResult) -> None:
    _print_table(found.rung_headings, found.rung_cells(), 3)
    _print_table(found.found_headings, found.found_cells(), 3)
    for name, spec in found.specs():
        print_result(f"{name}: --method {shell_word(spec)}")
    print_result(found.verdict)


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    table = results_table(list(headings[:left]), list(headings[left:]))
    for cells in rows:
        table.add_row(*cells)
    results().print(table)
