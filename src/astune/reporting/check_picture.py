"""A picture of a data set that was checked: how long the clips are, how loud they are, and how many there are of each class."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from astune.canvas import COLOURS, LABEL_SIZE, drawn, need_matplotlib, new_figure, write_figure
from astune.errors import ConfigError, explain_write_errors, unknown_choice
from astune.files import write_bytes
from astune.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from astune.data.check_report import Report

_FORMATS = (".pdf", ".png", ".svg")
_MOST_CLASSES = 40  # bars that have room for a name
_LINE = 0.22  # inches of a bar
_LONGEST_LABEL = 30  # letters


def refuse_picture(path: Path) -> None:
    """Refuse a picture that could not be written, before hours of decoding.

    Args:
        path: the file to be.

    Raises:
        ConfigError: its suffix is of no format that is drawn, its folder is not there, or matplotlib is not installed.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(unknown_choice("suffix of a picture", path.suffix or path.name, _FORMATS))
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file")
    need_matplotlib()


def save_check_picture(report: Report, path: Path) -> None:
    """Draw a report and write it; the file is whole or not there.

    Args:
        report: of :func:`astune.data.check.check`.
        path: a ``.png``, ``.pdf`` or ``.svg``.

    Raises:
        ConfigError: as of :func:`refuse_picture`.
        OutputError: it cannot be written.
    """
    refuse_picture(path)
    content = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    options = {"dpi": 150} if kind == "png" else {"metadata": {"CreationDate" if kind == "pdf" else "Date": None}}
    write_figure(draw_check(report), content, format=kind, **options)
    with explain_write_errors(printable(path), "free some disk, or give another file"):
        write_bytes(path, content.getvalue())


def draw_check(report: Report) -> Figure:
    """Draw a report.

    Args:
        report: of :func:`astune.data.check.check`.

    Returns:
        Durations with the suggested input length, levels, and clips by class and part.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    classes = min(len(report.counts), _MOST_CLASSES)
    figure = new_figure(9.0, 3.2 + _LINE * max(classes, 6), f"{report.source}: {report.clips:,} clips")
    durations, levels, counts = figure.subplot_mosaic(
        [["durations", "levels"], ["counts", "counts"]], height_ratios=[2.4, _LINE * max(classes, 6)]
    ).values()
    _durations(durations, report)
    _levels(levels, report)
    _counts(counts, report)
    return figure


def _durations(axes: Axes, report: Report) -> None:
    seconds = np.array([clip.seconds for clip in report.measures])
    axes.set(xlabel="duration, s", ylabel="clips")
    if not len(seconds):
        return
    if seconds.max() > 20 * max(seconds.min(), 1e-3):  # a linear axis would show one bar
        axes.set_xscale("log")
        bins = np.geomspace(max(seconds.min(), 1e-3), seconds.max() * 1.001, 41)
    else:
        bins = np.linspace(0.0, seconds.max() * 1.05, 41)
    axes.hist(seconds, bins.tolist(), color=COLOURS[0])
    suggested = report.lengths[0]
    axes.axvline(suggested.cut.input_seconds, color=COLOURS[1], linestyle="--")
    cut = (
        f"suggested: {suggested.max_length:,} frames, {suggested.cut.input_seconds:.3g} s\n{suggested.cut.lost} is cut"
    )
    axes.set_title(cut, color=COLOURS[1], fontsize=LABEL_SIZE, loc="left")
    axes.margins(y=0.08)


def _levels(axes: Axes, report: Report) -> None:
    found = np.array([clip.level_dbfs for clip in report.measures if clip.level_dbfs is not None])
    axes.set(xlabel="level of what is not silent, dBFS", ylabel="clips")
    if not len(found):
        return
    low, high = min(found.min(), -60.0), max(found.max(), 0.0)
    axes.hist(found, np.linspace(low, high, 41).tolist(), color=COLOURS[2])
    clipped = f"{report.clipped_clips:,} with clipped samples"
    axes.set_title(
        f"median {report.levels['median']:.0f} dBFS; {clipped}\n{100 * report.silent_share:.0f} % of the audio is silent",
        fontsize=LABEL_SIZE,
        loc="left",
    )


def _counts(axes: Axes, report: Report) -> None:
    """A bar for each class, divided by part; the largest classes where there are too many."""
    ordered = sorted(report.counts, key=lambda label: (-sum(report.counts[label].values()), label))[:_MOST_CLASSES]
    y, left = np.arange(len(ordered)), np.zeros(len(ordered))
    for number, part in enumerate(report.parts):
        widths = np.array([report.counts[label][part] for label in ordered], dtype=float)
        colour, hatch = COLOURS[number % len(COLOURS)], ("", "//", "..")[number // len(COLOURS) % 3]
        axes.barh(y, widths, left=left, color=colour, hatch=hatch, edgecolor="white", label=drawn(part))
        left += widths
    axes.set_yticks(y, [drawn(label, _LONGEST_LABEL) for label in ordered], fontsize=LABEL_SIZE)
    axes.invert_yaxis()
    left_out = len(report.counts) - len(ordered)
    axes.set_xlabel("clips" + (f"; {left_out:,} smaller classes are not shown" if left_out else ""))
    if len(report.parts) > 1:
        axes.legend(fontsize=LABEL_SIZE, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
