"""Data sets of Hugging Face's format, from disk alone: the network is never asked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from astune.data import load_data
from astune.data.audio import read_audio
from astune.data.store import cache_root, keep
from astune.errors import ConfigError
from tests.example_layouts import encoded, hub_table, write_hub, write_tone
from tests.unit.data.refusals import refusal

if TYPE_CHECKING:
    from pathlib import Path

datasets: Any = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets-cache"))


def test_saved_to_disk(tmp_path: Path) -> None:
    dataset = load_data(write_hub(tmp_path / "saved"))
    assert dataset.source == f"hf:{tmp_path / 'saved'}"
    assert dataset.labels == ("yes", "no")  # in the order of the ClassLabel; "maybe" has no clip
    split = dataset.split()
    assert (len(split.train), len(split.validation), len(split.test)) == (4, 4, 4)
    assert [dataset.clips[clip].name for clip in split.train] == [f"train/{n:06d}" for n in range(4)]
    first = dataset.clips[split.train[0]]
    assert first.path.read_bytes() == encoded(300)
    assert first.path.suffix == ".wav"
    assert read_audio(first.path).shape == (800,)  # 50 ms


def test_parquet_in_one_split(tmp_path: Path) -> None:
    (tmp_path / "p" / "data").mkdir(parents=True)
    hub_table(20).to_parquet(tmp_path / "p" / "data" / "train-00000-of-00001.parquet")
    dataset = load_data(tmp_path / "p")
    assert dataset.source.startswith("hf:")
    split = dataset.split()
    assert (len(split.train), len(split.validation), len(split.test)) == (18, 2, 0)


def test_folds_of_a_single_split(tmp_path: Path) -> None:
    table = hub_table(6).add_column("fold", [1, 1, 2, 2, 3, 3])
    table.save_to_disk(tmp_path / "d")
    dataset = load_data(tmp_path / "d")
    assert dataset.folds == (1, 2, 3)
    assert [clip.name for clip in dataset.clips][:2] == ["clip/000000", "clip/000001"]


def test_text_labels_and_usual_names(tmp_path: Path) -> None:
    table = hub_table(4).remove_columns("label").add_column("category", ["dog", "rain", "dog", "rain"])
    table.add_column("speaker", ["a", "b", "c", "d"]).save_to_disk(tmp_path / "d")
    assert load_data(tmp_path / "d").labels == ("dog", "rain")


def test_a_column_named_label_wins(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["en", "fr"])
    table = hub_table(4).add_column("language", [0, 0, 1, 1]).cast_column("language", names)
    table.save_to_disk(tmp_path / "d")
    assert load_data(tmp_path / "d").labels == ("yes", "no")
    table.rename_column("label", "spoken").save_to_disk(tmp_path / "e")
    message = refusal(tmp_path / "e")
    assert "which column is the label? any of spoken, language" in message
    assert "give it as label_column, or rename it to label" in message
    assert load_data(tmp_path / "e", label_column="language").labels == ("en", "fr")


def test_columns_that_say_nothing(tmp_path: Path) -> None:
    table = hub_table(4)
    table.rename_column("label", "x").cast_column("x", datasets.Value("int64")).save_to_disk(tmp_path / "d")
    message = refusal(tmp_path / "d")
    assert "none is a ClassLabel; columns: audio (dict), x (int64)" in message
    table.remove_columns("audio").save_to_disk(tmp_path / "e")
    assert "it takes one column of type Audio, and there are 0; columns: label (int64)" in refusal(tmp_path / "e")


def test_a_clip_without_label(tmp_path: Path) -> None:
    features = hub_table(1).features
    table = hub_table(3).remove_columns("label").add_column("label", [0, -1, 2]).cast(features)
    table.save_to_disk(tmp_path / "d")
    assert "clip/000001 has no label (label is -1)" in refusal(tmp_path / "d")


def test_split_names(tmp_path: Path) -> None:
    parts = {"train": hub_table(4), "dev": hub_table(2, 10), "other": hub_table(2, 20)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    split = load_data(tmp_path / "d").split()
    assert (len(split.train), len(split.validation), len(split.test)) == (4, 2, 0)
    datasets.DatasetDict({"test": hub_table(4), "other": hub_table(2)}).save_to_disk(tmp_path / "e")
    assert len(load_data(tmp_path / "e").split().test) == 4
    datasets.DatasetDict({"other": hub_table(2)}).save_to_disk(tmp_path / "g")
    assert "must have one split train, and one validation and one test at most; it has other" in refusal(tmp_path / "g")
    datasets.DatasetDict({**parts, "valid": hub_table(2)}).save_to_disk(tmp_path / "f")
    assert "one validation and one test at most; it has train, dev, other, valid" in refusal(tmp_path / "f")


def test_an_unknown_hub_id_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    message = refusal("hf:nobody/has-this-data-set")
    assert message.startswith("nobody/has-this-data-set: datasets cannot open it (")
    assert "hf:PATH expects" in message


def test_a_hub_that_does_not_answer_is_not_asked_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    began = time.monotonic()
    message = refusal("hf:nobody/has-this-data-set")
    assert time.monotonic() - began < 5
    assert "datasets cannot open it" in message
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err
    assert constants.HF_HUB_OFFLINE is False


def test_the_library_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = write_hub(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install .*\[datasets\]'"):
        load_data(saved)


def test_it_is_not_imported_unless_used(generated: Path) -> None:
    code = f"""
