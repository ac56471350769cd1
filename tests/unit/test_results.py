"""A table's results as one value: each run's JSON is opened once by a command, and the task decides which figure stands in the cells."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from astune import tasks
from astune.cli import app
from astune.errors import DataError
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.records import RunRecord, SavedPlan
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.experiments.table import load_table
from astune.reporting.grid import grid
from astune.reporting.pictures import pictures
from astune.reporting.rendered import render
from astune.reporting.tables import to_csv, to_latex, to_markdown
from tests.unit.reporting.test_report import filled, made_up

_opened: Counter[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open":
        _opened[str(arguments[0])] += 1


sys.addaudithook(_hook)


@contextmanager
def opens() -> Iterator[Counter[str]]:
    """How often this process opens each file."""
    global _opened
    _opened = Counter()
    try:
        yield _opened
    finally:
        _opened = None


def of_runs(counts: Counter[str]) -> dict[str, int]:
    return {Path(path).stem: count for path, count in counts.items() if Path(path).parent.name == "runs"}


def test_a_report_opens_each_run_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = filled("table7", store, lambda _: 0.5)
    store.write_plan(replace(store.read_plan("table7"), name="again"))  # a table that shares all of its runs
    for name in ("table7", "all"):
        with opens() as counts:
            done = CliRunner().invoke(
                app, ["report", name, "--store", str(tmp_path), "--output-dir", str(tmp_path / "out")]
            )
        assert done.exit_code == 0, done.output
        assert of_runs(counts) == {run.key: 1 for run in runs}


def test_reproducing_what_is_finished_opens_each_run_once(generated: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"title: Mine\ndatasets: [{{name: sounds, data: 'folder:{generated}', settings: {{max_length: 32}}}}]\n"
        "rows: [{name: linear, method: linear}, {name: LoRA, method: lora}]\n"
    )
    store = Store(tmp_path / "store")
    runs = plan(*load_table(file), PlanOptions())
    for run in runs:
        store.write(replace(made_up(run, 0.5), content=run.content))
    with opens() as counts:
        done = CliRunner().invoke(app, ["reproduce", str(file), "--store", str(store.folder)])
    assert done.exit_code == 0, done.output
    assert "50.00" in done.stdout
    assert of_runs(counts) == {run.key: 1 for run in runs}


def test_a_record_that_changes_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = filled("table7", store, lambda _: 0.5)[0]
    assert store.read(run.key) is store.read(run.key)
    Store(tmp_path).write(made_up(run, 0.75))  # by another process
    assert store.read(run.key).headline == 0.75
    store.path(run.key).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        store.read(run.key)


def test_records_and_plans_read_back() -> None:
    table = load_table("table7")[1]
    runs = plan("table7", table, PlanOptions(data_root=Path("/nowhere")))
    whole, record = to_saved_plan("table7", table, runs), made_up(runs[0], 0.5)
    assert SavedPlan.from_json(whole.to_json()) == whole
    assert RunRecord.from_json(record.to_json()) == record
    older = json.loads(record.to_json())
    assert older["result"].pop("task") == "single-label"
    assert RunRecord.from_json(json.dumps(older)) == record  # as those written before there was a choice
    with pytest.raises(ValueError, match="unknown task 'mood'"):
        RunRecord.from_json(record.to_json().replace("single-label", "mood"))


class Ranked(tasks.SingleLabel):
    """A task whose headline is no share of clips."""

    name = "ranked"
    headline = "mean_average_precision"
    shares: ClassVar[dict[str, str]] = {"mean_average_precision": "mAP", "coverage": "coverage"}
    counts_clips = False


def test_cells_and_pictures_show_the_headline_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "ranked", Ranked())
    store = Store(tmp_path)
    for run in filled("table7", store, lambda _: 0.5):
        record = store.read(run.key)
        test = {"clips": 20, "loss": 1.0, "mean_average_precision": 0.25, "coverage": 0.75}
        history = [{"epoch": 0, "train_loss": 1.0, "validation": {"mean_average_precision": 0.2}}]
        store.write(
            replace(record, result=replace(record.result, task="ranked", scores={"test": test}, history=history))
        )
    results = Results.load(store, "table7")
    table = grid(results)
    shown = render(table)
    assert shown.caption.startswith("Test mAP in percent")
    assert {cell.value for row in shown.rows for cell in row.cells} == {"25.00"}
    assert all("accuracy" not in form(shown) for form in (to_markdown, to_latex))
    line = next(csv.DictReader(io.StringIO(to_csv(shown))))
    assert (line["mean"], line["coverage"], "macro_f1" in line) == ("25.0000", "75.0000", False)
    pytest.importorskip("matplotlib")
    captions = {picture.name: picture.caption for picture in pictures(results, table)}
    assert list(captions) == ["mean_average_precision", "parameters", "loss", "validation"]
    assert captions["validation"].startswith("Validation mAP by epoch")
    assert captions["parameters"].startswith("mAP against")


def test_a_share_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "ranked", Ranked())
    store = Store(tmp_path)
    run = filled("table7", store, lambda _: 0.5)[0]
    record = store.read(run.key)
    for value, told in (
        (1.5, r"result\.scores\.test\.mean_average_precision=1\.5: give a number from 0 to 1"),
        (None, r"result\.scores\.test\.mean_average_precision is missing"),
    ):
        test = {"clips": 20, "coverage": 0.5} | ({} if value is None else {"mean_average_precision": value})
        store.write(replace(record, result=replace(record.result, task="ranked", scores={"test": test})))
        with pytest.raises(DataError, match=told):
            store.read(run.key)
