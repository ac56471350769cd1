"""Text that is code in some format comes out of everything that the project writes as the text that went in."""

from __future__ import annotations

import ast
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import astune
from astune.console import option_words, shell_word
from astune.data.labels import label_faults
from astune.printable import printable
from tests.faults.injection import outputs
from tests.faults.injection.parsers import times_typeset, typeset, words_of
from tests.faults.injection.payloads import CONTROLS, NAMES, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(astune.__file__).parent


@pytest.mark.parametrize("name", outputs.OUTPUTS)
def test_what_comes_out_is_what_went_in(name: str, tmp_path: Path) -> None:
    assert outputs.faults_of(name, tmp_path) == {}


def test_labels_that_a_terminal_would_obey_are_refused() -> None:
    assert label_faults(TEXTS) == []
    assert [text for text in CONTROLS if not label_faults([text, "b"])] == []


def test_latex_typesets_the_text_and_runs_nothing(tmp_path: Path) -> None:
    """Letters that LaTeX does not have without further packages are left out."""
    for program in ("pdflatex", "pdftotext"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt-get install texlive-latex-recommended poppler-utils)")
    texts = [text for text in NAMES if printable(text).replace("–", "").replace("∕", "").isascii()]
    shown = [text.replace("∕", "/") for text in texts]
    pages = typeset(map(outputs.latex_of, shown), tmp_path)
    assert [text for text, page in zip(shown, pages, strict=False) if page.count(outputs.LATEX_END) != 1] == []
    assert [text for text, page in zip(shown, pages, strict=False) if times_typeset(printable(text), page) < 5] == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_commands_to_be_copied_are_the_words_they_say(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    monkeypatch.chdir(tmp_path)
    for name in ("runa", "b", "ab"):  # which patterns would find
        Path(name).touch()
    names = [*NAMES, *TEXTS]
    assert words_of(shell, map(shell_word, names)) == [f"./{name}" if name.startswith("-") else name for name in names]
    options = [option_words("--split", name) for name in names]
    assert words_of(
        shell, [words.removeprefix("--split").removeprefix(" ") for words in options if "=" not in words[:8]]
    ) == [name for name in names if not name.startswith("-")]
    assert words_of(shell, [words for words in options if words.startswith("--split=")]) == [
        f"--split={name}" for name in names if name.startswith("-")
    ]
    assert not Path("hacked").exists()


def test_latex_reads_no_label_of_a_picture_either(monkeypatch: pytest.MonkeyPatch) -> None:
    mpl = pytest.importorskip("matplotlib")
    from astune.label_plots import draw_label_scores

    with mpl.rc_context({"text.usetex": True}):  # as a user's matplotlibrc may say
        monkeypatch.setenv("PATH", "")  # so that LaTeX would not be found
        draw_label_scores(["\\input{/etc/passwd}", "50 %"], [[0.5, 0.4]], "$x").savefig(io.BytesIO(), format="png")


# What writes, and the one place for each: other calls are listed with the reason why no text from outside is in them.

_ONE_PLACE = {
    "csv.writer": {"csv_text.py"},
    "csv.DictWriter": set(),
    "json.dump": set(),
    "json.dumps": {
        "json_text.py", "files.py",  # our own names of tensors, which safetensors reads
        "data/download/fetch.py",  # the address of a download
        "features/arrays.py",  # numbers
        "data/rows.py",  # a list in a cell, read by us; a value in an error, which is cut and printed
        "sharing.py",  # bytes that are searched for, and not written
        "inference/ray_workers.py",  # sent to a worker
        "serving/connections.py",  # an answer to what is no HTTP, whose sentence is our own
        "backbone/backbone.py", "features/cache.py", "inference/loaded_adapter.py",  # hashed
    },
    "yaml.dump": {"card_front.py"},
    "yaml.safe_dump": set(),
    "jinja2.Environment": {"reporting/tables.py", "summary.py"},
    "jinja2.Template": set(),
    "rich.console.Console": {"console.py", "cli/help.py"},
    "rich.table.Table": set(),
    "rich.markdown.Markdown": set(),
    "print": set(),
    "sys.stdout.write": {"console.py"},
    "sys.stderr.write": {"serving/log.py"},  # which escapes each line
    "logging.warning": set(),
    "shlex.quote": set(),
    "shlex.join": set(),
    "matplotlib.figure.Figure": set(),
    "matplotlib.pyplot.figure": set(),
    "html.escape": set(),
}  # fmt: skip
_DIGESTS = "sha256"


def _calls(path: Path) -> Iterator[tuple[str, ast.Call, str]]:
    """Every call in a file: the full name of what is called, and the source of the statement around it."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    known = {
        name.asname or name.name: f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    }
    for statement in ast.walk(tree):
        if isinstance(statement, ast.stmt) and not hasattr(statement, "body"):
            for node in ast.walk(statement):
                if isinstance(node, ast.Call):
                    first, dot, rest = ast.unparse(node.func).partition(".")
                    yield known.get(first, first) + dot + rest, node, ast.unparse(statement)


def _writers(path: Path) -> set[str]:
    return {
        name
        for name, _, around in _calls(path)
        if name in _ONE_PLACE and not (name == "json.dumps" and _DIGESTS in around)
    }


def test_every_writer_is_the_one_of_its_format() -> None:
    found = {path.relative_to(SOURCES).as_posix(): _writers(path) for path in SOURCES.rglob("*.py")}
    assert {(file, name) for file, names in found.items() for name in names if file not in _ONE_PLACE[name]} == set()
    assert {(file, name) for name, files in _ONE_PLACE.items() for file in files if name not in found[file]} == set()


def test_every_picture_is_tried() -> None:
    modules = [*SOURCES.glob("*plots.py"), *SOURCES.glob("reporting/*plots.py"), *SOURCES.glob("reporting/*picture.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules]
    drawing = {
        node.name
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("draw_")
    }
    assert drawing == {name for name in vars(outputs) if name.startswith("draw_")}
