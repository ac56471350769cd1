"""What objects say of themselves: a line in a program, a table in a notebook, with nothing of outside taken for markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from typing_extensions import override

import astune
from astune import adapter_file
from astune.data import AudioDataset, Clip, DataRecipe, Split
from astune.errors import AudioError
from astune.inference.prediction import Prediction
from astune.inference.timeline import Timeline
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from collections.abc import Sequence

EVIL = ("<script>alert(1)</script>", "a\"b&c'", "\x1b[31mred", "y" * 300, *(f"class {n:05d}" for n in range(10_000)))


class Page(HTMLParser):
    """Tags and texts of a page; every tag that opens closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    @override
    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= {"style"}
        self.open.append(tag)
        self.tags.add(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] if data.strip() else []


def dataset(labels: tuple[str, ...], source: str = "folder:x") -> AudioDataset:
    clips = tuple(
        Clip(f"{n:06d}", Path("x.wav"), (label,), split="test" if n % 4 == 3 else "train")
        for n, label in enumerate(labels * 2)
    )
    return AudioDataset(source, clips, labels, DataRecipe(), remarks=("Note: <b>bold</b>\nand more",))


def result(labels: tuple[str, ...], **fields: Any) -> TrainResult:
    scores = {"validation": {"clips": 1_200, "accuracy": 0.91234, "confusion": [[1]]}, "test": {"clips": 7}}
    known = {
        "output_dir": "adapters/<i>", "spec": "lora", "trainable_parameters": 221_184, "adapter_bytes": 1_041_000,
        "backbone_fingerprint": "f", "labels": list(labels), "fold": None, "recipe": {}, "config": {}, "compute_dtype": "float32",
        "device": "cpu", "best_epoch": 1, "scores": scores, "history": [{}] * 3, "skipped_clips": 0, "train_seconds": 12.34,
        "wall_seconds": 20.0, "peak_memory_mib": 1.0, "versions": {}, "notices": ["Note: <u>"],
    }  # fmt: skip
    return TrainResult(**{**known, **fields})


def timeline(labels: tuple[str, ...]) -> Timeline:
    scores = np.tile(np.linspace(0.9, 0, len(labels), dtype=np.float32), (2, 1)) * np.array([[0.5], [1]], np.float32)
    starts, ends = np.array([0.0, 0.25]), np.array([0.5, 0.75])
    return Timeline("<x>.wav", labels, "single-label", 0.5, 0.25, starts, ends, scores, 0.75, 16_000, ("loud: <b>",))


def every(labels: tuple[str, ...], folder: Path) -> list[object]:
    """One object of each kind that a notebook shows."""
    model = astune.AudioClassifier(
        astune.load_backbone("random:tiny", 32),
        "linear",
        [f"{n} {label}"[:200].replace("\x1b", "") for n, label in enumerate(labels)],
    )
    predictor = astune.Predictor(model)
    sounds = astune.load_data(folder)
    known = astune.AudioClassifier(astune.load_backbone("random:tiny", 32), "linear", sounds.labels)
    return [
        model, model.backbone, model.to_adapter(), predictor, result(labels), timeline(labels),
        Prediction("<x>.wav", tuple({"label": label, "score": 0.5} for label in labels), 1.0, 1.0, 1),
        astune.FeatureDataset(sounds, front_end=known, quiet=True), astune.Predictor(known).evaluate(sounds),
    ]  # fmt: skip


@pytest.mark.parametrize("labels", [("dog", "rain"), EVIL], ids=["few", "many"])
def test_a_line_is_short_and_a_page_escapes_what_comes_from_outside(labels: tuple[str, ...], generated: Path) -> None:
    shown = every(labels, generated)
    plain = [label for label in labels if "\x1b" not in label]
    for one in [*shown, dataset(tuple(plain))]:
        line, page = repr(one), Page(one._repr_html_())  # type: ignore[attr-defined]
        assert line.startswith(f"{type(one).__name__}(")
        assert line.endswith(")")
        assert len(line) < 400
        assert line.isprintable()
        assert page.tags <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
        assert page.texts[0] == type(one).__name__
        assert len(page.texts) < 150
        assert "\x1b" not in "".join(page.texts)


