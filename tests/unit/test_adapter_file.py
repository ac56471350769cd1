"""The adapter folder on disk."""

from __future__ import annotations

import json
import stat
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from astune import AudioClassifier, files, load_backbone
from astune.adapter_file import file_bytes, read, refuse_unsound
from astune.errors import AdapterError, ConfigError
from astune.features.log_mel import FrontEnd
from tests.unit.test_cli import run

LABELS = ["siren", "dog, barking", "Ölpumpe"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = AudioClassifier(load_backbone("random:tiny", 64), "lora:targets=q,layers=0", LABELS)
    metrics = {"test": {"clips": 10, "accuracy": 0.5, "macro_f1": 0.4, "loss": 1.0}}
    model.save_pretrained(tmp_path / "adapter", training={"seed": 3}, metrics=metrics)
    return tmp_path / "adapter"


def test_what_the_folder_holds(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert sorted(load_file(saved / "adapter_model.safetensors")) == [
        "head.bias",
        "head.weight",
        "layers.0.mhsa.q.lora.down.weight",
        "layers.0.mhsa.q.lora.up.weight",
        "norm.bias",
        "norm.weight",
    ]


def test_the_configuration_is_complete(saved: Path) -> None:
    config = read(saved).config
    assert config.labels == tuple(LABELS)
    assert config.backbone.name_or_path == "random:tiny"
    assert config.backbone.fingerprint == load_backbone("random:tiny", 500).origin.fingerprint
    assert config.front_end == FrontEnd(64)
    assert (config.pooling, config.position_embeddings, config.compute_dtype, config.format_version) == (
        "all",
        "fit",
        "float32",
        2,
    )
    assert config.training == {"seed": 3}
    raw = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))
    assert raw["method"] == [
        {
            "family": "lora",
            "reduction_rate": 128.0,
            "targets": "q",
            "alpha": 8.0,
            "init": "identity",
            "layers": "0",
            "rate_ratio": 1.0,
        }
    ]


def test_the_card_speaks_for_itself(saved: Path) -> None:
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: astune")
    for part in (
        "| test | 10 | 50.00% | 40.00% |",
        "siren, dog, barking, Ölpumpe",
        "random:tiny",
        "768 trained parameters",
    ):
        assert part in card


def test_others_may_read_it(saved: Path) -> None:
    weights, config = (
        stat.S_IMODE((saved / n).stat().st_mode) for n in ("adapter_model.safetensors", "adapter_config.json")
    )
    assert weights == config


def test_announced_size_is_the_files_but_for_its_header(saved: Path) -> None:
    model = AudioClassifier.from_pretrained(saved)
    on_disk = (saved / "adapter_model.safetensors").stat().st_size
    assert 0 < on_disk - file_bytes(model.adapter_state()) < 100 * len(model.adapter_state()) + 100


def test_another_backbone_is_refused(saved: Path, tmp_path: Path) -> None:
    other = load_backbone("random:tiny").model
    with torch.no_grad():
        other.layernorm.bias[0] += 1e-3
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(AdapterError, match=r"an adapter means nothing on other weights"):
        AudioClassifier.from_pretrained(saved, tmp_path / "other")


def test_the_same_weights_from_elsewhere_are_taken(saved: Path, tmp_path: Path) -> None:
    load_backbone("random:tiny").model.save_pretrained(tmp_path / "copy")
    model = AudioClassifier.from_pretrained(saved, tmp_path / "copy")
    assert model.origin.name == str(tmp_path / "copy")


def test_a_loaded_backbone_must_fit(saved: Path) -> None:
    assert AudioClassifier.from_pretrained(saved, load_backbone("random:tiny", 64)).max_length == 64
    with pytest.raises(AdapterError, match="takes 64 frames; the backbone given was loaded for 128"):
        AudioClassifier.from_pretrained(saved, load_backbone("random:tiny", 128))
    with pytest.raises(AdapterError, match="position_embeddings=fit; the backbone given has zero"):
        AudioClassifier.from_pretrained(saved, load_backbone("random:tiny", 64, "zero"))


