"""Names that Markdown, HTML, LaTeX and matplotlib would read; and folders that cannot take a report."""

from __future__ import annotations

import csv
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from astune.canvas import drawn, save_picture
from astune.cli import app
from astune.errors import OutputError
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.experiments.table import Table
from astune.reporting import Point, accuracy_against_parameters
from astune.reporting.accuracy_plots import draw_accuracies
from astune.reporting.plots import Curve, Scatter, draw_curves, draw_scatter
from astune.reporting.report import write_report
from astune.score_plots import draw_confusion
from tests.unit.reporting.test_report import made_up

NAMES = ("[/noise]|*`x`<i>", "- \\alpha_$ %", ":dog: {x} ~^", "[bold]$a$b", "狗 & #1")
LABELS = (
    "$x",
    "a$b$c",
    "\\alpha",
    "$\\frac{",
    "_x",
    "a\x1b[31m",
    "\u202ex",
    "y" * 500,
    "[noise]",
    "r\udce9",
    "$$",
    "\\$",
    "%",
)


@pytest.fixture
def store(tmp_path: Path, generated: Path) -> Store:
    """A table of such names, with all runs made up."""
    table = Table.model_validate(
        {
            "title": "[bold]x[/noise] $a$ <b>",
            "datasets": [{"name": "[d]|$y$_z", "data": f"folder:{generated}", "settings": {"max_length": 32}}],
            "rows": [{"name": name, "method": "linear"} for name in NAMES],
        }
    )
    runs = plan("run[a].b", table, PlanOptions(backbone="random:tiny"))
    store = Store(tmp_path / "st[x]")
    store.write_plan(to_saved_plan("run[a].b", table, runs))
    for number, run in enumerate(runs):
        store.write(made_up(run, 0.5 + number / 10))
    return store


def test_every_form_holds_the_names_as_they_are(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "report"
    page, text, table, latex, comparisons, *_ = write_report(Results.load(store, "run[a].b"), folder)
    assert [path.name for path in (page, text, table, latex)] == [
        f"run[a].b.{end}" for end in ("html", "md", "csv", "tex")
    ]
    with table.open(newline="", encoding="utf-8") as stream:
        assert list(dict.fromkeys(line["row"] for line in csv.DictReader(stream))) == list(NAMES)
    assert comparisons.is_file()
    lines = text.read_text(encoding="utf-8").splitlines()
    assert r"# \[bold]x[/noise] \$a\$ \<b\> (run[a].b)" in lines
    assert "differs" not in lines[0]  # a table of one's own
    (head,) = [number for number, line in enumerate(lines) if line.startswith("| method |")]
    assert lines[head + 2].startswith(r"| \[/noise]\|\*\`x\`\<i\> | ")
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[head : head + 2 + len(NAMES)]} == {7}
    pictures = re.findall(r"^!\[(.*)\]\((.*)\)$", "\n".join(lines), re.MULTILINE)
    assert all((folder / name.replace("%5B", "[").replace("%5D", "]")).is_file() for _, name in pictures)
    assert all(re.search(r"(?<!\\)[\[\]]", about) is None for about, _ in pictures)
    html = page.read_text(encoding="utf-8")
    assert "<td>[/noise]|*`x`&lt;i&gt;</td>" in html
    assert "<i>" not in html
    tex = latex.read_text(encoding="utf-8")
    assert "\n{[}/noise]\\textbar{}*\\textasciigrave{}x\\textasciigrave{}\\textless{}i\\textgreater{} & " in tex
    assert "\n:dog: \\{x\\} \\textasciitilde{}\\textasciicircum{} & " in tex
    assert "\\label{tab:run-a-.b}" in tex