import sys
from astune.data import load_data
load_data({str(generated)!r})
print(sorted({{"datasets", "pyarrow", "torch"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_audio_folders_are_sent_to_the_folder_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*given: str) -> None:
        try:
            raise ImportError("To support encoding audio data, please install 'torchcodec'.")
        except ImportError as fault:
            raise datasets.exceptions.DatasetsError("An error occurred while generating the dataset") from fault

    monkeypatch.setattr(datasets, "load_dataset", refuses)
    assert "hf download owner/name --repo-type dataset --local-dir DIR`, then folder:DIR" in refusal("hf:owner/name")


def test_a_configuration_is_named_behind_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, ...]] = []

    def answer(*given: str | None) -> object:
        asked.append(given)
        return datasets.DatasetDict({"train": hub_table(4)})

    monkeypatch.setattr(datasets, "load_dataset", answer)
    assert load_data("hf:owner/name:en-US").source == "hf:owner/name:en-US"
    assert load_data("hf:owner/name").labels == ("yes", "no")
    assert asked == [("owner/name", "en-US"), ("owner/name", None)]


def test_content_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path))
    content = encoded(440, "FLAC")
    first = keep(content, "somewhere/a.FLAC")
    digest = hashlib.sha256(content).hexdigest()
    assert first == tmp_path / "audio" / digest[:2] / f"{digest}.flac"
    before = first.stat().st_mtime_ns, first.stat().st_ino
    assert keep(content, "b.flac") == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == before
    assert keep(content, "c.exe").suffix == ""
    assert np.array_equal(read_audio(keep(content)), read_audio(first))
    assert sorted(path.name for path in first.parent.iterdir()) == [digest, f"{digest}.flac"]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ASTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_root() == tmp_path / "x" / "astune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "astune"
    assert os.environ["HOME"] == str(tmp_path)


def test_a_parquet_file_swapped_under_equal_size_and_time_is_read_again(tmp_path: Path) -> None:
    """The library's own cache asks for the modification time alone."""
    file = tmp_path / "p" / "data" / "train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    table = hub_table(4)
    other = table.remove_columns("label").add_column("label", [2, 0, 2, 0]).cast(table.features)
    found = []
    for content in (table, other):
        content.to_parquet(file)
        os.utime(file, (1e9, 1e9))
        found.append((file.stat().st_size, [clip.label for clip in load_data(tmp_path / "p").clips]))
    assert found[0][0] == found[1][0]
    assert [labels for _, labels in found] == [["yes", "no", "yes", "no"], ["no", "yes", "no", "yes"]]


