"""What all pictures share: matplotlib (extra ``plots``) through its objects alone, so no global state is touched; colours; files."""

from __future__ import annotations

import re
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.console import notify
from astune.errors import ConfigError, explain_write_errors
from astune.extras import install_command, missing_packages
from astune.printable import printable

if TYPE_CHECKING:
    from typing import BinaryIO

    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which all readers can distinguish; without their yellow, which is too pale for lines."""
MARKERS = "osD^vP*X<>pdh"
"""The number of colours that can be distinguished; those as far apart as there are colours look least alike."""
LABEL_SIZE = 8  # points
LETTER = 0.6 * LABEL_SIZE / 72  # inches that a letter takes, generously


_LONGEST, _LONGEST_TITLE = 80, 400  # letters in a picture; a title wraps
_MISSING = re.compile(r"Glyph (\d+) .* missing from")


def drawn(name: object, longest: int = _LONGEST, *, lines: bool = False) -> str:
    r"""A name as matplotlib shows it, in which a dollar sign begins no formula.

    Args:
        name: whatever it holds.
        longest: letters beyond which it is cut, because pictures are as wide as their names.
        lines: whether it may have several.

    Returns:
        ``\$x\$``, which is drawn as ``$x$``.
    """
    text = printable(name, lines=lines)
    return (text if len(text) <= longest else f"{text[:longest]}...").replace("$", r"\$")


def write_figure(figure: Figure, path: Path | BinaryIO, *, quiet: bool = False, **options: Any) -> None:
    """Write a figure; letters that its font does not have are announced, and drawn as boxes.

    Args:
        figure: the figure, as this package draws it.
        path: the file, or one that is open for writing.
        quiet: announce nothing.
        options: options of matplotlib's ``savefig``, with the ``format``.

    Raises:
        OutputError: the system refused.
    """
    with warnings.catch_warnings(record=True) as caught, explain_write_errors(path):
        warnings.simplefilter("always")
        drawn = BytesIO()  # matplotlib's writer of PDF replaces the system's error by an error of its own
        figure.savefig(drawn, **options)
        if isinstance(path, Path):
            path.write_bytes(drawn.getvalue())
        else:
            path.write(drawn.getvalue())
    for one in caught:
        found = _MISSING.match(str(one.message))
        if found and not quiet:
            _say_missing(chr(int(found[1])))
        elif not found:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@cache
def _say_missing(letter: str) -> None:
    """Once, however many pictures have it."""
    notify(
        f"Note: the font of the pictures has no {letter} and shows a box; name one that has it as font.family in a matplotlibrc"
    )


def save_picture(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write a figure for the screen and for print; the same figure gives the same bytes at any time.

    Args:
        figure: the figure, as this package draws it.
        stem: the files without their endings, which are added to whatever it is; the folder must be there.

    Returns:
        Paths of the PNG (150 dots an inch) and of the PDF.
    """
    png, pdf = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf"))
    write_figure(figure, png, format="png", dpi=150)
    write_figure(figure, pdf, format="pdf", metadata={"CreationDate": None})
    return png, pdf


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure with an Agg canvas.

    Args:
        width: width in inches.
        height: height in inches.
        title: above all panels.

    Returns:
        matplotlib's figure.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from astune.plain_figure import PlainFigure

    figure = PlainFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(drawn(title, _LONGEST_TITLE, lines=True), wrap=True)
    return figure


def need_matplotlib() -> None:
    """Refuse to draw without matplotlib.

    Raises:
        ConfigError: it is not installed.
    """
    if missing_packages("matplotlib"):
        raise ConfigError(f"pictures need matplotlib, which is not installed; {install_command('plots')}")
