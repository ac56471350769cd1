"""Whose numbers a run gets: the paper's, those found for own data, or the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from astune import AudioClassifier, load_backbone
from astune.data.dataset import DataRecipe
from astune.data.layouts.base import LAYOUTS
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.table import load_table
from astune.methods import parse_method
from astune.training.config import TrainConfig
from astune.training.head_start import Head
from astune.training.recipe import Facts, Recipe, complete, settle
from benchmarks.recipe import gains, kept, tables
from benchmarks.recipe_cells import Cell, Study
from benchmarks.recipe_search import Candidate, Replica, Stack

OWN_DATA = DataRecipe()
PAPER_OF_OLD = {  # of 160 clips of 100 frames, before there was another recipe
    "max_length": 100, "num_train_epochs": 75, "per_device_train_batch_size": 32, "learning_rate": 5e-3, "weight_decay": 0.1,
    "adam_beta1": 0.9, "adam_beta2": 0.98, "adam_epsilon": 1e-6, "freq_mask": 24, "time_mask": 16, "selection": "best-validation",
}  # fmt: skip


def resolved(method: str = "lora", stated: DataRecipe = OWN_DATA, clips: int = 160, **fields: Any) -> Recipe:
    config = TrainConfig(data="x", output_dir=Path("y"), method=method, **fields)
    return complete(settle(config, parse_method(method), stated), Facts(clips, 100))


def test_the_papers_recipe_on_own_data_is_what_it_was() -> None:
    assert resolved(recipe="paper").record() == PAPER_OF_OLD
    assert resolved(head_start="random").record() == PAPER_OF_OLD | {"recipe": "own"}


@pytest.mark.parametrize("layout", [name for name, layout in LAYOUTS.items() if layout.recipe != OWN_DATA])
def test_the_papers_data_sets_keep_the_papers_recipe(layout: str) -> None:
    stated = LAYOUTS[layout].recipe
    assert stated.published
    assert resolved(stated=stated) == resolved(stated=stated, recipe="paper")
    own = resolved(stated=stated, recipe="own")
    assert (own.num_train_epochs, own.max_length, own.learning_rate) == (25, stated.max_length, 1e-3)


@pytest.mark.parametrize(
    ("method", "rate", "epochs"),
    [
        ("lora", 1e-3, 25), ("full-ft", 5e-5, 25), ("pref-t-24", 1e-3, 25), ("lora+bitfit", 1e-3, 25), ("linear", 1e-3, 0),
        ("layermix", 3e-3, 0),
    ],
)  # fmt: skip
def test_own_data_have_a_recipe_of_their_own(method: str, rate: float, epochs: int) -> None:
    recipe = resolved(method)
    assert (recipe.recipe, recipe.head_start, recipe.learning_rate) == ("own", "probe", rate)
    assert recipe.num_train_epochs == epochs
    assert recipe.warmup_steps == (0.1 if epochs else 0.0)
    assert recipe.early_stopping_patience == (10 if epochs else 0)  # 40 % of 25


@pytest.mark.parametrize(("clips", "epochs"), [(10, 25), (640, 25), (1000, 16), (4000, 4), (100_000, 4)])
def test_epochs_make_about_500_steps(clips: int, epochs: int) -> None:
    assert resolved(clips=clips).num_train_epochs == epochs
    assert resolved(clips=clips).early_stopping_patience == max(3, -(-4 * epochs // 10))


def test_what_the_user_says_counts() -> None:
    fields: dict[str, Any] = {
        "learning_rate": 0.02,
        "num_train_epochs": 7,
        "warmup_steps": 0.0,
        "early_stopping_patience": 0,
    }
    recipe = resolved(**fields)
    assert {name: getattr(recipe, name) for name in fields} == fields
    assert resolved("linear", num_train_epochs=5).num_train_epochs == 5
    assert resolved(num_train_epochs=40).early_stopping_patience == 16
    assert resolved(selection="last").early_stopping_patience == 0


def test_experiments_of_the_paper_use_its_recipe_for_own_data_too(generated: Path, tmp_path: Path) -> None:
    table = f'title: T\ndatasets: [{{name: d, data: "{generated}"}}]\nrows: [{{name: LoRA, method: lora}}]\n'
    found = {}
    for paper in (True, False):
        path = tmp_path / f"table-{paper}.yaml"
        path.write_text(f"paper: {str(paper).lower()}\n{table}")
        [run, *_] = plan(*load_table(str(path)), PlanOptions(data_root=tmp_path, backbone="bundled"))
        found[paper] = run.settings_key
    assert found[True]["learning_rate"] == 5e-3
    assert "recipe" not in found[True]  # so that runs of before keep their names
    assert (found[False]["recipe"], found[False]["learning_rate"]) == ("own", 1e-3)


# The search


def test_stacked_runs_are_torchs_adamw() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 32, 128, generator=generator).half()
    targets = torch.arange(12) % 3
    head = Head(torch.randn(3, 192, generator=generator).double().numpy(), torch.zeros(3).double().numpy())
    cells = [Cell("x", 0, "1", seed, (0, 1, 2, 3, 4), (5, 6), (7, 8, 9)) for seed in (0, 1)]
    study = Study(("a", "b", "c"), 32, inputs, targets, cells, [head] * 2, [(0.0, 0.0)] * 2)
    ways = [
        Candidate("a", rate=1e-2, masks=False, share=0.04),
        Candidate("b", rate=1e-3, masks=False, share=0.04, start="probe", decay=0.0),
    ]
    stack = Stack(study, [Replica(way, cell, head) for way, cell in zip(ways, cells, strict=True)], torch.device("cpu"))
    curves = stack.run()
    for row, (way, cell) in enumerate(zip(ways, cells, strict=True)):
        torch.manual_seed(cell.seed)
        model = AudioClassifier(load_backbone("bundled", 32), "lora", study.labels).train()
        if way.start == "probe":
            with torch.no_grad():
                model.head.weight.copy_(torch.from_numpy(head.weight))
                model.head.bias.zero_()
        optimizer = torch.optim.AdamW(
            model.trained_parameters().values(), way.rate, betas=(0.9, 0.98), eps=1e-6, weight_decay=way.decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, way.epochs(5))
        for clips in Replica(way, cell, head).plan():
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(inputs[clips].float()).logits
            cross_entropy(logits.float(), targets[clips]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(model(inputs[7:10].float()).logits.float(), targets[7:10])
        assert curves[row][-1][0] == 3
        assert curves[row][-1][4] == pytest.approx(float(loss), rel=0.02)  # bfloat16


def test_what_is_kept_is_chosen_on_the_choosing_clips_alone() -> None:
    curve = [[0, 0.5, 1.0, 0.9, 0.1], [1, 0.6, 0.9, 0.2, 2.0], [2, 0.6, 0.8, 0.3, 2.0], [3, 0.5, 0.1, 1.0, 0.0]]
    assert kept(curve, "probe") == 0.3
    assert kept(curve[:1] + curve[3:], "probe") == 1.0  # of equal ones that with the lower loss
    assert kept(curve, "probe", score=1) == 0.5  # the halves change places
    record = {
        "candidate": vars(Candidate("c", start="probe")),
        "cell": ["digits", 4, "1", 0],
        "probe": [0, 0.25],
        "curve": curve,
    }
    assert gains([record])["lora", "c"]["digits", 4] == [pytest.approx(5.0)]


def test_the_tables_of_the_page_are_those_of_the_recorded_runs() -> None:
    docs = Path(__file__).parents[2] / "docs"
    runs = [
        json.loads(line)
        for line in (docs / "explanations" / "own-recipe.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    page = (docs / "explanations" / "own-recipe.md").read_text(encoding="utf-8").splitlines()
    rows = [f"| {' | '.join(row)} |" for table in tables(runs) for row in table.rows]
    assert len(rows) == 34
    assert not [row for row in rows if row not in page]