def test_zeroed_positions_and_pooling_come_back(tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64, "zero"), "linear", LABELS, pooling="cls").eval()
    model.save_pretrained(tmp_path)
    again = AudioClassifier.from_pretrained(tmp_path)
    inputs = torch.randn(2, 64, 128)
    assert again.pooling == "cls"
    with torch.no_grad():
        assert torch.equal(again(inputs).logits, model(inputs).logits)


def test_a_newer_format_is_refused(saved: Path) -> None:
    file = saved / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format_version": 3}))
    with pytest.raises(AdapterError, match=r"has format 3; astune .* reads up to 2. Upgrade astune"):
        AudioClassifier.from_pretrained(saved)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": "x"}', '{"format_version": 1}'])
def test_a_damaged_configuration_is_refused(saved: Path, text: str) -> None:
    (saved / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError, match=r"cannot be (read|used) as an adapter's configuration"):
        AudioClassifier.from_pretrained(saved)


def test_damaged_weights_are_refused(saved: Path) -> None:
    (saved / "adapter_model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(AdapterError, match="is damaged"):
        AudioClassifier.from_pretrained(saved)


def test_weights_of_another_method_are_refused(saved: Path) -> None:
    file = saved / "adapter_config.json"
    record = json.loads(file.read_text())
    record["method"][0]["targets"] = "qv"
    file.write_text(json.dumps(record))
    with pytest.raises(AdapterError, match=r"layers\.0\.mhsa\.v\.lora\.down\.weight is missing"):
        AudioClassifier.from_pretrained(saved)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        AdapterError, match=r"has no adapter_config\.json and no adapter_model\.safetensors; it is empty"
    ):
        AudioClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("labels", "fault"), [(["a"], "two labels or more, not 1"), (["a", "b", "a"], "labels that occur twice: a")]
)
def test_labels_are_checked(labels: list[str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        AudioClassifier(load_backbone("random:tiny", 64), "linear", labels)


def test_pooling_is_checked() -> None:
    with pytest.raises(ConfigError, match="unknown pooling 'mean'; choose one of: all, cls"):
        AudioClassifier(load_backbone("random:tiny", 64), "linear", LABELS, pooling="mean")  # type: ignore[arg-type]


def test_the_adapters_own_normalisation_is_used(tmp_path: Path) -> None:
    """A copy of the backbone without its preprocessor_config.json must not change what the adapter hears."""
    load_backbone("random:tiny").model.save_pretrained(tmp_path / "whole")
    load_backbone("random:tiny").model.save_pretrained(tmp_path / "bare")
    (tmp_path / "whole" / "preprocessor_config.json").write_text('{"mean": -6.85, "std": 5.57}')
    AudioClassifier(load_backbone(tmp_path / "whole", 64), "linear", LABELS).save_pretrained(tmp_path / "adapter")
    again = AudioClassifier.from_pretrained(tmp_path / "adapter", tmp_path / "bare")
    assert again.front_end == FrontEnd(64, mean=-6.85, std=5.57)


def test_a_backbone_serves_one_classifier(saved: Path) -> None:
    shared = load_backbone("random:tiny", 64)
    AudioClassifier.from_pretrained(saved, shared)
    with pytest.raises(ConfigError, match="belongs to another classifier"):
        AudioClassifier.from_pretrained(saved, shared)


def test_a_backbone_in_low_precision_is_refused_and_a_classifier_may_be_cast(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="load the backbone in float32, not bfloat16"):
        AudioClassifier(load_backbone("random:tiny", 64, dtype="bfloat16"), "lora", LABELS)
    model = AudioClassifier.from_pretrained(saved).to(torch.bfloat16)
    with torch.no_grad():
        assert model(torch.randn(1, 64, 128, dtype=torch.bfloat16)).logits.dtype == torch.bfloat16
    model.save_pretrained(tmp_path / "cast")
    assert {t.dtype for t in load_file(tmp_path / "cast" / "adapter_model.safetensors").values()} == {torch.float32}


def test_labels_of_older_versions_are_read_and_scored(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They kept the spaces around labels of tables, which data sets lose now and new classifiers refuse."""
    config = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))
    config["labels"] = ["siren ", "\u00a0dog", "pump"]
    (saved / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    model = AudioClassifier.from_pretrained(saved)
    assert model.labels == tuple(config["labels"])
    model.save_pretrained(tmp_path / "again")
    assert read(tmp_path / "again").labels == model.labels
    for label in ("siren", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "data" / label / "1.wav", 0.1 * np.sin(np.arange(8000)), 16_000)
    code, printed, _ = run(capsys, monkeypatch, "evaluate", saved, tmp_path / "data", "--split", "all", "--json")
    assert code == 0
    assert [sum(row) for row in json.loads(printed)["confusion"]] == [1, 1, 0]
    with pytest.raises(ConfigError, match="has spaces around it; give 'siren'"):
        AudioClassifier(load_backbone("random:tiny", 64), "linear", config["labels"])


def test_what_cannot_be_saved_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    model = AudioClassifier.from_pretrained(saved)
    with pytest.raises(AdapterError, match="unknown entry 'metric'; choose one of: training, metrics"):
        model.save_pretrained(tmp_path / "new", metric={})
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(AdapterError, match="file is a file; give a folder"):
        model.save_pretrained(tmp_path / "file")
    model.save_pretrained(tmp_path / "new", metrics={"test": {"accuracy": 0.5}})
    assert "| test | - | 50.00% | - |" in (tmp_path / "new" / "README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:At least one mel filter", "ignore:`is_gradient_checkpointing`:FutureWarning")
def test_peft_and_transformers_say_what_the_folder_is_and_what_to_do(saved: Path) -> None:
    """Where they end in a bare KeyError without the keys that format 2 has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import peft
    import transformers

    def model() -> transformers.ASTModel:
        return load_backbone("random:tiny", 64).model

    for load in (
        lambda: peft.PeftConfig.from_pretrained(str(saved)),
        lambda: peft.LoraConfig.from_pretrained(str(saved)),
        lambda: peft.PeftModel.from_pretrained(model(), saved),
        lambda: peft.AutoPeftModel.from_pretrained(saved),
        lambda: model().load_adapter(str(saved)),
    ):
        with pytest.raises(
            KeyError, match=r"an adapter of astune, and not of PEFT\. Load .* export FOLDER --format peft -o"
        ):
            load()
    for load in (
        lambda: transformers.AutoModel.from_pretrained(saved),
        lambda: transformers.AutoModelForAudioClassification.from_pretrained(saved),
        lambda: transformers.ASTForAudioClassification.from_pretrained(saved),
        lambda: transformers.pipeline("audio-classification", str(saved)),
    ):
        with pytest.raises(
            OSError, match=r"an adapter of astune, and not a model\. Load .* FOLDER --format transformers -o"
        ):
            load()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_weights_of_a_strange_type_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(AdapterError, match=f"it cannot be used: a holds {dtype}; save it again"):
        refuse_unsound({"a": torch.zeros(2).to(dtype)}, "it cannot be used")


@pytest.mark.parametrize("name", ["README.md", "adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_is_replaced_is_never_read_with_files_of_two(
    saved: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    other = AudioClassifier(load_backbone("random:tiny", 64), "lora:targets=q,layers=0", ["of", "another", "task"])
    rename = files._rename

    def cut_short(source: Path, target: Path) -> None:
        if target.name == name:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(files, "_rename", cut_short)
    with pytest.raises(KeyboardInterrupt):
        other.save_pretrained(saved)
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        read(saved)
    monkeypatch.undo()
    other.save_pretrained(saved)
    assert read(saved).config.labels == ("of", "another", "task")
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
