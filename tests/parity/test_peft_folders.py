"""LoRA that goes to PEFT, and LoRA that PEFT trained: the same outputs on both sides."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import ASTConfig, ASTForAudioClassification

from astune import AudioClassifier, Predictor, export_adapter, import_peft, load_backbone
from astune.adapter_file import write
from astune.backbone import Backbone
from astune.errors import AdapterError, BackboneError, ConfigError
from astune.methods import parse_method
from astune.methods.bitfit import BitFit
from astune.methods.dora import DoRA
from astune.methods.lora import LoRA
from tests.conformance.methods_under_test import SPECS
from tests.parity.test_transformers_folder import FRAMES, RATE, inputs, trained
from tests.unit.test_cli import run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from peft import LoraConfig, PeftModel, get_peft_model

pytestmark = [
    # peft 0.21 reads a property that transformers 5.23 renamed
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values"),
]
SUMS = [
    "lora:targets=q,alpha=3+lora:reduction_rate=32,targets=vo,layers=0|2",
    "lora:reduction_rate=48+bitfit",
    "dora:targets=q,alpha=3,init=normal+dora:reduction_rate=32,targets=vo,layers=0|2",
    "dora:init=normal+bitfit",
    "lora:targets=q+dora:targets=v",
]
"""Beside the registered examples: what PEFT says with patterns, and with trained biases."""


def run_card(folder: Path) -> Callable[[np.ndarray[Any, Any]], torch.Tensor]:
    """The function ``logits`` of a folder's README."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("PATH_OF_THIS_FOLDER", str(folder)), names)  # noqa: S102 - our own card
    logits: Callable[[np.ndarray[Any, Any]], torch.Tensor] = names["logits"]
    return logits


def is_lora(spec: str) -> bool:
    members = parse_method(spec).members
    updating = {type(one) for one in members if isinstance(one, LoRA | DoRA)}
    return len(updating) == 1 and all(isinstance(one, LoRA | DoRA | BitFit) for one in members)


