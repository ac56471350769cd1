"""A data set as tensors: the features of training bit for bit, in the order of its split, for loops and for workers."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

import astune
from astune.adapter import Adapter
from astune.data import AudioDataset, Clip, DataRecipe, load_data
from astune.data.audio import SAMPLING_RATE
from astune.errors import AudioError, ConfigError, DataError
from astune.features import FeatureDataset, FrontEnd, build_cache, rounded_features
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.listening import listen_as_trained

FRONT_END = FrontEnd(32)


@pytest.fixture(scope="module")
def dataset(generated: Path) -> AudioDataset:
    return load_data(generated)


def of(dataset: AudioDataset, split: str = "train", **settings: Any) -> FeatureDataset:
    return FeatureDataset(dataset, **{"split": split, "front_end": FRONT_END, "quiet": True, **settings})


@pytest.mark.parametrize("split", ["train", "validation", "test", "all"])
def test_items_are_what_training_computes(split: str, dataset: AudioDataset) -> None:
    features = build_cache(dataset.clips, FRONT_END, quiet=True)
    chosen = range(len(dataset.clips)) if split == "all" else dataset.split().named(split)  # type: ignore[arg-type]
    found = of(dataset, split)
    assert isinstance(found, Dataset)
    assert len(found) == len(chosen) == {"train": 36, "validation": 18, "test": 18, "all": 72}[split]
    for number, clip in enumerate(chosen):
        item = found[number]
        assert list(item) == ["input_values", "labels"]
        assert item["input_values"].dtype == torch.float32
        assert torch.equal(item["input_values"], features.batch([clip])[0])
        assert int(item["labels"]) == dataset.targets[clip] == int(found.targets[number])
        assert found.names[number] == dataset.clips[clip].name
        assert found.labels[int(item["labels"])] == found.clips[number].label == dataset.clips[clip].label


def test_it_finds_what_training_computed_and_divides_as_training(
    dataset: AudioDataset, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the input length, where nobody states one, and the held-out tenth of another seed."""
    shutil.copytree(generated / "train", tmp_path / "sounds")
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    config = TrainConfig(data=str(tmp_path / "sounds"), output_dir=tmp_path / "out", backbone="random:tiny", seed=3)
    listened = listen_as_trained(config, check(config), quiet=True)
    made = set((tmp_path / "cache" / "features").iterdir())
    data = load_data(tmp_path / "sounds")
    for split, chosen in (("train", listened.split.train), ("validation", listened.split.validation)):
        found = FeatureDataset(data, split, seed=3, quiet=True)  # type: ignore[arg-type]
        assert found.names == tuple(data.clips[clip].name for clip in chosen)
        assert torch.equal(torch.stack([item["input_values"] for item in found]), listened.features.batch(chosen))  # type: ignore[attr-defined]
        assert found.front_end == FrontEnd(48)  # half a second: 1 + (8000 - 400) // 160
    assert set((tmp_path / "cache" / "features").iterdir()) == made


def test_a_last_clip_ends_the_loop_and_numbers_count_from_behind(dataset: AudioDataset) -> None:
    found = of(dataset, "test")
    assert torch.equal(found[-1]["input_values"], found[len(found) - 1]["input_values"])
    assert torch.equal(found[np.int64(2)]["input_values"], found[2]["input_values"])  # type: ignore[index]
    for wrong in (len(found), -len(found) - 1):
        with pytest.raises(IndexError, match=f"no clip {wrong}; there are 18"):
            found[wrong]


def test_samples_are_those_of_the_features(dataset: AudioDataset) -> None:
    found = of(dataset, "validation", front_end=FrontEnd(20))  # 0.215 s of clips of half a second
    for number in (0, 7, -1):
        audio = found.audio(number)
        assert audio["sampling_rate"] == SAMPLING_RATE
        assert audio["array"].shape == (19 * 160 + 400,)
        features = torch.from_numpy(rounded_features(audio["array"], found.front_end)).float()
        assert torch.equal(features, found[number]["input_values"])
        whole, _ = soundfile.read(found.clips[number].path, dtype="float32")
        np.testing.assert_array_equal(audio["array"], whole[: len(audio["array"])])


