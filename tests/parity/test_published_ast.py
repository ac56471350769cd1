"""AST's encoder as its authors' code computes it: the same tokens, positions and sizes, from fabricated checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ASTFeatureExtractor, ASTForAudioClassification, ASTModel

from astune import AudioClassifier, TrainConfig, import_backbone, load_backbone, train
from astune.adapter_file import read
from astune.backbone.published_ast import PUBLISHED_SIZES
from tests.ast_files import ast_state_dict, grid
from tests.ssast_files import saved, timm_output

COUNTS = {
    (10, 10, 1024): 1212, (12, 12, 1024): 850, (14, 14, 1024): 657, (16, 16, 1024): 512, (10, 10, 512): 600, (10, 10, 128): 144,
}  # fmt: skip
ids = pytest.mark.parametrize("sizes", PUBLISHED_SIZES, ids=lambda sizes: "-".join(map(str, sizes)))


def inputs(frames: int, number: int = 1) -> Tensor:
    return torch.randn(number, frames, 128, generator=torch.Generator().manual_seed(1))


def test_the_published_sizes_have_different_numbers_of_patches() -> None:
    """1,212 is the number in the authors' code for AudioSet; no two of them could be taken for each other."""
    made = {
        (f, t, frames): rows * columns for f, t, frames in PUBLISHED_SIZES for rows, columns in [grid(f, t, frames)]
    }
    assert made == COUNTS
    assert len(set(made.values())) == len(made)


@ids
def test_the_tokens_are_those_of_timms_formulas_and_of_transformers(
    sizes: tuple[int, int, int], tmp_path: Path
) -> None:
    """Nothing but the file is given; its sizes are found by its number of positions."""
    *strides, frames = sizes
    rows, columns = grid(*sizes)
    state = ast_state_dict(rows * columns)
    ours = import_backbone(saved(tmp_path / "ast.pth", state), tmp_path / "ast")
    load: Any = ASTModel.from_pretrained
    theirs = load(tmp_path / "ast").eval()
    with torch.no_grad():
        found = ours(inputs(frames)).last_hidden_state
        again = load_backbone(tmp_path / "ast")(inputs(frames)).last_hidden_state
        other = theirs(inputs(frames)).last_hidden_state
    expected = timm_output(state, inputs(frames), (strides[0], strides[1]))
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found, other, atol=1e-5, rtol=0)
    assert torch.equal(again, found)
    assert (ours.patch_grid, ours.native_length, ours.patch_shape) == ((rows, columns), frames, (16, 16))
    assert torch.equal(ours.sites.positions, state["module.v.pos_embed"])
    config = theirs.config
    assert (config.frequency_stride, config.time_stride, config.max_length) == sizes


def test_the_epsilon_is_timms_and_not_transformers_default(tmp_path: Path) -> None:
    """1e-12, with which transformers' conversion of these files computes, gives other tokens and another fingerprint."""
    state = ast_state_dict(144, width=64)
    state["module.v.pos_embed"] *= 1e-3  # so that the variance of a token is small
    state |= {name: tensor * 1e-3 for name, tensor in state.items() if "patch_embed" in name or "_token" in name}
    file = saved(tmp_path / "ast.pth", state)
    ours = import_backbone(file, tmp_path / "ast")
    config = ours.model.config
    assert config.layer_norm_eps == 1e-6
    load: Any = ASTModel.from_pretrained
    theirs = load(tmp_path / "ast", layer_norm_eps=1e-12).eval()
    with torch.no_grad():
        found, other = ours(inputs(128)).last_hidden_state, theirs(inputs(128)).last_hidden_state
    expected = timm_output(state, inputs(128), (10, 10))
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    assert (other - expected).abs().max() > 1e-2
    theirs.save_pretrained(tmp_path / "theirs")
    assert load_backbone(tmp_path / "theirs").origin.fingerprint != ours.origin.fingerprint


@pytest.mark.parametrize(
    "given",
    [
        {"frequency_stride": 8, "time_stride": 12, "max_length": 70},
        {"frequency_stride": 16, "time_stride": 10, "max_length": 300},
    ],
)
def test_sizes_that_nobody_published_are_given(given: dict[str, Any], tmp_path: Path) -> None:
    strides = given["frequency_stride"], given["time_stride"]
    rows, columns = grid(*strides, given["max_length"])
    state = ast_state_dict(rows * columns, width=64)
    ours = import_backbone(saved(tmp_path / "ast.pth", state), tmp_path / "ast", **given)
    features = inputs(given["max_length"])
    with torch.no_grad():
        found = ours(features).last_hidden_state
    torch.testing.assert_close(found.double(), timm_output(state, features, strides), atol=1e-5, rtol=0)
    assert (ours.patch_grid, ours.max_length) == ((rows, columns), given["max_length"])


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_features_are_those_of_transformers_with_audiosets_mean(tmp_path: Path) -> None:
    ours = import_backbone(saved(tmp_path / "ast.pth", ast_state_dict(144, width=64)), tmp_path / "ast")
    extractor: Any = ASTFeatureExtractor.from_pretrained(tmp_path / "ast")
    assert (extractor.max_length, extractor.mean, extractor.std) == (128, -4.2677393, 4.5689974)
    sound = torch.randn(16_000, generator=torch.Generator().manual_seed(2)) / 10
    own = torch.as_tensor(extractor(sound.numpy(), sampling_rate=16_000)["input_values"][0])
    torch.testing.assert_close(ours.front_end(sound), own, atol=1e-3, rtol=0)


def test_with_the_classifier_it_is_the_authors_model(tmp_path: Path) -> None:
    """`mlp_head` on the mean of the two special tokens, which is what transformers' class for classification computes of the folder."""
    state = ast_state_dict(144, width=64, classes=5)
    import_backbone(saved(tmp_path / "ast.pth", state), tmp_path / "ast")
    load: Any = ASTForAudioClassification.from_pretrained
    theirs = load(tmp_path / "ast", num_labels=5).eval()
    head = {name.removeprefix("module.mlp_head."): tensor for name, tensor in state.items() if "mlp_head" in name}
    theirs.classifier.layernorm.eps = 1e-5  # of torch, as the authors' LayerNorm has it
    theirs.classifier.load_state_dict({
        "layernorm.weight": head["0.weight"], "layernorm.bias": head["0.bias"], "dense.weight": head["1.weight"],
        "dense.bias": head["1.bias"],
    })  # fmt: skip
    pooled = timm_output(state, inputs(128), (10, 10))[:, :2].mean(dim=1)
    normal = torch.nn.functional.layer_norm(pooled, (64,), head["0.weight"].double(), head["0.bias"].double())
    with torch.no_grad():
        scores = theirs(inputs(128)).logits.double()
    torch.testing.assert_close(scores, normal @ head["1.weight"].double().T + head["1.bias"], atol=1e-5, rtol=0)


def test_an_adapter_is_trained_on_it(generated: Path, tmp_path: Path) -> None:
    ours = import_backbone(saved(tmp_path / "ast.pth", ast_state_dict(144, width=64)), tmp_path / "ast")
    train(TrainConfig(
        data=str(generated), method="lora", backbone=str(tmp_path / "ast"), output_dir=tmp_path / "adapter", num_train_epochs=1,
        max_length=48, limit_clips=6,
    ))  # fmt: skip
    model = AudioClassifier.from_pretrained(tmp_path / "adapter")
    assert read(tmp_path / "adapter").config.backbone.fingerprint == ours.origin.fingerprint
    assert model.backbone.max_length == 48
