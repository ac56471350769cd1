"""All files of a table's report, from a store alone."""

from __future__ import annotations

from glob import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from astune import markdown
from astune.canvas import save_picture
from astune.console import notify, progress, shell_word
from astune.errors import ConfigError, DataError, explain_write_errors
from astune.files import replacing_files, write_text
from astune.folder_lock import lock_folder
from astune.reporting.grid import grid
from astune.reporting.pictures import PICTURE_NAME, pictures
from astune.reporting.rendered import render
from astune.reporting.tables import comparisons_to_csv, to_csv, to_html, to_latex, to_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from astune.experiments.results import Results


def write_report(results: Results, folder: Path) -> list[Path]:
    """Write Markdown, LaTeX, CSV, one self-contained HTML page, and the pictures as PNG and PDF.

    Args:
        results: of a table.
        folder: made if it is not there; files of an earlier report of this table are replaced.

    Returns:
        The files, the page first. Without matplotlib the pictures are left out, and said to be.

    Raises:
        ConfigError: another process is writing this report there.
        DataError: no run is finished.
        OutputError: the folder cannot be written; what an earlier report left there is as it was.
    """
    name = results.plan.name
    if not results.records:
        compared = results.plan.kind == "comparison"
        verb = (
            "`astune compare` or `astune search` again" if compared else f"`astune reproduce {shell_word(name)}` first"
        )
        raise DataError(f"{results.store.folder} holds no finished run of {name}; run {verb}")
    with explain_write_errors(folder, "make room, or give another folder"), lock_folder(folder, f"{name}.html"):
        with replacing_files(folder, inner=name) as partial:
            names = [file.name for file in _write(results, partial)]
        for old in folder.glob(f"{escape(name)}-*.p[nd][gf]"):
            # Those of a report whose name is longer by some words begin alike: of `words`, and of `words-few`.
            if old.name not in names and PICTURE_NAME.fullmatch(old.stem.removeprefix(f"{name}-")):
                old.unlink()
        return [folder / one for one in names]


def _write(results: Results, folder: Path) -> list[Path]:
    """All files of a report, into an empty folder, the page first."""
    name = results.plan.name
    table = grid(results)
    drawn: list[tuple[str, Path, Path]] = []
    try:
        with progress("Drawing", None) as advance:
            for picture in pictures(results, table):
                advance(1, picture.name)
                drawn.append((picture.caption, *save_picture(picture.figure, folder / f"{name}-{picture.name}")))
    except ConfigError as fault:  # matplotlib is an extra
        notify(f"No pictures: {fault}")
    shown = render(table)
    forms = {
        f"{name}.html": to_html(shown, [(about, png.read_bytes()) for about, png, _ in drawn]),
        f"{name}.md": to_markdown(shown) + "".join(_linked(about, png) for about, png, _ in drawn),
        f"{name}.csv": to_csv(shown),
        f"{name}.tex": to_latex(shown),
        f"{name}-comparisons.csv": comparisons_to_csv(shown),
    }
    for file, text in forms.items():
        write_text(folder / file, text)
    return [*(folder / file for file in forms), *(path for _, *paths in drawn for path in paths)]


def _linked(about: str, png: Path) -> str:
    return f"\n![{markdown.link_text(about)}]({quote(png.name)})\n"
