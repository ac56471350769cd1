"""Intervals and pictures: the numbers drawn are the numbers given, and nothing is imported before its time."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from astune.canvas import save_picture
from astune.errors import ConfigError
from astune.reporting import Point, accuracies_by_method, accuracy_against_parameters, accuracy_interval
from astune.reporting.accuracy_plots import draw_accuracies, draw_accuracy_against_parameters
from astune.reporting.plots import Curve, Scatter, draw_curves, draw_scatter
from astune.score_plots import draw_confusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARAMETERS = {
    "linear": 1_542,
    "lora": 9_216,
    "bottleneck-pf-par": 10_386,
    "convpass-pf-par": 10_566,
    "full-ft": 2_731_200,
}
POINTS = [
    Point(method, parameters, 0.5 + shift, 0.4 + shift, 0.7 + shift, series, panel)
    for panel, shift in (("words", 0.0), ("environment", 0.1))
    for series in ("bundled", "random")
    for method, parameters in PARAMETERS.items()
]
FEW_SHOT = [
    Curve(label, panel, (1, 2, 4, 12), (low, low + 0.2, low + 0.25, 1.0), (low - 0.1,) * 4, (1.0,) * 4)
    for panel, labels in (("words", ("linear", "lora")), ("ESC-10", ("lora", "full-ft")))
    for label, low in zip(labels, (0.2, 0.4), strict=True)
]
TRAINING = [
    Curve(f"method {method}", f"task {task}", tuple(range(1, 31)), tuple(method + 1 / n for n in range(1, 31)))
    for task in range(4)
    for method in range(task, 20)  # not every method has run on every task
]
# of 4, 0 and 5 clips; the shares follow by dividing
COUNTS = [[3, 0, 1], [0, 0, 0], [1, 1, 3]]
SHARES = np.array([[0.75, 0, 0.25], [0, 0, 0], [0.2, 0.2, 0.6]])
CLASSES = [f"class {number}" for number in range(10)]


def embeddings() -> list[Scatter]:
    """Of 40 clips; the second panel has no clips of the first class, and its clips are in another order."""
    xy = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    names = tuple(CLASSES * 4)
    kept = [number for number in range(39, -1, -1) if names[number] != CLASSES[0]]
    return [Scatter("frozen", xy, names), Scatter("lora", -xy[kept], tuple(names[number] for number in kept))]


def curves() -> Figure:
    return draw_curves(FEW_SHOT, x_label="clips per class", y_label="accuracy", title="title", log_base=2)


def training() -> Figure:
    return draw_curves(TRAINING, x_label="epoch", y_label="loss", percent=False)


def large_confusion() -> Figure:
    return draw_confusion(np.eye(50, dtype=int).tolist(), [f"crackling fire {n}" for n in range(50)], "title")


ROWS = [point for point in POINTS if point.series == "bundled"]
PICTURES: list[Callable[[], Figure]] = [
    lambda: draw_accuracies(ROWS, "a title that is far too long for what stands below it " * 3),
    lambda: draw_accuracies([Point("a method with a name " * 3, 1, 0.0, 0.0, 0.1, "", "words")]),
    lambda: draw_accuracies(POINTS, "title"),
    curves,
    training,
    lambda: draw_confusion(np.eye(10, dtype=int).tolist(), [*CLASSES[:-1], "crackling_fire"], "title"),
    lambda: draw_confusion([[1, 0], [0, 0]], ["yes", "no"]),
    large_confusion,
    lambda: draw_scatter(embeddings(), "a title that is far too long for the two panels below it " * 3),
]


def tick_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_wilsons_interval() -> None:
    # (p + z²/2n ± z sqrt(p (1 - p)/n + z²/4n²)) / (1 + z²/n) for p = 120/150, z² = 3.841459:
    # (0.8 + 0.0128049 ± 1.959964 sqrt(0.00106667 + 0.0000426829)) / 1.0256097 = (0.8128049 ± 0.0652803) / 1.0256097
    assert accuracy_interval(120, 150) == pytest.approx((0.728859, 0.856159), abs=1e-6)
    # of p = 1: (1 + z²/2n ± z²/2n) / (1 + z²/n)
    assert accuracy_interval(150, 150) == pytest.approx((1 / (1 + 1.959964**2 / 150), 1.0), abs=1e-6)


def test_the_file_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    accuracy_against_parameters(POINTS, tmp_path / "accuracy.png", "title")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_several_series_have_a_line_each_in_the_row_of_their_method(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    accuracies_by_method(POINTS, tmp_path / "accuracy.png", "title")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    figure = draw_accuracies(POINTS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bundled", "random"]
    for axes, shift in zip(figure.axes, (0.0, 0.1), strict=True):
        lines = [container.lines[0] for container in axes.containers]  # type: ignore[attr-defined]
        assert [line.get_xdata()[0] for line in lines] == pytest.approx([0.5 + shift] * 10)
        rows = [line.get_ydata()[0] for line in lines]
        assert rows == [*(row - 0.25 for row in range(5)), *(row + 0.25 for row in range(5))]
        levels: list[Any] = list(axes.texts)
        assert [text.xy[1] for text in levels] == rows  # each figure is level with its point
        assert {line.get_color() for line in lines[:5]} != {line.get_color() for line in lines[5:]}


@pytest.mark.parametrize(("low", "bottom"), [(0.55, 0.5), (0.08, 0.0), (1.0, 0.9)])
def test_the_axis_starts_at_the_tenth_below_the_lowest_interval(low: float, bottom: float) -> None:
    (axes,) = draw_accuracy_against_parameters([Point("lora", 9_216, 1.0, low, 1.0, "", "words")]).axes
    assert axes.get_ylim() == (bottom, 1)


def test_a_panel_a_task_with_every_point_and_its_interval() -> None:
    pytest.importorskip("matplotlib")
    figure = draw_accuracy_against_parameters(POINTS, "what it is")
    assert figure.get_suptitle() == "what it is"
    assert [axes.get_title() for axes in figure.axes] == ["words", "environment"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bundled", "random"]
    for axes, shift in zip(figure.axes, (0.0, 0.1), strict=True):
        assert axes.get_xscale() == "log"
        assert len(axes.containers) == len(PARAMETERS) * 2
        for number, container in enumerate(axes.containers):
            line, _, bars = container.lines  # type: ignore[attr-defined]
            # series stand side by side within 4 % of the number of parameters
            assert line.get_xdata()[0] == pytest.approx(list(PARAMETERS.values())[number % 5], rel=0.04)
            assert line.get_ydata()[0] == pytest.approx(0.5 + shift)
            np.testing.assert_allclose(bars[0].get_segments()[0][:, 1], [0.4 + shift, 0.7 + shift])
        colours = {container.lines[0].get_color() for container in axes.containers}  # type: ignore[attr-defined]
        markers = {container.lines[0].get_marker() for container in axes.containers}  # type: ignore[attr-defined]
        assert (len(colours), len(markers)) == (2, len(PARAMETERS))


@pytest.mark.parametrize("panels", [1, 2])
def test_a_label_stands_above_its_point(panels: int) -> None:
    spread = [
        Point(f"method {size}", size, 0.5, 0.4, 0.6, "test", f"task {panel}")
        for panel in range(panels)
        for size in (1_000, 100_000, 10_000_000)
    ]
    figure = draw_accuracy_against_parameters(spread)
    figure.canvas.draw()
    assert not figure.legends  # one series needs none
    for axes in figure.axes:
        points = [axes.transLimits.transform((np.log10(size), 0))[0] for size in (1_000, 100_000, 10_000_000)]
        assert [label.get_position()[0] for label in axes.texts] == pytest.approx(points, abs=1e-6)


def test_labels_name_every_method_and_do_not_overlap() -> None:
    pytest.importorskip("matplotlib")
    figure = draw_accuracy_against_parameters(POINTS)
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert [label.get_text() for label in axes.texts] == sorted(PARAMETERS, key=PARAMETERS.__getitem__)
        assert max(label.get_window_extent().y1 for label in axes.texts) < axes.title.get_window_extent().y0
        # an annotation's extent covers its line too; upright text by itself is as wide as its font is high
        xs = [label.get_position()[0] for label in axes.texts]
        assert min(np.diff(xs)) * axes.bbox.width > 8 * figure.dpi / 72
        assert 0 <= min(xs) <= max(xs) <= 1


def test_a_row_a_method_with_its_interval_and_its_figure() -> None:
    pytest.importorskip("matplotlib")
    figure = draw_accuracies(ROWS, "what it is")
    assert [axes.get_title() for axes in figure.axes] == ["words", "environment"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(PARAMETERS)
    for axes, shift in zip(figure.axes, (0.0, 0.1), strict=True):
        assert axes.yaxis_inverted()
        assert axes.get_xlim() == (0.4, 1)
        assert len(axes.containers) == len(PARAMETERS)
        for row, container in enumerate(axes.containers):
            line, _, bars = container.lines  # type: ignore[attr-defined]
            assert (line.get_xdata()[0], line.get_ydata()[0]) == (pytest.approx(0.5 + shift), row)
            np.testing.assert_allclose(bars[0].get_segments()[0][:, 0], [0.4 + shift, 0.7 + shift])
        assert [text.get_text() for text in axes.texts] == [f"{50 + 100 * shift:.1f}"] * len(PARAMETERS)


def test_curves_are_the_values_given() -> None:
    pytest.importorskip("matplotlib")
    figure = curves()
    assert figure.get_suptitle() == "title"
    assert [axes.get_title() for axes in figure.axes] == ["words", "ESC-10"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", ""]
    for axes in figure.axes:
        assert axes.get_xlabel() == "clips per class"
        shown = [curve for curve in FEW_SHOT if curve.panel == axes.get_title()]
        for curve, line, band in zip(shown, axes.lines, axes.collections, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), curve.x)
            np.testing.assert_array_equal(line.get_ydata(), curve.y)
            assert curve.low is not None
            assert curve.high is not None
            bounds = {*zip(curve.x, curve.low, strict=True), *zip(curve.x, curve.high, strict=True)}
            (outline,) = band.get_paths()
            assert {(x, y) for x, y in np.asarray(outline.vertices).tolist()} == bounds


def test_a_logarithm_of_two_has_ticks_at_the_values_alone() -> None:
    pytest.importorskip("matplotlib")
    figure = curves()
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert axes.get_xticks().tolist() == [1, 2, 4, 12]
        assert tick_labels(axes) == ["1", "2", "4", "12"]
        assert not len(axes.get_xticks(minor=True))


def test_other_ticks_are_powers_or_whole_numbers() -> None:
    pytest.importorskip("matplotlib")
    parameters = [Curve("lora", "words", (1e3, 2.5e5, 7e6), (0.1, 0.2, 0.3))]
    (axes,) = draw_curves(parameters, x_label="parameters", y_label="accuracy", log_base=10).axes
    assert {1e3, 1e4, 1e5, 1e6} <= set(axes.get_xticks().tolist())
    for x in ((1, 2), (1, 2, 3), tuple(range(1, 31)), (5,)):
        (axes,) = draw_curves([Curve("lora", "words", x, x)], x_label="epoch", y_label="loss", percent=False).axes
        assert not any(tick % 1 for tick in axes.get_xticks())


def test_shares_are_per_cent_and_none_is_above_all() -> None:
    pytest.importorskip("matplotlib")
    figure = curves()
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_ylim()[1] == 1  # the highest value
        ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        assert all(label.get_text() == f"{round(100 * tick)}%" for tick, label in ticks)
    # gains over another method have no such bound
    (axes,) = draw_curves([Curve("lora", "words", (1, 2), (-0.1, 0.2))], x_label="", y_label="").axes
    assert axes.get_ylim()[0] < -0.1


def test_a_label_looks_the_same_in_all_panels_and_like_no_other() -> None:
    pytest.importorskip("matplotlib")
    figure = training()
    assert [axes.get_title() for axes in figure.axes] == [f"task {task}" for task in range(4)]
    labels = [f"method {method}" for method in range(20)]
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == labels
    looks: dict[str, set[object]] = {label: set() for label in labels}
    for label, line in zip(labels, legend.get_lines(), strict=True):
        looks[label].add((line.get_color(), line.get_linestyle(), line.get_marker()))
    for axes in figure.axes:
        shown = [curve.label for curve in TRAINING if curve.panel == axes.get_title()]
        for label, line in zip(shown, axes.lines, strict=True):
            looks[label].add((line.get_color(), line.get_linestyle(), line.get_marker()))
    assert all(len(seen) == 1 for seen in looks.values())
    assert len(set.union(*looks.values())) == 20


def test_one_x_is_a_marker_with_its_bounds() -> None:
    pytest.importorskip("matplotlib")
    curve = Curve("full-ft", "words", (2.7e6,), (0.8,), (0.7,), (0.9,))
    (axes,) = draw_curves([curve], x_label="", y_label="", log_base=10).axes
    (line,), (bar,) = axes.lines, axes.collections
    assert (line.get_xydata()).tolist() == [[2.7e6, 0.8]]  # type: ignore[union-attr]
    assert np.asarray(bar.get_paths()[0].vertices).tolist() == [[2.7e6, 0.7], [2.7e6, 0.9]]


@pytest.mark.parametrize(("panels", "grid"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3))])
def test_at_most_three_panels_stand_in_a_row(panels: int, grid: tuple[int, int]) -> None:
    pytest.importorskip("matplotlib")
    shown = [Curve("lora", f"task {task}", (1, 2), (0.5, 0.6)) for task in range(panels)]
    figure = draw_curves(shown, x_label="", y_label="")
    assert len(figure.axes) == panels
    subplot = figure.axes[0].get_subplotspec()
    assert subplot is not None
    assert subplot.get_gridspec().get_geometry() == grid


def test_confusion_is_coloured_by_row_shares_and_says_the_counts() -> None:
    pytest.importorskip("matplotlib")
    names = ["dog", "rain", "sea waves"]
    axes, bar = draw_confusion(COUNTS, names).axes
    (image,) = axes.images
    shown: Any = np.ma.asarray(image.get_array())
    np.testing.assert_allclose(shown.filled(0), SHARES)
    np.testing.assert_array_equal(shown.mask, SHARES == 0)
    assert image.cmap(shown)[1].tolist() == [[1, 1, 1, 1]] * 3  # white: opaque, of all colours
    assert image.get_clim() == (0, 1)
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "3", (2, 0): "1", (0, 2): "1", (1, 2): "1", (2, 2): "3"}
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    assert tick_labels(axes) == [label.get_text() for label in axes.get_yticklabels()] == names
    assert bar.get_ylabel() == "share of true class"


def test_counts_are_readable_on_every_colour() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.colors import to_rgb

    def luminance(colour: tuple[float, float, float]) -> float:
        """Relative luminance as the Web Content Accessibility Guidelines define it."""
        rgb = np.array(colour)
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for start in range(1, 50, 14):  # with the rest of each row, all shares from 1 to 99 %
        shares = range(start, start + 14)
        counts = [[0] * row + [share] + [0] * (13 - row) + [100 - share] for row, share in enumerate(shares)]
        axes = draw_confusion([*counts, [0] * 15], [f"{n}" for n in range(15)]).axes[0]
        for text in axes.texts:
            cell = axes.images[0].cmap(int(text.get_text()) / 100)
            dark, light = sorted((luminance(to_rgb(text.get_color())), luminance(to_rgb(cell))))
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # what those guidelines ask of text


def test_large_confusion_has_room_for_its_names_and_no_counts() -> None:
    pytest.importorskip("matplotlib")
    figure = large_confusion()
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert not axes.texts
    for labels, side in ((axes.get_xticklabels(), 0), (axes.get_yticklabels(), 1)):
        assert len(labels) == 50
        extents = sorted(label.get_window_extent().get_points()[:, side].tolist() for label in labels)
        assert all(first[1] <= second[0] for first, second in pairwise(extents))


def test_scatter_shows_every_clip_and_classes_alike_in_all_panels() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.collections import PathCollection

    given = embeddings()
    figure = draw_scatter(given, "title")
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts] == CLASSES
    looks: dict[str, set[tuple[object, object]]] = {name: set() for name in CLASSES}
    for axes, scatter in zip(figure.axes, given, strict=True):
        assert axes.get_title() == scatter.panel
        assert len(axes.get_xticks()) == len(axes.get_yticks()) == 0
        groups = {str(group.get_label()): group for group in axes.collections}
        assert set(groups) == set(scatter.labels)
        for name, group in groups.items():
            assert isinstance(group, PathCollection)
            wanted = scatter.xy[[label == name for label in scatter.labels]]
            np.testing.assert_array_equal(np.asarray(group.get_offsets()), wanted)
            shape = np.asarray(group.get_paths()[0].vertices).tobytes()
            looks[name].add((tuple(np.asarray(group.get_facecolor())[0].tolist()), shape))
    assert all(len(seen) == 1 for seen in looks.values())
    colours, shapes = zip(*set.union(*looks.values()), strict=True)
    assert len(set(colours)) == len(set(shapes)) == len(CLASSES)


@pytest.mark.parametrize("draw", PICTURES)
def test_nothing_is_cut_off_and_the_legend_covers_no_panel(draw: Callable[[], Figure]) -> None:
    pytest.importorskip("matplotlib")
    figure = draw()
    figure.draw_without_rendering()
    used, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(used.x0, used.y0) >= 0
    assert used.x1 <= width
    assert used.y1 <= height
    for legend in figure.legends:
        panels = [axes.get_tightbbox() for axes in figure.axes]
        assert all(panel is not None and legend.get_window_extent().y1 <= panel.y0 for panel in panels)


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = save_picture(curves(), tmp_path / "lora-0.5")
    assert first == (tmp_path / "lora-0.5.png", tmp_path / "lora-0.5.pdf")
    assert first[0].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert first[1].read_bytes().startswith(b"%PDF-")
    assert b"/CreationDate" not in first[1].read_bytes()
    second = save_picture(curves(), tmp_path / "again")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("draw", [lambda: draw_accuracy_against_parameters(POINTS), *PICTURES])
def test_without_matplotlib_it_says_how_to_install_it(
    draw: Callable[[], Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install .*\[plots\]'"):
        draw()


def test_importing_the_package_does_not_load_what_draws_or_torch() -> None:
    code = (
        "import sys, astune.cli, astune.cli.demo, astune.reporting\n"
        "assert not {'matplotlib', 'torch', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
