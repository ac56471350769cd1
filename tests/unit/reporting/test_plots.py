"""Intervals and pictures: the numbers drawn are the numbers given, and nothing is imported before its time."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from astune.errors import ConfigError
from astune.reporting import Point, accuracy_against_parameters, accuracy_interval
from astune.reporting.plots import draw_accuracy_against_parameters

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


def test_labels_name_every_method_and_do_not_overlap() -> None:
    pytest.importorskip("matplotlib")
    figure = draw_accuracy_against_parameters(POINTS)
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert [label.get_text() for label in axes.texts] == sorted(PARAMETERS, key=PARAMETERS.__getitem__)
        assert max(label.get_window_extent().y1 for label in axes.texts) < axes.title.get_window_extent().y0
        # an annotation's extent covers its line too; upright text by itself is as wide as its font is high
        places = [label.get_position()[0] for label in axes.texts]
        assert min(np.diff(places)) * axes.bbox.width > 8 * figure.dpi / 72
        assert 0 <= min(places) <= max(places) <= 1


def test_without_matplotlib_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'astune\[plots\]'"):
        accuracy_against_parameters(POINTS, tmp_path / "accuracy.png")


def test_importing_the_package_does_not_load_what_draws_or_torch() -> None:
    code = (
        "import sys, astune.cli, astune.cli.demo, astune.reporting\n"
        "assert not {'matplotlib', 'torch', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
