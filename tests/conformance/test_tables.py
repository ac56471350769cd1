"""Every shipped table: parsed, planned without data, with the runs its paper's protocol asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from astune import load_backbone
from astune.architecture import Architecture
from astune.cli import app
from astune.counting import count
from astune.data import load_data
from astune.errors import ConfigError
from astune.experiments.plan import PlanOptions, at_width, distinct, plan
from astune.experiments.table import SHIPPED, load_table, shipped_tables
from astune.methods import parse_method
from astune.training.check import split_of
from astune.training.config import TrainConfig
from astune.training.recipe import input_length

# rows x (folds of ESC-50, of UrbanSound8K, Speech Commands, Fluent Speech Commands), one seed
RUNS = {
    "table1": 15 * (5 + 10 + 1 + 1), "table2": 4 * (4 * 5 + 4 * 1), "table3": 6 * 17, "table4": 4 * 17, "table5": 8 * (5 + 1),
    "table6": 6 * (5 + 1), "table7": 4 * (5 + 1), "figure2": 3, "figure3": 20 * 2, "figure4": 20 * 5,
}  # fmt: skip
ANYWHERE = PlanOptions(data_root=Path("/nowhere"))


def test_all_files_are_found_and_known() -> None:
    found = sorted(path.stem for path in SHIPPED.rglob("*.y*ml"))
    assert found == sorted(RUNS) == sorted(shipped_tables())


def test_every_table_in_the_documentation_can_be_read() -> None:
    found = sorted((Path(__file__).parents[2] / "docs").rglob("*.y*ml"))
    assert found
    for path in found:
        name, table = load_table(path)
        assert (name, bool(table.rows)) == (path.stem, True)


@pytest.mark.parametrize("name", RUNS)
def test_its_plan_without_any_data(name: str) -> None:
    runs = plan(*load_table(name), ANYWHERE)
    assert len(runs) == RUNS[name]
    assert len({(run.row, run.column, run.fold, run.seed) for run in runs}) == RUNS[name]
    assert {run.config["backbone"] for run in runs} == {"MIT/ast-finetuned-audioset-10-10-0.4593"}


def test_the_command_prints_the_plan_as_json_and_nothing_else() -> None:
    done = CliRunner().invoke(
        app, ["reproduce", "table7", "--dry-run", "--json", "--seeds", "1", "--data-root", "/nowhere"]
    )
    assert done.exit_code == 0, done.output
    entries = json.loads(done.stdout)
    assert len(entries) == 24
    assert {entry["status"] for entry in entries} == {"missing"}
    assert {entry["parameters"] for entry in entries} == {248_976}
    assert entries[0]["settings"]["num_train_epochs"] == 50
    assert entries[0]["settings"]["learning_rate"] == 5e-3


def test_rows_that_tables_share_are_run_once() -> None:
    runs = [run for name in shipped_tables() for run in plan(*load_table(name), ANYWHERE)]
    rows_by_key: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        rows_by_key.setdefault(run.key, set()).add((run.table, run.row))
    shared = {frozenset(rows) for rows in rows_by_key.values() if len(rows) > 1}
    assert frozenset({("table3", "FFN-Par-Before"), ("table7", "parallel, none")}) in shared
    bottleneck = {("table1", "Bottleneck PF par"), ("table3", "MHSA-Par-Before"), ("table5", "PF MHSA-Par-Before")}
    assert any(bottleneck <= rows for rows in shared)
    assert len(distinct(runs)) == len(rows_by_key) < len(runs)


def test_another_width_keeps_the_papers_bottleneck() -> None:
    assert (
        at_width(parse_method("bottleneck-pf-par"), 192).spec == "bottleneck:reduction_rate=16,insertion=parallel"
    )  # r = 12 = 768 / 64
    assert at_width(parse_method("lora"), 192).spec == "lora:reduction_rate=32"
    assert at_width(parse_method("bottleneck:sublayer=ffn+lora:reduction_rate=256"), 192).spec == (
        "bottleneck:reduction_rate=16,sublayer=ffn+lora:reduction_rate=64"
    )
    assert at_width(parse_method("dpt-25"), 192) == parse_method("dpt-25")
    assert at_width(parse_method("lora"), 768) == parse_method("lora")
    on_bundled = plan(*load_table("table4"), PlanOptions(data_root=Path("/nowhere"), backbone="bundled"))
    d, r, layers = 192, 6, 6
    assert {run.parameters for run in on_bundled if run.row == "q, v"} == {layers * 2 * 2 * d * r}


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(text)
    return file


def test_a_table_of_ones_own(generated: Path, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        f"""
title: mine
datasets: [{{name: sounds, data: "folder:{generated}", settings: {{max_length: 32}}}}]
settings: {{num_train_epochs: 2}}
vary: {{position_embeddings: [fit, zero]}}
rows:
  - {{name: a, method: linear}}
  - {{name: b, method: lora, settings: {{num_train_epochs: 3}}}}
