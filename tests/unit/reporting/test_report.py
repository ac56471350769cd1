"""Tables and pages from a store alone; runs are made up so that what must come out is known: the paper's own figures, mostly."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner
from typing_extensions import override

from astune.cli import app
from astune.data.layouts.base import LAYOUTS
from astune.errors import DataError
from astune.experiments.plan import PlannedRun, PlanOptions, plan, to_saved_plan
from astune.experiments.published import PUBLISHED
from astune.experiments.records import RunRecord
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.experiments.table import Table, load_table, shipped_tables
from astune.methods import parse_method
from astune.reporting.grid import Grid, grid
from astune.reporting.pictures import PICTURE_NAME
from astune.reporting.rendered import comparisons, figures_of, render, seconds_of
from astune.reporting.report import write_report
from astune.reporting.tables import to_csv, to_latex, to_markdown
from astune.training.result import TrainResult

Accuracy = Callable[[PlannedRun], float]
NOWHERE = Store(Path("/nowhere"))


def made_up(run: PlannedRun, accuracy: float) -> RunRecord:
    layout = LAYOUTS.get(run.dataset)
    classes = (layout and layout.published_classes) or 2
    confusion = [[10 if guess == true else 1 for guess in range(classes)] for true in range(classes)]
    clips = sum(map(sum, confusion))
    scores = {"clips": clips, "accuracy": accuracy, "macro_f1": accuracy / 2, "loss": 1.0, "confusion": confusion}
    history = [
        {"epoch": n, "train_loss": 2.0 - n, "validation": {"accuracy": accuracy * (n + 1) / 2}} for n in range(2)
    ]
    result = TrainResult(
        output_dir="", spec=run.spec, trainable_parameters=run.parameters, adapter_bytes=1, backbone_fingerprint="f",
        labels=[f"label {number}" for number in range(classes)], fold=run.fold, recipe={"max_length": 500}, config={},
        compute_dtype="float32", device="cpu", best_epoch=1, scores={"test": scores}, history=history, skipped_clips=0,
        train_seconds=3.0, wall_seconds=4.0, peak_memory_mib=5.0, versions={"torch": "2", "transformers": "5"},
    )  # fmt: skip
    return RunRecord(run.key, run.settings_key, "f", result, "0123456789abcdef", dirty=False)


def filled(name: str, store: Store, accuracy: Accuracy, options: PlanOptions | None = None) -> list[PlannedRun]:
    """A store with a plan and all of its runs."""
    table = load_table(name)[1]
    runs = plan(name, table, options or PlanOptions(data_root=Path("/nowhere")))
    store.write_plan(to_saved_plan(name, table, runs))
    for run in runs:
        store.write(made_up(run, accuracy(run)))
        if run.keeps_tokens:
            draw = torch.Generator().manual_seed(run.seed)
            tokens = torch.randn(60, 8, generator=draw)
            store.write_tokens(run.key, {"tokens": tokens.half(), "classes": torch.arange(60) % 10})
    return runs


def laid_out(name: str, store: Store) -> Grid:
    return grid(Results.load(store, name))


def as_printed(run: PlannedRun) -> float:
    figure = PUBLISHED[run.table].accuracy(run.row, run.column)
    assert figure is not None
    return figure / 100


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """Table I with runs that give the printed figures."""
    store = Store(tmp_path_factory.mktemp("store"))
    filled("table1", store, as_printed)
    return laid_out("table1", store)


def test_best_and_second_best_are_the_papers(paper: Grid) -> None:
    """Read off Table I; its print marks speech as these, full fine-tuning standing outside."""
    assert {ranked for ranked in paper.ranks.items() if ranked[0][1] != "Avg"} == {
        (("Bottleneck PF par", "esc50"), 1), (("Bottleneck HOU par", "esc50"), 2),
        (("LoRA", "urbansound8k"), 1), (("DPT-25", "urbansound8k"), 2),
        (("LoRA", "speech_commands"), 1), (("Convpass HOU par", "speech_commands"), 2),
        (("Bottleneck HOU par", "fluent_speech"), 1), (("Convpass HOU par", "fluent_speech"), 2),
    }  # fmt: skip
    assert paper.ranks["Bottleneck HOU par", "Avg"] == 1  # 85.32
    assert paper.ranks["Convpass HOU par", "Avg"] == 2  # 85.06


def test_the_average_is_of_the_data_sets_and_the_one_misprint_shows(paper: Grid) -> None:
    behind = {row.name: figures_of(paper, row, "Avg") for row in paper.rows}
    assert behind["Full FT"] == ("90.60", "(90.07, +0.53)")
    assert behind["LoRA"] == ("84.97", "(84.97, +0.00)")
    assert figures_of(paper, paper.rows[0], "esc50") == ("87.48", "± 0.00 (87.48, +0.00)")


def test_seconds_are_of_a_run_and_what_is_shared_comes_once(paper: Grid) -> None:
    row = paper.rows[0]
    assert seconds_of(paper, row) == "3"
    slower = replace(row.cells["urbansound8k"], train_seconds=41.2, frozen_seconds=17.4)
    assert seconds_of(paper, replace(row, cells={**row.cells, "urbansound8k": slower})) == "3 to 41, once 17"
    assert seconds_of(paper, replace(row, cells={})) == "-"
    assert "| 100.00 | 3 | 87.48" in to_markdown(render(paper))


def test_seconds_on_several_devices_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for run in filled("table7", store, lambda _: 0.5):
        record = store.read(run.key)
        if run.dataset == "fluent_speech" and run.row == "parallel, none":
            faster = replace(record.result, train_seconds=1.0, device="NVIDIA H100", compute_dtype="bfloat16")
            store.write(replace(record, result=faster))
    table = laid_out("table7", store)
    seconds = {row.name: seconds_of(table, row) for row in table.rows}
    assert seconds.pop("parallel, none") == "1 a to 3 b"
    assert set(seconds.values()) == {"3 b"}
    page = to_markdown(render(table))
    assert "- Device: a: NVIDIA H100 in bfloat16; b: cpu in float32\n" in page
    assert "A letter is the device" in page
    assert ",1.0,NVIDIA H100 in bfloat16,0.0," in to_csv(render(table))


def test_a_whole_faithful_run_differs_from_the_paper_in_nothing(paper: Grid) -> None:
    assert paper.unlike_the_paper == ()
    assert paper.ran[0] == "Backbone: MIT/ast-finetuned-audioset-10-10-0.4593"
    assert "esc50: 50 classes, 2950 test clips a run; folds 1, 2, 3, 4, 5; epochs 50, frames 500" in paper.ran[1]
    assert "Runs: 255 of 255 finished" in paper.ran
    assert "Commit: 0123456789" in paper.ran


def test_a_scaled_down_run_says_so_everywhere(tmp_path: Path) -> None:
    store = Store(tmp_path)
    options = PlanOptions(
        data_root=Path("/nowhere"), backbone="bundled", settings={"num_train_epochs": 2, "limit_clips": 60}, folds=(1, 3)
    )  # fmt: skip
    runs = filled("table7", store, as_printed, options)
    store.path(runs[0].key).unlink()
    found = laid_out("table7", store)
    assert set(found.unlike_the_paper) == {
        "trial run on at most 60 clips of each split: not a result",
        "backbone bundled instead of MIT/ast-finetuned-audioset-10-10-0.4593",
        "num_train_epochs 2 instead of 50", "num_train_epochs 2 instead of 75",
        "esc50: 2 of 5 folds", "1 run is not finished",
    }  # fmt: skip
    assert figures_of(found, found.rows[0], "esc50")[1].endswith("1 of 2 runs")
    assert found.rows[0].average is None
    for text in (form(render(found)) for form in (to_markdown, to_latex, to_csv)):
        assert "2 of 5 folds" in text
        assert "bundled instead of" in text


def differences(runs: list[PlannedRun], table: Table) -> tuple[str, ...]:
    records = {run.key: made_up(run, 0.5) for run in runs}
    return grid(Results(to_saved_plan("table7", table, runs), records, NOWHERE)).unlike_the_paper


def test_rows_with_settings_of_their_own_are_named() -> None:
    name, table = load_table("table7")
    first = table.rows[0].model_copy(update={"settings": {"num_train_epochs": 75, "learning_rate": 1e-3}})
    changed = table.model_copy(update={"rows": [first, *table.rows[1:]], "datasets": table.datasets[:1]})
    runs = plan(name, changed, PlanOptions(data_root=Path("/nowhere")))
    told = "Rows with settings of their own: sequential, residual (learning_rate 0.001, num_train_epochs 75)"
    assert told in grid(Results(to_saved_plan(name, changed, runs), {}, NOWHERE)).ran
    name, table = load_table("table1")  # whose methods have rates of their own
    whole = plan(name, table, PlanOptions(data_root=Path("/nowhere")))
    assert not any(
        line.startswith("Rows with") for line in grid(Results(to_saved_plan(name, table, whole), {}, NOWHERE)).ran
    )


def test_another_method_under_a_rows_name_is_not_the_papers() -> None:
    name, table = load_table("table7")
    first = table.rows[0].model_copy(update={"method": "bottleneck-pf-seq:init=normal"})
    changed = table.model_copy(update={"rows": [first, *table.rows[1:]]})
    ours, theirs = (parse_method(row.method).spec for row in (first, table.rows[0]))
    told = differences(plan(name, changed, PlanOptions(data_root=Path("/nowhere"))), changed)
    assert told == (f"sequential, residual: method {ours} instead of {theirs}",)


def test_a_part_of_a_data_set_or_of_a_table_is_not_the_whole() -> None:
    name, table = load_table("table7")
    runs = plan(name, table, PlanOptions(data_root=Path("/nowhere"), only=("parallel, none",)))
    part = [
        replace(run, dataset_clips=400) if run.dataset == "esc50" else replace(run, dataset_clips=30_043)
        for run in runs
    ]
    assert set(differences(part, table)) == {"esc50 has 400 clips here, 2,000 as published", "1 of the paper's 4 rows"}


def test_an_added_column_is_not_the_papers() -> None:
    name, table = load_table("table7")
    options = PlanOptions(data_root=Path("/nowhere"), vary={"pooling": ["cls"]}, datasets=("fluent_speech",))
    told = differences(plan(name, table, options), table)
    assert told[0].startswith("the paper's table has no column 'fluent_speech, pooling=cls'")
    assert told[1:] == ("0 of the paper's 2 columns",)


def test_the_published_codes_setting_is_a_setting_of_the_paper() -> None:
    name, table = load_table("table7")
    options = PlanOptions(data_root=Path("/nowhere"), as_published=True)
    runs = plan(name, table, options)
    records = {run.key: made_up(run, 0.5) for run in runs}
    plans = to_saved_plan(options.name_of(name), table, runs, as_published=True)
    found = grid(Results(plans, records, NOWHERE))
    assert found.unlike_the_paper == ()
    assert (found.warning, found.printed("sequential, none", "esc50")) == ("", 69.20)
    assert "in the setting of the published code. It differs from the paper's Table VII in nothing." in found.summary
    setting = "Setting: the published code (position_embeddings zero; selection last; init published)"
    assert setting in found.ran
    text = to_markdown(render(found))
    assert "not the paper" not in text
    assert "(69.20, -19.20)" in text
    one_method = {**runs[0].config, "method": runs[0].spec.replace("init=published", "init=normal")}
    mixed = [replace(runs[0], config=one_method, method=parse_method(one_method["method"])), *runs[1:]]
    assert any("a mixture of" in line for line in grid(Results(to_saved_plan(name, table, mixed), {}, NOWHERE)).ran)


def test_a_table_of_ones_own_is_not_measured_against_the_paper() -> None:
    table = load_table("table7")[1].model_copy(update={"title": "Mine"})
    runs = plan("mine", table, PlanOptions(data_root=Path("/nowhere")))
    records = {run.key: made_up(run, 0.5) for run in runs}
    found = grid(Results(to_saved_plan("mine", table, runs), records, NOWHERE))
    assert (found.unlike_the_paper, found.warning) == ((), "")
    assert render(found).headline == "Mine (mine)"
    assert found.summary == (
        "This report shows 4 rows on esc50 and fluent_speech, with the backbone MIT/ast-finetuned-audioset-10-10-0.4593, "
        "in the setting of the paper's text. It is an experiment of its own: the paper has no such table."
    )
    trial = plan("mine", table, PlanOptions(data_root=Path("/nowhere"), settings={"limit_clips": 60}))
    assert grid(Results(to_saved_plan("mine", table, trial), {}, NOWHERE)).warning == "trial run"


def test_all_trained_parameters_and_macro_f1_are_columns(paper: Grid) -> None:
    shown = render(paper)
    assert paper.summary.endswith("It differs from the paper's Table I in nothing.")
    lora = next(row for row in shown.rows if row.name == "LoRA")
    heads = [769 * classes + 2 * 768 for classes in (10, 50)]  # with the final LayerNorm
    assert lora.trained == " to ".join(f"{221_184 + head:,}" for head in heads)
    assert lora.parameters == "221,184"
    assert shown.macro_f1_columns == ("esc50", "urbansound8k", "speech_commands", "fluent_speech")
    assert lora.macro_f1[0] == "43.23"  # half of 86.45, as made up
    assert "| LoRA | 43.23 | " in to_markdown(shown)
    old = replace(paper.rows[0], trained=None, cells={k: replace(v, shares={}) for k, v in paper.rows[0].cells.items()})
    without = render(replace(paper, rows=(old,)))
    assert (without.rows[0].trained, without.macro_f1_columns) == ("-", ())
    assert "macro F1 |" not in to_markdown(without)


def test_comparisons_pair_folds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled("table7", store, lambda run: 0.5 + 0.01 * (run.fold or 0) + (0.1 if run.row == "sequential, none" else 0))
    found = {
        (column, first, second): result for column, first, second, result in comparisons(laid_out("table7", store))
    }
    assert len(found) == 2 * 6  # two columns, pairs of four rows
    result = found["esc50", "sequential, residual", "sequential, none"]
    assert result.pairs == 5
    assert [result.difference, result.p_value] == pytest.approx([-0.1, 2 / 2**5])
    assert found["fluent_speech", "sequential, residual", "sequential, none"].p_value is None  # one pair


def test_csv_reads_back(paper: Grid) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(render(paper)))))
    assert len(lines) == 15 * 4
    first = lines[0]
    assert (first["row"], first["column"], float(first["mean"]), float(first["printed"])) == (
        "Full FT",
        "esc50",
        87.48,
        87.48,
    )
    assert (first["runs"], first["planned"], float(first["macro_f1"])) == ("5", "5", 43.74)


def test_latex_has_as_many_cells_in_each_line(paper: Grid) -> None:
    text = to_latex(render(paper))
    body = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(body) == 1 + 15
    assert {line.count(" & ") for line in body} == {4 + 5}
    assert text.splitlines()[0] == "% Needs \\usepackage{booktabs} in the preamble."
    assert "\\textbf{93.61}" in text
    assert "\\underline{92.55}" in text
    assert "urbansound8k" in text
    assert "speech\\_commands" in text
    for begun in ("table", "tabular"):
        assert text.count(f"\\begin{{{begun}}}") == text.count(f"\\end{{{begun}}}") == 1


class _Cells(HTMLParser):
    """Text of the cells of a page's tables, and what the page asks other places for."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.sources: list[str] = []
        self._open = False

    @override
    def handle_starttag(self, tag: str, attributes: Sequence[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attributes if name in {"src", "href"}]
        if tag in {"td", "th"}:
            self._open = True
            self.cells.append("")

    @override
    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in {"td", "th"}

    @override
    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data


def test_a_picture_says_how_many_runs_it_leaves_out(tmp_path: Path) -> None:
    """Those of ``eval_strategy=no`` have no scores by epoch, those that are fitted without epochs have none to score."""
    store = Store(tmp_path / "store")
    runs = filled("table5", store, lambda _: 0.5)
    for number, run in enumerate(runs[:5]):
        record = store.read(run.key)
        history = [{"epoch": 0, "train_loss": 1.0}] if number < 3 else []
        store.write(replace(record, result=replace(record.result, history=history)))
    (tmp_path / "reports").mkdir()
    write_report(Results.load(store, "table5"), tmp_path / "reports")
    page = (tmp_path / "reports" / "table5.md").read_text()
    trained = len(runs) - 2
    assert (
        f"![Validation accuracy by epoch, mean of the runs; without 3 of {trained} runs, which were not scored after each epoch]("
        in page
    )
    assert "![Training loss, nats by epoch, mean of the runs](" in page


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("table5", ["accuracy", "parameters", "confusion-1", "confusion-2", "loss", "validation"]),
        ("table2", ["few-shot", "confusion-1", "confusion-2", "confusion-3", "confusion-4", "loss", "validation"]),
        ("figure4", ["parameters", "confusion-1", "loss", "validation"]),
        ("figure2", ["tsne-1", "confusion-1", "loss", "validation"]),
    ],
)
def test_a_report_has_every_form_and_picture(tmp_path: Path, name: str, drawn: list[str]) -> None:
    store = Store(tmp_path / "store")
    filled(name, store, lambda run: 0.3 + (int(run.key, 16) % 50) / 100)
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / f"{name}-confusion-9.png").touch()  # of an earlier report, which had more columns
    others = [f"{name}-few-loss.png", f"{name}-few-confusion-1.pdf", f"{name}-old.png"]
    for other in others:
        (folder / other).touch()
    written = write_report(Results.load(store, name), folder)
    pictures = [f"{name}-{one}{suffix}" for one in drawn for suffix in (".png", ".pdf")]
    forms = [f"{name}{suffix}" for suffix in (".html", ".md", ".csv", ".tex")] + [f"{name}-comparisons.csv"]
    assert sorted(path.name for path in written) == sorted(pictures + forms)
    assert sorted(path.name for path in folder.iterdir()) == sorted(pictures + forms + others)
    assert all(PICTURE_NAME.fullmatch(one) for one in drawn)
    page = _Cells()
    page.feed((folder / f"{name}.html").read_text())
    assert len(page.sources) == len(drawn)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    rows = dict.fromkeys(entry.row for entry in store.read_plan(name).entries)
    assert all(row in page.cells for row in rows)


