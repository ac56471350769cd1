"""JSON from elsewhere: what is read, and what is refused before anything goes through it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from astune import json_text
from astune.json_text import DEEPEST, json_value, read_object

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2.5, 1e300, 10**200, None, True, "text"], "b": {"c": {}}},
        "\U0001f600 and \u00e9",  # escaped as two halves, which make one character
        {str(number): [number] for number in range(200)},
    ],
)
def test_what_is_written_is_read(value: object) -> None:
    assert json_value(json.dumps(value)) == value
    assert json_value(json.dumps(value, ensure_ascii=False), strict=False) == value


def _nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_depth_has_a_bound_that_follows_from_the_text_alone() -> None:
    deepest = json_value(_nested(DEEPEST))

    assert json.dumps(deepest) == _nested(DEEPEST)
    for levels in (DEEPEST + 1, 500, 100_000):
        for strict in (True, False):
            with pytest.raises(ValueError, match="nested too deeply; 64 levels are read"):
                json_value(_nested(levels), strict=strict)
    mixed = '{"a": [' * 33 + "]}" * 33
    with pytest.raises(ValueError, match="nested too deeply"):
        json_value(mixed)


def test_many_brackets_are_not_depth() -> None:
    flat = [[number, {}] for number in range(1_000)]

    assert json_value(json.dumps(flat)) == flat


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[NaN]", "NaN is not a number of JSON"),
        ('{"a": -Infinity}', "-Infinity is not a number of JSON"),
        ("1e999", "1e999 is larger than any number"),
        ("-1e999", "-1e999 is larger than any number"),
        ("1" * 400, r"1{200}\.\.\. is larger than any number"),
        ("1" * 400 + ".0", "larger than any number"),
        ('{"a": 1, "b": 2, "b": 2}', "the key 'b' occurs twice"),
        ('[{"x": {"a": 1, "a": 2}}]', "the key 'a' occurs twice"),
        (r'["a\ud800"]', r"'a\\ud800' holds half of a character"),
        (r'{"\udfff": 1}', r"'\\udfff' holds half of a character"),
        (r'"\uD83D\uD83D\uDE00"', "half of a character"),
        ("{", "Expecting property name"),
    ],
)
def test_what_others_stumble_over_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        json_value(text)


def test_tables_and_records_of_file_names_are_read_as_they_are() -> None:
    assert json_value(r'{"file": "M\udce9sange.wav", "score": NaN}', strict=False)["file"] == "M\udce9sange.wav"
    assert json_value('{"a": 1, "a": 2}', tuple, strict=False) == (("a", 1), ("a", 2))


def test_length_has_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(json_text, "LONGEST", 10)
    (tmp_path / "long.json").write_text('{"a": 1234}', encoding="utf-8")

    assert json_value('{"a": 123}') == {"a": 123}
    with pytest.raises(ValueError, match="it has 11 letters, and 10 are read at most"):
        json_value('{"a": 1234}')
    with pytest.raises(ValueError, match="it has 11 bytes, and 10 are read at most"):
        read_object(tmp_path / "long.json")


def test_an_object_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "object.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_object(file) == {"a": 1}

    for content, message in (
        (b"[1]", "it holds a list, not an object"),
        (b"null", "it holds null, not an object"),
        (b'{"a": "\xff"}', "it is not UTF-8 text from byte 7 on"),
        (b"", "Expecting value"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_object(file)
    with pytest.raises(OSError, match="No such file"):
        read_object(tmp_path / "absent.json")