def test_a_new_report_takes_the_place_of_an_old_one_and_of_nothing_else(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "report"
    folder.mkdir()
    for name in ("run[a].b-loss.png", "run[a].b-confusion-9.pdf", "runa.b-loss.png", "mine.md"):
        (folder / name).touch()
    written = write_report(Results.load(store, "run[a].b"), folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in written} | {"runa.b-loss.png", "mine.md"}


@pytest.mark.parametrize("name", ["file/below", "/proc/none"])
def test_a_folder_that_cannot_be_written_is_one_sentence(name: str, store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / name
    with pytest.raises(
        OutputError, match=f"{re.escape(str(folder))} cannot be written: .*; make room, or give another folder"
    ):
        write_report(Results.load(store, "run[a].b"), folder)
    done = CliRunner().invoke(app, ["report", "run[a].b", "--store", str(store.folder), "--output-dir", str(folder)])
    assert isinstance(done.exception, OutputError)
    with pytest.raises(OutputError, match="cannot be written"):
        Store(folder).write_plan(store.read_plan("run[a].b"))
    with pytest.raises(OutputError, match="cannot be written"):
        Store(folder).write(store.read(store.read_plan("run[a].b").entries[0].key))


def test_a_disk_that_fills_leaves_the_old_report(store: Store, tmp_path: Path) -> None:
    """Files of 20 kB and more are refused, as if the disk were full."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "run[a].b.md").write_text("the old one")
    done = subprocess.run(
        [sys.executable, "-m", "astune", "report", "run[a].b", "--store", store.folder, "--output-dir", folder],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(
        rf"{re.escape(str(folder))}/\S+ cannot be written: File too large \(.* MB of its disk are free.*\); make",
        done.stderr,
    )
    assert "Traceback" not in done.stderr
    assert [path.name for path in folder.iterdir()] == ["run[a].b.md"]
    assert (folder / "run[a].b.md").read_text() == "the old one"


def test_stdout_that_is_full_is_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "astune", "methods", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


def test_pictures_draw_names_as_they_are(tmp_path: Path) -> None:
    """Warnings are errors here, those of letters a font does not have among them."""
    pytest.importorskip("matplotlib")
    points = [Point(name, 10 + number, 0.5, 0.4, 0.6, "$s$", "$p") for number, name in enumerate(LABELS)]
    xy = np.random.default_rng(0).normal(size=(len(LABELS), 2)).astype(np.float32)
    figures = [
        draw_accuracies(points, "$t$"),
        draw_curves([Curve(name, "$p", (1.0, 2.0), (0.1, 0.2)) for name in LABELS], x_label="x", y_label="y"),
        draw_confusion(np.eye(len(LABELS), dtype=int), LABELS, "$t$"),
        draw_scatter([Scatter("$p", xy, LABELS)], "$t$"),
    ]
    for number, figure in enumerate(figures):
        assert all(path.is_file() for path in save_picture(figure, tmp_path / str(number)))
    accuracy_against_parameters(points, tmp_path / "parameters.png", "$t$")
    texts = [label.get_text() for label in figures[2].axes[0].get_yticklabels()]
    assert texts == [drawn(label) for label in LABELS]
    assert figures[2].axes[0].get_title() == ""
    with pytest.raises(OutputError, match="cannot be written"):
        accuracy_against_parameters(points, tmp_path / "nowhere" / "a.png")


def test_drawn_names_are_no_formulas() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.cbook import is_math_text

    for label in LABELS:
        assert not is_math_text(drawn(label))
    assert drawn("$x$") == r"\$x\$"  # which matplotlib draws as $x$
    assert len(drawn("y" * 500)) == 83


def test_letters_that_the_font_does_not_have_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    figure = draw_confusion(np.eye(2, dtype=int), ["鸟", "b"])
    save_picture(figure, tmp_path / "a")
    assert capsys.readouterr().err.replace("\n", " ").count("the font of the pictures has no 鸟") == 1


def test_a_confusion_of_a_thousand_classes_has_a_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = draw_confusion(np.eye(1_000, dtype=int), [f"class {number}" for number in range(1_000)], "many")
    assert max(figure.get_size_inches()) < 15
    assert figure.axes[0].get_xlabel() == "predicted, by number of the class"
