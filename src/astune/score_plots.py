"""Pictures of scores: the confusion matrix, the pairs of classes that are confused most, and figures of each label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astune.canvas import COLOURS, LABEL_SIZE, LETTER, drawn, need_matplotlib, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_WIDEST = 20.0  # inches of a matrix: a thousand classes at a line of text each would take gigabytes to draw
_COUNTED = 15  # classes up to which a cell of a confusion matrix has room for its count
_LINE = 0.22  # inches of a bar


def draw_confusion(
    counts: Sequence[Sequence[int]] | NDArray[np.int64], labels: Sequence[str], title: str = ""
) -> Figure:
    """Draw a confusion matrix, coloured by the share of each true class; a cell without clips is white.

    Args:
        counts: clips of true class (row) and predicted class (column), (classes, classes); a row may be all zeros.
        labels: names of the classes, (classes,); with up to 15 the counts are written, and beyond 125 the classes are numbered.
        title: above the matrix.

    Returns:
        matplotlib's figure, with an Agg canvas.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib import colormaps

    clips = np.asarray(counts)
    shares = clips / np.maximum(1, clips.sum(axis=1, keepdims=True))
    cell = 0.45 if len(labels) <= _COUNTED else 0.16  # inches
    side = max(3.0, cell * len(labels))
    shown = [drawn(label) for label in labels]
    if side > _WIDEST:  # there is no room for one line of text per class
        side, shown = _WIDEST / 2, []
    names = LETTER * max(map(len, shown), default=0)
    figure = new_figure(side + names + 1.6, side + names + 1.0, title)
    figure.set_layout_engine("compressed")  # constrained alone cuts off what is next to a square
    axes = figure.subplots()
    colours = colormaps["viridis_r"].with_extremes(bad="white")
    image = axes.imshow(np.ma.masked_equal(shares, 0), cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    if shown:
        ticks = range(len(labels))
        axes.set_xticks(ticks, shown, fontsize=LABEL_SIZE, rotation=90 if names > side / len(labels) else 0)
        axes.set_yticks(ticks, shown, fontsize=LABEL_SIZE)
    by = "" if shown else ", by number of the class"
    axes.set(xlabel=f"predicted{by}", ylabel=f"true{by}")
    figure.colorbar(image, label="share of true class", format="{x:.0%}", fraction=0.05, pad=0.02)
    if len(labels) <= _COUNTED:
        for row, column in np.argwhere(clips):
            luminance = np.array(colours(shares[row, column])[:3]) ** 2.2 @ (0.2126, 0.7152, 0.0722)
            ink = "white" if luminance < 0.18 else "black"  # where both contrast alike
            text = str(clips[row, column])
            axes.text(column, row, text, color=ink, ha="center", va="center", fontsize=LABEL_SIZE)
    return figure


def draw_confused_pairs(
    counts: Sequence[Sequence[int]] | NDArray[np.int64], labels: Sequence[str], title: str = "", most: int = 30
) -> Figure:
    """Draw the pairs of classes that are confused most: for many classes, whose matrix nobody can read.

    Args:
        counts: clips of true class (row) and predicted class (column), (classes, classes).
        labels: names of the classes, (classes,).
        title: above the bars.
        most: pairs, those with the most clips; fewer where fewer are confused.

    Returns:
        matplotlib's figure, with an Agg canvas. A bar is the share of the true class's clips.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    clips = np.asarray(counts)
    of = clips.sum(axis=1)
    wrong = clips - np.diag(clips.diagonal())
    cells = sorted(np.argwhere(wrong).tolist(), key=lambda cell: (-wrong[*cell], -wrong[*cell] / of[cell[0]], *cell))[
        :most
    ]
    return _draw_bars(
        [wrong[*cell] / of[cell[0]] for cell in cells],
        [f"{drawn(labels[true])} → {drawn(labels[predicted])}" for true, predicted in cells],
        [f"{wrong[*cell]:,} of {of[cell[0]]:,}" for cell in cells],
        x_label="share of the clips of the true class (true → predicted)",
        title=title,
        nothing="no clip is confused",
    )


def _draw_bars(
    shares: Sequence[float], names: Sequence[str], notes: Sequence[str], *, x_label: str, title: str, nothing: str
) -> Figure:
    """A horizontal bar for each name, from the top; or a sentence if there are no names."""
    width = 5.0 + LETTER * (max(map(len, names), default=0) + max(map(len, notes), default=0))
    figure = new_figure(width, 1.2 + _LINE * max(len(names), 3), title)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), xlabel=x_label)
    axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.4g}%")
    axes.spines[["top", "right"]].set_visible(False)
    ticks = range(len(names))
    axes.set_yticks(ticks, names, fontsize=LABEL_SIZE)
    if not names:
        axes.text(0.5, 0.5, nothing, ha="center", va="center", transform=axes.transAxes)
        return figure
    axes.invert_yaxis()
    bars = axes.barh(ticks, shares, height=0.7, color=COLOURS[0])
    axes.bar_label(bars, notes, padding=3, fontsize=LABEL_SIZE)
    axes.margins(y=0.01)
    return figure
