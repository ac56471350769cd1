"""How much is heard, and what is suspicious: every verb says it, says the same, and knows it from the cache the second time."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

import astune.features.cache as cache_module
from astune.classifier import AudioClassifier
from astune.data import load_data
from astune.data.audio_notices import audio_notices, cut_off, input_seconds
from astune.data.check import check as check_data
from astune.errors import AudioError, ConfigError
from astune.features import FrontEnd, LogMel, build_cache
from astune.plurals import number_of
from astune.training.check import check_file
from astune.training.config import TrainConfig
from astune.training.listening import listen_as_trained
from astune.training.loop import train
from tests.unit.test_cli import run

RATE = 16_000
Capture = pytest.CaptureFixture[str]


def write(path: Path, seconds: float, hertz: float = 440, level: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE), RATE)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten clips of 0.3 s a class, of two; of one class one is 20 s long, one is silent, and one is cut in half."""
    data = tmp_path / "data"
    for label, hertz in (("low", 300), ("high", 3000)):
        for number in range(10):
            write(data / label / f"{number}.wav", 0.3, hertz + 10 * number)
    write(data / "low" / "long.wav", 20.0, 300)
    write(data / "low" / "silent.wav", 0.3, level=0)
    cut = write(data / "high" / "cut.wav", 0.6)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return data


SETTINGS = {"backbone": "random:tiny", "method": "linear", "num_train_epochs": 1}
# The 95th of 100 clips is 0.3 s: 28 frames, 0.295 s. Of 20 x 0.3 + 20 + 0.3 + 0.3 s, 19.7 s lie behind it.
LONGER = "1 of 23 clips is longer than the input: only the first 0.3 s are used, 74 % of the audio (19.7 s) is not"
SILENT = "Warning: digital silence: 1 of 23 clips: low/silent.wav (every sample is 0)"
CUT = "Warning: cut short: 1 of 23 clips: high/cut.wav (its header promises 19,200 bytes of sound, and "


def said(lines: list[str]) -> None:
    assert [line for line in lines if LONGER in line], lines
    assert SILENT in lines
    assert [line for line in lines if line.startswith(CUT)]


def test_all_verbs_say_the_same(folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, "data": str(folder), "output_dir": str(out)}))
    code, _, err = run(capsys, monkeypatch, "validate", file)
    assert code == 0
    said(err.splitlines())
    read_paths: list[Path] = []
    monkeypatch.setattr(cache_module, "listen", lambda path, *_, **__: read_paths.append(path))
    code, printed, err = run(capsys, monkeypatch, "train", "--config", file, "--json")
    assert code == 0
    said(err.splitlines())
    notices = json.loads(printed)["notices"]
    said(notices)
    assert json.loads((out / "results.json").read_text())["notices"] == notices
    assert read_paths == []  # train finds the features that validate left
    monkeypatch.undo()
    code, printed, err = run(capsys, monkeypatch, "evaluate", out, folder, "--split", "all", "--json")
    assert code == 0
    said(err.splitlines())
    said(json.loads(printed)["notices"])


