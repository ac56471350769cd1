"""Average precision of each label as a picture: one row for each label, the easiest on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astune.canvas import COLOURS, LABEL_SIZE, LETTER, drawn, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

_ROW = 0.2  # inches
_ENDS = 30  # labels at each end of a long list; the others are between them
_WIDTH = 4.5  # inches of the bars


def draw_label_scores(labels: Sequence[str], runs: Sequence[Sequence[float | None]], title: str = "") -> Figure:
    """Draw the average precision of each label: the mean of the runs, and a dot for each run.

    Args:
        labels: names, (classes,).
        runs: average precision of each label, 0 to 1, in each run, (runs, classes); None where the run tested no clip of it.
        title: above the bars.

    Returns:
        matplotlib's figure, with an Agg canvas. A label that no run tested has no row. Of many labels, the highest and the lowest ones
        have one, and the axis says so.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    of_label = {
        label: [value for run in runs if (value := run[number]) is not None] for number, label in enumerate(labels)
    }
    means = {label: float(np.mean(values)) for label, values in of_label.items() if values}
    ranked = sorted(means, key=lambda label: (-means[label], label))
    shown = ranked if len(ranked) <= 2 * _ENDS else ranked[:_ENDS] + ranked[-_ENDS:]
    names = [drawn(label) for label in shown]
    figure = new_figure(_WIDTH + LETTER * max(map(len, names), default=0), 1.2 + _ROW * len(shown), title)
    axes = figure.subplots()
    rows = range(len(shown))
    axes.barh(rows, [means[label] for label in shown], color=COLOURS[5], height=0.7)
    for row, label in zip(rows, shown, strict=True):
        if len(of_label[label]) > 1:
            values = of_label[label]
            axes.plot(values, [row] * len(values), linestyle="", marker=".", color=COLOURS[6], markersize=4)
        where = (1.0, float(row))
        text = f"{100 * means[label]:.1f}"
        axes.annotate(text, where, (4, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=LABEL_SIZE)
    axes.set_yticks(rows, names, fontsize=LABEL_SIZE)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    few = f", the {_ENDS} highest and the {_ENDS} lowest of {len(ranked):,} labels" if len(shown) < len(ranked) else ""
    axes.set(xlim=(0, 1), xlabel=f"average precision{few}")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(visible=True, axis="x", alpha=0.3)
    return figure
