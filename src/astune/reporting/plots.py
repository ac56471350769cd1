"""Pictures of results; they need matplotlib (extra ``plots``), through its objects alone, so no global state is touched."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from astune.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's, told apart by all eyes; without their yellow, which is too pale for lines
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Tol's wine and olive and a grey besides, for ten classes of points, which no line style tells apart
_MORE_COLOURS = (*_COLOURS, "#882255", "#999999", "#999933")
_MARKERS = "osD^vP*X<>pdh"  # as many as are told apart; those as far apart as there are colours look least alike
_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_LABEL_GAP = 0.05  # of a panel's width, between upright labels
_LABEL_SIZE = 8  # points
_LETTER = 0.6 * _LABEL_SIZE / 72  # inches that a letter takes, generously
_BESIDE = 0.03  # decades between the series of one method, so that their intervals stand side by side
_PANELS_A_ROW = 3
_MARKED = 10  # points of a long curve that have a marker, about; more would hide the line
_COUNTED = 15  # classes up to which a cell of a confusion matrix has room for its count


def save_picture(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write a figure for the screen and for print; the same figure gives the same bytes at any time.

    Args:
        figure: as the functions here draw it.
        stem: the files without their endings, which are added to whatever it is; the folder must be there.

    Returns:
        Paths of the PNG (150 dots an inch) and of the PDF.
    """
    png, pdf = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf"))
    figure.savefig(png, format="png", dpi=150)
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return png, pdf


@dataclass(frozen=True)
class Point:
    """A method's accuracy at its number of parameters."""

    method: str
    parameters: int
    """Trained; at least one."""
    accuracy: float
    """In 0 to 1, as are its bounds."""
    low: float
    high: float
    series: str
    """What the legend and the colours tell apart, such as the backbone."""
    panel: str
    """Which plot it stands in, such as the task."""


def accuracy_against_parameters(points: Sequence[Point], path: Path, title: str = "") -> None:
    """Write the picture of :func:`draw_accuracy_against_parameters`.

    Args:
        points: of all panels and series.
        path: PNG to write; its folder must be there.
        title: above all panels.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    draw_accuracy_against_parameters(points, title).savefig(path, format="png", dpi=150)


def draw_accuracy_against_parameters(points: Sequence[Point], title: str = "") -> Figure:
    """Draw accuracy over the logarithm of the trained parameters, a panel beside the other, with intervals.

    Args:
        points: of all panels and series, one or more.
        title: above all panels.

    Returns:
        matplotlib's figure, with an Agg canvas.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    _need_matplotlib()
    from matplotlib.lines import Line2D

    panels, series, methods = (
        list(dict.fromkeys(getattr(point, name) for point in points)) for name in ("panel", "series", "method")
    )
    markers = {method: _MARKERS[number % len(_MARKERS)] for number, method in enumerate(methods)}
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(series)}
    figure = _figure(1 + 5 * len(panels), 5.5, title)
    plots: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    bottom = min(floor(10 * min(point.low for point in points)) / 10, 0.9)  # as in 0.5: room for what differs
    room = 0.6 * _LABEL_SIZE * max(map(len, methods)) + 20  # points that upright labels take, and their markers
    for axes, panel in zip(plots, panels, strict=True):
        axes.set(xscale="log", xlabel="trained parameters", ylim=(bottom, 1))
        axes.set_title(panel, pad=room)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.grid(visible=True, axis="y", alpha=0.3)
        for point in points:
            if point.panel == panel:
                beside = 10 ** (_BESIDE * (series.index(point.series) - (len(series) - 1) / 2))
                _draw(axes, point, point.parameters * beside, markers[point.method], colours[point.series])
    plots[0].set_ylabel("test accuracy, 95 % interval")
    swatches = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in series]
    if len(series) > 1:
        figure.legend(handles=swatches, loc="outside lower center", ncols=len(series))
    for axes, panel in zip(plots, panels, strict=True):  # once the shared x axis has its limits
        _label(axes, [point for point in points if point.panel == panel], markers)
    return figure


def _draw(axes: Axes, point: Point, x: float, marker: str, colour: str) -> None:
    """A marker with its interval; in Wilson's, the accuracy may lie a rounding error outside."""
    below, above = max(0.0, point.accuracy - point.low), max(0.0, point.high - point.accuracy)
    axes.errorbar(x, point.accuracy, [[below], [above]], fmt=marker, color=colour, capsize=2, elinewidth=1, alpha=0.85)


def _label(axes: Axes, points: Sequence[Point], markers: dict[str, str]) -> None:
    """Upright names above the panel, moved apart as little as needed, each with its marker and a line to its highest point."""
    from scipy.optimize import isotonic_regression

    highest = {point.method: point for point in sorted(points, key=lambda point: point.high)}
    ordered = sorted(highest.values(), key=lambda point: point.parameters)
    axes.get_xlim()  # settles the limits, which transLimits takes as they were
    wanted = axes.transLimits.transform([(np.log10(point.parameters), 0.0) for point in ordered])[:, 0]
    steps = _LABEL_GAP * np.arange(len(ordered))
    # least squares under place[k + 1] >= place[k] + gap
    places = np.clip(isotonic_regression(wanted - steps).x, 0, max(0.0, 1 - steps[-1])) + steps
    for point, place in zip(ordered, places, strict=True):
        axes.plot(place, 1.03, markers[point.method], color="0.4", transform=axes.transAxes, clip_on=False)
        axes.annotate(
            point.method,
            xy=(point.parameters, point.high),
            xytext=(place, 1.06),
            textcoords="axes fraction",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=_LABEL_SIZE,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "0.6", "zorder": 0, "relpos": (0.5, 0)},
        )


