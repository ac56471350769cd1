"""All files of a table's report, from a store alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from astune.adapter_file import write_text
from astune.console import progress, say
from astune.errors import ConfigError, DataError
from astune.reporting.canvas import save_picture
from astune.reporting.grid import grid
from astune.reporting.pictures import pictures
from astune.reporting.tables import (
    caption,
    columns_of,
    comparisons,
    comparisons_to_csv,
    figures_of,
    headline,
    parameters_of,
    percent_of,
    seconds_of,
    to_csv,
    to_latex,
    to_markdown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.experiments.store import RunRecord, SavedPlan, Store
    from astune.reporting.grid import Grid

_PAGE = Path(__file__).with_name("page.html")


def records_of(saved: SavedPlan, store: Store) -> dict[str, RunRecord]:
    """The finished runs of a plan; a damaged record is announced and left out.

    Args:
        saved: the plan.
        store: has them.

    Returns:
        By key.
    """
    found = {}
    for key in dict.fromkeys(entry.key for entry in saved.entries):
        if store.path(key).exists():
            try:
                found[key] = store.read(key)
            except DataError as fault:
                say(f"left out: {fault}; `astune reproduce` runs it again")
    return found


def write_report(saved: SavedPlan, store: Store, folder: Path) -> list[Path]:
    """Write Markdown, LaTeX, CSV, one self-contained HTML page, and the pictures as PNG and PDF.

    Args:
        saved: plan of the table.
        store: has the runs.
        folder: made if it is not there; files of an earlier report of this table are replaced.

    Returns:
        The files, the page first. Without matplotlib the pictures are left out, and said to be.

    Raises:
        DataError: no run is finished.
    """
    records = records_of(saved, store)
    if not records:
        raise DataError(
            f"{store.folder} holds no finished run of {saved.name}; run `astune reproduce {saved.name}` first"
        )
    table = grid(saved, records)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / saved.name
    for old in folder.glob(f"{saved.name}-*.p[nd][gf]"):
        old.unlink()
    drawn: list[tuple[str, Path, Path]] = []
    try:
        with progress("Drawing", None) as advance:
            for picture in pictures(saved, table, records, store):
                advance(1, picture.name)
                drawn.append((picture.caption, *save_picture(picture.figure, folder / f"{saved.name}-{picture.name}")))
    except ConfigError as fault:  # matplotlib is an extra
        say(f"No pictures: {fault}")
    forms = {
        stem.with_suffix(".html"): _page(table, [(about, png) for about, png, _ in drawn]),
        stem.with_suffix(".md"): to_markdown(table) + "".join(f"\n![{about}]({png.name})\n" for about, png, _ in drawn),
        stem.with_suffix(".csv"): to_csv(table),
        stem.with_suffix(".tex"): to_latex(table),
        folder / f"{saved.name}-comparisons.csv": comparisons_to_csv(table),
    }
    for path, text in forms.items():
        write_text(path, text)
    return [*forms, *(path for _, *paths in drawn for path in paths)]


def _page(table: Grid, drawn: Sequence[tuple[str, Path]]) -> str:
    columns = columns_of(table)
    rows = []
    for row in table.rows:
        cells = []
        for column in columns:
            value, behind = figures_of(table, row, column)
            cells.append({"value": value, "behind": behind, "place": table.places.get((row.name, column), 0)})
        rows.append(
            {
                "name": row.name,
                "parameters": parameters_of(row),
                "percent": percent_of(row),
                "seconds": seconds_of(table, row),
                "cells": cells,
            }
        )
    shown = [{"caption": about, "data": base64.b64encode(png.read_bytes()).decode("ascii")} for about, png in drawn]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_PAGE.read_text(encoding="utf-8")).render(
        table=table, headline=headline(table), caption=caption(table), columns=columns, rows=rows, pictures=shown,
        comparisons=list(comparisons(table)),
    )  # fmt: skip
