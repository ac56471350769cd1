"""Everything that the project writes with text from outside in it: how the text goes in, and how others read it.

An output takes one text, writes it wherever the format holds text, and returns what came out of each place. ``OUTPUTS`` has each of
them by its name, with the texts that it is tried with and what shall come out.
"""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pandas  # type: ignore[import-untyped]
from rich.console import Console

from astune import markdown
from astune.adapter import AdapterConfig, BackboneReference
from astune.card_data import BEGIN, merged_card, own_text
from astune.card_front import body_of, front_of, with_front
from astune.console import notify, print_result, progress, results, results_table
from astune.csv_text import csv_text
from astune.data import Clip
from astune.data.audio_notices import CutOff
from astune.data.check_report import Report
from astune.errors import format_faults, unknown_choice
from astune.features.log_mel import FrontEnd
from astune.inference.findings import Findings, Row
from astune.inference.writers import WRITERS
from astune.json_text import json_text
from astune.label_plots import draw_label_scores
from astune.methods import parse_method
from astune.methods.registry import method_record
from astune.model_card import model_card
from astune.printable import printable
from astune.reporting.accuracy_plots import Point, draw_accuracies, draw_accuracy_against_parameters
from astune.reporting.check_picture import draw_check
from astune.reporting.plots import Curve, Scatter, draw_curves, draw_scatter
from astune.reporting.rendered import Rendered, RenderedCell, RenderedComparison, RenderedRow
from astune.reporting.tables import comparisons_to_csv, to_csv, to_html, to_latex, to_markdown
from astune.score_plots import draw_confused_pairs, draw_confusion
from astune.serving.problems import Problem
from astune.summary import Summary, cut_name
from astune.training.data_record import DataRecord, UsedClip
from tests.faults.injection.parsers import Page, rendered, shown
from tests.faults.injection.payloads import NAMES, TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Output:
    """One thing that is written."""

    given: tuple[str, ...]
    """What it is tried with: labels have no control characters, names of files may."""
    write: Callable[[str, Path], list[str]]
    """Writes a text, perhaps in a folder, and reads it back from each place that has it."""
    expected: Callable[[str], str]
    """What shall come out: the text itself, or as it may be shown."""


OUTPUTS: dict[str, Output] = {}


def _output(
    name: str, given: tuple[str, ...] = NAMES, expected: Callable[[str], str] = printable
) -> Callable[..., Any]:
    def register(write: Callable[[str, Path], list[str]]) -> Callable[[str, Path], list[str]]:
        OUTPUTS[name] = Output(given, write, expected)
        return write

    return register


def faults_of(name: str, folder: Path) -> dict[str, str]:
    """What came out of an output otherwise than it went in: what was given, and what is wrong."""
    output = OUTPUTS[name]
    wrong = {}
    for text in output.given:
        try:
            found = output.write(text, folder)
            others = [one for one in found if one != output.expected(text)]
            assert found, "nothing came out"
            assert not others, f"{others[0]!r} came out"
        except Exception as fault:  # noqa: BLE001 - whatever a parser raises is a finding
            wrong[text] = f"{type(fault).__name__}: {fault}".partition("\n")[0]
    return wrong


# Tables of findings


def _findings(name: str, label: str) -> Findings:
    return Findings(name, (Row(0.0, 1.0, label, 0.5),), 2.0, 2.0, 1, 1.0, 1.0)


def _read_table(kind: str, text: str) -> dict[str, Any]:
    match kind:
        case "csv":
            (row,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            if not re.search("[\ud800-\udfff]", text):  # which no file holds
                (other,) = pandas.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False).to_dict(
                    "records"
                )
                assert dict(row) == other
            return row
        case "jsonl":
            (line,) = text.splitlines()
            return dict(json.loads(line))
        case "raven":
            head, line, end = text.split("\n")
            assert end == ""
            row = dict(zip(head.split("\t"), line.split("\t"), strict=True))
            return {"label": row["Annotation"], "file_name": row["Begin Path"]}
        case _:
            line, end = text.split("\n")
            assert end == ""
            return {"label": line.split("\t")[2]}


