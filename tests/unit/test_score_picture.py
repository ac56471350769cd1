"""The picture beside an adapter."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from astune.class_scores import score_classes
from astune.errors import ConfigError
from astune.label_scores import score_labels
from astune.score_plots import draw_confused_pairs
from astune.training.loop import train
from astune.training.score_picture import draw_scores, foreign_picture, write_score_picture
from tests.unit.test_class_weights import settings, uneven

__all__ = ["uneven"]


def scores_of(classes: int, wrong: int) -> dict[str, Any]:
    """Two clips of each class; one of each of the first classes is taken for the class behind it."""
    truth = [label for label in range(classes) for _ in range(2)]
    predicted = [(label + 1) % classes if not n % 2 and label < wrong else label for n, label in enumerate(truth)]
    return score_classes(torch.eye(classes)[predicted], truth).record()


def names(classes: int) -> list[str]:
    return [f"class {number}" for number in range(classes)]


def title_of(figure: Figure) -> str:
    return figure.get_suptitle()


def widths(axes: Axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]


def test_up_to_50_classes_it_is_the_matrix_of_the_test_clips() -> None:
    scores = {"validation": scores_of(50, 0), "test": scores_of(50, 10)}
    found = draw_scores(scores, names(50), "single-label", "lora on birds")
    assert found is not None
    name, figure = found
    assert name == "confusion.png"
    lines = title_of(figure).splitlines()
    assert lines[0] == "lora on birds: 100 test clips"
    macro_f1 = (
        2 / 3 + 9 * 0.5 + 0.8 + 39
    ) / 50  # of class 0, of those taken for the next and given the one before, of class 10
    assert lines[1] == f"accuracy 90.0%, macro F1 {macro_f1:.1%}, balanced accuracy 90.0%"
    shown: np.ndarray[Any, Any] = np.ma.asarray(figure.axes[0].images[0].get_array()).filled(0)
    expected = np.eye(50)
    expected[:10] *= 0.5
    expected[range(10), range(1, 11)] = 0.5
    np.testing.assert_allclose(shown, expected)


def test_without_test_clips_it_is_of_the_validation_clips() -> None:
    found = draw_scores({"validation": scores_of(3, 0)}, names(3), "single-label", "x")
    assert found is not None
    assert title_of(found[1]).startswith("x: 6 validation clips")
    assert draw_scores({}, names(3), "single-label", "x") is None


def test_of_more_classes_it_is_the_pairs_that_are_confused_most() -> None:
    counts = np.diag([10] * 60)
    counts[3, 7], counts[3, 3] = 5, 5
    counts[8, 1] = 4  # 4 of 14
    counts[2, 9], counts[2, 2] = 4, 6  # 4 of 10, and so before it
    figure = draw_confused_pairs(counts, names(60))
    (axes,) = figure.axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["class 3 → class 7", "class 2 → class 9", "class 8 → class 1"]
    assert widths(axes) == pytest.approx([0.5, 0.4, 4 / 14])
    assert [text.get_text() for text in axes.texts] == ["5 of 10", "4 of 10", "4 of 14"]
    found = draw_scores({"test": scores_of(51, 40)}, names(51), "single-label", "x")
    assert found is not None
    assert title_of(found[1]).endswith("pairs of 51 classes confused most")
    assert len(found[1].axes[0].patches) == 30


def test_nothing_confused_is_said() -> None:
    (axes,) = draw_confused_pairs(np.eye(60, dtype=int), names(60)).axes
    assert [text.get_text() for text in axes.texts] == ["no clip is confused"]


def test_of_several_labels_it_is_the_precision_of_each() -> None:
    logits = torch.tensor([[3.0, 1, 0], [2, 2, 0], [1, 3, 0]])
    targets = torch.tensor([[1.0, 1, 0], [0, 1, 0], [1, 0, 0]])
    found = draw_scores({"test": score_labels(logits, targets).record()}, ["a", "b", "c"], "multi-label", "x")
    assert found is not None
    name, figure = found
    assert name == "average_precision.png"
    (axes,) = figure.axes
    # Of a the first and the third of three are right, of b the second and the third; no clip has c.
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert widths(axes) == pytest.approx([(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2])
    assert title_of(figure).splitlines()[0] == "x: 3 test clips"
    assert title_of(figure).endswith("1 label without test clips")
    none = {"clips": 3, "average_precision": [None, None]}
    assert draw_scores({"test": none}, ["a", "b"], "multi-label", "x") is None


def test_a_task_of_other_scores_has_no_picture() -> None:
    assert draw_scores({"test": {"clips": 3, "accuracy": 0.5}}, names(2), "single-label", "x") is None


def test_training_writes_it_and_another_run_replaces_it(uneven: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out" / "confusion.png"
    train(settings(uneven, tmp_path / "out", num_train_epochs=1), quiet=True)
    first = picture.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert not foreign_picture(picture)
    again = settings(uneven, tmp_path / "out", num_train_epochs=1, overwrite_output_dir=True)
    train(again, quiet=True)
    assert picture.read_bytes() == first  # the same run
    train(again, quiet=True, picture=False)
    assert not picture.exists()  # an old picture is not of the new run


def test_a_picture_of_the_users_own_is_not_replaced(uneven: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out" / "confusion.png"
    picture.parent.mkdir()
    picture.write_bytes(b"\x89PNG\r\n\x1a\n somebody else's")
    with pytest.raises(ConfigError, match=r"holds a confusion\.png that is not ours to replace"):
        train(settings(uneven, tmp_path / "out", overwrite_output_dir=True), quiet=True)
    assert picture.read_bytes().endswith(b"somebody else's")


def test_without_matplotlib_it_is_said_once_and_nothing_fails(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "matplotlib" else find(name, *more)
    )
    result = train(settings(uneven, tmp_path / "out", num_train_epochs=1))
    said = (
        "Note: the folder has no picture of the scores: pictures need matplotlib, which is not installed; pip install"
    )
    assert capsys.readouterr().err.count(said) == 1
    assert result.notices[-1].startswith(said)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["notices"] == result.notices
    assert not (tmp_path / "out" / "confusion.png").exists()


def test_a_name_of_any_letters_can_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["$x_1$", "鸟"]
    assert (
        write_score_picture(tmp_path, {"test": scores_of(2, 1)}, labels, "single-label", "a\nb $", quiet=True) is None
    )
    assert capsys.readouterr().err == ""
    found = draw_scores({"test": scores_of(2, 1)}, labels, "single-label", "a\nb $")
    assert found is not None
    assert re.match(r"a\\nb \\\$: 4 test clips\n", title_of(found[1]))
