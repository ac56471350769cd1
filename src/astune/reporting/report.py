"""All files of a table's report, from a store alone."""

from __future__ import annotations

import base64
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from astune import markdown
from astune.console import progress, say
from astune.errors import ConfigError, DataError, OutputError
from astune.files import write_text
from astune.printable import printable
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
    from collections.abc import Mapping, Sequence

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
        OutputError: the folder cannot be written; what an earlier report left there is as it was.
    """
    records = records_of(saved, store)
    if not records:
        raise DataError(
            f"{store.folder} holds no finished run of {saved.name}; run `astune reproduce {saved.name}` first"
        )
    table = grid(saved, records)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=f".{saved.name}-") as partial:
            files = _write(saved, table, records, store, Path(partial))
            for old in folder.glob(f"{escape(saved.name)}-*.p[nd][gf]"):
                old.unlink()
            return [file.replace(folder / file.name) for file in files]
    except OSError as fault:
        reason = fault.strerror or fault
        raise OutputError(
            f"the report cannot be written into {folder}: {reason}; make room, or give another folder"
        ) from fault


def _write(saved: SavedPlan, table: Grid, records: Mapping[str, RunRecord], store: Store, folder: Path) -> list[Path]:
    """All files of a report, into an empty folder, the page first."""
    stem = folder / saved.name
    drawn: list[tuple[str, Path, Path]] = []
    try:
        with progress("Drawing", None) as advance:
            for picture in pictures(saved, table, records, store):
                advance(1, picture.name)
                drawn.append((picture.caption, *save_picture(picture.figure, folder / f"{saved.name}-{picture.name}")))
    except ConfigError as fault:  # matplotlib is an extra
        say(f"No pictures: {fault}")
    forms = {
        stem.with_name(f"{stem.name}.html"): _page(table, [(about, png) for about, png, _ in drawn]),
        stem.with_name(f"{stem.name}.md"): to_markdown(table) + "".join(_linked(about, png) for about, png, _ in drawn),
        stem.with_name(f"{stem.name}.csv"): to_csv(table),
        stem.with_name(f"{stem.name}.tex"): to_latex(table),
        folder / f"{saved.name}-comparisons.csv": comparisons_to_csv(table),
    }
    for path, text in forms.items():
        write_text(path, text)
    return [*forms, *(path for _, *paths in drawn for path in paths)]


def _as_shown(value: object) -> object:
    return printable(value, lines=True) if isinstance(value, str) else value


def _linked(about: str, png: Path) -> str:
    return f"\n![{markdown.link_text(about)}]({quote(png.name)})\n"


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
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_as_shown
    )
    return environment.from_string(_PAGE.read_text(encoding="utf-8")).render(
        table=table, headline=headline(table), caption=caption(table), columns=columns, rows=rows, pictures=shown,
        comparisons=list(comparisons(table)),
    )  # fmt: skip