for _kind, _writer in WRITERS.items():
    _exact = _kind in {"csv", "jsonl"}

    def _label(text: str, _: Path, kind: str = _kind, writer: Any = _writer) -> list[str]:  # noqa: ANN401 - a Writer
        return [_read_table(kind, writer.text(_findings("a.wav", text)))["label"]]

    def _name(text: str, _: Path, kind: str = _kind, writer: Any = _writer) -> list[str]:  # noqa: ANN401 - a Writer
        return [_read_table(kind, writer.text(_findings(text, "a"))).get("file_name", printable(text))]

    _output(f"predict, {_kind}: label", TEXTS)(_label)
    _output(f"predict, {_kind}: recording", NAMES, str if _exact else printable)(_name)


@_output("any CSV: cell", NAMES, str)
def _cell(text: str, _: Path) -> list[str]:
    rows = list(csv.reader(io.StringIO(csv_text([[text, "b"], ["a", text], [text]]), newline=""), strict=True))
    assert [len(row) for row in rows] == [2, 2, 1]
    return [rows[0][0], rows[1][1], rows[2][0]]


@_output("clips.csv: label and clip", TEXTS)
def _clips(text: str, folder: Path) -> list[str]:
    DataRecord((text, "b"), {text: UsedClip(text, "train", "0")}).write(folder)
    record = DataRecord.read(folder, (text, "b"))
    assert record is not None
    return [name for clip, used in record.clips.items() for name in (clip, used.label)]


# Reports


def _report(text: str) -> Rendered:
    cell = RenderedCell("88.38", "± 1.20 [87.1, 89.5]", 1, {"row": text, "column": text, "device": text})
    compared = {"table": text, "column": text, "first": text, "second": text, "ran": text}
    comparison = RenderedComparison(text, text, text, "+1", "-", "1", "-", compared)
    row = RenderedRow(
        name=text, trained="2,000", parameters="1,000", percent="1.00", seconds="3", cells=(cell,), macro_f1=("50.00",)
    )
    return Rendered(
        name=text, headline=text, caption=text, columns=(text,), rows=(row,), ran=(text,), summary=text,
        unlike_the_paper=(text,), macro_f1_columns=(text,), comparisons=(comparison,),
    )  # fmt: skip


@_output("report, Markdown")
def _report_markdown(text: str, _: Path) -> list[str]:
    picture = f"\n![{markdown.link_text(text)}](file-of-ours-1.png)\n"  # as reporting/report.py has it
    page = rendered(to_markdown(replace(_report(text), caption="caption")) + picture)
    items = [item.removeprefix("Differences from the paper: ") for item in page.of("li")]
    assert len(items) == 2
    heads, cells = page.of("th"), page.of("td")
    assert (len(heads), len(cells)) == (8, 8)
    return [*page.of("h1"), page.of("p")[0], *items, heads[5], heads[7], cells[0], cells[6], *page.of("alt")]


@_output("report, HTML")
def _report_html(text: str, _: Path) -> list[str]:
    page = Page(to_html(_report(text), [(text, b"png")]))
    return [
        *page.of("title", "h1", "li", "alt", "figcaption"), page.of("caption")[0], page.of("th")[5], page.of("th")[7],
        page.of("td")[0], page.of("td")[6], *page.of("td")[8:11], page.of("p")[0],
    ]  # fmt: skip


@_output("report, CSV", NAMES, str)
def _report_csv(text: str, _: Path) -> list[str]:
    tables = [to_csv(_report(text)), comparisons_to_csv(_report(text))]
    rows = [row for table in tables for row in csv.DictReader(io.StringIO(table, newline=""), strict=True)]
    assert len(rows) == 2
    return [value for row in rows for value in row.values() if value]