def test_splits_of_other_names_are_named(tmp_path: Path) -> None:
    parts = {"train": hub_table(4), "other": hub_table(2, 20), "unlabelled": hub_table(3, 30)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    assert load_data(tmp_path / "d").notices == (
        "Note: 2 splits of other names were passed over: other (2 rows), unlabelled (3 rows)",
        "Note: 1 label without a clip was passed over: maybe",
    )
    datasets.DatasetDict({"training_set": hub_table(4), "devel": hub_table(2, 10)}).save_to_disk(tmp_path / "e")
    split = load_data(tmp_path / "e").split()
    assert (len(split.train), len(split.validation)) == (4, 2)


@pytest.mark.parametrize("name", ["eval", "holdout"])
def test_undecided_splits_are_asked_about(tmp_path: Path, name: str) -> None:
    datasets.DatasetDict({"train": hub_table(4), name: hub_table(2, 10)}).save_to_disk(tmp_path / "d")
    assert f"is {name} validation or test?" in refusal(tmp_path / "d")


def test_the_same_recording_in_two_splits_is_warned_of(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": hub_table(4), "test": hub_table(2)}).save_to_disk(tmp_path / "d")
    assert load_data(tmp_path / "d").notices == (
        "Note: 1 label without a clip was passed over: maybe",
        "Warning: 2 recordings are in several splits, so scores may be too good",
    )


def test_starts_and_ends_are_refused(tmp_path: Path) -> None:
    table = hub_table(4).add_column("start_time", [0.1] * 4).add_column("end_time", [0.2] * 4)
    table.save_to_disk(tmp_path / "d")
    assert "column start_time and column end_time: parts of recordings are not read from this format" in refusal(
        tmp_path / "d"
    )


def test_a_column_named_group(tmp_path: Path) -> None:
    table = hub_table(40)
    table.add_column("group", [n // 4 for n in range(40)]).save_to_disk(tmp_path / "d")
    dataset = load_data(tmp_path / "d")
    assert [clip.group for clip in dataset.clips][::4] == [str(n) for n in range(10)]
    split = dataset.split()
    assert {dataset.clips[clip].group for clip in split.train}.isdisjoint(
        dataset.clips[clip].group for clip in split.validation
    )
    table.add_column("group", ["a", None] * 20).save_to_disk(tmp_path / "e")
    assert "clip/000001 has no group (group is None)" in refusal(tmp_path / "e")
    table.add_column("speaker", ["a", "b"] * 20).save_to_disk(tmp_path / "f")
    assert "if speaker does, rename it to group" in (load_data(tmp_path / "f").ungrouped() or "")


def test_labels_are_cleaned_and_compared(tmp_path: Path) -> None:
    table = hub_table(4).remove_columns("label")
    table.add_column("label", ["dog ", "dog", "cafe\u0301", "caf\u00e9"]).save_to_disk(tmp_path / "d")
    assert load_data(tmp_path / "d").labels == ("caf\u00e9", "dog")
    table.add_column("label", ["1", "1.0", "2", "3"]).save_to_disk(tmp_path / "e")
    assert "labels '1' (clip/000000) and '1.0' (clip/000001) are the same number" in refusal(tmp_path / "e")


def test_a_folder_of_recordings_named_as_hf(tmp_path: Path) -> None:
    write_tone(tmp_path / "low" / "a.wav")
    assert "it is not a hub id; folder:PATH or csv:PATH reads recordings" in refusal(f"hf:{tmp_path}")


@pytest.mark.parametrize("fold", [None, 2.5, "one", float("nan")])
def test_folds_that_are_no_numbers(tmp_path: Path, fold: object) -> None:
    usual: dict[type, object] = {str: "1", float: 1.0}
    hub_table(2).add_column("fold", [usual.get(type(fold), 1), fold]).save_to_disk(tmp_path / "d")
    assert f"clip/000001 has no fold (fold is {fold!r}, not a whole number)" in refusal(tmp_path / "d")


def test_columns_that_divide_one_split(tmp_path: Path) -> None:
    hub_table(4).add_column("subset", ["train", "test"] * 2).save_to_disk(tmp_path / "d")
    assert "column subset seems to divide the clips" in refusal(tmp_path / "d")
    hub_table(4).add_column("text", ["hello", "bye"] * 2).save_to_disk(tmp_path / "e")
    assert "Note: 1 column was passed over: text" in load_data(tmp_path / "e").notices


def test_speakers_in_several_splits_are_said(tmp_path: Path) -> None:
    parts = {
        "train": hub_table(3).add_column("speaker", ["ann", "ben", None]),
        "test": hub_table(3, 10).add_column("speaker", ["ann", "cem", None]),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    said = "values of column speaker occur in several splits or folds (ann)"
    assert any(f"1 of 4 {said}" in notice for notice in load_data(tmp_path / "d").notices)
    folds = hub_table(4).add_column("fold", [1, 1, 2, 2]).add_column("speaker", ["ann", "ben", "ann", "cem"])
    folds.save_to_disk(tmp_path / "e")
    assert any(f"1 of 3 {said}" in notice for notice in load_data(tmp_path / "e").notices)
