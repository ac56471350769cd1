"""The published code's effective setting: what it starts from, what it sets, and where it shows. See ``docs/deviations.md``."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from astune import AudioClassifier, load_backbone
from astune.counting import count
from astune.data.generated import write_generated
from astune.errors import ConfigError
from astune.experiments.plan import AS_PUBLISHED, PlanOptions, plan, to_saved_plan
from astune.experiments.records import SavedPlan
from astune.experiments.table import load_table
from astune.methods import parse_method
from astune.methods.adapters import Convpass, Hydra
from astune.methods.base import default_learning_rate
from astune.methods.conformer import ConformerModule
from astune.methods.lora import LoRA
from astune.methods.published_code import method_as_published, settings_as_published
from astune.training.config import TrainConfig
from tests.unit.test_cli import run

NOWHERE = PlanOptions(data_root=Path("/nowhere"))


@pytest.mark.parametrize("spec", ["lora", "bottleneck", "convpass", "conformer"])
def test_linear_layers_start_normal_in_the_published_code(spec: str) -> None:
    torch.manual_seed(0)
    backbone = load_backbone("random:tiny", 64)
    model = AudioClassifier(backbone, f"{spec}:init=published,reduction_rate=4", ["a", "b"])
    linear = [module for module in model.added.modules() if isinstance(module, nn.Linear)]
    assert linear
    for module in linear:
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert module.bias is None or not module.bias.any()


def test_the_conformers_convolution_keeps_torchs_start_with_random_biases() -> None:
    torch.manual_seed(0)
    published, normal = (ConformerModule(64, 32, init).depthwise for init in ("published", "normal"))
    bound = 1 / math.sqrt(31)  # one channel a group, kernel 31
    for values in (published.weight, published.bias):
        assert values is not None
        assert 0.8 * bound < values.abs().max().item() <= bound
        assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.25)
    assert normal.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert normal.bias is not None
    assert not normal.bias.any()


def test_convpass_starts_xavier_uniform_and_drops_nothing_in_the_published_code() -> None:
    torch.manual_seed(0)
    module = Convpass(64, 32, "published", 0.0).train()
    bound = math.sqrt(6 / (3 * 32 + 3 * 32))  # kernel 3, 32 channels in and out
    assert 0.95 * bound < module.convolution.weight.abs().max().item() <= bound
    assert module.convolution.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert module.convolution.bias is not None
    assert not module.convolution.bias.any()
    x = torch.randn(2, 5, 64)
    assert torch.equal(module(x), module(x))
    dropping = Convpass(64, 32, "published").train()
    assert not torch.equal(dropping(x), dropping(x))
    assert torch.equal(dropping.eval()(x), dropping(x))


def test_dropout_is_a_field_of_convpass_alone_and_its_default_keeps_names() -> None:
    assert parse_method("convpass-pf-par").spec == parse_method("convpass-pf-par:dropout=0.1").spec
    assert parse_method("convpass:dropout=0").spec == "convpass:dropout=0"
    for spec in ("bottleneck:dropout=0", "convpass:dropout=1"):
        with pytest.raises(ConfigError, match="dropout"):
            parse_method(spec)


def test_a_method_as_published_keeps_what_is_stated() -> None:
    specs = {
        "linear": "linear",
        "lora": "lora:init=published",
        "lora:init=normal": "lora:init=normal",
        "convpass:dropout=0.2": "convpass:init=published,dropout=0.2",
        "bottleneck:sublayer=ffn+dpt": "bottleneck:sublayer=ffn,init=published+dpt",
    }
    for spec, expected in specs.items():
        assert method_as_published(parse_method(spec)).spec == expected


def test_settings_as_published_lose_to_what_the_user_gives() -> None:
    found = settings_as_published({"data": "recordings", "selection": "best-validation"}, "lora")
    assert found == {
        "data": "recordings",
        "selection": "best-validation",
        "position_embeddings": "zero",
        "method": "lora:init=published",
    }
    assert TrainConfig(**found, output_dir=Path("x")).position_embeddings == "zero"


def test_a_table_as_published_keeps_its_columns_and_stands_beside_the_printed_figures(tmp_path: Path) -> None:
    name, table = load_table("table1")
    text = plan(name, table, NOWHERE)
    options = PlanOptions(data_root=Path("/nowhere"), as_published=True)
    code = plan(name, table, options)
    assert [(run.row, run.column) for run in code] == [(run.row, run.column) for run in text]
    assert {run.config["position_embeddings"] for run in code} == {"zero"}
    assert {run.config["selection"] for run in code} == {"last"}
    (convpass,) = {run.spec for run in code if run.row == "Convpass PF par"}
    assert convpass == "convpass:insertion=parallel,init=published,dropout=0"
    assert not {run.key for run in code} & {run.key for run in text}
    written = SavedPlan.from_json(to_saved_plan(options.name_of(name), table, code, as_published=True).to_json())
    assert (written.name, written.printed, written.as_published) == (f"table1{AS_PUBLISHED}", "table1", True)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"extends": "table1", "as_published": True}))
    assert [run.key for run in plan(*load_table(file), NOWHERE)] == [run.key for run in code]


def test_seeds_and_backbone_of_an_experiment_file_lose_to_the_options(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    rows = [
        {"name": "LoRA", "method": "lora"},
        {"name": "other", "method": "lora", "settings": {"backbone": "bundled"}},
    ]
    file.write_text(
        yaml.safe_dump({"title": "Mine", "datasets": ["esc50"], "rows": rows, "seeds": 2, "backbone": "random:tiny"})
    )
    runs = plan(*load_table(file), NOWHERE)
    assert {run.seed for run in runs} == {0, 1}
    assert {(run.row, run.backbone) for run in runs} == {("LoRA", "random:tiny"), ("other", "bundled")}
    given = PlanOptions(data_root=Path("/nowhere"), seeds=3, backbone="random:small")
    asked = plan(*load_table(file), given)
    assert {run.seed for run in asked} == {0, 1, 2}
    assert {run.backbone for run in asked if run.row == "LoRA"} == {"random:small"}
    file.write_text(file.read_text().replace("seeds: 2", "seeds: 0"))
    with pytest.raises(ConfigError, match="seeds"):
        load_table(file)


def test_hydra_has_one_output_bias_where_the_published_code_has_two() -> None:
    ours = count("bottleneck:configuration=hydra").parameters
    assert ours == 470_304  # the paper prints 470K
    second_biases = 12 * 768
    assert ours + second_biases == 479_520
    biases = [name for name, _ in Hydra(8, 2, "identity").named_parameters() if name.endswith("up.bias")]
    assert biases == ["parallel.up.bias"]


def test_lora_scales_by_8_over_128_where_equation_5_asks_for_1_or_more() -> None:
    method = parse_method("lora")
    assert isinstance(method, LoRA)
    assert (method.alpha, method.reduction_rate) == (8.0, 128)
    assert method.alpha / method.reduction_rate < 1


def test_every_sum_of_table_6_has_the_published_rate() -> None:
    sums = [row for row in load_table("table6")[1].rows if "+" in row.method]
    assert len(sums) == 3
    assert {default_learning_rate(parse_method(row.method)) for row in sums} == {5e-3}


def test_half_of_the_prefix_goes_to_the_keys_and_half_to_the_values() -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64), "prefix:tokens=24", ["a", "b"])
    shapes = {name.split(".", 2)[-1]: tuple(value.shape) for name, value in model.added.named_parameters()}
    assert sum(math.prod(shape) for shape in shapes.values()) == 24 * 192
    assert sorted(shapes.values()) == [(12, 192), (12, 192)]


def test_layer_norms_of_adapted_sublayers_are_trained() -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64), "bottleneck", ["a", "b"])
    trained = {name for name, value in model.backbone.model.named_parameters() if value.requires_grad}
    layers = {name for name in trained if "layernorm_before" in name}
    assert len(layers) == 2 * 4  # weight and bias of each of the four layers
    assert not any("layernorm_after" in name for name in trained)


def test_every_deviation_names_tests_that_exist() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "deviations.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 30
    missing = [
        f"{file}::{name}" for file, name in named if f"def {name}(" not in (root / file).read_text(encoding="utf-8")
    ]
    assert missing == []
    rows = [
        line
        for line in page.splitlines()
        if line.startswith("| ") and not line.startswith(("| what", "| ---", "| setting"))
    ]
    assert [row for row in rows if "::test_" not in row and "no test: " not in row] == []


def test_the_commands_take_the_setting_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_generated(tmp_path / "sounds", "words", (2, 1, 1), seconds=0.2)
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"data": str(data), "method": "convpass", "num_train_epochs": 1}))
    options = ("--config", file, "--backbone", "random:tiny", "--as-published", "--json")
    code, out, _ = run(capsys, monkeypatch, "train", *options, "--output-dir", tmp_path / "code")
    assert code == 0
    found = json.loads(out)
    assert found["spec"] == "convpass:init=published,dropout=0"
    assert (found["config"]["position_embeddings"], found["config"]["selection"]) == ("zero", "last")
    given = ("--position-embeddings", "fit", "--method", "lora", "--output-dir", tmp_path / "mixed")
    code, out, _ = run(capsys, monkeypatch, "train", *options, *given)
    assert code == 0
    found = json.loads(out)
    assert (found["spec"], found["config"]["position_embeddings"]) == ("lora:init=published", "fit")
    dry = ("table7", "--as-published", "--dry-run", "--json", "--data-root", tmp_path / "nowhere")
    code, out, _ = run(capsys, monkeypatch, "reproduce", *dry)
    assert code == 0
    entries = json.loads(out)
    assert len(entries) == 24
    assert {entry["table"] for entry in entries} == {"table7-as-published"}
    assert {entry["column"] for entry in entries} == {"esc50", "fluent_speech"}
    assert {entry["settings"]["position_embeddings"] for entry in entries} == {"zero"}
