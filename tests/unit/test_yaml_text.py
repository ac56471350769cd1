"""YAML as every reader takes it: the values that PyYAML gives, and sentences for what can do harm."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from astune.card_front import front_of
from astune.data import AudioDataset, Clip
from astune.data.dataset import DataRecipe
from astune.errors import ConfigError
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.table import check_varied, load_table, shipped_tables, varied
from astune.tasks import SINGLE_LABEL
from astune.training.class_weights import read_class_weights, weigh
from astune.training.config import TrainConfig, read_yaml
from astune.yaml_text import LETTERS, yaml_entries, yaml_value

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "a: 1\nb: [x, 'y', \"z\\u00e4\"]\n",
        "a: yes\nb: off\nc: ~\nd: null\ne:\n",
        "a: 0x1F\nb: 0b11\nc: 017\nd: 1_000\ne: -3\nf: 1:30\n",
        "a: 1.5\nb: 1e3\nc: .5\nd: -2.5e-3\ne: .inf\nf: 1:30.5\n",
        "a: |\n  two\n  lines\nb: >\n  one\n  line\n",
        "2: a\n2.5: b\ntrue: c\nnull: d\n",
        "- {a: 1, b: 2}\n- - 1\n  - 2\n",
        "a: !!str 1\nb: !!int '3'\nc: !!float 1\nd: !!bool yes\ne: !!null ''\nf: !!seq [1]\ng: !!map {x: 1}\n",
        "%YAML 1.1\n---\na: 1\n...\n",
        "\ufeffa: 1\n",
        "a: '<<'\n",
    ],
)
def test_what_is_sound_has_the_values_of_pyyaml(text: str) -> None:
    assert yaml_value(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "path", [*shipped_tables().values(), *sorted((ROOT / "docs").rglob("*.yaml"))], ids=lambda p: p.name
)
def test_every_file_of_ours_is_plain(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert yaml_value(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["2001-12-14", "2001-99-99", "2001-12-14t21:59:43.10-05:00", "="])
def test_a_date_is_text(text: str) -> None:
    assert yaml_value(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &x 1\nb: 2\n", r"line 1, column 4: anchors and aliases \(&x\) are not read; repeat the value"),
        ("a: 1\nb: *x\n", r"line 2, column 4: anchors and aliases \(\*x\)"),
        ("a: &a [*a]\n", r"line 1, column 4: anchors and aliases \(&a\)"),
        ("<<: {a: 1}\n", r"line 1, column 1: merge keys \(<<\) are not read; repeat the entries"),
        ("a: !!timestamp 2001-99-99\n", "line 1, column 4: the tag 'tag:yaml.org,2002:timestamp' is not read; leave it out"),
        ("a: !!python/object/apply:os.system [x]\n", "the tag 'tag:yaml.org,2002:python/object/apply:os..*' is not read"),
        ("a: !!set {x}\n", "the tag 'tag:yaml.org,2002:set' is not read"),
        ("a: !own x\n", "the tag '!own' is not read"),
        ("a: !!int x\n", "line 1, column 4: 'x' is not a whole number"),
        ("a: !!float ''\n", "'' is not a number"),
        ("a: !!bool maybe\n", "'maybe' is not true or false"),
        ("a: !!null x\n", "'x' is not null"),
        ("a: 0b_\n", "line 1, column 4: '0b_' is not a whole number"),
        ("a: 0x_\n", "'0x_' is not a whole number"),
        (f"a: {'9' * 5_000}\n", r"line 1, column 4: the number 9{40}\.\.\. has more than 100 digits"),
        (f"a: 1{':59' * 40}\n", "has more than 100 digits"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' is there twice, as in line 1; leave one out"),
        ("0x1: a\n1: b\n", "line 2, column 1: the key '1' is there twice; leave one out"),
        ("? [a]\n: 1\n", "line 1, column 3: a list or a mapping cannot be a key; give text"),
        ("[" * 30_000, "line 1, column 21: it is nested more than 20 levels deep"),
        ("- " * 30_000, "it is nested more than 20 levels deep"),
        (f"[{'x,' * 50_000}]", "it has more than 50,000 values"),
        ("x" * (LETTERS + 1), "it has more than 250,000 letters"),
        ("a: \x00\n", r"line 1, column 4: YAML cannot hold the character U\+0000"),
        ("a: 1\nb: \ud800\n", r"line 2, column 4: YAML cannot hold the character U\+D800"),
        ('a: "\\ud800"\n', r"line 1, column 4: '\\ud800' has half a character"),
        ('a: "\\U99999999"\n', "line 1, column 7: a number is out of range"),
        (f"%YAML 1.{'9' * 5_000}\n---\na: 1\n", "line 1, column 9: a number is out of range"),
        ("a: 'x\n", r"line 2, column 1: found unexpected end of stream \(while scanning a quoted scalar that begins in line 1\)"),
        ("a: [1\n", r"line 2, column 1: expected ',' or '\]', but got '<stream end>'"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("\ta: 1\n", r"line 1, column 1: found character '\\t' that cannot start any token"),
    ],
)  # fmt: skip
def test_what_can_do_harm_is_refused_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        yaml_value(text)
    assert type(caught.value.__cause__) is not RecursionError
    assert len(str(caught.value)) < 400


def test_entries_are_as_they_are_written() -> None:
    assert yaml_entries("yes: 1\n01: 02\n\nyes: 3\n") == [("yes", "1", 1), ("01", "02", 2), ("yes", "3", 4)]
    assert yaml_entries("- 1\n") is None
    assert yaml_entries("") is None
    with pytest.raises(ValueError, match="anchors"):
        yaml_entries("a: &x 1\n")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"data: \xff\n", "run.yaml cannot be read: it is not text in UTF-8: byte 0xff"),
        (b"data: &x y\n", "run.yaml cannot be read: line 1, column 7: anchors and aliases"),
        (b"x" * 2_000_000, "run.yaml cannot be read: it has more than 250,000 letters"),
        (b"- data\n", "run.yaml is not a mapping of settings"),
    ],
)
def test_a_file_is_refused_by_name(content: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read_yaml(file)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory") as caught:
        read_yaml(tmp_path)
    assert "Errno" not in str(caught.value)


def test_ten_thousand_unknown_names_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    unknown = "".join(f"unknown_{number}: 1\n" for number in range(10_000))
    file = tmp_path / "run.yaml"
    file.write_text(unknown, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"10002 faults\n(.*\n)+.*and 9,982 more"):
        TrainConfig.from_yaml(file)
    clips = (Clip("a", Path("a"), ("low",), split="train"),)
    data = AudioDataset("made up", clips, ("low",), DataRecipe(), task=SINGLE_LABEL)
    weights = tmp_path / "weights.yaml"
    weights.write_text(f"low: 1\n{unknown}", encoding="utf-8")
    wish = read_class_weights(str(weights))
    assert isinstance(wish, dict)
    with pytest.raises(ConfigError, match=r"10000 faults\n(.*\n)+.*and 9,980 more") as caught:
        weigh(wish, data, [0])
    assert "unknown label 'unknown_19'; choose one of: low" in str(caught.value)
    assert "unknown_20" not in str(caught.value)


def test_what_varies_is_refused_in_words() -> None:
    assert varied("max_length=32,64") == ("max_length", [32, 64])
    with pytest.raises(ConfigError, match=r"'max_length=\[1' cannot be varied: line 1, column 3: expected"):
        varied("max_length=[1")
    with pytest.raises(ValueError, match="max_length has the value 32 twice; leave one out"):
        check_varied({"max_length": [32, 64, 32]})


def test_more_columns_than_a_table_can_have_are_not_planned(tmp_path: Path) -> None:
    values = {name: list(range(1, 101)) for name in ("num_train_epochs", "shots", "save_steps", "max_length")}
    name, table = load_table("table7")
    options = PlanOptions(data_root=tmp_path, vary=values)
    with pytest.raises(ConfigError, match=r"table7: what varies gives [\d,]+ columns, and a table has 1,000 at most"):
        plan(name, table, options)
    with pytest.raises(ConfigError, match=r"table7: it has [\d,]+ runs, and a plan has 100,000 at most"):
        plan(name, table, PlanOptions(data_root=tmp_path, seeds=10**9))


def test_a_front_that_can_do_harm_is_not_read() -> None:
    assert front_of("---\na: &a [x]\nb: *a\n---\ntext") == {}
    assert front_of(f"---\na: {'[' * 30_000}\n---\ntext") == {}
    assert front_of("---\ndate: 2024-05-01\n---\ntext") == {"date": "2024-05-01"}