@dataclass(frozen=True)
class Curve:
    """A quantity over another: one line of one panel."""

    label: str
    """What the legend, the colour and the marker say."""
    panel: str
    """Which plot it stands in, such as the task."""
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

    Up to three panels stand in a row, each with limits of its own.

    Args:
        curves: of all panels, one or more; up to 20 labels are told apart.
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
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
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


def draw_confusion(counts: Sequence[Sequence[int]], labels: Sequence[str], title: str = "") -> Figure:
    """Draw a confusion matrix, coloured by the share of each true class; white is no clip at all.

    Args:
        counts: clips of true class (row) and predicted class (column), (classes, classes); a row may be all zeros.
        labels: names of the classes, (classes,); up to about 50 are readable, and with up to 15 the counts are written.
        title: above the matrix.

    Returns:
        matplotlib's figure, with an Agg canvas.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    _need_matplotlib()
    from matplotlib import colormaps

    clips = np.asarray(counts)
    shares = clips / np.maximum(1, clips.sum(axis=1, keepdims=True))
    cell = 0.45 if len(labels) <= _COUNTED else 0.16  # inches
    names = _LETTER * max(map(len, labels))
    side = max(3.0, cell * len(labels))
    figure = _figure(side + names + 1.6, side + names + 1.0, title)
    figure.set_layout_engine("compressed")  # constrained alone cuts off what stands beside a square
    axes = figure.subplots()
    colours = colormaps["viridis_r"].with_extremes(bad="white")
    image = axes.imshow(np.ma.masked_equal(shares, 0), cmap=colours, vmin=0, vmax=1)
    places = range(len(labels))
    axes.set_xticks(places, labels, fontsize=_LABEL_SIZE, rotation=90 if names > side / len(labels) else 0)
    axes.set_yticks(places, labels, fontsize=_LABEL_SIZE)
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(image, label="share of true class", format="{x:.0%}", fraction=0.05, pad=0.02)
    if len(labels) <= _COUNTED:
        for row, column in np.argwhere(clips):
            luminance = np.array(colours(shares[row, column])[:3]) ** 2.2 @ (0.2126, 0.7152, 0.0722)
            ink = "white" if luminance < 0.18 else "black"  # where both contrast alike
            text = str(clips[row, column])
            axes.text(column, row, text, color=ink, ha="center", va="center", fontsize=_LABEL_SIZE)
    return figure


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
        scatters: a panel each, one or more; up to ten classes are told apart by colour and marker.
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


def _looks(labels: Iterable[str], colours: Sequence[str] = _COLOURS) -> dict[str, _Look]:
    """Of seven colours, the first 28 labels differ in colour or style and the first 91 in colour or marker."""
    return {
        label: _Look(
            colours[number % len(colours)],
            _MARKERS[number % len(_MARKERS)],
            _STYLES[number // len(colours) % len(_STYLES)],
        )
        for number, label in enumerate(dict.fromkeys(labels))
    }


def _panels(
    panels: Sequence[str], title: str, looks: dict[str, _Look], *, lines: bool
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with its panels by name, in the order of their first mention, and one legend below them all."""
    figure = _figure(1, 1, title)
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(panels))
    rows = ceil(len(names) / _PANELS_A_ROW)
    columns = ceil(len(names) / rows)
    width = 0.8 + 4.2 * columns
    fitting = max(1, int(width / (_LETTER * (max(map(len, looks)) + 12))))  # 12 letters' width: the swatch and the gaps
    lines_of_legend = ceil(len(looks) / fitting)
    figure.set_size_inches(width, 0.6 + 3.6 * rows + 1.6 * _LABEL_SIZE / 72 * lines_of_legend)
    plots = figure.subplots(rows, columns, squeeze=False).flat
    for axes in plots[len(names) :]:
        axes.remove()
    for axes, name in zip(figure.axes, names, strict=True):
        axes.set_title(name)
    swatches = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.style if lines else "", markersize=5)
        for look in looks.values()
    ]
    figure.legend(
        swatches,
        list(looks),
        loc="outside lower center",
        ncols=ceil(len(looks) / lines_of_legend),
        fontsize=_LABEL_SIZE,
        handlelength=4 if lines else 1,
    )
    return figure, dict(zip(names, figure.axes, strict=True))


def _figure(width: float, height: float, title: str) -> Figure:
    """With an Agg canvas; sizes in inches."""
    _need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, wrap=True)
    return figure


def _need_matplotlib() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("pictures need matplotlib, which is not installed; pip install 'astune[plots]'")
