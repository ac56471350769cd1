"""The frozen backbone against transformers' own, and its positions against the rules of AST's authors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import ASTConfig, ASTForAudioClassification, ASTModel, BertConfig

from astune import load_backbone
from astune.backbone import load_config
from astune.backbone.positions import fit_table
from astune.backbone.sites import Sites, our_name
from astune.errors import BackboneError, ConfigError

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
NATIVE = 128  # frames


def published(folder: Path, dtype: torch.dtype = torch.float32) -> Any:  # noqa: ANN401 - transformers leaves its calls untyped
    """A checkpoint in the published one's form: classification head, transformers 4 names, normalisation beside it."""
    torch.manual_seed(3)
    config: Any = ASTConfig(**SMALL, max_length=NATIVE)
    config.num_labels = 5
    model: Any = ASTForAudioClassification(config)
    model.to(dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    state = {_transformers_4(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"mean": -3.5, "std": 4.0, "num_mel_bins": 128}))
    return model.eval()


def _transformers_4(name: str) -> str:
    name = re.sub(r"layers\.(\d+)\.", r"encoder.layer.\1.", name)
    for new, old in (
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        name = name.replace(new, old)
    return name


def test_the_published_form_gives_transformers_outputs_at_the_native_length(tmp_path: Path) -> None:
    theirs = published(tmp_path)
    assert any(
        "encoder.layer.0.attention.attention.query" in name for name in load_file(tmp_path / "model.safetensors")
    )
    ours = load_backbone(tmp_path)
    inputs = torch.randn(2, NATIVE, 128)
    with torch.no_grad():
        expected = theirs.audio_spectrogram_transformer(inputs).last_hidden_state
        torch.testing.assert_close(ours(inputs).last_hidden_state, expected, atol=1e-5, rtol=0)
    origin = ours.origin
    assert (origin.mean, origin.std) == (-3.5, 4.0)
    assert not ours.training


def test_the_bare_model_is_the_same_backbone(tmp_path: Path) -> None:
    (tmp_path / "head").mkdir()
    theirs = published(tmp_path / "head")
    theirs.audio_spectrogram_transformer.save_pretrained(tmp_path / "bare")
    with_head, bare = load_backbone(tmp_path / "head"), load_backbone(tmp_path / "bare")
    assert with_head.origin.fingerprint == bare.origin.fingerprint
    for name, tensor in with_head.state_dict().items():
        assert torch.equal(tensor, bare.state_dict()[name])


def test_float16_files_come_back_in_float32_and_keep_their_own_fingerprint(tmp_path: Path) -> None:
    for name, dtype in (("half", torch.float16), ("single", torch.float32)):
        (tmp_path / name).mkdir()
        published(tmp_path / name, dtype)
    half = load_backbone(tmp_path / "half")
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert half.origin.fingerprint != load_backbone(tmp_path / "single").origin.fingerprint
    cast = load_backbone(tmp_path / "half", dtype="bfloat16", max_length=64)
    assert {p.dtype for p in cast.parameters()} == {torch.bfloat16}
    assert cast.origin.fingerprint == half.origin.fingerprint


def test_the_whole_model_at_another_length_equals_one_built_for_it() -> None:
    """At every length the model is transformers' ASTModel of that length with the fitted table."""
    native = load_backbone("random:tiny").model
    short = load_backbone("random:tiny", 100).model
    reference: Any = ASTModel(short.config)
    reference.eval()
    state = dict(native.state_dict())
    state["embeddings.position_embeddings"] = short.embeddings.position_embeddings.detach()
    reference.load_state_dict(state)
    inputs = torch.randn(1, 100, 128)
    with torch.no_grad():
        assert torch.equal(short(inputs).last_hidden_state, reference(inputs).last_hidden_state)


def test_a_shorter_table_is_the_middle_of_the_time_axis() -> None:
    table = torch.arange(2 + 12 * 101, dtype=torch.float32).reshape(1, -1, 1)
    fitted = fit_table(table, 12, 9)  # 100 frames
    assert fitted[0, :2, 0].tolist() == [0, 1]
    start = 101 // 2 - 9 // 2
    expected = [2 + row * 101 + start + column for row in range(12) for column in range(9)]
    assert fitted[0, 2:, 0].tolist() == expected


def test_a_longer_table_is_interpolated_along_time_alone() -> None:
    ramp = torch.arange(10.0)[None, :] + 100 * torch.arange(12.0)[:, None]  # (F, T): linear in time
    table = torch.cat([torch.tensor([-1.0, -2.0]), ramp.flatten()]).reshape(1, -1, 1)
    fitted = fit_table(table, 12, 20)[0, 2:, 0].reshape(12, 20)
    centres = ((torch.arange(20) + 0.5) / 2 - 0.5).clamp(0, 9)  # half-pixel centres, as bilinear interpolation has them
    torch.testing.assert_close(fitted, centres[None, :] + 100 * torch.arange(12.0)[:, None])


@given(native=st.integers(1, 40), wanted=st.integers(1, 80), width=st.integers(1, 4))
@settings(max_examples=50)
def test_any_length_keeps_the_special_tokens_and_the_range(native: int, wanted: int, width: int) -> None:
    table = torch.randn(1, 2 + 12 * native, width)
    fitted = fit_table(table, 12, wanted)
    assert fitted.shape == (1, 2 + 12 * wanted, width)
    assert torch.equal(fitted[:, :2], table[:, :2])
    assert fitted[:, 2:].max() <= table[:, 2:].max() + 1e-5
    if wanted == native:
        assert torch.equal(fitted, table)


def test_zero_is_a_table_of_zeros_at_every_length() -> None:
    for length in (64, 1024):
        model = load_backbone("random:tiny", length, position_embeddings="zero").model
        assert not model.embeddings.position_embeddings.any()
    assert load_backbone("random:tiny", 64).model.embeddings.position_embeddings.abs().min() > 0


@pytest.mark.parametrize("length", [16, 17, 100, 1023, 1024, 1100])
def test_every_length_runs(length: int) -> None:
    model = load_backbone("random:tiny", length)
    with torch.no_grad():
        tokens = model(torch.randn(1, length, 128)).last_hidden_state
    assert tokens.shape == (1, 2 + 12 * ((length - 16) // 10 + 1), 192)


def test_bad_settings_name_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'resize'; choose one of: fit, zero"):
        load_backbone("random:tiny", 64, position_embeddings="resize")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="choose one of: float32, bfloat16, float16"):
        load_backbone("random:tiny", 64, dtype="int8")
    with pytest.raises(ConfigError, match="max_length 15 is shorter than one patch"):
        load_backbone("random:tiny", 15)
    for load in (load_backbone, load_config):
        with pytest.raises(BackboneError, match=r"random:base, random:small, random:tiny; did you mean 'random:tiny'"):
            load("random:tine")


def test_random_backbones_are_seeded_and_leave_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = load_backbone("random:tiny", 64).model
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    torch.manual_seed(2)
    second = load_backbone("random:tiny", 64).model
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.embeddings.position_embeddings.std().item() == pytest.approx(0.02, rel=0.05)


def test_every_parameter_of_transformers_has_a_name_of_ours() -> None:
    model = load_backbone("random:tiny", 64).model
    names = [our_name(name) for name, _ in model.named_parameters()]
    assert len(set(names)) == len(names) == len(Sites(model).parameters())
    with pytest.raises(KeyError, match="no name"):
        our_name("layers.0.gate.weight")


class TestRefused:
    def test_another_architecture(self, tmp_path: Path) -> None:
        BertConfig().save_pretrained(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(BackboneError, match="says model_type 'bert', not 'audio-spectrogram-transformer'"):
            load_backbone(tmp_path)

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        ASTConfig(**SMALL).save_pretrained(tmp_path)
        with pytest.raises(BackboneError, match=r"has no model\.safetensors; it holds config\.json"):
            load_backbone(tmp_path)

    def test_pickled_weights_are_not_opened(self, tmp_path: Path) -> None:
        ASTConfig(**SMALL).save_pretrained(tmp_path)
        torch.save({}, tmp_path / "pytorch_model.bin")
        with pytest.raises(BackboneError, match=r"no model\.safetensors"):
            load_backbone(tmp_path)

    def test_missing_weights(self, tmp_path: Path) -> None:
        published(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        dropped = {name: tensor for name, tensor in state.items() if "encoder.layer.1" not in name}
        save_file(dropped, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(BackboneError, match="lacks 16 of the weights"):
            load_backbone(tmp_path)

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        published(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"not a safetensors file")
        with pytest.raises(BackboneError, match="cannot be loaded"):
            load_backbone(tmp_path)

    def test_a_damaged_configuration(self, tmp_path: Path) -> None:
        published(tmp_path)
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(BackboneError, match=r"cannot be read as a model configuration"):
            load_backbone(tmp_path)

    def test_a_path_that_is_not_there(self) -> None:
        with pytest.raises(BackboneError, match=r"there is no folder '\./nowhere/at/all'"):
            load_backbone("./nowhere/at/all")
