"""Accuracies as pictures: a row a method, and against the number of trained parameters; with intervals, a panel a data set."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from astune.canvas import (
    COLOURS,
    LABEL_SIZE,
    LETTER,
    MARKERS,
    drawn,
    need_matplotlib,
    new_figure,
    write_figure,
)
from astune.errors import explain_write_errors
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL_GAP = 0.05  # of a panel's width, between upright labels
_BESIDE = 0.03  # decades between the series of one method, so that their intervals stand side by side
_ROW = 0.24  # inches
_PANEL = 3.4  # inches, of a panel with a row a method


@strict_constructor
@dataclass(frozen=True)
class Point:
    """A method's accuracy, or another share, at its number of parameters."""

    method: str
    parameters: int
    """Trained; at least one."""
    accuracy: float
    """In 0 to 1, as are its bounds."""
    low: float
    high: float
    series: str
    """What the legend and the colours distinguish, such as the backbone."""
    panel: str
    """Panel that it is drawn in, such as the task."""


def accuracy_against_parameters(
    points: Sequence[Point], path: Path, title: str = "", measure: str = "accuracy"
) -> None:
    """Write the picture of :func:`draw_accuracy_against_parameters`.

    Args:
        points: of all panels and series.
        path: PNG to write; its folder must be there.
        title: above all panels.
        measure: what was measured on the test clips.

    Raises:
        ConfigError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    _write(draw_accuracy_against_parameters(points, title, measure), path)


def draw_accuracy_against_parameters(points: Sequence[Point], title: str = "", measure: str = "accuracy") -> Figure:
    """Draw accuracy over the logarithm of the trained parameters, a panel beside the other, with intervals.

    Args:
        points: of all panels and series, one or more.
        title: above all panels.
        measure: what was measured on the test clips.

    Returns:
        matplotlib's figure, with an Agg canvas.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.lines import Line2D

    panels, series, methods = (
        list(dict.fromkeys(getattr(point, name) for point in points)) for name in ("panel", "series", "method")
    )
    markers = {method: MARKERS[number % len(MARKERS)] for number, method in enumerate(methods)}
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(series)}
    room = 0.6 * LABEL_SIZE * max(len(drawn(method)) for method in methods) + 20  # points of upright labels and markers
    figure = new_figure(1 + 5 * len(panels), max(5.5, 3.5 + room / 72), title)
    plots: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axes, panel in zip(plots, panels, strict=True):
        axes.set(xscale="log", xlabel="trained parameters", ylim=(_tenth_below(points), 1))
        if len({point.parameters for point in points}) == 1:  # limits that are equal are none
            axes.set_xlim(points[0].parameters / 2, points[0].parameters * 2)
        axes.set_title(drawn(panel), pad=room)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.grid(visible=True, axis="y", alpha=0.3)
        for point in points:
            if point.panel == panel:
                beside = 10 ** (_BESIDE * (series.index(point.series) - (len(series) - 1) / 2))
                _draw(axes, point, point.parameters * beside, markers[point.method], colours[point.series])
    plots[0].set_ylabel(_axis(points, measure))
    swatches = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=drawn(name)) for name in series]
    if len(series) > 1:
        figure.legend(handles=swatches, loc="outside lower center", ncols=len(series))
    for axes, panel in zip(plots, panels, strict=True):  # once the shared x axis has its limits
        _label(axes, [point for point in points if point.panel == panel], markers)
    return figure


def _draw(axes: Axes, point: Point, x: float, marker: str, colour: str) -> None:
    axes.errorbar(x, point.accuracy, _reach(point), fmt=marker, color=colour, capsize=2, elinewidth=1, alpha=0.85)


def _label(axes: Axes, points: Sequence[Point], markers: dict[str, str]) -> None:
    """Upright names above the panel, moved apart as little as needed, each with its marker and a line to its highest point."""
    from scipy.optimize import isotonic_regression

    highest = {point.method: point for point in sorted(points, key=lambda point: point.high)}
    ordered = sorted(highest.values(), key=lambda point: point.parameters)
    axes.get_xlim()  # settles the limits, which transLimits takes as they were
    wanted = axes.transLimits.transform([(np.log10(point.parameters), 0.0) for point in ordered])[:, 0]
    steps = _LABEL_GAP * np.arange(len(ordered))
    # least squares under x[k + 1] >= x[k] + gap
    label_xs = np.clip(isotonic_regression(wanted - steps).x, 0, max(0.0, 1 - steps[-1])) + steps
    for point, x in zip(ordered, label_xs, strict=True):
        axes.plot(x, 1.03, markers[point.method], color="0.4", transform=axes.transAxes, clip_on=False)
        axes.annotate(
            drawn(point.method),
            xy=(point.parameters, point.high),
            xytext=(x, 1.06),
            textcoords="axes fraction",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=LABEL_SIZE,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "0.6", "zorder": 0, "relpos": (0.5, 0)},
        )


