"""Names of splits, in every layout alike; what could be two things is asked about."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from astune.data import load_data
from astune.data.splits import is_undecided, resembles_split, split_at_end, split_named
from tests.example_layouts import write_text, write_tone
from tests.unit.data.refusals import refusal

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, *names: str) -> Path:
    for name in names:
        write_tone(folder / name / "a.wav")
    return folder


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Training", "train_set", "training-set", "TRAIN SET", "traindata")),
        *((name, "validation") for name in ("val", "Valid", "validation", "dev", "devel", "development", "dev_set")),
        *((name, "test") for name in ("test", "testing", "Test-Set", "testing_set")),
        *((name, None) for name in ("eval", "trains", "validated", "latest", "tests_a", "", "train-clean-100")),
    ],
)
def test_names(name: str, split: str | None) -> None:
    assert split_named(name) == split


@pytest.mark.parametrize("name", ["eval", "Evaluation", "eval_set", "holdout", "held-out", "Unseen"])
def test_undecided_names(name: str) -> None:
    assert is_undecided(name)
    assert split_named(name) is None


def test_names_that_begin_as_splits() -> None:
    assert [resembles_split(name) for name in ("train-clean-100", "test_other", "held-out-2", "tram", "train2")] == [
        "train", "test", "heldout", None, "train",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (("train", "dev"), {"train": 2, "validation": 2}),
        (("training_set", "test_set"), {"train": 2, "test": 2}),
        (("Train-Set", "devel", "testing"), {"train": 2, "validation": 2, "test": 2}),
    ],
)
def test_folders(tmp_path: Path, folders: tuple[str, ...], parts: dict[str, int]) -> None:
    written(tmp_path, *(f"{folder}/{label}" for folder in folders for label in ("dog", "rain")))
    dataset = load_data(tmp_path)
    assert dataset.labels == ("dog", "rain")
    assert Counter(clip.split for clip in dataset.clips) == parts
    (notice,) = dataset.notices
    assert notice.startswith("Note: folders are read as splits: ")


@pytest.mark.parametrize("name", ["eval", "evaluation", "holdout", "held_out", "unseen"])
@pytest.mark.parametrize("beside", [("train",), ()])
def test_undecided_folders_are_asked_about(tmp_path: Path, name: str, beside: tuple[str, ...]) -> None:
    written(tmp_path, *(f"{folder}/{label}" for folder in (name, *beside) for label in ("dog", "rain")))
    assert f"is {name}/ validation or test? rename it to validation or test" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["dev", "eval", "test", "holdout", "validation"])
@pytest.mark.parametrize("beside", [("dog", "rain"), ("dog", "train")])
def test_a_split_among_classes_is_refused(tmp_path: Path, name: str, beside: tuple[str, ...]) -> None:
    written(tmp_path, name, *beside)
    assert f"split folders ({name}) and class folders (dog) are in the same folder" in refusal(tmp_path)


def test_a_class_of_trains_is_announced(tmp_path: Path) -> None:
    dataset = load_data(written(tmp_path, "train", "tram"))
    assert dataset.labels == ("train", "tram")
    assert dataset.notices == ("Note: the folder train is read as a class, as the folders beside it are",)


def test_a_train_folder_divided_as_the_one_beside_it_is_asked_about(tmp_path: Path) -> None:
    written(tmp_path, "train/dog", "train/rain", "later/dog", "later/rain")
    assert "train/ and later/ hold folders of the same names: are they splits?" in refusal(tmp_path)


@pytest.mark.parametrize(
    "folders", [("train-clean-100", "test-clean"), ("train_a", "dev_a"), ("train-clean-100", "train-clean-360")]
)
def test_more_than_a_split_name_is_asked_about(tmp_path: Path, folders: tuple[str, str]) -> None:
    written(tmp_path, *(f"{folder}/{label}" for folder in folders for label in ("dog", "rain")))
    assert f"{min(folders)}/ and {max(folders)}/ look like splits and not like classes" in refusal(tmp_path)


def test_classes_may_begin_like_splits(tmp_path: Path) -> None:
    assert load_data(written(tmp_path, "train_horn", "train_whistle", "dog")).labels == (
        "dog", "train_horn", "train_whistle",
    )  # fmt: skip
    assert load_data(written(tmp_path / "two", "train_horn", "train_whistle")).labels == ("train_horn", "train_whistle")


def test_folds_are_no_classes(tmp_path: Path) -> None:
    written(tmp_path, *(f"fold{fold}/{label}" for fold in (1, 2) for label in ("dog", "rain")))
    assert "fold1/ looks like a fold and not like a class" in refusal(tmp_path)


def test_splits_inside_of_classes_are_asked_about(tmp_path: Path) -> None:
    written(tmp_path, "dog/train", "dog/test", "rain/2020/eval")
    message = refusal(tmp_path)
    assert "is dog/test/, and 1 more like it, a split? put splits above classes (test/dog/)" in message
    assert "is rain/2020/eval/ a split?" in refusal(written(tmp_path / "deep", "rain/2020/eval", "dog"))
    assert load_data(written(tmp_path / "vehicles", "vehicle/train", "animal/dog")).labels == ("animal", "vehicle")


def test_splits_one_folder_below_are_asked_about(tmp_path: Path) -> None:
    written(tmp_path, *(f"audio/{split}/{label}" for split in ("train", "test") for label in ("dog", "rain")))
    assert "is audio/test/ a split? put splits above classes (test/audio/)" in refusal(tmp_path)


def test_tables(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{'ab'[n % 2]},{name}" for n, name in enumerate(["Training Set", "dev", "devel", "test_set"])]
    file = write_text(tmp_path / "a.csv", "file_name,label,split", *rows)
    assert [clip.split for clip in load_data(file).clips] == ["train", "validation", "validation", "test"]
    write_text(file, "file_name,label,split", "0.wav,a,train", "1.wav,b,eval", "2.wav,b,tset")
    message = refusal(file)
    assert "line 3: is 'eval' validation or test?" in message
    assert "line 4: unknown split 'tset'; choose one of: train, validation, test; did you mean 'test'?" in message


def test_a_table_of_split_folders_without_a_column_split_is_asked_about(tmp_path: Path) -> None:
    """Hugging Face's audio folders take the split from the folder; all would train here."""
    rows = [f"{split}/{label}.wav,{label}" for split in ("train", "test") for label in ("a", "b")]
    message = refusal(write_text(tmp_path / "a.csv", "file_name,label", *rows))
    assert "files are in folders named as splits (test, train), and no column split says what they are" in message
    with_split = [f"{row},{row.partition('/')[0]}" for row in rows]
    dataset = load_data(write_text(tmp_path / "b.csv", "file_name,label,split", *with_split))
    assert (len(dataset.split().test), dataset.labels) == (2, ("a", "b"))
    absolute = [f"/home/dev/train/{label}.wav,{label}" for label in ("a", "b")]
    assert len(load_data(write_text(tmp_path / "d.csv", "file_name,label", *absolute)).clips) == 2
    tests = write_text(tmp_path / "e.csv", "file_name,label", "train/a.wav,train", "test/b.wav,test")
    assert load_data(tests).labels == ("test", "train")
    of_trains = write_text(tmp_path / "c.csv", "file_name,label", "train/a.wav,train", "tram/b.wav,tram")
    assert load_data(of_trains).labels == ("train", "tram")


