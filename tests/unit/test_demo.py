"""``astune demo``: every method on every task, with and without matplotlib, and again into the same folder."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path

import pytest

from astune.cli import demo
from astune.data import generated
from astune.methods import parse_method
from tests.unit.test_cli import run

METHODS = ("linear", "bitfit")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods on few, short clips and on a smaller backbone."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(demo, "METHODS", METHODS)
    monkeypatch.setattr(demo, "WEIGHTS", {"bundled": "random:tiny", "random": "random:tiny"})
    write = partial(generated.write_generated, clips_per_class=(2, 1, 3), seconds=0.2)
    monkeypatch.setattr(generated, "write_generated", write)


def test_tables_picture_and_next_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second one replaces what the first one left
        code, out, err = run(capsys, monkeypatch, "demo", "--output-dir", "out", "--num-train-epochs", "1")
        assert code == 0
        assert "8 training runs of 1 epoch on generated sounds: a demonstration, no benchmark" in err
        assert "Trained 2 methods on environment, random weights" in err
    for task in ("words", "environment"):
        assert f"{task}: 6 classes, accuracy on 18 test clips (95 % interval)" in out
        for weights in ("bundled", "random"):
            for method in METHODS:
                assert (folder / task / weights / method / "adapter_model.safetensors").is_file()
    assert out.count("generated sounds: a demonstration, no benchmark") == 2
    assert max(map(len, out.splitlines())) <= 80
    rows = [line.split() for line in out.splitlines() if line.split()[:1] == ["bitfit"]]
    assert [row[1] for row in rows] == ["8,640"] * 2  # 4 (4 + 4 + 1 + 2) 192 + 192
    assert [row[-2:] for row in rows] == [row[4:6] for row in rows]  # the same weights score the same
    assert (folder / "accuracy.png").is_file() == (importlib.util.find_spec("matplotlib") is not None)
    assert "  bitfit is the smallest" not in out
    assert out.count("  linear is the smallest: ") == 2
    assert out.count("On average, pretraining is worth 0 points of accuracy.") == 2  # both are random:tiny
    assert "words: which of six invented words is said?" in err
    assert "     astune compare YOUR_FOLDER" in out
    assert "  astune train YOUR_FOLDER --method lora --output-dir adapters/mine" in out
    predict = next(line.split() for line in out.splitlines() if "astune predict" in line)
    assert Path(predict[2]) == Path("out/words/bundled/lora")
    assert Path(predict[3]).is_file()
    code, out, _ = run(capsys, monkeypatch, "predict", "out/words/bundled/bitfit", predict[3])
    assert code == 0
    assert "tami" in out


def test_without_matplotlib_it_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else found(name, *rest)
    )
    code, out, err = run(capsys, monkeypatch, "demo", "--output-dir", tmp_path / "out", "--num-train-epochs", "1")
    assert code == 0
    assert "No picture: pictures need matplotlib, which is not installed; pip install -e '.[plots]'" in err
    assert "astune predict" in out
    assert not (tmp_path / "out" / "accuracy.png").exists()


def test_methods_are_known_and_the_one_to_predict_with_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert "lora" in demo.METHODS
    assert len({parse_method(method) for method in demo.METHODS}) == 7
    assert demo.WEIGHTS == {"bundled": "bundled", "random": "random:small"}
