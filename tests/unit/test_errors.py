"""Sentences about faults: complete where they can be read, cut where there are thousands, and made only as far as they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from astune.errors import ConfigError, format_faults, format_list, unknown_choice
from astune.training.config import TrainConfig, read_yaml


def test_choices_and_the_nearest_one_are_named() -> None:
    assert unknown_choice("fold", 7, (1, 2)) == "unknown fold '7'; choose one of: 1, 2"
    assert unknown_choice("row", "k", ("q, v", "q")) == "unknown row 'k'; choose one of: 'q, v', 'q'"
    assert unknown_choice("method", "lara", ("bitfit", "lora")) == (
        "unknown method 'lara'; choose one of: bitfit, lora; did you mean 'lora'?"
    )


def test_of_very_many_choices_some_are_listed_and_the_nearest_is_found() -> None:
    names = [f"speaker {number:06d}" for number in range(100_000)]
    message = unknown_choice("label", "speaker 00007", names)
    assert "speaker 000039 and 99,960 more; did you mean 'speaker 0" in message
    assert len(message) < 1_000


def test_a_value_as_long_as_a_book_is_cut() -> None:
    assert len(unknown_choice("method", "lora" * 100_000, ("lora",))) < 300
    with pytest.raises(ConfigError) as refused:
        TrainConfig.build({"data": "x", "output_dir": "y", "seed": "x" * 100_000})
    assert len(str(refused.value)) < 400


def test_many_faults_are_counted_and_the_first_shown() -> None:
    faults = [f"fault {number}" for number in range(30)]
    lines = format_faults(faults, "file").splitlines()
    assert lines == ["file: 30 faults", *(f"  - {fault}" for fault in faults[:20]), "  and 10 more"]
    assert format_faults(faults[:1], "file") == "file: fault 0"
    assert format_faults(faults[:20], "file").splitlines()[-1] == "  - fault 19"


def test_a_headline_that_counts_is_not_counted_again() -> None:
    assert (
        format_list(["a: no audio", "b: no audio"], "2 runs failed")
        == "2 runs failed\n  - a: no audio\n  - b: no audio"
    )
    assert format_list(["a: no audio"], "1 run failed") == "1 run failed: a: no audio"


def test_a_file_of_thousands_of_unknown_settings(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("".join(f"learning_rat{number}: 1\n" for number in range(3_000)))
    with pytest.raises(ConfigError) as refused:
        TrainConfig.from_yaml(file)
    lines = str(refused.value).splitlines()
    assert lines[0] == f"{file}: 3002 faults"  # data and output_dir are missing
    assert lines[1:3] == ["  - data is missing", "  - output_dir is missing"]
    assert lines[-1] == "  and 2,982 more"
    assert "did you mean 'learning_rate'?" in lines[3]
    _, faults = TrainConfig.build_sound(read_yaml(file))
    assert len(faults) == 3_002
    assert sum(map(len, faults.values())) < 100_000  # no sentence of all choices for what nobody sees


def test_a_message_that_quotes_a_whole_file_is_cut_in_its_middle() -> None:
    sentence = str(ConfigError(f"begin {'x' * 100_000} end"))
    assert sentence.startswith("begin xxx")
    assert sentence.endswith("xxx end")
    assert "[... 90,010 letters left out ...]" in sentence
    assert str(ConfigError("x" * 10_000)) == "x" * 10_000