def test_evaluate_speaks_of_the_clips_it_scores(
    folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(TrainConfig(data=str(folder), output_dir=tmp_path / "out", **SETTINGS), quiet=True)
    few = tmp_path / "few"
    for label in ("low", "high"):
        (few / "test" / label).mkdir(parents=True)
        (few / "train" / label).mkdir(parents=True)
        (few / "test" / label / "1.wav").write_bytes((folder / label / "1.wav").read_bytes())
        (few / "train" / label / "2.wav").write_bytes((folder / label / "2.wav").read_bytes())
    (few / "train" / "low" / "long.wav").write_bytes((folder / "low" / "long.wav").read_bytes())
    code, printed, err = run(capsys, monkeypatch, "evaluate", tmp_path / "out", few, "--json")
    assert (code, json.loads(printed)["notices"]) == (0, [])
    assert "longer" not in err


def test_numbers_of_things() -> None:
    sentences = audio_notices({0: 3.0}, {0: ("cut short: 1",)}, ["a\nb"], 1.0, "file")
    assert sentences[0].startswith("Note: 1 of 1 file is longer than the input: ")
    assert sentences[1] == "Warning: cut short: 1 of 1 file: a\\nb (1)"
    assert audio_notices({0: 3.0, 1: 2.0, 2: 1.0}, {}, [], 1.0)[0].startswith("Note: 2 of 3 clips are longer than ")
    found = [number_of(count, noun) for count, noun in ((0, "clip"), (1, "class"), (2, "class"), (3000, "search"))]
    assert found == ["0 clips", "1 class", "2 classes", "3,000 searches"]


@pytest.mark.parametrize("skip", [False, True])
def test_validate_finds_the_broken_files_that_train_will(folder: Path, tmp_path: Path, skip: bool) -> None:
    (folder / "low" / "text.wav").write_text("no sound")
    fields = {**SETTINGS, "data": str(folder), "output_dir": str(tmp_path / "out"), "skip_broken": skip}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(fields))
    config, checked = check_file(file)
    if skip:
        notices = listen_as_trained(config, checked, quiet=True).notices
        result = train(config, quiet=True)
        assert result.notices == notices
        assert any("1 of 24 audio files cannot be read and is left out" in notice for notice in notices)
        assert result.skipped_clips == 1
        return
    with pytest.raises(AudioError) as by_validate:
        listen_as_trained(config, checked, quiet=True)
    with pytest.raises(AudioError) as by_train:
        train(config, quiet=True)
    assert str(by_validate.value) == str(by_train.value)
    assert "text.wav: it cannot be decoded" in str(by_train.value)


def test_validate_and_train_agree_on_a_backbone_of_other_statistics(folder: Path, tmp_path: Path) -> None:
    """The normalisation is part of what the features are found by; it is read without the weights."""
    from astune.backbone import load_backbone
    from astune.backbone.load import load_front_end

    backbone = load_backbone("bundled", 64)
    assert load_front_end("bundled", 64) == backbone.front_end
    assert load_front_end("random:tiny", 64) == load_backbone("random:tiny", 64).front_end
    own = tmp_path / "own"
    backbone.model.save_pretrained(own)
    (own / "preprocessor_config.json").write_text('{"mean": -3.5, "std": 4.0}')
    assert load_front_end(own, 98) == load_backbone(own, 98).front_end == FrontEnd(98, mean=-3.5, std=4.0)