def test_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = dataset(("dog", "rain", "siren", "wind"), f"csv:{tmp_path}/birds/table.csv")
    assert (
        repr(found)
        == "AudioDataset('csv:birds/table.csv': 8 clips, 4 classes (dog, rain, siren, ...), train 6, test 2)"
    )
    texts = Page(found._repr_html_()).texts
    at = texts.index("class")
    assert texts[at : at + 15] == [
        "class",
        "train",
        "test",
        "dog",
        "2",
        "0",
        "rain",
        "2",
        "0",
        "siren",
        "2",
        "0",
        "wind",
        "0",
        "2",
    ]
    assert texts[-1] == "Note: <b>bold</b>\nand more"
    folded = AudioDataset(
        "esc50:/data",
        (Clip("a", Path("a"), ("a",), fold=1), Clip("b", Path("b"), ("b",), fold=2)),
        ("a", "b"),
        DataRecipe(),
    )
    assert repr(folded) == "AudioDataset('esc50:/data': 2 clips, 2 classes (a, b), 2 folds)"
    assert repr(folded.split(2, selection="last")) == "Split(train 1, validation 0, test 1 clips, fold 2)"
    assert repr(Split(tuple(range(1200)), (), ())) == "Split(train 1,200, validation 0, test 0 clips)"
    many = Page(dataset(tuple(f"c{n:02d}" for n in range(50)))._repr_html_()).texts
    assert "c11" in many
    assert "c12" not in many
    assert "and 38 more" in many


def test_a_result() -> None:
    found = result(("dog", "rain"))
    assert repr(found) == (
        "TrainResult('adapters/<i>': lora, validation accuracy 0.912, 3 epochs (the best one: 2), 1.04 MB)"
    )
    texts = Page(found._repr_html_()).texts
    assert texts[:2] == ["TrainResult", "adapters/<i>"]
    assert texts[texts.index("validation") :][:3] == ["validation", "1,200", "0.912"]
    assert repr(result((), task="of a newer version", scores={})).startswith(
        "TrainResult('adapters/<i>': lora, 3 epochs"
    )


def test_what_was_heard() -> None:
    found = timeline(("dog", "rain", "wind"))
    assert (
        repr(found)
        == "Timeline('<x>.wav': 0.8 of 0.8 s in 2 windows of 0.5 s every 0.25 s, 3 labels (dog, rain, wind))"
    )
    texts = Page(found._repr_html_()).texts
    at = texts.index("label")  # dog: (0.45 + 0.9) / 2, and 0.9 in the window that starts at 0.25 s
    assert texts[at : at + 8] == ["label", "mean", "highest", "at second", "dog", "0.675", "0.900", "0.25"]
    labels: Any = ({"label": "dog", "score": 0.98}, {"label": "rain", "score": 0.02})
    assert repr(Prediction("x.wav", labels, 1.0, 1.0, 1)) == "Prediction('x.wav': 1.0 s, dog 0.980, rain 0.020)"
    broken = Prediction("x.wav", error=AudioError("x.wav: no audio\nat all"))
    assert repr(broken) == r"Prediction('x.wav': x.wav: no audio\nat all)"
    nothing = Timeline(
        "x",
        ("a",),
        "single-label",
        1,
        1,
        np.empty(0),
        np.empty(0),
        np.empty((0, 1), np.float32),
        error=AudioError("no"),
    )
    assert repr(nothing) == "Timeline('x': no, 1 label (a))"
    assert "no" in Page(nothing._repr_html_()).texts


def test_models(tmp_path: Path) -> None:
    model = astune.AudioClassifier(astune.load_backbone("random:tiny", 98), "linear", ["dog", "rain"])
    count = 192 * 2 + 2 + 2 * 192  # head and final LayerNorm
    about = f"linear on random:tiny, {count} trained parameters, 2 classes (dog, rain), input of 98 frames (1.0 s)"
    assert repr(model) == f"AudioClassifier({about})"
    model.save_pretrained(tmp_path)
    assert repr(adapter_file.read(tmp_path)) == f"Adapter({str(tmp_path)!r}: {about})"
    assert "AudioClassifier(" in repr(torch.nn.Sequential(model))
    assert "ASTLayer" in repr(model.backbone.model)
    assert repr(model.backbone).startswith("Backbone('random:tiny': ")


def test_settings_are_those_that_were_given() -> None:
    config = astune.TrainConfig(data="x", output_dir=Path("y"), seed=3, learning_rate=None)
    assert repr(config) == f"TrainConfig(data='x', output_dir={Path('y')!r}, seed=3)"
    assert repr(astune.parse_method("lora:alpha=2")) == "LoRA(alpha=2.0)"