def accuracies_by_method(points: Sequence[Point], path: Path, title: str = "", measure: str = "accuracy") -> None:
    """Write the picture of :func:`draw_accuracies`.

    Args:
        points: one or more, each method at most once in a panel and series.
        path: PNG to write; its folder must be there.
        title: above all panels.
        measure: what was measured on the test clips.

    Raises:
        ConfigError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    _write(draw_accuracies(points, title, measure), path)


def _write(figure: Figure, path: Path) -> None:
    with explain_write_errors(path, "make room, or give another folder"):
        write_figure(figure, path, format="png", dpi=150)


def draw_accuracies(points: Sequence[Point], title: str = "", measure: str = "accuracy") -> Figure:
    """Draw a row for each method and a panel for each data set: accuracy with its interval, and its figure in percent.

    Args:
        points: one or more, each method at most once in a panel and series.
        title: above all panels.
        measure: what was measured on the test clips.

    Returns:
        matplotlib's figure, with an Agg canvas.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.lines import Line2D

    methods, panels, series = (
        list(dict.fromkeys(getattr(point, name) for point in points)) for name in ("method", "panel", "series")
    )
    names = [drawn(method) for method in methods]
    width = LETTER * max(map(len, names)) + _PANEL * len(panels)
    height = _ROW * (1 + 0.6 * (len(series) - 1)) * len(methods)
    figure = new_figure(max(width, LETTER * 60), 1.2 + height + 0.3 * (len(series) > 1), title)
    plots: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axes, panel in zip(plots, panels, strict=True):
        axes.set_title(drawn(panel))
        axes.set(xlim=(_tenth_below(points), 1), xlabel=_axis(points, measure))
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.set_yticks(range(len(methods)), names, fontsize=LABEL_SIZE)
        axes.set_ylim(len(methods) - 0.5, -0.5)  # the first on top
        axes.grid(visible=True, axis="both" if len(series) == 1 else "x", alpha=0.3)
        for point in points:
            if point.panel == panel:
                number = series.index(point.series)
                row = methods.index(point.method) + (number + 0.5) / len(series) - 0.5
                _draw_row(axes, point, row, number)
        for border in range(1, len(methods) if len(series) > 1 else 0):
            axes.axhline(border - 0.5, color="0.85", linewidth=0.8, zorder=0)
    if len(series) > 1:
        swatches = [
            Line2D([], [], color=COLOURS[number], marker=MARKERS[number], linestyle="", label=drawn(name))
            for number, name in enumerate(series)
        ]
        figure.legend(handles=swatches, loc="outside lower center", ncols=len(series))
    return figure


def _draw_row(axes: Axes, point: Point, row: float, series: int) -> None:
    """One point with its interval, and its figure right of the panel, level with it."""
    colour = COLOURS[series % len(COLOURS)]
    marker = MARKERS[series % len(MARKERS)]
    axes.errorbar(
        point.accuracy, row, xerr=_reach(point), fmt=marker, color=colour, capsize=2, elinewidth=1, clip_on=False
    )
    axes.annotate(
        f"{100 * point.accuracy:.1f}", (1, row), (6, 0), ("axes fraction", "data"), "offset points",
        va="center", fontsize=LABEL_SIZE, color="black" if series == 0 else colour,
    )  # fmt: skip


def _axis(points: Sequence[Point], measure: str) -> str:
    """What an axis shows; runs of some tasks have no interval."""
    return f"test {measure}" + (", 95 % interval" if any(point.low < point.high for point in points) else "")


def _tenth_below(points: Sequence[Point]) -> float:
    """Where an axis of accuracies begins: room for what differs."""
    return min(floor(10 * min(point.low for point in points)) / 10, 0.9)


def _reach(point: Point) -> list[list[float]]:
    """Lengths below and above the accuracy, which may be outside of Wilson's interval by a rounding error."""
    return [[max(0.0, point.accuracy - point.low)], [max(0.0, point.high - point.accuracy)]]