def test_names_that_end_as_splits(tmp_path: Path) -> None:
    assert [split_at_end(name) for name in ("birds_train", "birds-held-out", "Birds eval", "train", "_test", "bus")] == [
        ("birds", "train"), None, ("birds", "eval"), None, None, None,
    ]  # fmt: skip
    assert "look like splits" in refusal(written(tmp_path / "a", "birds_train", "birds_test"))
    assert load_data(written(tmp_path / "b", "freight_train", "blood_test")).labels == ("blood_test", "freight_train")


def test_a_train_folder_of_folders_beside_another_is_asked_about(tmp_path: Path) -> None:
    folder = written(tmp_path, "train/dog", "train/cat", "unlabelled")
    assert "train/ holds folders (cat, dog) and is next to unlabelled/: is train a split or a class?" in refusal(folder)


def test_a_split_in_place_of_a_class_is_asked_about(tmp_path: Path) -> None:
    assert "is train/dev/ a split or a class?" in refusal(written(tmp_path, "train/dog", "train/cat", "train/dev"))


def test_folders_that_may_be_the_classes_are_said(tmp_path: Path) -> None:
    (notice,) = load_data(written(tmp_path / "a", "audio/dog", "audio/cat")).notices
    assert notice == (
        "Warning: there is only one class, audio; if the folders in it (cat, dog) are the classes, give audio/ itself"
    )
    (notice,) = load_data(written(tmp_path / "b", "ann/dog", "ann/cat", "ben/dog", "ben/cat", "cem")).notices
    assert notice == (
        "Note: class folders (ann, ben) hold folders of the same names (cat, dog); the classes are ann, ben, cem"
    )