@pytest.mark.parametrize("spec", [*SPECS, *SUMS])
def test_lora_gives_the_same_logits_in_peft_and_comes_back_as_it_was(spec: str, tmp_path: Path) -> None:
    for pooling in ("all", "cls", "special"):
        if pooling == "special" and not all(one.keeps_distillation for one in parse_method(spec).members):
            continue
        model, folder = trained(spec, pooling), tmp_path / pooling
        if not is_lora(spec):
            with pytest.raises(
                AdapterError, match=r"PEFT has no form for .*; export to (onnx|transformers, or to onnx)"
            ):
                export_adapter(model, folder, "peft")
            assert not folder.exists()
            continue
        done = export_adapter(model, folder, "peft")
        assert done.facts["largest_difference"] <= 3e-6  # of numbers up to 4
        sound = np.random.default_rng(2).normal(0, 0.1, RATE // 2).astype(np.float32)
        expected = model(model.front_end(torch.from_numpy(sound))[None]).logits
        torch.testing.assert_close(run_card(folder)(sound), expected, atol=1e-5, rtol=1e-5)
        again = import_peft(folder)
        assert again.config.backbone == model.to_adapter().config.backbone
        assert (again.config.pooling, again.labels) == (pooling, model.labels)
        with torch.no_grad():
            torch.testing.assert_close(
                AudioClassifier.from_adapter(again)(inputs()).logits, model(inputs()).logits, atol=1e-6, rtol=1e-6
            )


@pytest.mark.parametrize(("frames", "positions"), [(40, "fit"), (1024, "fit"), (64, "zero")])
def test_the_file_has_the_positions_of_another_length(frames: int, positions: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    backbone = load_backbone("random:tiny", frames, positions)  # type: ignore[arg-type]
    model = AudioClassifier(backbone, "lora:init=normal", ["a", "b"], "special").eval()
    export_adapter(model, tmp_path / "peft", "peft")
    held = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    assert any(name.endswith("position_embeddings") for name in held) == ((frames, positions) != (1024, "fit"))
    sound = np.zeros(RATE // 4, np.float32)
    expected = model(model.front_end(torch.from_numpy(sound))[None]).logits
    torch.testing.assert_close(run_card(tmp_path / "peft")(sound), expected, atol=1e-5, rtol=1e-5)
    again = import_peft(tmp_path / "peft")
    assert (again.front_end.max_length, again.config.position_embeddings) == (frames, positions)


def test_a_backbone_in_a_folder_is_named_and_not_copied(tmp_path: Path) -> None:
    load_backbone("random:tiny").model.save_pretrained(tmp_path / "backbone")
    backbone = load_backbone(tmp_path / "backbone", FRAMES)
    model = AudioClassifier(backbone, "lora:init=normal", ["a", "b"]).eval()
    done = export_adapter(model, tmp_path / "peft", "peft")
    assert not (done.path / "base").exists()
    record = json.loads((done.path / "adapter_config.json").read_text())
    assert record["base_model_name_or_path"] == str(tmp_path / "backbone")
    assert record["auto_mapping"]["base_model_class"] == "ASTModel"
    assert run_card(done.path)(np.zeros(RATE // 4, np.float32)).shape == (1, 2)
    in_memory = AudioClassifier(Backbone.of(load_backbone("random:tiny").model), "lora", ["a", "b"])
    with pytest.raises(ConfigError, match="exists only in memory; save it with"):
        export_adapter(in_memory, tmp_path / "other", "peft")


def test_without_peft_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"needs the package peft: pip install .*\[peft\]'"):
        export_adapter(trained(), tmp_path / "peft", "peft")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of transformers with a head and names of its classes."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(4)
    named = {0: "dog", 1: "siren", 2: "rain"}
    config = ASTConfig(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=2, intermediate_size=128, max_length=FRAMES, id2label=named,
        label2id={name: index for index, name in named.items()},
    )  # fmt: skip
    model = ASTForAudioClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return folder


def trained_by_peft(base: Path, folder: Path, **settings: Any) -> nn.Module:
    """A few steps with PEFT; what PEFT loads of what it saved."""
    torch.manual_seed(6)
    model: Any = get_peft_model(ASTForAudioClassification.from_pretrained(base), LoraConfig(**settings)).train()
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-2)
    for step in range(4):
        model(inputs(4) * (1 + step), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    loaded: nn.Module = PeftModel.from_pretrained(ASTForAudioClassification.from_pretrained(base), folder)
    return loaded.eval()


HEAD = {"modules_to_save": ["classifier"]}
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "names": ({"target_modules": ["q_proj", "v_proj"], **HEAD}, "lora:reduction_rate=8"),
    "the head of the model": ({"target_modules": ["q_proj", "o_proj"]}, "lora:reduction_rate=8,targets=qo"),
    "a regular expression, rsLoRA": (
        {"target_modules": r".*\.[12]\.attention\.(q|k)_proj", "use_rslora": True, "r": 4, "lora_alpha": 3, **HEAD},
        "lora:reduction_rate=16,targets=qk,alpha=24,layers=1-2",
    ),
    "layers and patterns": (
        {
            "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0, 2], "layers_pattern": "layers",
            "rank_pattern": {"layers.0.attention.q_proj": 2}, "alpha_pattern": {"v_proj": 4}, **HEAD,
        },
        "lora:reduction_rate=32,targets=q,alpha=128,layers=0+lora:reduction_rate=8,targets=v,alpha=4,layers=0|2+"
        "lora:reduction_rate=8,targets=q,layers=2",
    ),
    "biases": ({"target_modules": ["q_proj", "v_proj"], "bias": "lora_only", **HEAD}, "lora:reduction_rate=8+bitfit"),
    "DoRA": ({"target_modules": ["q_proj", "v_proj"], "use_dora": True, **HEAD}, "dora:reduction_rate=8"),
    "DoRA, the dense layer": (
        {"target_modules": ["q_proj", "classifier.dense"], "use_dora": True, "r": 4}, "dora:reduction_rate=16,targets=q,alpha=32",
    ),
    "DoRA, biases": (
        {"target_modules": ["q_proj", "v_proj"], "use_dora": True, "bias": "lora_only", **HEAD}, "dora:reduction_rate=8+bitfit",
    ),
    "the dense layer": ({"target_modules": ["q_proj", "classifier.dense"]}, "lora:reduction_rate=8,targets=q"),
    "the final LayerNorm": (
        {"target_modules": ["k_proj"], "modules_to_save": ["classifier", "audio_spectrogram_transformer.layernorm"]},
        "lora:reduction_rate=8,targets=k",
    ),
}  # fmt: skip
FORMER = (
    (r"layers\.(\d+)\.", r"encoder.layer.\1."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
)
"""From the names of transformers since 5.9 to those before it."""


def former(name: str) -> str:
    for pattern, replacement in FORMER:
        name = re.sub(pattern, replacement, name)
    return name


@pytest.mark.parametrize("names", ["current", "former"])
@pytest.mark.parametrize("case", SETTINGS)
def test_what_peft_trained_gives_the_same_logits(case: str, names: str, base: Path, tmp_path: Path) -> None:
    settings, spec = SETTINGS[case]
    theirs = trained_by_peft(base, tmp_path, **settings)
    if names == "former":
        weights, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
        save_file({former(name): tensor for name, tensor in load_file(weights).items()}, weights)
        record = json.loads(config.read_text())
        record["alpha_pattern"] = {
            former(f"attention.{key}").rpartition(".")[2]: value for key, value in record["alpha_pattern"].items()
        }
        config.write_text(json.dumps(record))
    adapter = import_peft(tmp_path)
    assert (adapter.config.spec, adapter.labels, adapter.config.pooling) == (spec, ("dog", "siren", "rain"), "special")
    assert adapter.config.backbone.name_or_path == str(base)
    ours = AudioClassifier.from_adapter(adapter)
    with torch.no_grad():
        expected = theirs(inputs()).logits
        torch.testing.assert_close(ours(inputs()).logits, expected, atol=2e-6, rtol=1e-5)
        plain: Any = ASTForAudioClassification.from_pretrained(base)
        plain = plain.eval()(inputs()).logits
        assert not torch.allclose(plain, expected, atol=1e-3)  # the training did something


@pytest.mark.filterwarnings("ignore:Adapter 'default'")  # PEFT takes the biases of lora_bias for broken matrices
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["q_proj", "fc1"]}, r"it updates layers\.0\.mlp\.fc1, and LoRA of astune updates only the attention's"),
        ({"target_modules": ["fc2"]}, r"it updates no projection of the attention"),
        ({"target_modules": ["q_proj"], "lora_bias": True}, r"lora_bias=True changes what is computed"),
        ({"target_modules": ["q_proj"], "init_lora_weights": "pissa"}, r"init_lora_weights='pissa' changes the weights of the"),
        (
            {"target_modules": ["q_proj"], "modules_to_save": ["layernorm_before"]},
            r"layers\.0\.mhsa\.norm\.weight was trained, and LoRA of astune does not train it",
        ),
        ({"target_modules": ["q_proj"], "bias": "all"}, r"embeddings\.patches\.bias was trained"),
        (
            {"target_modules": ["q_proj"], "modules_to_save": ["audio_spectrogram_transformer.embeddings"]},
            r"the position embeddings in the adapter are neither the backbone's nor zero",
        ),
    ],
)  # fmt: skip
def test_what_has_no_place_in_an_adapter_is_refused_by_name(
    settings: dict[str, Any], message: str, base: Path, tmp_path: Path
) -> None:
    trained_by_peft(base, tmp_path, **settings)
    with pytest.raises(AdapterError, match=message):
        import_peft(tmp_path)