LATEX_END = "whatfollows"


def latex_of(text: str) -> str:
    """A report in LaTeX, whose places are tried together: one document for all texts."""
    return to_latex(replace(_report(text), name="table")) + LATEX_END


# Cards


def _config(text: str, **fields: Any) -> AdapterConfig:
    method = parse_method("linear")
    return AdapterConfig(
        format_version=2, spec=method.spec, method=method_record(method), labels=(text, "b"), pooling="all",
        backbone=BackboneReference(name_or_path=text, fingerprint="0" * 64), position_embeddings="fit", front_end=FrontEnd(64),
        compute_dtype="float32", trainable_parameters=1000, **fields,
    )  # fmt: skip


@_output("model card", TEXTS)
def _card(text: str, _: Path) -> list[str]:
    scores = {"test": {"clips": 2, "accuracy": 0.5, "recall": [0.25, 0.75]}}
    config = _config(
        text, training={"note": text, text: 1, "data": f"folder:{text}"}, metrics=scores, negatives=(text,)
    )
    card = model_card(config)
    page = rendered(body_of(card))
    rows = dict(zip(page.of("td")[::2], page.of("td")[1::2], strict=False))
    assert page.of("h1")[0].startswith("linear on ")
    assert page.of("h2") == ["Scores", "Limits", "Licence"]
    assert front_of(card)["library_name"] == "astune"
    assert own_text(card) == ""
    assert merged_card(card, card) == card
    assert body_of(card).lstrip().startswith(BEGIN)
    about = " ".join(page.of("p"))
    assert f"on the backbone {text.strip()}" in about or f"on the backbone {text}" in about
    classes = page.of("td")[-4::2]
    return [rows["labels"].removesuffix(", b"), rows["negative labels, never events"], rows["note"], *({text} & rows.keys()), *({text} & {*classes})]  # fmt: skip # noqa: E501


@_output("model card: what the hub reads", NAMES, lambda text: text.encode(errors="backslashreplace").decode())
def _front(text: str, _: Path) -> list[str]:
    given = {"library_name": "astune", "name": text, "tags": [text], "model-index": [{"name": text, "value": 0.5}]}
    card = with_front(given, "text")
    assert body_of(card) == "text"
    read = front_of(card)
    return [read["name"], *read["tags"], read["model-index"][0]["name"]]


# What people see


@_output("notebook")
def _notebook(text: str, _: Path) -> list[str]:
    summary = Summary("Kind", text, (text,), ((text, text),), ("label", text), ((text, "1"),), (text,))
    page = Page(summary.html)
    shown(repr(summary.line))
    assert summary.line.startswith("Kind(")
    headings, cells, (notice,) = page.of("th"), page.of("td"), page.of("li")
    assert (len(headings), len(cells), cells[-1]) == (3, 3, "1")
    short = [page.of("p")[0].removeprefix("Kind "), cells[1]]
    whole = [printable(text) if one == cut_name(text) else one for one in short]
    return [headings[0], headings[2], cells[0], *whole, printable(notice)]


