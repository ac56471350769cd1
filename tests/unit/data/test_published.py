"""UrbanSound8K, Speech Commands and Fluent Speech Commands, in their published layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astune.data import load_data
from tests.example_layouts import (
    write_fluent_speech,
    write_folder,
    write_speech_commands,
    write_text,
    write_tone,
    write_urbansound8k,
)
from tests.unit.data.refusals import refusal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_urbansound8k(tmp_path: Path, suffix: str) -> None:
    dataset = load_data(write_urbansound8k(tmp_path, suffix))
    assert dataset.source == f"urbansound8k:{tmp_path}"
    assert dataset.labels == ("air_conditioner", "dog_bark")  # classID 0 and 3
    assert dataset.folds == tuple(range(1, 11))
    first = dataset.clips[0]
    assert (first.name, first.label, first.fold) == ("1001-0-0-0", "air_conditioner", 1)
    assert first.path == tmp_path / "audio" / "fold1" / f"1001-0-0-0{suffix}"


def test_urbansound8k_has_no_validation_unless_asked(tmp_path: Path) -> None:
    """Paper: nine folds train, one tests; published code that picks its epoch on the test fold is its fault 5."""
    dataset = load_data(write_urbansound8k(tmp_path))
    split = dataset.split(10)
    assert (len(split.train), len(split.validation), len(split.test)) == (36, 0, 4)
    assert split.notice is None
    asked = dataset.split(10, selection="best-validation")
    assert (len(asked.train), len(asked.validation), len(asked.test)) == (32, 4, 4)  # a tenth of 18 of each class: 2
    assert asked.notice is not None
    assert {dataset.clips[clip].fold for clip in asked.test} == {10}


def test_recipes_are_those_of_the_paper(tmp_path: Path) -> None:
    """The table in paper/NOTES.md: frames, batch, epochs, SpecAugment, selection."""
    writers = {"u": write_urbansound8k, "s": write_speech_commands, "f": write_fluent_speech}
    recipes = {name: load_data(write(tmp_path / name)).recipe for name, write in writers.items()}
    stated = {
        name: (
            recipe.max_length, recipe.per_device_train_batch_size, recipe.num_train_epochs,
            recipe.freq_mask, recipe.time_mask, recipe.selection,
        )
        for name, recipe in recipes.items()
    }  # fmt: skip
    assert stated == {
        "u": (400, 32, 30, 24, 80, "last"),
        "s": (100, 128, 75, 0, 0, "best-validation"),
        "f": (400, 32, 75, 0, 0, "best-validation"),
    }


def test_urbansound8k_faults(tmp_path: Path) -> None:
    file = write_urbansound8k(tmp_path) / "metadata" / "UrbanSound8K.csv"
    whole = file.read_text()
    lines = whole.splitlines()
    write_text(file, lines[0], lines[1].replace(",1,3,dog_bark", ",one,3,dog_bark"), lines[2].replace("dog_bark", ""))
    assert refusal(tmp_path).splitlines()[1:] == [
        "  - line 2: fold is 'one', not a whole number",
        "  - line 3: class is empty",
    ]
    file.write_text(whole.replace(",3,dog_bark", ",0,dog_bark"))
    assert "classID and class do not name the same classes" in refusal(tmp_path)
    file.write_text(whole)
    (tmp_path / "audio" / "fold2" / "1002-3-0-1.wav").unlink()
    assert "1 of 40 files named there is missing: audio/fold2/1002-3-0-1.wav" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_speech_commands(tmp_path: Path, suffix: str) -> None:
    dataset = load_data(write_speech_commands(tmp_path, suffix))
    assert dataset.source == f"speech_commands:{tmp_path}"
    assert dataset.labels == ("bed", "yes")
    split = dataset.split()
    assert [dataset.clips[clip].name for clip in split.test] == ["bed/00000000_nohash_0", "yes/00000000_nohash_0"]
    assert [dataset.clips[clip].name for clip in split.validation] == ["bed/00000001_nohash_0", "yes/00000001_nohash_0"]
    assert len(split.train) == 8
    assert split.notice is None


def test_speech_commands_faults(tmp_path: Path) -> None:
    write_speech_commands(tmp_path)
    lists = tmp_path / "testing_list.txt", tmp_path / "validation_list.txt"
    both = lists[0].read_text() + lists[1].read_text()
    lists[0].write_text(both)
    assert "2 files are in both lists, yes/00000001_nohash_0.flac among them" in refusal(tmp_path)
    lists[0].write_text("yes/00000000_nohash_0.wav\nno/00000000_nohash_0.wav\n")
    assert "1 of 2 files named there is missing: no/00000000_nohash_0.wav" in refusal(tmp_path)
    lists[0].unlink()
    assert "there is no testing_list.txt" in refusal(f"speech_commands:{tmp_path}")


def test_a_clip_in_two_encodings_is_refused(tmp_path: Path) -> None:
    write_speech_commands(tmp_path)
    write_tone(tmp_path / "yes" / "00000003_nohash_0.wav")
    assert "1 clip occurs twice, yes/00000003_nohash_0 among them" in refusal(tmp_path)


def test_speech_commands_lists_without_words(tmp_path: Path) -> None:
    for name in ("validation_list.txt", "testing_list.txt"):
        write_text(tmp_path / name)
    assert "no audio files are found in word folders" in refusal(tmp_path)


def test_folders_without_lists_are_plain_folders(tmp_path: Path) -> None:
    assert load_data(write_folder(tmp_path)).source.startswith("folder:")


def test_arabic_speech_commands(real_audio: Path) -> None:
    """9,600 clips (data/README.md): 30 speakers; 18 train with 10 takes of 40 words, 12 others with 5."""
    dataset = load_data(real_audio / "arabic_speech_commands")
    assert dataset.source.startswith("speech_commands:")
    assert (len(dataset.clips), len(dataset.labels)) == (9600, 40)
    split = dataset.split()
    assert (len(split.train), len(split.validation) + len(split.test)) == (18 * 40 * 10, 12 * 40 * 5)
    speakers = [
        {dataset.clips[clip].name.split("/")[1].split("_")[0] for clip in part}
        for part in (split.train, split.validation, split.test)
    ]
    assert len(speakers[0]) == 18
    assert not speakers[0] & speakers[1]
    assert not speakers[0] & speakers[2]
    assert not speakers[1] & speakers[2]


@pytest.mark.parametrize("suffix", [".wav", ".ogg"])
def test_fluent_speech(tmp_path: Path, suffix: str) -> None:
    dataset = load_data(write_fluent_speech(tmp_path, suffix))
    assert dataset.source == f"fluent_speech:{tmp_path}"
    assert dataset.labels == ("activate lights kitchen", "change language", "increase heat bedroom")
    split = dataset.split()
    assert (len(split.train), len(split.validation), len(split.test)) == (3, 3, 3)
    names = {dataset.clips[clip].name.split("/")[2] for clip in split.validation}
    assert names == {"speaker1"}
    assert dataset.clips[0].name == "wavs/speakers/speaker0/00000000-4474-11e9"


def test_fluent_speech_faults(tmp_path: Path) -> None:
    file = write_fluent_speech(tmp_path) / "data" / "valid_data.csv"
    whole = file.read_text()
    file.write_text(whole.replace("increase,heat", ",heat").replace("lights,kitchen", ","))
    assert refusal(tmp_path).splitlines() == [
        f"{file}: 3 faults",
        "  - line 2: action is empty",
        "  - line 4: object is empty",
        "  - line 4: location is empty",
    ]
    file.write_text(whole.replace("speakerId", "speaker").replace("action", "verb"))
    assert "has no column action" in refusal(tmp_path)
    file.write_text(whole.replace("speaker1", "speaker0"))
    assert "3 clips occur twice" in refusal(tmp_path)
    file.unlink()
    assert "valid_data.csv: there is no such file" in refusal(f"fluent_speech:{tmp_path}")


@pytest.mark.parametrize("form", ["{folder}/yes/{file}", "../{name}/yes/{file}", "yes/../yes/{file}"])
def test_speech_commands_lists_that_lead_around(tmp_path: Path, form: str) -> None:
    """A clip that a list gives to test must not train."""
    write_speech_commands(tmp_path)
    file = next(line for line in (tmp_path / "testing_list.txt").read_text().splitlines() if line.startswith("yes/"))
    line = form.format(folder=tmp_path, name=tmp_path.name, file=file.removeprefix("yes/"))
    before = [clip.split for clip in load_data(tmp_path).clips]
    lines = (tmp_path / "testing_list.txt").read_text().replace(file, line)
    (tmp_path / "testing_list.txt").write_text(lines)
    assert [clip.split for clip in load_data(tmp_path).clips] == before
    assert "test" in before


def test_files_that_lie_elsewhere(tmp_path: Path) -> None:
    write_speech_commands(tmp_path / "sc")
    write_tone(tmp_path / "other" / "a.wav")
    write_text(tmp_path / "sc" / "testing_list.txt", "/nowhere/a.wav")
    assert "1 of 1 files named there is missing: /nowhere/a.wav" in refusal(tmp_path / "sc")
    write_text(tmp_path / "sc" / "testing_list.txt", "../other/a.wav")
    assert "1 of 1 files named there are in other folders" in refusal(tmp_path / "sc")
    write_fluent_speech(tmp_path / "fluent")
    table = tmp_path / "fluent" / "data" / "train_data.csv"
    header, first, *rows = table.read_text().splitlines()
    path = first.split(",")[1]
    names = {clip.name for clip in load_data(tmp_path / "fluent").clips}
    table.write_text("\n".join([header, first.replace(path, f"{tmp_path}/fluent/{path}"), *rows]))
    assert {clip.name for clip in load_data(tmp_path / "fluent").clips} == names
    table.write_text("\n".join([header, first.replace(path, "/nowhere/a.wav"), *rows]))
    assert "is missing: /nowhere/a.wav" in refusal(tmp_path / "fluent")


def test_one_list_alone_is_refused(tmp_path: Path) -> None:
    """As folder:PATH the clips of the other list would train."""
    write_speech_commands(tmp_path)
    (tmp_path / "validation_list.txt").unlink()
    assert "there is no validation_list.txt" in refusal(tmp_path)


def test_split_folders_beside_words_are_asked_about(tmp_path: Path) -> None:
    write_speech_commands(tmp_path)
    write_tone(tmp_path / "dev" / "a.wav")
    assert "is dev/ a split?" in refusal(tmp_path)


def test_a_class_name_in_two_spellings_and_numbers_is_refused(tmp_path: Path) -> None:
    write_urbansound8k(tmp_path)
    table = tmp_path / "metadata" / "UrbanSound8K.csv"
    table.write_text(table.read_text().replace("dog_bark", "air_conditioner\u200b"))
    assert "classID and class do not name the same classes" in refusal(tmp_path)