def test_magnitudes_belong_to_updates(base: Path, tmp_path: Path) -> None:
    trained_by_peft(base, tmp_path, target_modules=["q_proj"], use_dora=True)
    weights, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    whole, record = load_file(weights), json.loads(config.read_text())
    (first, *_) = (name for name in whole if "magnitude" in name)
    save_file({name: tensor for name, tensor in whole.items() if name != first}, weights)
    with pytest.raises(
        AdapterError, match=r"it holds no magnitude and update of layers\.0\.attention\.q_proj together"
    ):
        import_peft(tmp_path)
    save_file(whole | {first: whole[first][:-1].clone()}, weights)
    with pytest.raises(
        AdapterError, match=r"the magnitude of layers\.0\.attention\.q_proj has the shape \(63,\), and not \(64,\)"
    ):
        import_peft(tmp_path)
    save_file(whole, weights)
    config.write_text(json.dumps(record | {"use_dora": False}))
    with pytest.raises(
        AdapterError, match=r"it holds a magnitude of layers\.0\.attention\.q_proj, and its configuration does not"
    ):
        import_peft(tmp_path)


def test_what_the_folder_does_not_say_is_asked_for_or_said(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_by_peft(base, tmp_path / "lora", target_modules=["q_proj"], **HEAD)
    config = tmp_path / "lora" / "adapter_config.json"
    record = json.loads(config.read_text())
    config.write_text(json.dumps({**record, "base_model_name_or_path": None}))
    with pytest.raises(ConfigError, match="does not say which model it adapts; give backbone"):
        import_peft(tmp_path / "lora")
    with pytest.raises(ConfigError, match="2 labels for 3 classes; give one for each"):
        import_peft(tmp_path / "lora", backbone=base, labels=["a", "b"])
    bare = tmp_path / "bare"
    ASTForAudioClassification.from_pretrained(base).audio_spectrogram_transformer.save_pretrained(bare)
    nameless = json.loads((bare / "config.json").read_text())
    del nameless["id2label"], nameless["label2id"]
    (bare / "config.json").write_text(json.dumps(nameless))
    with pytest.raises(ConfigError, match="names its 3 classes; give labels, in the order of the classifier's rows"):
        import_peft(tmp_path / "lora", backbone=bare)
    capsys.readouterr()
    adapter = import_peft(tmp_path / "lora", backbone=bare, labels=["a", "b", "c"])
    said = capsys.readouterr().err
    assert "The input has the backbone's 64 frames; give max_length if" in said
    assert "The task is taken to be single-label; give task if" in said
    assert adapter.labels == ("a", "b", "c")
    assert import_peft(tmp_path / "lora", backbone=base, task="multi-label", max_length=64).thresholds == {
        "dog": 0.5, "siren": 0.5, "rain": 0.5,
    }  # fmt: skip
    assert capsys.readouterr().err == ""
    trained_by_peft(base, tmp_path / "headless", target_modules=["q_proj"])
    with pytest.raises(AdapterError, match=r'has classifier\.dense\.weight; train .* modules_to_save=\["classifier"\]'):
        import_peft(tmp_path / "headless", backbone=bare)


def test_other_folders_are_refused(base: Path, tmp_path: Path) -> None:
    trained().save_pretrained(tmp_path / "ours")
    with pytest.raises(AdapterError, match="is already an adapter of astune"):
        import_peft(tmp_path / "ours")
    trained_by_peft(base, tmp_path / "lora", target_modules=["q_proj"])
    config, weights = (tmp_path / "lora" / name for name in ("adapter_config.json", "adapter_model.safetensors"))
    record = config.read_text()
    config.write_text(record.replace('"LORA"', '"IA3"'))
    with pytest.raises(AdapterError, match="peft_type 'IA3'; of PEFT's methods, LORA can be imported"):
        import_peft(tmp_path / "lora")
    config.write_text("[")
    with pytest.raises(AdapterError, match="cannot be read as a configuration of PEFT"):
        import_peft(tmp_path / "lora")
    config.write_text(record)
    tensors = load_file(weights)
    torch.save(tensors, tmp_path / "lora" / "adapter_model.bin")  # as PEFT wrote them before 0.7
    weights.unlink()
    assert import_peft(tmp_path / "lora").config.spec == "lora:reduction_rate=8,targets=q"
    (tmp_path / "lora" / "adapter_model.bin").write_bytes(b"PK")
    with pytest.raises(AdapterError, match="is damaged"):
        import_peft(tmp_path / "lora")
    (tmp_path / "lora" / "adapter_model.bin").unlink()
    with pytest.raises(AdapterError, match=r"has no adapter_model\.safetensors and no adapter_model\.bin"):
        import_peft(tmp_path / "lora")
    half = next(name for name in tensors if "lora_A" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != half}, weights)
    with pytest.raises(AdapterError, match="it holds half of the update of"):
        import_peft(tmp_path / "lora")