@_output("console")
def _console(text: str, _: Path) -> list[str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        print_result(text)
        table = results_table([text], [text])
        table.add_row(text, text)
        results().print(table)
        notify(f"Note: {text}")
        notify(format_faults([text, unknown_choice("label", text, [text, "b"])], text))
        with progress(printable(text), 1) as advance:
            advance(1, text)
    first, *rest = shown(out.getvalue())
    rows = [line for line in rest if printable(text).strip() in line]
    assert len(rows) >= 2
    assert all(line.startswith(("┃", "│")) for line in rows)
    note = shown(err.getvalue())[0]
    # a message may have lines, of which those behind the first are indented, and tabs, which become spaces
    assert "\n" in text or "\t" in text or note == f"Note: {printable(text)}"
    return [first]


@_output("console, as a terminal records it", TEXTS)
def _recorded(text: str, _: Path) -> list[str]:
    console = Console(
        file=io.StringIO(), record=True, force_terminal=True, width=400, markup=False, emoji=False, highlight=False
    )
    table = results_table([text])
    table.add_row(text)
    console.print(table)
    lines = [line for line in console.export_text().splitlines() if line.startswith(("┃", "│"))]
    return [text for line in lines if line[1:-1].strip() == text.strip()] or lines


@_output("JSON of the command line", NAMES, str)
def _json(text: str, _: Path) -> list[str]:
    written = json_text({"label": text, text: 1, "list": [text]})
    assert written.isascii()
    assert printable(written) == written
    read = json.loads(written)
    return [read["label"], *read["list"], *({text} & read.keys())]


@_output("error of the service")
def _problem(text: str, _: Path) -> list[str]:
    message = json.loads(json.dumps(Problem(422, f"{text}").body))["error"]["message"]
    return [message.replace("\n", "\\n").replace("\t", "\\t")]


# Pictures


def _figures(text: str) -> Iterator[tuple[Figure, int]]:
    """Pictures with a text in every place that shows one, and in how many."""
    labels = [text, "b"]
    points = [Point(name, number + 10, 0.5, 0.4, 0.6, f"{name} ", text) for number, name in enumerate(labels)]
    curve = Curve(text, text, (1.0, 2.0), (0.1, 0.2))
    xy = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    clip = Clip("a", Path("a.wav"), ("b",))
    assert clip.name == "a"
    report = Report(
        source=text, clips=2, recordings=2, counts={name: {"train": 1} for name in labels}, part_clips={"train": 2},
        seconds={"min": 1.0, "median": 1.0, "percentile_95": 1.0, "max": 1.0}, sampling_rates={16_000: 2}, channels={1: 2}, broken=[],
        leaks=[], duplicates=[], contradictions=[], notices=[], doubts=[], unheard=CutOff(1.0, 0, 0.0, 0.0),
    )  # fmt: skip
    yield draw_confusion(np.eye(2, dtype=int), labels, text), 3
    yield draw_confused_pairs(np.array([[1, 2], [0, 1]]), labels, text), 1
    yield draw_label_scores(labels, [[0.5, 0.4]], text), 2
    yield draw_accuracies(points, text), 3
    yield draw_accuracy_against_parameters(points, text), 3
    yield draw_curves([curve], x_label="x", y_label="y", title=text), 3
    yield draw_scatter([Scatter(text, xy, (text, "b"))], text), 3
    yield draw_check(report), 1


@_output(
    "pictures",
    ("$x^2$", "$\\frac{$", "\\$", "\\input{/etc/passwd}", "_x", "a\nb"),
)
def _pictures(text: str, folder: Path) -> list[str]:
    from matplotlib.text import Text

    found: list[str] = []
    for figure, expected in _figures(text):
        texts: list[Any] = figure.findobj(Text)
        # what matplotlib draws, and whether as a formula
        read = [
            (printable(words), formula) for words, formula in (one._preprocess_math(one.get_text()) for one in texts)
        ]
        own = [words for words, formula in read if printable(text) in words and not formula]
        assert len(own) >= expected, f"{len(own)} of {expected} texts have it"
        found += [printable(text)] * len(own)
    return found


@_output(
    "pictures, SVG",
    ("<script>window.hacked=1</script>", "-- --> <script>a</script>", "]]>", '"><a href="javascript:a">', "a\x1b[31m"),
)
def _svg(text: str, folder: Path) -> list[str]:
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        stream = io.StringIO()
        draw_label_scores([text, "b"], [[0.5, 0.4]], text).savefig(stream, format="svg")
    root = ElementTree.fromstring(stream.getvalue())  # noqa: S314 - our own
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not tags & {"script", "a", "foreignObject", "image"}, tags
    return [element.text for element in root.iter() if element.tag.endswith("}text") and element.text and printable(text) in element.text]  # fmt: skip # noqa: E501
