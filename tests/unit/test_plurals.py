"""Numbers and lists of things in sentences."""

from __future__ import annotations

import pytest

from astune.plurals import enumerated, number_of


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "clip", "0 clips"), (1, "clip", "1 clip"), (2, "class", "2 classes"), (3000, "search", "3,000 searches"),
    ],
)  # fmt: skip
def test_a_number_agrees_with_its_noun(count: int, noun: str, text: str) -> None:
    assert number_of(count, noun) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_names_are_joined_as_in_a_sentence(names: list[str], text: str) -> None:
    assert enumerated(names) == text
    assert enumerated(iter(names)) == text