def test_data_check_says_what_training_would_not_hear(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = check_data(load_data(folder), quiet=True)
    assert [(doubt.name, doubt.reason.partition(":")[0]) for doubt in report.doubts] == [
        ("high/cut.wav", "cut short"),
        ("low/silent.wav", "digital silence"),
    ]
    assert report.broken == []
    assert report.unheard.longer_clips == 1
    assert report.unheard.input_seconds == input_seconds(28) == 0.295
    assert report.unheard.seconds == pytest.approx(19.705)
    code, out, err = run(capsys, monkeypatch, "data", "check", folder)
    assert code == 0
    assert "suspicious  cut short: 1   digital silence: 1" in out
    assert "1 of 23 clips is longer than the input of 0.3 s that training would choose" in err
    assert "74 % of the audio (19.7 s) would be cut off" in err
    code, out, _ = run(capsys, monkeypatch, "data", "check", folder, "--json")
    record = json.loads(out)
    assert [doubt["name"] for doubt in record["doubts"]] == ["high/cut.wav", "low/silent.wav"]
    assert record["unheard"]["longer_clips"] == 1


def test_what_lies_behind_an_input() -> None:
    """ESC-50's 500 frames are 499 steps of 10 ms and one of 25 ms."""
    assert cut_off([5.0, 7.015], input_seconds(500)).seconds == pytest.approx(2.0)
    assert cut_off([5.0, 5.1], input_seconds(500)).longer_clips == 0  # 95 ms are not worth a word
    assert cut_off([], 1.0).share == 0


def test_long_lists_are_counted_and_three_are_named() -> None:
    names = [f"{number}.wav" for number in range(5000)]
    doubts = dict.fromkeys(range(0, 5000, 2), ("digital silence: every sample is 0",))
    (sentence,) = audio_notices(dict.fromkeys(range(5000), 1.0), doubts, names, 1.0)
    assert sentence == (
        "Warning: digital silence: 2,500 of 5,000 clips: 0.wav (every sample is 0), 2.wav (every sample is 0), "
        "4.wav (every sample is 0) and 2,497 more"
    )


def test_what_is_known_comes_back_from_the_cache(folder: Path, tmp_path: Path) -> None:
    paths, front_end = load_data(folder).paths, FrontEnd(28)
    first, again = (build_cache(paths, front_end, root=tmp_path / "cache", quiet=True) for _ in range(2))
    for cache in (first, again):
        assert cache.seconds.tolist() == [round(soundfile.info(path).duration, 3) for path in paths]
        assert len(cache.doubts) == 2
        assert cache.heard_seconds == front_end.seconds
    assert first.doubts == again.doubts
    names = [path.name for path in paths]
    everything = again.notices(range(len(paths)), names)
    assert len(everything) == 3
    usual = [row for row in range(len(paths)) if row not in again.doubts and again.seconds[row] < 1]
    assert again.notices(usual, names) == []


@pytest.fixture
def adapter(generated: Path, tmp_path: Path) -> Path:
    config = TrainConfig(data=str(generated), output_dir=tmp_path / "adapter", **SETTINGS)
    train(config, quiet=True)
    return tmp_path / "adapter"


def test_predict_says_it_of_each_file(
    adapter: Path, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    low = folder / "low"
    files = [low / "long.wav", low / "1.wav", low / "silent.wav"]
    code, out, err = run(capsys, monkeypatch, "predict", adapter, *files, "--json")
    assert code == 0
    long, usual, silent = json.loads(out)
    assert (long["seconds"], long["heard_seconds"], long["windows"]) == (20.0, 20.0, 41)  # of 48 frames, 0.495 s
    assert (usual["seconds"], usual["heard_seconds"], usual["windows"]) == (0.3, 0.3, 1)
    assert silent["doubts"] == ["digital silence: every sample is 0"]
    assert "doubts" not in long
    assert "doubts" not in usual
    assert "1 of 3 files is longer than the input of 0.5 s and heard in consecutive windows; scores are the mean" in err
    assert f"digital silence: 1 of 3 files: {low / 'silent.wav'}" in err
    code, out, err = run(capsys, monkeypatch, "predict", adapter, *files, "--json", "--pool", "first")
    assert (json.loads(out)[0]["heard_seconds"], json.loads(out)[0]["pool"]) == (0.495, "first")
    assert "1 of 3 files is longer than the input: only the first 0.5 s are used" in err


def test_predict_reads_standard_input_and_pipes_once(
    adapter: Path, folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, pipe = folder / "low" / "1.wav", tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(clip.read_bytes(),))
    thread.start()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(clip.read_bytes())))
    code, out, _ = run(capsys, monkeypatch, "predict", adapter, clip, pipe, "-", "--json")
    thread.join()
    assert code == 0
    records = json.loads(out)
    assert [record.pop("file") for record in records] == [str(clip), str(pipe), "-"]
    assert records[0] == records[1] == records[2]


def test_predict_prints_no_nan(adapter: Path, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone or adapter that gives NaN: an error for the file, and JSON that is JSON."""
    forward = AudioClassifier.forward

    def broken(self: AudioClassifier, *arguments: torch.Tensor) -> object:
        output = forward(self, *arguments)
        assert output.logits is not None
        output.logits[0] = float("nan")
        return output

    monkeypatch.setattr(AudioClassifier, "forward", broken)
    low = folder / "low"
    code, out, err = run(capsys, monkeypatch, "predict", adapter, low / "1.wav", low / "2.wav", "--json")
    assert code == 1
    first, second = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert "its scores are not numbers" in first["error"]
    assert "labels" not in first
    assert "labels" in second
    assert "1 of 2 files could not be read or labelled" in err


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [(torch.int16, "divide by 32768"), (torch.int32, "divide by 2147483648"), (torch.uint8, "subtract 128")],
)
def test_integer_samples_are_refused_in_words(dtype: torch.dtype, advice: str) -> None:
    samples = torch.zeros(1600, dtype=dtype)
    for take in (FrontEnd(12), LogMel()):
        with pytest.raises(ConfigError, match=f"samples are floats in -1 to 1, not {dtype}; .*{advice}"):
            take(samples)
