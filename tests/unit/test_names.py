"""Names from outside: checked where they enter, shown as they are, and never obeyed by a terminal, Markdown, LaTeX or matplotlib."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from rich.console import Console

import astune
from astune import markdown
from astune.adapter_file import read_config
from astune.console import option_words, results_table, shell_word
from astune.errors import AdapterError, ConfigError
from astune.experiments.table import Table
from astune.printable import printable
from astune.training.config import TrainConfig
from tests.unit.test_cli import run

NASTY = ("[noise]", "[/noise]", ":dog:", "a|b", "$x$", "<b>", "`c`", "*d*", "狗", "_e_", "- f", "&amp;")
ESCAPE = "x\x1b[31mred"
Capture = pytest.CaptureFixture[str]


def sounds(folder: Path, labels: tuple[str, ...], clips: int = 2) -> Path:
    """A folder of tones, as many for each class in each split."""
    for split in ("train", "validation", "test"):
        for number, label in enumerate(labels):
            for clip in range(clips):
                path = folder / split / label / f"{clip}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                tone = 0.3 * np.sin(2 * np.pi * (200 + 50 * number) * np.arange(3200) / 16_000 + clip)
                soundfile.write(path, tone, 16_000)
    return folder


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds(tmp_path_factory.mktemp("nasty") / "data", tuple(name.replace("/", "%") for name in NASTY))


@pytest.fixture(scope="module")
def trained(nasty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from astune.training.loop import train

    folder = tmp_path_factory.mktemp("adapters") / "run[a]"
    settings = {"method": "linear", "backbone": "random:tiny", "max_length": 32, "num_train_epochs": 1}
    train(TrainConfig(data=nasty, output_dir=folder, **settings), quiet=True)
    return folder


def shown(label: str) -> str:
    return label.replace("/", "%")


@pytest.mark.parametrize("verb", ["check", "evaluate", "predict"])
def test_labels_are_printed_as_they_are(
    verb: str, nasty: Path, trained: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, tuple[object, ...]] = {
        "check": ("data", "check", nasty),
        "evaluate": ("evaluate", trained, nasty, "--split", "train"),
        "predict": ("predict", trained, nasty / "test" / "a|b", "--top-k", len(NASTY)),
    }
    code, out, _ = run(capsys, monkeypatch, *arguments[verb])
    assert code == 0
    assert all(shown(label) in out for label in NASTY)


def test_train_names_the_folder_in_a_command_that_can_be_copied(
    nasty: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--method", "linear", "--backbone", "random:tiny", "--max-length", "32", "--num-train-epochs", "1")
    for folder, word in (("run-a", "{}/run-a"), ("run[a]", "'{}/run[a]'"), ("my run", "'{}/my run'")):
        code, out, _ = run(capsys, monkeypatch, "train", nasty, *options, "--output-dir", tmp_path / folder)
        assert code == 0
        assert f"adapter: {tmp_path / folder}\n" in out
        assert f"astune predict {word.format(tmp_path)} RECORDING\n" in out


def test_the_card_holds_labels_that_markdown_would_read(nasty: Path, trained: Path) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in card.splitlines() if line.startswith("| labels")]
    assert line.replace("\\|", "").count("|") == 3  # two cells, whatever the labels hold
    for part in (r"\[%noise]", r"a\|b", r"\$x\$", r"\<b\>", r"\`c\`", r"\*d\*", "狗", r"\_e\_", r"\- f", r"\&amp;"):
        assert part in line
    front = yaml.safe_load(card.split("---\n")[1])
    assert list(front) == ["library_name", "pipeline_tag", "tags", "metrics", "model-index"]
    assert front["tags"] == ["audio-classification", "astune", "audio-spectrogram-transformer", "linear"]
    assert {result["dataset"]["name"] for result in front["model-index"][0]["results"]} == {nasty.name}


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("[noise]", r"\[noise]"),
        ("The [CLS] token", "The [CLS] token"),
        ("a [b](c)", r"a [b\](c)"),
        ("1. x", r"1\. x"),
        ("# x", r"\# x"),
        ("snake_case", "snake_case"),
        ("{0.__class__}", r"{0.\_\_class\_\_}"),  # else bold
        ("http://x", r"http\://x"),  # sites make links of bare addresses
        ("WWW.x", r"WWW\.x"),
        ("C #", r"C \#"),  # would end a heading
        ("C## ##", r"C## \##"),
        ("    a", "&#32;   a"),  # a block of code
        (ESCAPE, r"x\\x1b[31mred"),
        ("a\nb", r"a\\nb"),
    ],
)
def test_markdown_text(name: str, escaped: str) -> None:
    assert markdown.text(name) == escaped


def test_markdown_code_and_links() -> None:
    assert markdown.code("a`b") == "``a`b``"
    assert markdown.code("`a`") == "`` `a` ``"
    assert markdown.code("a|b", in_table=True) == "`a\\|b`"
    assert markdown.code(" a ") == "`  a  `"  # one space of each end is taken off
    assert markdown.code("") == ""  # "``" would begin a span that what follows ends
    assert markdown.link_text("[a](b]") == r"\[a\](b\]"


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ([0, 1], "label 0 is of type int; labels are text, as in '0'"),
        ([b"a", "b"], "label b'a' is of type bytes; labels are text"),
        ([None, "b"], "label None is of type NoneType"),
        ("dog", "labels='dog' is one text; give a list of names"),
        (3, "labels=3 is not a list of names"),
        ([], "two labels or more, not 0"),
        (["", "b"], "a label is empty"),
        (["  ", "b"], "has spaces around it; give 'a name'"),
        (["a", "b "], "label 'b ' has spaces around it; give 'b'"),
        ([ESCAPE, "b"], r"label 'x\\x1b\[31mred' holds control characters; rename it"),
        (["a\nb", "b"], r"label 'a\\nb' holds"),
        (["a\u202eb", "b"], r"label 'a\\u202eb' holds"),
        (["M\udce9sange", "b"], r"label 'M\\udce9sange' holds bytes that are not UTF-8; rename it"),
        (["a", "a", "b", "b"], "labels that occur twice: a, b$"),
        ([f"{n}" for n in range(9)] * 2, "labels that occur twice: 0, 1, 2 and 6 more"),
    ],
)
def test_labels_are_checked_where_they_enter(labels: Any, fault: str, tmp_path: Path) -> None:  # noqa: ANN401 - wrong on purpose
    backbone = astune.load_backbone("random:tiny", max_length=32)
    with pytest.raises(ConfigError, match=fault):
        astune.AudioClassifier(backbone, "linear", labels)
    assert astune.AudioClassifier(backbone, "linear", list(NASTY)).labels == NASTY  # which is not taken by the refusal


def test_a_hundred_thousand_labels_are_one_pass() -> None:
    """Looking each one up among all of them would take hours."""
    from astune.data.labels import label_faults

    labels = [f"speaker {number}" for number in range(100_000)]
    assert label_faults(labels) == []
    assert label_faults([*labels, labels[7]]) == ["labels that occur twice: speaker 7"]


@pytest.mark.parametrize("labels", [["a"], ["a", "a"], [ESCAPE, "b"], ["\ud800", "b"], ["", "b"], [1, "b"]])
def test_labels_of_an_adapter_from_elsewhere_are_checked(labels: list[object], trained: Path, tmp_path: Path) -> None:
    record = json.loads((trained / "adapter_config.json").read_text(encoding="utf-8"))
    (tmp_path / "adapter_config.json").write_text(json.dumps({**record, "labels": labels}))
    with pytest.raises(AdapterError, match=r"adapter's configuration: (labels|'.*half of a character)") as refused:
        read_config(tmp_path / "adapter_config.json")
    assert printable(refused.value) == str(refused.value)


@pytest.mark.parametrize("field", ["data", "output_dir", "backbone", "method"])
@pytest.mark.parametrize("value", ["a\x1b[2Jb", "a\nb", "r\udce9c", "a\u202eb"])
def test_settings_that_cannot_be_shown_are_refused(field: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{field}=a|{field}=r") as refused:
        TrainConfig.build({"data": "x", "output_dir": "y", field: value})
    assert printable(refused.value) == str(refused.value)
    assert "give another one" in str(refused.value)


def test_settings_refuse_in_our_words_from_python_too() -> None:
    with pytest.raises(ConfigError, match="settings: 2 faults\n  - output_dir is missing\n  - unknown field 'dta'"):
        TrainConfig(data="x", dta="y")  # type: ignore[call-arg]
    with pytest.raises(ConfigError) as refused:
        TrainConfig(data="x", output_dir=Path("y"), learning_rate=-1)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)  # noqa: S301 - our own
    config = TrainConfig(data=Path("x"), output_dir=Path("y"), backbone=Path("z"))
    assert (config.data, config.backbone) == ("x", "z")


@pytest.mark.parametrize("holder", ["title", "row", "data set"])
def test_experiments_with_names_that_cannot_be_shown_are_refused(holder: str) -> None:
    names = dict.fromkeys(("title", "row", "data set"), "fine") | {holder: "a\x1bb"}
    content = {
        "title": names["title"],
        "datasets": [{"name": names["data set"], "data": "folder:x"}],
        "rows": [{"name": names["row"], "method": "linear"}],
    }
    with pytest.raises(ValueError, match=r"'a\\x1bb' holds a control character"):
        Table.model_validate(content)


def test_a_folder_name_that_is_not_utf8_is_refused_before_training(tmp_path: Path) -> None:
    data = sounds(tmp_path / "data", ("low", "high"))
    try:
        for split in ("train", "validation", "test"):
            os.rename(data / split / "low", os.fsencode(data / split) + b"/M\xe9sange")  # noqa: PTH104 - bytes
    except OSError:
        pytest.skip("this file system has no such names")
    arguments = ["train", str(data), "--method", "linear", "--backbone", "random:tiny", "--output-dir", "out"]
    done = subprocess.run([sys.executable, "-m", "astune", *arguments], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1
    assert rb"M\udce9sange" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_the_terminal_will_do(encoding: str, nasty: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments, expected in ((["data", "check", str(nasty)], 0), (["train", "狗\udce9", "--output-dir", "x"], 1)):
        done = subprocess.run(
            [sys.executable, "-m", "astune", *arguments], env=environment, capture_output=True, check=False
        )
        assert done.returncode == expected
        assert b"Traceback" not in done.stderr


def test_names_are_never_cut_in_a_table() -> None:
    name = "a long name of a class " * 5
    table = results_table(["class"], ["clips", "recall"])
    table.add_row(name, "1,000,000", "100.0%")
    stream = io.StringIO()
    Console(file=stream, width=40, markup=False, emoji=False).print(table)
    text = stream.getvalue()
    assert "…" not in text
    assert "1,000,000" in text
    folded = "".join(line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│"))
    assert folded.replace(" ", "") == name.replace(" ", "")


def test_words_of_a_shell() -> None:
    assert shell_word("adapters/run,a=狗:x-1.0@%+") == "adapters/run,a=狗:x-1.0@%+"
    assert shell_word("run[a]") == "'run[a]'"  # zsh refuses what matches nothing, and bash takes a file runa for it
    assert shell_word("=ls") == "'=ls'"  # which zsh looks up on the PATH
    assert shell_word("my run") == "'my run'"
    assert shell_word("a;rm") == "'a;rm'"
    assert shell_word("") == "''"
    assert shell_word("it's") == "'it'\"'\"'s'"
    assert shell_word("-out") == "./-out"
    assert shell_word("a\x1b'\\\udce9\n狗") == r"$'a\x1b\'\\\xe9\x0a狗'"
    assert option_words("--negative", "-") == "--negative=-"
    assert option_words("--negative", "no bird") == "--negative 'no bird'"


def test_names_of_files_keep_to_their_line(
    trained: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line break in a name would let a file write lines of its own among ours."""
    for name in ("a\nerror: forged.wav", "tab\there.wav"):
        (tmp_path / name).write_text("no sound")
    code, _, err = run(capsys, monkeypatch, "predict", trained, tmp_path)
    assert code == 1
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == [
        f"error: {tmp_path}/{name}: it cannot be decoded (Format not recognised)"
        for name in (r"a\nerror: forged.wav", r"tab\there.wav")
    ]
    assert lines[-1] == "2 of 2 files could not be read or labelled"


@pytest.mark.parametrize("field", ["data", "output_dir"])
def test_an_empty_path_is_not_the_current_folder(field: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what a variable of the shell gives that is not set."""
    fields = {"data": "recordings", "output_dir": "out", field: ""}
    with pytest.raises(ConfigError, match=f"{field}=: it is empty; give one"):
        TrainConfig(**fields)
    code, _, err = run(capsys, monkeypatch, "train", fields["data"], "--output-dir", fields["output_dir"])
    said = "--output-dir" if field == "output_dir" else "data="
    assert (code, err) == (1, f"error: command line: {said}: it is empty; give one ('.' for this folder)\n")
    with pytest.raises(ConfigError, match="data is empty"):
        astune.load_data("")
