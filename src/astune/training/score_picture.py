"""The picture beside an adapter: where it errs, from the scores of its run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from astune.canvas import write_figure
from astune.confusion import whole
from astune.errors import ConfigError
from astune.files import write_bytes
from astune.label_plots import draw_label_scores
from astune.plurals import number_of
from astune.printable import printable
from astune.score_plots import draw_confused_pairs, draw_confusion
from astune.tasks import task_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

CONFUSION, PRECISION = "confusion.png", "average_precision.png"
PICTURES = (CONFUSION, PRECISION)
"""Names of the files: of tasks with one label a clip, and with several."""
_MADE_BY = "astune"
_HEAD = 1024  # bytes of a PNG file that hold its text
_WHOLE = 50  # classes of a matrix whose names are read; of more, the pairs that are confused most


def draw_scores(
    scores: Mapping[str, Mapping[str, Any]], labels: Sequence[str], task: str, about: str
) -> tuple[str, Figure] | None:
    """Draw the scores of a run: of the test clips, or of the validation clips where there are none.

    Args:
        scores: by split, as :attr:`astune.training.result.TrainResult.scores` has them.
        labels: of the classes.
        task: name of what was learned.
        about: what was trained, for the title.

    Returns:
        Name of the file, and matplotlib's figure; None where no clips were scored, or the scores have nothing that is drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    split = next((name for name in ("test", "validation") if name in scores), None)
    if split is None:
        return None
    of = scores[split]
    figures = ", ".join(f"{heading} {of[name]:.1%}" for name, heading in task_named(task).shares.items() if name in of)
    title = f"{printable(about)}: {number_of(of['clips'], f'{split} clip')}\n{figures}"
    if "confusion" in of:
        matrix = whole(of["confusion"])
        if len(labels) <= _WHOLE:
            return CONFUSION, draw_confusion(matrix, labels, title)
        return CONFUSION, draw_confused_pairs(
            matrix, labels, f"{title}\npairs of {len(labels):,} classes confused most"
        )
    precision = of.get("average_precision", [])
    if any(value is not None for value in precision):
        absent = sum(value is None for value in precision)
        more = f"\n{number_of(absent, 'label')} without {split} clips" if absent else ""
        return PRECISION, draw_label_scores(labels, [precision], title + more)
    return None


def write_score_picture(
    folder: Path,
    scores: Mapping[str, Mapping[str, Any]],
    labels: Sequence[str],
    task: str,
    about: str,
    *,
    quiet: bool = False,
) -> str | None:
    """Draw the scores of a run and write the picture; the file is whole or not there.

    Args:
        folder: of the adapter.
        scores: by split, as :attr:`astune.training.result.TrainResult.scores` has them.
        labels: of the classes.
        task: name of what was learned.
        about: what was trained, for the title.
        quiet: not to say which letters the font does not have.

    Returns:
        Why there is no picture, where matplotlib is not installed.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        drawn = draw_scores(scores, labels, task, about)
    except ConfigError as fault:  # an extra, and nothing else is worse for its absence
        return f"Note: the folder has no picture of the scores: {fault}"
    if drawn is not None:
        name, figure = drawn
        content = io.BytesIO()
        write_figure(figure, content, quiet=quiet, format="png", dpi=100, metadata={"Software": _MADE_BY})
        write_bytes(folder / name, content.getvalue())
    return None


def foreign_picture(path: Path) -> bool:
    """Whether there is a file under the name of a picture that something else wrote.

    Args:
        path: which need not exist.
    """
    if not path.exists():
        return False
    try:
        with path.open("rb") as file:
            return b"Software\0" + _MADE_BY.encode() not in file.read(_HEAD)
    except OSError:
        return True
