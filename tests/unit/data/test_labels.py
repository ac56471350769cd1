"""Labels: cleaned and announced, refused where surely wrong, warned of where they only may be."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path
from typing import Any, cast

import pytest

from astune.data import AudioDataset, Clip, DataRecipe, load_data
from astune.data.labels import alike_groups, clean_label, doubtful, find_similar, label_fault
from astune.errors import DataError
from tests.example_layouts import write_text, write_tone
from tests.unit.data.refusals import refusal

CAFE, CAFE_APART = "caf\u00e9", "cafe\u0301"
PERSIAN = "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645"  # with a joiner that it needs


@pytest.mark.parametrize(
    ("found", "label"),
    [
        ("dog ", "dog"), ("\u00a0dog\u3000", "dog"), ("\ufeffdog", "dog"), ("d\u200bog", "dog"), ("do\u2060g", "dog"),
        ("do\u00adg", "dog"), ("\u200edog\u200f", "dog"), ("\u200ddog\u200c", "dog"), (CAFE_APART, CAFE),
        (PERSIAN, PERSIAN), ("car horn", "car horn"), (CAFE, CAFE),
    ],
)  # fmt: skip
def test_cleaning(found: str, label: str) -> None:
    assert clean_label(found) == label


def test_cleaned_labels_are_announced(tmp_path: Path) -> None:
    rows = [f"a.wav,{CAFE}", f"b.wav,{CAFE_APART}", "c.wav,dog ", "d.wav,dog", "e.wav,o\u200bwl"]
    dataset = load_data(write_text(tmp_path / "a.csv", "file_name,label", *rows))
    assert dataset.labels == (CAFE, "dog", "owl")
    (notice,) = dataset.notices
    assert notice == (
        "Note: 3 labels are read without outer spaces and invisible characters, in composed Unicode: "
        f"'cafe\\u0301' as {CAFE!r}, 'dog ' as 'dog', 'o\\u200bwl' as 'owl'"
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems make the two forms one")
def test_folders_of_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    for name, label in (("a", CAFE), ("b", CAFE_APART), ("c", "dog ")):
        write_tone(tmp_path / label / f"{name}.wav")
    dataset = load_data(tmp_path)
    assert dataset.labels == (CAFE, "dog")
    assert [clip.label for clip in dataset.clips].count(CAFE) == 2
    assert "'dog ' as 'dog'" in dataset.notices[0]


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("1", "01"), ("0.50", ".5"), ("-2", "-2.0"), ("1e3", "1000")])
def test_numbers_in_two_spellings_are_refused_by_line(tmp_path: Path, one: str, other: str) -> None:
    file = write_text(tmp_path / "a.csv", "file_name,label", f"a.wav,{one}", "b.wav,x", f"c.wav,{other}")
    message = refusal(file)
    assert "are the same number; write it in one way" in message
    assert f"'{one}' (line 2)" in message
    assert f"'{other}' (line 4)" in message


def test_numbers_in_two_spellings_in_folders_name_a_clip(tmp_path: Path) -> None:
    for label in ("1", "1.0"):
        write_tone(tmp_path / label / "a.wav")
    assert "labels '1' (1/a.wav) and '1.0' (1.0/a.wav) are the same number" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"), [("ﬁsh", "fish"), ("car\u00a0horn", "car horn"), ("ＡＢ", "AB"), ("m²", "m2")]
)
def test_compatibility_forms_are_refused(tmp_path: Path, one: str, other: str) -> None:
    message = refusal(write_text(tmp_path / "a.csv", "file_name,label", f"a.wav,{one}", f"b.wav,{other}"))
    assert "differ in Unicode's form alone (U+" in message
    assert "line 2" in message
    assert "line 3" in message


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ("Dog", "dog", "differ in case or spaces alone"),
        ("car horn", "car_horn", "differ in case or spaces alone"),
        ("car horn", "car  horn", "differ in case or spaces alone"),
        ("d\u043eg", "dog", "look alike (U+006F LATIN SMALL LETTER O, U+043E CYRILLIC SMALL LETTER O)"),
        ("\u0391lpha", "Alpha", "look alike (U+0041 LATIN CAPITAL LETTER A, U+0391 GREEK CAPITAL LETTER ALPHA)"),
        ("T\u2010rex", "T-rex", "look alike (U+002D HYPHEN-MINUS, U+2010 HYPHEN)"),
    ],
)
def test_look_alikes_are_warned_of(tmp_path: Path, one: str, other: str, says: str) -> None:
    dataset = load_data(write_text(tmp_path / "a.csv", "file_name,label", f"a.wav,{one}", f"b.wav,{other}"))
    assert len(dataset.labels) == 2
    (notice,) = dataset.notices
    assert notice.startswith("Warning: labels '")
    assert says in notice


def test_ordinary_labels_raise_no_notice() -> None:
    labels = ["0", "1", "10", "1a", "dog", "dogs", "ñandú", "nandu", "ж", "x", "π", "1-2", "v1.0", "v1"]
    assert find_similar(labels, str) == ([], [])


@pytest.mark.parametrize("label", ["a\tb", "a\x1b[31m", "a\x07", "a\u202eb", "a\u2028b"])
def test_control_characters_are_refused_by_line(tmp_path: Path, label: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"file_name,label\na.wav,x\nb.wav,{label}\n", encoding="utf-8")
    message = refusal(file)
    assert "line 3: label 'a" in message
    assert "holds control characters; rename it" in message
    assert not any(unicodedata.category(character) == "Cc" for character in message.replace("\n", ""))


@pytest.mark.skipif(sys.platform != "linux", reason="its file systems take any bytes")
def test_names_of_folders_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    write_tone(tmp_path / "dog" / "a.wav")
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 - of bytes
    with open(folder + b"/b.wav", "wb") as file:  # noqa: PTH123 - of bytes
        file.write((tmp_path / "dog" / "a.wav").read_bytes())
    message = refusal(tmp_path)
    assert "label 'caf\\udce9' holds bytes that are not UTF-8; rename it" in message
    message.encode()


def test_labels_from_python_are_text() -> None:
    clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (cast("Any", n),)) for n in range(2))
    with pytest.raises(DataError, match=r"label 0 is of type int; labels are text, as in '0'"):
        AudioDataset("mine", clips, cast("Any", (0, 1)), DataRecipe())
    named = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), ("ab"[n],)) for n in range(2))
    with pytest.raises(DataError, match="clips have labels that are not among the labels: 'b'"):
        AudioDataset("mine", named, ("a",), DataRecipe())
    with pytest.raises(DataError, match="a label occurs twice"):
        AudioDataset("mine", named, ("a", "b", "a"), DataRecipe())
    assert label_fault("") == "a label is empty"
    assert label_fault("dog") is None


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("#N/A", "looks like a missing value"), ("nan", "looks like a missing value"),
        ("'dog'", "has quotes around it"), ("dog;owl", "looks like several labels in one"),
        ("['dog'; 'owl']", "looks like several labels in one"), ("[dog, cow]", "looks like several labels in one"),
        ("[noise]", None), ("none", None), ("dog;cow", "looks like several labels in one"),
        ("dog, cow", None), ("[/noise]", None), ("'t", None),
    ],
)  # fmt: skip
def test_labels_that_are_hardly_meant(label: str, what: str | None) -> None:
    warnings = doubtful(["dog", "owl", label], lambda name: f"where {name} is")
    assert [warning.startswith(f"Warning: label '{label}' (where {label} is) {what}") for warning in warnings] == (
        [True] if what else []
    )


def test_groups_that_look_alike() -> None:
    assert alike_groups(["ann", "Ann", "ben", "1", "1.0"]) == [
        "Warning: groups 'ann' and 'Ann' are two groups that look alike (1 more like them)"
    ]
    assert alike_groups(["ann", "anna", "1", "2"]) == []
