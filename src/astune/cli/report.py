"""``astune report``: tables and pictures of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astune.cli.help import add_command


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "report",
        report,
        examples=[
            "astune report table1 --store results",
        ],
    )


def report(
    table: Annotated[str, typer.Argument(help="Name of a table, a comparison or a search, or all of them: all.")],
    *,
    store: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("results"),
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Folder for the report; by default STORE/reports.")
    ] = None,
) -> None:
    """Write a table as Markdown, LaTeX, CSV and one HTML page, with pictures, beside the paper's figures; from the store alone."""
    from astune.console import notify, print_result, shell_word
    from astune.errors import DataError
    from astune.experiments.plan_names import others_of
    from astune.experiments.results import Results
    from astune.experiments.store import Store
    from astune.reporting.report import write_report

    runs_store = Store(store)
    names = runs_store.planned() if table == "all" else [table]
    if not names:
        raise DataError(
            f"{store} holds no plan; run `astune reproduce table1 --store {shell_word(store)}` first, or another table"
        )
    written = []
    for name in names:
        try:
            written += write_report(Results.load(runs_store, name), output_dir or store / "reports")
        except DataError as fault:
            if len(names) == 1:
                raise
            notify(f"left out: {name}: {fault}")
    if not written:
        raise DataError(
            f"{store} holds no finished run; start with `astune reproduce {shell_word(names[0])} --store {shell_word(store)}`"
        )
    for path in written:
        print_result(path)
    if table != "all" and (others := others_of(table, runs_store)):
        notify(f"Note: {store} also has plans of other methods, settings or clips: {', '.join(others)}")