def test_the_command_line_goes_there_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained("lora:targets=qk", "special")
    model.save_pretrained(tmp_path / "adapter")
    code, out, err = run(
        capsys, monkeypatch, "export", tmp_path / "adapter", "--format", "peft", "-o", tmp_path / "peft"
    )
    size = sum(path.stat().st_size for path in (tmp_path / "peft").rglob("*") if path.is_file())
    assert (code, out) == (0, f"{tmp_path / 'peft'}: {size / 1e6:.1f} MB\n")
    assert "The logits of PEFT for generated inputs differ from the adapter's by" in err
    code, out, _ = run(capsys, monkeypatch, "import-peft", tmp_path / "peft", "-o", tmp_path / "back", "--json")
    assert code == 0
    assert json.loads(out) == {
        "adapter": str(tmp_path / "back"), "method": "lora:reduction_rate=96,targets=qk,alpha=6",  # rank 2 of 192 too
        "labels": list(model.labels), "task": "single-label",
        "backbone": "random:tiny", "max_length": FRAMES,
    }  # fmt: skip
    sound = np.sin(np.arange(RATE // 2) * 0.3).astype(np.float32)
    scores = [Predictor(tmp_path / name).logits(sound, sampling_rate=RATE) for name in ("adapter", "back")]
    torch.testing.assert_close(*scores, atol=1e-6, rtol=1e-6)
    write(tmp_path / "again", import_peft(tmp_path / "peft"))
    assert (tmp_path / "again" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "back" / "adapter_model.safetensors"
    ).read_bytes()


def test_a_revision_of_the_backbone_is_named_as_other_programs_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained("lora", "all")
    monkeypatch.setattr(model.backbone, "origin", replace(model.origin, name="user/ast@v2"))
    export_adapter(model, tmp_path / "peft", "peft")
    config = json.loads((tmp_path / "peft/adapter_config.json").read_text(encoding="utf-8"))
    assert (config["base_model_name_or_path"], config["revision"]) == ("user/ast", "v2")
    card = (tmp_path / "peft/README.md").read_text(encoding="utf-8")
    assert "base_model: user/ast\n" in card
    assert "'user/ast', revision='v2', max_length" in card
    (tmp_path / "peft/head.json").unlink()
    with pytest.raises(BackboneError, match="'user/ast@v2'"):
        import_peft(tmp_path / "peft")