""",
    )
    runs = plan(*load_table(file), PlanOptions(backbone="random:tiny", seeds=2))
    assert len(runs) == 2 * 2 * 2
    assert {run.column for run in runs} == {"sounds, position_embeddings=fit", "sounds, position_embeddings=zero"}
    assert {(run.row, run.config["num_train_epochs"]) for run in runs} == {("a", 2), ("b", 3)}
    overridden = plan(
        *load_table(file), PlanOptions(backbone="random:tiny", settings={"num_train_epochs": 1}, only=("b",))
    )
    assert {run.config["num_train_epochs"] for run in overridden} == {1}


def test_a_table_of_the_paper_on_ones_own_data(generated: Path, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        f"""
extends: table7
datasets: [{{name: sounds, data: "folder:{generated}", settings: {{max_length: 32}}}}]
settings: {{num_train_epochs: 2}}
rows:
  - {{name: ours, method: layermix}}
""",
    )
    shipped, own = load_table("table7")[1], load_table(file)[1]
    assert [row.name for row in own.rows] == [*(row.name for row in shipped.rows), "ours"]
    assert (own.title, own.paper, own.printed) == (shipped.title, True, "table7")
    runs = plan(*load_table(file), PlanOptions(backbone="random:tiny"))
    assert {(run.dataset, run.config["num_train_epochs"]) for run in runs} == {("sounds", 2)}


def test_columns_of_positions_selection_and_start_can_be_added_to_any_table() -> None:
    """The start is a field of the methods that have one; the others are run once."""
    vary = {"position_embeddings": ["fit", "zero"], "init": ["identity", "normal"], "selection": ["last"]}
    runs = plan(*load_table("table7"), replace(ANYWHERE, vary=vary))
    assert len(runs) == 24 * 4
    assert len(distinct(runs)) == 24 * 4
    assert {run.column for run in runs if run.dataset == "esc50"} == {
        f"esc50, position_embeddings={positions}, init={init}, selection=last"
        for positions in ("fit", "zero")
        for init in ("identity", "normal")
    }
    started = {run.spec for run in runs if "init=normal" in run.column}
    assert all("init=normal" in spec for spec in started)
    linear = plan(*load_table("table1"), replace(ANYWHERE, vary={"init": ["identity", "normal"]}, only=("Linear",)))
    assert (len(linear), len(distinct(linear))) == (2 * 17, 17)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"positions": ["fit"]}, "unknown setting 'positions'"),
        ({"position_embeddings": ["fit", "none"]}, "position_embeddings"),
        ({"init": ["identical"]}, "init"),
        ({"init": []}, "nothing is given for init"),
    ],
)
def test_faults_of_added_columns_are_named(vary: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(*load_table("table7"), replace(ANYWHERE, vary=vary))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\ndatasets: [esc50]\nrows: [{name: a, method: lara}]", "did you mean 'lora'"),
        ("title: x\ndatasets: [esc51]\nrows: [{name: a, method: lora}]", "'esc51' needs data"),
        (
            "title: x\ndatasets: [esc50]\nrows: [{name: a, method: lora, settings: {epochs: 3}}]",
            "unknown setting 'epochs'",
        ),
        (
            "title: x\ndatasets: [esc50]\nrows: [{name: a, method: lora}, {name: a, method: linear}]",
            "two rows are named",
        ),
        ("title: x\ndatasets: [esc50]\nrows: []", "rows"),
        ("extends: tabel1", "mine.yaml: extends: unknown experiment 'tabel1'.*did you mean 'table1'"),
        ("extends: table1\nrows: [{name: LoRA, method: linear}]", "two rows are named"),
        ("extends: table1\nrows: LoRA", "rows"),
        ("title: x\ndatasets: [esc50]\nrow: [{name: a, method: lora}]", "did you mean 'rows'"),
    ],
)
def test_faults_of_a_table_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_table(written(tmp_path, text))


def test_data_without_test_clips_are_refused_before_anything_runs(generated: Path, tmp_path: Path) -> None:
    untested = next(folder for folder in generated.iterdir() if folder.name == "train")
    file = written(
        tmp_path,
        f"title: x\ndatasets: [{{name: mine, data: 'folder:{untested}'}}]\nrows: [{{name: a, method: linear}}]",
    )
    with pytest.raises(ConfigError, match="has no test clips; divide it into folders"):
        plan(*load_table(file), PlanOptions(backbone="random:tiny"))


def test_a_width_that_a_user_asks_for_is_meant(generated: Path, tmp_path: Path) -> None:
    """Only the paper's tables keep the paper's bottlenecks; what is varied over is taken at its word there too."""
    own = written(
        tmp_path,
        f"title: x\ndatasets: [{{name: mine, data: 'folder:{generated}'}}]\nrows: [{{name: a, method: 'lora:reduction_rate=8'}}]",
    )
    (run,) = plan(*load_table(own), PlanOptions(backbone="bundled"))
    assert run.spec == "lora:reduction_rate=8"
    options = replace(
        ANYWHERE, backbone="bundled", vary={"reduction_rate": [8, 16]}, only=("q, v",), datasets=("esc50",)
    )
    assert {run.spec for run in plan(*load_table("table4"), options)} == {
        "lora:reduction_rate=8",
        "lora:reduction_rate=16",
    }


def test_parameters_are_counted_at_the_length_that_training_would_take(generated: Path, tmp_path: Path) -> None:
    own = written(
        tmp_path,
        f"title: x\ndatasets: [{{name: mine, data: 'folder:{generated}'}}]\nrows: [{{name: a, method: full-ft}}]",
    )
    settings: dict[str, dict[str, int]] = {"measured": {}, "limited": {"limit_clips": 8}, "stated": {"max_length": 64}}
    for given in settings.values():
        (run,) = plan(*load_table(own), PlanOptions(backbone="random:tiny", settings=given))
        config = TrainConfig(**run.config, output_dir=tmp_path)
        length = input_length(config, *split_of(load_data(config.data), config), quiet=True)
        assert (
            run.parameters
            == count("full-ft", 6, Architecture.of(load_backbone("random:tiny", length).model.config)).parameters
        )
        assert run.percent_of_full == 100
    assert length == 64


def test_data_that_must_be_there_are_asked_for_once() -> None:
    with pytest.raises(ConfigError, match="there is no such file or folder") as raised:
        plan(*load_table("table1"), replace(ANYWHERE, needs_data=True))
    assert str(raised.value).count("there is no such file or folder") == 4  # a data set each


def test_faults_of_sources_are_named(generated: Path) -> None:
    name, table = load_table("table1")
    for data, message in (
        ((f"foldr:{generated}",), "unknown data layout 'foldr'.*did you mean 'folder'"),
        ((f"folder:{generated}", str(generated)), "two data sets would be named"),
    ):
        with pytest.raises(ConfigError, match=message):
            plan(name, table, replace(ANYWHERE, datasets=data))
    runs = plan(name, table, replace(ANYWHERE, datasets=(str(generated),) * 2, only=("LoRA", "LoRA")))
    assert len(runs) == 1


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(ConfigError, match="did you mean 'table1'"):
        load_table("tabel1")
    with pytest.raises(ConfigError, match=r"unknown row 'LoRa'.*did you mean 'LoRA'"):
        plan(*load_table("table1"), PlanOptions(only=("LoRa",)))
    with pytest.raises(ConfigError, match="unknown data set 'esc'"):
        plan(*load_table("table1"), PlanOptions(datasets=("esc",)))