def test_a_damaged_run_is_said_to_be_and_not_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    runs = filled("table7", store, lambda run: 0.5 if run.fold == 1 else 0.7)
    damaged = next(run for run in runs if run.fold == 1 and run.row == "parallel, none")
    store.path(damaged.key).write_text("{")
    write_report(Results.load(store, "table7"), tmp_path / "reports")
    assert f"left out: {store.path(damaged.key)}" in capsys.readouterr().err.replace("\n", "")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "reports" / "table7.csv").read_text())))
    cell = next(line for line in lines if (line["row"], line["column"]) == ("parallel, none", "esc50"))
    assert (float(cell["mean"]), cell["runs"], cell["planned"]) == (70.0, "4", "5")


def test_without_a_plan_or_runs_the_next_step_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "table1", "--store", str(tmp_path)])
    assert isinstance(result.exception, DataError)
    assert f"astune reproduce table1 --store {tmp_path}" in str(result.exception)
    store = Store(tmp_path)
    table = load_table("table7")[1]
    store.write_plan(to_saved_plan("table7", table, plan("table7", table, PlanOptions(data_root=Path("/nowhere")))))
    with pytest.raises(DataError, match=r"unknown plan 'tabel7'.*did you mean 'table7'"):
        store.read_plan("tabel7")
    with pytest.raises(DataError, match="no finished run of table7"):
        write_report(Results.load(store, "table7"), tmp_path / "reports")


def test_all_of_a_store_is_one_command(tmp_path: Path) -> None:
    for name in ("table5", "table7"):
        filled(name, Store(tmp_path), as_printed)
    result = CliRunner().invoke(app, ["report", "all", "--store", str(tmp_path), "--output-dir", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").glob("*.html")} == {"table5.html", "table7.html"}
    assert set(shipped_tables()) > {"table5", "table7"}
