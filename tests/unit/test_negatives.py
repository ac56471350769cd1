"""Labels that mean none of the others: classes like the others, saved with the adapter, and never events unless they are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from astune import AudioClassifier, Predictor, load_backbone, load_data
from astune.adapter import Adapter
from astune.adapter_file import read
from astune.errors import AdapterError, ConfigError, DataError
from astune.inference.events import Finder
from astune.inference.findings import of_events, of_windows, thresholds_of
from astune.inference.model_digest import digest_of
from astune.inference.request import Request
from astune.inference.timeline import Timeline
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.example_layouts import write_text, write_tone
from tests.unit.test_cli import run

LABELS = ("noise", "robin", "wren")


def timeline(*scores: tuple[float, float, float], negatives: tuple[str, ...] = ("noise",)) -> Timeline:
    starts = np.arange(len(scores), dtype=np.float64)
    return Timeline(
        "x.wav", LABELS, "single-label", 1.0, 1.0, starts, starts + 1, np.array(scores, np.float32), float(len(scores)),
        negatives=negatives,
    )  # fmt: skip


TIMELINE = timeline((0.9, 0.06, 0.04), (0.1, 0.2, 0.7), (0.5, 0.45, 0.05))


def test_events_are_of_the_others() -> None:
    assert [(event.onset, event.label) for event in TIMELINE.events(0.4)] == [(1, "wren"), (2, "robin")]
    assert [event.label for event in replace(TIMELINE, negatives=()).events(0.4)] == ["noise", "wren", "noise", "robin"]
    assert [event.label for event in TIMELINE.events({"noise": 0.4})] == ["noise", "noise"]
    assert [event.label for event in TIMELINE.events({"noise": 0.8, "wren": 0.4})] == ["noise", "wren"]
    assert {row.label for row in of_events(TIMELINE, Finder(0.4)).rows} == {"wren", "robin"}


def test_windows_have_it_unless_a_threshold_is_asked_for() -> None:
    """Windows as they are have their likeliest label; those that reach a threshold are events of one window."""
    assert [row.label for row in of_windows(TIMELINE, 1).rows] == ["noise", "wren", "noise"]
    assert [row.label for row in of_windows(TIMELINE, 1, 0.4).rows] == ["wren", "robin"]
    assert [row.label for row in of_windows(TIMELINE, 1, {"noise": 0.8, "wren": 0.4}).rows] == ["noise", "wren"]
    assert [row.label for row in of_windows(replace(TIMELINE, negatives=()), 1, 0.4).rows] == ["noise", "wren", "noise"]


def test_thresholds_as_they_are_typed() -> None:
    assert thresholds_of(["0.3"], LABELS, ("noise",)) == 0.3
    assert thresholds_of(["0.3", "wren=0.6"], LABELS, ("noise",)) == {"robin": 0.3, "wren": 0.6}
    assert thresholds_of(["0.3", "noise=0.6"], LABELS, ("noise",)) == {"robin": 0.3, "wren": 0.3, "noise": 0.6}


def classifier(negatives: list[str]) -> AudioClassifier:
    return AudioClassifier(load_backbone("random:tiny", 32), "lora", LABELS, negatives=negatives)


def test_an_adapter_keeps_them(tmp_path: Path) -> None:
    model = classifier(["noise"])
    model.save_pretrained(tmp_path / "a")
    again = AudioClassifier.from_pretrained(tmp_path / "a")
    assert again.negatives == read(tmp_path / "a").negatives == Predictor(tmp_path / "a").negatives == ("noise",)
    assert again.merge_and_unload().negatives == ("noise",)
    assert "| negative labels, never events | noise |" in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    without = AudioClassifier.from_adapter(
        Adapter((adapter := model.to_adapter()).config.model_copy(update={"negatives": ()}), adapter.tensors)
    )
    without.save_pretrained(tmp_path / "b")
    assert "negatives" not in json.loads((tmp_path / "b" / "adapter_config.json").read_text(encoding="utf-8"))
    assert "negative" not in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert digest_of(without) != digest_of(again)


def test_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown negative label 'nois'; .*did you mean 'noise'"):
        classifier(["nois"])
    with pytest.raises(ConfigError, match="negatives='noise' is not a list of labels"):
        AudioClassifier(load_backbone("random:tiny", 32), "lora", LABELS, negatives="noise")
    classifier(["noise"]).save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "negatives": ["rain"]}))
    with pytest.raises(AdapterError, match="unknown negative label 'rain'"):
        read(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of tones, 6 each."""
    made = tmp_path_factory.mktemp("tones")
    for label, pitch in (("noise", 200), ("robin", 1000), ("wren", 3000)):
        for n in range(6):
            write_tone(made / label / f"{'north' if n % 2 else 'south'}{n // 2}_{n}.wav", pitch=pitch + 10 * n)
    return made


def test_class_folders_are_declared(folder: Path) -> None:
    assert load_data(folder).negatives == ()
    assert load_data(folder, negative=["wren", "noise"]).negatives == ("noise", "wren")
    with pytest.raises(ConfigError, match="unknown negative label 'wind'; choose one of: noise, robin, wren"):
        load_data(folder, negative=["wind"])
    with pytest.raises(DataError, match="all labels are negative"):
        load_data(folder, negative=list(LABELS))


def test_from_training_to_events(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seconds of the noise, then three of the wren: one event. Recordings as a whole may still be noise."""
    adapter = tmp_path / "adapter"
    train(
        TrainConfig(
            data=str(folder), backbone="bundled", method="linear", num_train_epochs=20, learning_rate=1e-2,
            per_device_train_batch_size=4, negative=["noise"], group_by="^[^/]+/[a-z]+[0-9]", output_dir=adapter, selection="last",
            recipe="paper",
        ),
        quiet=True,
    )  # fmt: skip
    t = np.arange(3 * 16_000) / 16_000
    long = tmp_path / "long.wav"
    soundfile.write(long, 0.3 * np.sin(2 * np.pi * np.concatenate([230 * t, 3020 * t])), 16_000)
    predictor = Predictor(adapter)
    assert predictor.negatives == ("noise",)
    with_noise = Predictor(AudioClassifier.from_pretrained(adapter)).timeline(long)
    assert {event.label for event in with_noise.events({"noise": 0.5, "wren": 0.5})} == {"noise", "wren"}
    (found,) = Request("events").findings(predictor, [long])
    assert {row.label for row in found.rows} == {"wren"}
    code, out, _ = run(capsys, monkeypatch, "predict", adapter, long, "--events")
    assert code == 0
    assert {line.split(",")[3] for line in out.splitlines()[1:]} == {"wren"}
    code, out, _ = run(capsys, monkeypatch, "predict", adapter, long, "--events", "--threshold", "noise=0.5")
    assert {line.split(",")[3] for line in out.splitlines()[1:]} == {"noise"}
    noise = next((folder / "noise").iterdir())
    assert predictor.predict(noise)[0]["label"] == "noise"
    # data that have no noise, and names without the groups of the training, are scored all the same
    other = write_text(tmp_path / "t.csv", "file_name,label", f"{folder}/wren/north0_1.wav,wren")
    assert predictor.evaluate(str(other), "all").scores.clips == 1