def test_parts_of_files_are_clips_of_their_own(generated: Path) -> None:
    path = next(generated.rglob("zip/*.wav"))
    clips = tuple(Clip(f"part {n}", path, ("a" if n else "b",), start=n * 0.1, end=n * 0.1 + 0.1) for n in range(4))
    found = of(AudioDataset("csv:x", clips, ("a", "b"), DataRecipe(selection="last")), front_end=FrontEnd(16))
    assert found.targets.tolist() == [1, 0, 0, 0]
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(found.audio(2)["array"], whole[3200:4800])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_map_the_cache_and_copy_nothing(context: str, dataset: AudioDataset) -> None:
    found = of(dataset)
    inline = list(DataLoader(found, batch_size=10))
    loader = DataLoader(found, batch_size=10, num_workers=1, multiprocessing_context=context)
    for one, other in zip(inline, loader, strict=True):
        assert one["input_values"].shape[1:] == (32, 128)
        assert one.keys() == other.keys() == {"input_values", "labels"}
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_pickle_says_where_the_features_are(
    dataset: AudioDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path))
    found = of(dataset, "all", front_end=FrontEnd(300))
    pickled = pickle.dumps(found)
    assert len(pickled) < 72 * 300 * 128 * 2 / 50  # bytes of the features as float16
    again = pickle.loads(pickled)  # noqa: S301 - our own
    assert torch.equal(again[5]["input_values"], found[5]["input_values"])
    assert (again.names, again.labels, again.notices) == (found.names, found.labels, found.notices)
    shutil.rmtree(tmp_path / "features")
    with pytest.raises(DataError, match="feature cache cannot be read any more"):
        pickle.loads(pickled)  # noqa: S301 - our own


def test_a_model_gives_its_front_end_and_the_order_of_its_labels(dataset: AudioDataset, tmp_path: Path) -> None:
    labels = ["silence", *reversed(dataset.labels)]
    model = astune.AudioClassifier(astune.load_backbone("random:tiny", 40), "linear", labels)
    adapter = model.to_adapter()
    assert isinstance(adapter, Adapter)
    predictor = astune.Predictor(model)
    for owner in (model, adapter, predictor):
        found = of(dataset, "test", front_end=owner)
        assert found.front_end == model.front_end == FrontEnd(40)
        assert found.labels == tuple(labels)
        assert [found.labels[int(item["labels"])] for item in found] == [clip.label for clip in found.clips]  # type: ignore[attr-defined]
    assert of(dataset, front_end=model.backbone).labels == dataset.labels  # a backbone has none
    assert of(dataset, "validation", front_end=found).labels == tuple(labels)
    batch = next(iter(DataLoader(found, batch_size=18)))
    with torch.inference_mode():
        loss = float(model.eval()(**batch).loss)
    assert predictor.evaluate(dataset).scores.figures()["loss"] == pytest.approx(loss, abs=1e-5)
    few = astune.AudioClassifier(astune.load_backbone("random:tiny", 40), "linear", ["zip", "silence"])
    with pytest.raises(DataError, match=r"classes the adapter does not know: bouncing_ball, .*; it knows zip, silence"):
        of(dataset, front_end=few)


def test_what_cannot_be_used_is_refused_in_words(dataset: AudioDataset, generated: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset is of type str; give what astune.load_data\(...\) returns"):
        of(str(generated))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"unknown split 'dev'; choose one of: test, validation, train, all"):
        of(dataset, "dev")
    with pytest.raises(ConfigError, match=r"front_end is of type int; give a FrontEnd, or what has one"):
        of(dataset, front_end=64)
    with pytest.raises(ConfigError, match="no folds, so no fold 2"):
        of(dataset, fold=2)
    only = AudioDataset("folder:x", dataset.clips[:6], dataset.labels, dataset.recipe)  # of the test split
    with pytest.raises(DataError, match=r"folder:x has no train split; choose another split \(test, all\)"):
        of(only)


def test_what_is_decided_and_left_out_is_said_once(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(generated / "train", tmp_path / "sounds")
    (tmp_path / "sounds" / "zip" / ".hidden.wav").write_bytes(b"RIFF")
    broken = sorted((tmp_path / "sounds").rglob("*.wav"))[0]
    broken.write_bytes(b"RIFF")
    data = load_data(tmp_path / "sounds")
    with pytest.raises(AudioError, match="1 of 36 audio files cannot be read"):
        FeatureDataset(data)
    capsys.readouterr()
    train = FeatureDataset(data, front_end=FrontEnd(20), skip_broken=True)
    said = capsys.readouterr().err.splitlines()
    assert said == list(train.notices)
    assert any(".hidden.wav" in line for line in said)
    assert sum("held out" in line for line in said) == 1
    assert sum("only the first 0.2 s are used" in line for line in said) == 1
    validation = FeatureDataset(data, "validation", front_end=train, skip_broken=True)
    again = capsys.readouterr().err.splitlines()
    assert not set(again) & set(said)
    everything = FeatureDataset(data, "all", front_end=train, skip_broken=True)
    assert "Note: 1 of 36 audio files cannot be read and is left out" in "\n".join(everything.notices)
    assert len(train) + len(validation) == len(everything) == 35
    capsys.readouterr()
    guessed = FeatureDataset(data, "train", skip_broken=True)
    assert "the input length is 48 frames (0.5 s), as training would choose it" in capsys.readouterr().err
    assert guessed.front_end == FrontEnd(48)
    of(data, skip_broken=True)
    assert capsys.readouterr().err == ""
