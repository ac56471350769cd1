"""Pictures of runs: curves and t-SNE."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from astune.canvas import COLOURS, LABEL_SIZE, LETTER, MARKERS, drawn, new_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Tol's wine and olive and a grey besides, for ten classes of points, which no line style tells apart
_MORE_COLOURS = (*COLOURS, "#882255", "#999999", "#999933")
_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_PANELS_A_ROW = 3
_MARKED = 10  # points of a long curve that have a marker, about; more would hide the line
_NAMED = 60  # labels of a legend; no eye tells more apart


@dataclass(frozen=True)
class Curve:
    """A quantity over another: one line of one panel."""

    label: str
    """What the legend, the colour and the marker say."""
    panel: str
    """Panel that it is drawn in, such as the task."""
    x: tuple[float, ...]
    """Ascending, one or more; above zero where the axis is logarithmic."""
    y: tuple[float, ...]
    """As many as x."""
    low: tuple[float, ...] | None = None
    """Lower bounds of y, as many as x; given together with the upper ones."""
    high: tuple[float, ...] | None = None


def draw_curves(
    curves: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    log_base: int | None = None,
    percent: bool = True,
) -> Figure:
    """Draw lines with markers, and bands where they have bounds; a label looks the same in all panels.

    Up to three panels are in a row, each with its own limits.

    Args:
        curves: of all panels, one or more; up to 20 labels differ in their look.
        x_label: below every panel.
        y_label: beside the first panel of every row.
        title: above all panels.
        log_base: of a logarithmic x axis. With 2, the ticks are the values of x that occur; else powers of it.
            A panel with one x has it as its tick on any axis.
        percent: y is a share, written as per cent.

    Returns:
        matplotlib's figure, with an Agg canvas.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    looks = _looks(curve.label for curve in curves)
    figure, plots = _panels([curve.panel for curve in curves], title, looks, lines=True)
    from matplotlib.ticker import MaxNLocator, NullLocator

    for panel, axes in plots.items():
        shown = [curve for curve in curves if curve.panel == panel]
        ticks = sorted({x for curve in shown for x in curve.x})
        for curve in shown:
            _draw_curve(axes, curve, looks[curve.label])
        if log_base is not None:
            axes.set_xscale("log", base=log_base)
        elif all(float(x).is_integer() for x in ticks):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log_base == 2 or len(ticks) == 1:
            axes.set_xticks(ticks, [np.format_float_positional(x, trim="-") for x in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
        if percent:
            axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.4g}%")  # 0.975 needs a decimal, 0.95 none
            if axes.dataLim.ymin >= 0 and axes.dataLim.ymax <= 1:
                bottom, top = axes.get_ylim()
                axes.set_ylim(max(0, bottom), min(1, top))  # no ticks at shares that cannot be
        axes.set_xlabel(x_label)
        axes.grid(visible=True, axis="y", alpha=0.3)
        subplot = axes.get_subplotspec()
        if subplot is not None and subplot.is_first_col():
            axes.set_ylabel(y_label)
    return figure


def _draw_curve(axes: Axes, curve: Curve, look: _Look) -> None:
    """Bounds are a band, or a bar where there is one x alone."""
    colour, marker, style = look
    every = max(1, len(curve.x) // _MARKED)
    # unclipped, for the markers at 0 and 100 %
    axes.plot(
        curve.x, curve.y, color=colour, marker=marker, linestyle=style, markevery=every, markersize=5, clip_on=False
    )
    if curve.low is None or curve.high is None:
        return
    if len(curve.x) > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0)
    else:
        axes.vlines(curve.x, curve.low, curve.high, color=colour, linewidth=1)


@dataclass(frozen=True, eq=False)  # arrays have no single answer to whether they are equal
class Scatter:
    """Clips as points of a plane: one panel."""

    panel: str
    xy: NDArray[np.float32]
    """(clips, 2)."""
    labels: tuple[str, ...]
    """Class of each clip, (clips,)."""


def draw_scatter(scatters: Sequence[Scatter], title: str = "") -> Figure:
    """Draw embeddings such as t-SNE's, whose axes mean nothing: no ticks, both axes to the same scale.

    Args:
        scatters: one for each panel, one or more; up to ten classes differ in colour and marker.
        title: above all panels.

    Returns:
        matplotlib's figure, with an Agg canvas.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    looks = _looks(sorted({label for scatter in scatters for label in scatter.labels}), _MORE_COLOURS)
    figure, plots = _panels([scatter.panel for scatter in scatters], title, looks, lines=False)
    for scatter in scatters:
        axes, of = plots[scatter.panel], np.asarray(scatter.labels)
        for label, look in looks.items():
            if (of == label).any():
                x, y = scatter.xy[of == label].T
                axes.scatter(x, y, s=22, color=look.colour, marker=look.marker, alpha=0.75, linewidths=0, label=label)
        axes.set(xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
    return figure


class _Look(NamedTuple):
    colour: str
    marker: str
    style: Literal["-", "--", ":", "-."]


def _looks(labels: Iterable[str], colours: Sequence[str] = COLOURS) -> dict[str, _Look]:
    """Of seven colours, the first 28 labels differ in colour or style and the first 91 in colour or marker."""
    return {
        label: _Look(
            colours[number % len(colours)],
            MARKERS[number % len(MARKERS)],
            _STYLES[number // len(colours) % len(_STYLES)],
        )
        for number, label in enumerate(dict.fromkeys(labels))
    }


def _panels(
    panels: Sequence[str], title: str, looks: dict[str, _Look], *, lines: bool
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with its panels by name, in the order of their first mention, and one legend below them all."""
    figure = new_figure(1, 1, title)
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(panels))
    rows = ceil(len(names) / _PANELS_A_ROW)
    columns = ceil(len(names) / rows)
    width = 0.8 + 4.2 * columns
    labels = [drawn(label) for label in list(looks)[:_NAMED]]
    if len(looks) > _NAMED:
        labels[-1] += f" and {len(looks) - _NAMED:,} more"
    fitting = max(1, int(width / (LETTER * (max(map(len, labels)) + 12))))  # 12 letters' width: the swatch and the gaps
    lines_of_legend = ceil(len(labels) / fitting)
    figure.set_size_inches(width, 0.6 + 3.6 * rows + 1.6 * LABEL_SIZE / 72 * lines_of_legend)
    plots = figure.subplots(rows, columns, squeeze=False).flat
    for axes in plots[len(names) :]:
        axes.remove()
    for axes, name in zip(figure.axes, names, strict=True):
        axes.set_title(drawn(name))
    swatches = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.style if lines else "", markersize=5)
        for look in list(looks.values())[:_NAMED]
    ]
    figure.legend(
        swatches,
        labels,
        loc="outside lower center",
        ncols=ceil(len(labels) / lines_of_legend),
        fontsize=LABEL_SIZE,
        handlelength=4 if lines else 1,
    )
    return figure, dict(zip(names, figure.axes, strict=True))
