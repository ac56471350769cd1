"""Settings: tagged once, settled once, and the lists and pages that are derived from the tags."""

from __future__ import annotations

import runpy
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from astune.data import DataRecipe
from astune.experiments.baseline import DECIDING
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.table import load_table
from astune.methods import parse_method
from astune.setting import KINDS, Setting
from astune.training import config as settings
from astune.training.config import SETTINGS, TrainConfig, settings_where
from astune.training.recipe import Facts, Recipe, complete, settle
from astune.validated import Validated

DOCS = Path(__file__).parents[2] / "docs"
CONFIG = TrainConfig(data="x", output_dir=Path("y"))
# Names of the committed runs depend on these lists: a field that comes later is tagged with a later `since`.
FIRST = {
    "data", "method", "backbone", "fold", "shots", "limit_clips", "seed", "max_length", "position_embeddings", "pooling", "selection",
    "learning_rate", "num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "weight_decay", "adam_beta1",
    "adam_beta2", "adam_epsilon", "freq_mask", "time_mask", "bf16", "skip_broken",
}  # fmt: skip
RUNNING = {"output_dir", "resume", "overwrite_output_dir", "save_steps", "report_to", "cache_frozen"}


def test_every_field_has_one_tag() -> None:
    assert list(SETTINGS) == list(TrainConfig.model_fields)
    assert {setting.kind for setting in SETTINGS.values()} == set(KINDS)


def test_a_field_without_a_tag_is_refused() -> None:
    class Untagged(Validated):
        one: int = Field(1)
        two: Annotated[int, Setting("data", "Data"), Setting("data", "Data")] = Field(1)

    for name in Untagged.model_fields:
        with pytest.raises(TypeError, match=f"{name} has [02] tags; give it one"):
            settings._tag(name, Untagged.model_fields[name])


def test_the_settings_key_of_a_run_is_as_it_was() -> None:
    assert set(CONFIG.settings_key()) == FIRST
    assert set(settings_where(kind="running", since=1)) == RUNNING
    later = {name for name in SETTINGS if SETTINGS[name].since > 1}
    assert later | FIRST | RUNNING == set(SETTINGS)
    changed = {"patchout": 0.5, "compile": True, "matmul_precision": "high"}
    assert CONFIG.model_copy(update=changed).settings_key() == CONFIG.settings_key() | changed
    assert CONFIG.model_copy(update={"save_steps": 3, "resume": True}).settings_key() == CONFIG.settings_key()


def test_lists_that_are_derived_are_as_they_were() -> None:
    assert set(settings_where(kind="data", since=1)) == {
        "data",
        "fold",
        "seed",
        "shots",
        "limit_clips",
        "selection",
        "max_length",
        "skip_broken",
    }
    assert list(DECIDING) == settings_where(kind="data")
    placed = {"data", "method", "output_dir", "fold", "seed", "resume", "overwrite_output_dir", "report_to"}
    assert set(settings_where(placed=True, since=1)) == placed


def test_a_later_setting_of_the_data_can_be_planned_with_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        options = PlanOptions(data_root=Path("no data, published sizes"), with_baseline=True, backbone="random:tiny")
        return [run.key for run in plan(*load_table("table4"), options) if run.method is None]

    before = keys()
    assert before
    monkeypatch.setitem(SETTINGS, "shots", replace(SETTINGS["shots"], since=2))
    assert len(keys()) == len(before)


def test_every_number_of_a_recipe_is_a_setting() -> None:
    assert {field.name for field in fields(Recipe)} <= set(SETTINGS)
    assert {field.name for field in fields(DataRecipe)} <= {field.name for field in fields(Recipe)}


@pytest.mark.parametrize(
    ("asked", "method", "stated", "expected"),
    [
        ({}, "lora", {}, {"learning_rate": 5e-3, "freq_mask": 24, "time_mask": None, "max_length": None}),
        ({"learning_rate": 0.1}, "lora", {}, {"learning_rate": 0.1}),
        ({}, "lora", {"time_mask": 80, "max_length": 500}, {"time_mask": 80, "max_length": 500}),
        ({"time_mask": 0, "max_length": 64}, "lora", {"time_mask": 80, "max_length": 500}, {"time_mask": 0, "max_length": 64}),
        ({}, "layermix", {"time_mask": 80}, {"learning_rate": 3e-3, "freq_mask": 0, "time_mask": 0}),
        ({"freq_mask": 12}, "layermix", {"time_mask": 80}, {"freq_mask": 12, "time_mask": 0}),
        ({"selection": "last"}, "lora", {}, {"selection": "last"}),
        ({}, "lora", {"selection": "last"}, {"selection": "last"}),
        ({}, None, {}, {"learning_rate": None, "selection": "best-validation"}),
    ],
)  # fmt: skip
def test_the_users_number_counts_then_the_methods_then_the_data_sets(
    asked: dict[str, object], method: str | None, stated: dict[str, object], expected: dict[str, object]
) -> None:
    config = TrainConfig.build({"data": "x", "output_dir": "y", "recipe": "paper", **asked})
    settled = settle(config, parse_method(method) if method else None, DataRecipe(**stated))  # type: ignore[arg-type]
    assert {name: settled[name] for name in expected} == expected


def test_the_data_decide_what_is_left() -> None:
    settled = settle(CONFIG.model_copy(update={"recipe": "paper"}), parse_method("lora"), DataRecipe())
    recipe = asdict(complete(settled, Facts(training_clips=1000, max_length=250, batches=2)))
    assert (recipe["max_length"], recipe["time_mask"], recipe["num_train_epochs"]) == (
        250,
        40,
        75,
    )  # 0.16 * 250; 96 at most 75
    assert asdict(complete(settled, Facts(10**6, 250)))["num_train_epochs"] == 10
    assert asdict(complete(settled, Facts(2000, 250)))["num_train_epochs"] == 24  # 1500 * 32 / 2000


def test_the_reference_page_is_what_the_fields_say() -> None:
    page = runpy.run_path(str(DOCS / "settings.py"))["page"]()
    assert page == (DOCS / "settings.md").read_text(encoding="utf-8"), "docs/settings.md is stale: make settings"
    assert all(info.description in page.replace("\\|", "|") for info in TrainConfig.model_fields.values())


def test_listing_the_methods_imports_no_transformers() -> None:
    code = (
        "import sys; from astune.cli import main; sys.argv[1:] = ['methods', '--json']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit('transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120)
