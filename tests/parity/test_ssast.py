"""SSAST's encoder as its authors' code computes it: the same tokens, positions and sizes, from fabricated checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ASTFeatureExtractor, ASTModel

from astune import (
    AudioClassifier,
    OnnxPredictor,
    Predictor,
    TrainConfig,
    export_adapter,
    import_backbone,
    load_backbone,
    train,
)
from astune.adapter_file import read
from astune.backbone.ssast import FINE_TUNING_STRIDES
from astune.counting import count
from astune.errors import AdapterError
from tests.ssast_files import FRAME, PATCH, folder_of, saved, shapes, state_dict, timm_output

SHAPES = [PATCH, FRAME]
LABELS = ["frog", "zip"]
FRAMES = 64


def inputs(frames: int = FRAMES, number: int = 2) -> Tensor:
    return torch.randn(number, frames, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("width", "shape", "millions"),
    [(768, PATCH, 89), (768, FRAME, 89), (384, PATCH, 23), (192, PATCH, 6), (192, FRAME, 6)],
)
def test_the_fabricated_names_make_the_sizes_that_the_authors_print(
    width: int, shape: tuple[int, int], millions: int
) -> None:
    """Base 89M, Small 23M, Tiny 6M in the table of their models, which were pretrained on 1,024 frames."""
    parameters = sum(math.prod(size) for size in shapes(shape, width=width, frames=1024).values())
    assert round(parameters / 1e6) == millions


@pytest.mark.parametrize("shape", SHAPES)
def test_the_tokens_are_those_of_timms_formulas(shape: tuple[int, int], tmp_path: Path) -> None:
    """DeiT-tiny's sizes: 192 wide, 3 heads, 12 layers."""
    state = state_dict(shape)
    file = saved(tmp_path / "ssast.pth", state)
    backbone = import_backbone(file, tmp_path / "ssast", frequency_stride=shape[0], time_stride=shape[1])
    with torch.no_grad():
        found = backbone(inputs()).last_hidden_state
        again = load_backbone(tmp_path / "ssast")(inputs()).last_hidden_state
    torch.testing.assert_close(found.double(), timm_output(state, inputs(), shape), atol=1e-5, rtol=0)
    assert torch.equal(again, found)
    assert (backbone.native_length, backbone.patch_shape) == (FRAMES, shape)
    assert backbone.patch_grid == (128 // shape[0], FRAMES // shape[1])


def positions_of_the_authors(table: Tensor, pretrained: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Their fine-tuning model, step by step: (1, 2 + patches, d) of the pretraining's grid to that of the fine-tuning."""
    (p_f_dim, p_t_dim), (f_dim, t_dim), width = pretrained, wanted, table.shape[2]
    grid = table[:, 2:].reshape(1, p_f_dim * p_t_dim, width).transpose(1, 2).reshape(1, width, p_f_dim, p_t_dim)
    if t_dim < p_t_dim:
        first = int(p_t_dim / 2) - int(t_dim / 2)
        grid = grid[:, :, :, first : first + t_dim]
    else:
        grid = F.interpolate(grid, size=(8, t_dim), mode="bilinear")
    assert f_dim >= p_f_dim
    grid = F.interpolate(grid, size=(f_dim, t_dim), mode="bilinear")
    return torch.cat([table[:, :2], grid.reshape(1, width, f_dim * t_dim).transpose(1, 2)], dim=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("frames", [64, 40, 128])
def test_at_the_authors_strides_positions_are_theirs(shape: tuple[int, int], frames: int, tmp_path: Path) -> None:
    """At the pretraining's length, at a shorter one and at a longer one, where the folder is made for it."""
    state, strides = state_dict(shape, layers=2), FINE_TUNING_STRIDES[shape]
    file = saved(tmp_path / "ssast.pth", state)
    backbone = import_backbone(file, tmp_path / "ssast", max_length=frames)
    grid = ((128 - shape[0]) // strides[0] + 1, (frames - shape[1]) // strides[1] + 1)
    positions = positions_of_the_authors(state["module.v.pos_embed"], (128 // shape[0], 64 // shape[1]), grid)
    assert (backbone.patch_grid, backbone.max_length) == (grid, frames)
    torch.testing.assert_close(backbone.sites.positions, positions, atol=1e-6, rtol=0)
    with torch.no_grad():
        found = backbone(inputs(frames)).last_hidden_state
    expected = timm_output(state, inputs(frames), strides, positions)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_the_strides_are_those_of_the_authors_recipes() -> None:
    """`fstride` and `tstride` of run_esc_patch.sh and run_as.sh, and of run_esc_frame.sh and run_sc.sh."""
    assert FINE_TUNING_STRIDES == {(16, 16): (10, 10), (128, 2): (128, 1)}


@pytest.mark.parametrize("strides", [(16, 16), (10, 10), (12, 16)])
@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_transformers_loads_the_folder_of_square_patches(strides: tuple[int, int], tmp_path: Path) -> None:
    file = saved(tmp_path / "ssast.pth", state_dict(PATCH, layers=2))
    ours = import_backbone(file, tmp_path / "ssast", frequency_stride=strides[0], time_stride=strides[1])
    load: Any = ASTModel.from_pretrained
    theirs = load(tmp_path / "ssast").eval()
    extractor: Any = ASTFeatureExtractor.from_pretrained(tmp_path / "ssast")
    with torch.no_grad():
        torch.testing.assert_close(
            ours(inputs()).last_hidden_state, theirs(inputs()).last_hidden_state, atol=1e-6, rtol=0
        )
    assert (extractor.max_length, extractor.mean, extractor.std) == (FRAMES, -4.2677393, 4.5689974)
    sound = torch.randn(8_000, generator=torch.Generator().manual_seed(2)) / 10
    own = torch.as_tensor(extractor(sound.numpy(), sampling_rate=16_000)["input_values"][0])
    torch.testing.assert_close(ours.front_end(sound), own, atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_other_lengths_are_fitted_from_the_folder(shape: tuple[int, int], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "ssast", shape, width=64, layers=2)
    native = load_backbone(folder)
    short, long = load_backbone(folder, 32), load_backbone(folder, 100)
    rows, columns = native.patch_grid
    table = native.sites.positions[0, 2:].reshape(rows, columns, -1)
    first = columns // 2 - short.patch_grid[1] // 2
    middle = table[:, first : first + short.patch_grid[1]]
    assert torch.equal(short.sites.positions[0, 2:].reshape(middle.shape), middle)
    assert long.patch_grid == (rows, (100 - shape[1]) // FINE_TUNING_STRIDES[shape][1] + 1)
    for fitted in (short, long):
        assert torch.equal(fitted.fit(FRAMES).sites.positions, native.sites.positions)
        with torch.no_grad():
            assert fitted(inputs(fitted.max_length)).last_hidden_state.isfinite().all()


def test_the_fingerprint_knows_the_shape_of_the_patches_only_if_they_are_not_square(tmp_path: Path) -> None:
    square, frames = (load_backbone(folder_of(tmp_path / str(shape[0]), shape, width=64, layers=1)) for shape in SHAPES)
    assert square.sites.architecture["patch_size"] == 16
    assert frames.sites.architecture["patch_size"] == [128, 2]
    digest = "9d5b79e0ef9388afaea0c9da529ce0bc"  # as released before patches could have another shape
    assert load_backbone("bundled").origin.fingerprint[:32] == digest, "adapters made before would be refused"


def trained_on(folder: Path, adapter: Path, generated: Path) -> AudioClassifier:
    config = TrainConfig(
        data=str(generated), method="lora", backbone=str(folder), output_dir=adapter, num_train_epochs=1, max_length=48,
        patchout=0.5, patchout_mode="structured", limit_clips=6,
    )  # fmt: skip
    train(config)
    return AudioClassifier.from_pretrained(adapter)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_adapter_is_trained_stored_and_put_to_use(shape: tuple[int, int], generated: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "ssast", shape, width=64, layers=2)
    model = trained_on(folder, tmp_path / "adapter", generated)
    config = read(tmp_path / "adapter").config
    assert (config.backbone.name_or_path, config.front_end.max_length) == (str(folder.resolve()), 48)
    assert config.backbone.fingerprint == load_backbone(folder).origin.fingerprint
    assert count("lora", len(config.labels), model.backbone.model.config).parameters == model.parameter_count()
    recording = next(generated.rglob("*.wav"))
    (best, *_) = Predictor(tmp_path / "adapter").predict(recording)
    assert best["label"] in config.labels


@pytest.mark.parametrize("shape", SHAPES)
def test_onnx_holds_any_shape(shape: tuple[int, int], tmp_path: Path, generated: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model = AudioClassifier(load_backbone(folder_of(tmp_path / "ssast", shape, width=64, layers=2)), "lora", LABELS)
    model.save_pretrained(tmp_path / "adapter")
    exported = export_adapter(tmp_path / "adapter", tmp_path / "graph.onnx")
    recording = next(generated.rglob("*.wav"))
    ours = {one["label"]: one["score"] for one in Predictor(tmp_path / "adapter").predict(recording)}
    graph = {one["label"]: one["score"] for one in OnnxPredictor(exported.path).predict(recording)}
    assert graph == pytest.approx(ours, abs=1e-4)


@pytest.mark.parametrize("form", ["transformers", "peft"])
def test_exports_to_transformers_need_square_patches(form: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model = AudioClassifier(load_backbone(folder_of(tmp_path / "ssast", FRAME, width=64, layers=2)), "lora", LABELS)
    with pytest.raises(
        AdapterError, match="square patches only, and the backbone's are 128 mel bins x 2 frames; export to onnx"
    ):
        export_adapter(model, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


def test_a_square_backbone_goes_to_transformers(tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone(folder_of(tmp_path / "ssast", PATCH, width=64, layers=2)), "lora", LABELS)
    exported = export_adapter(model, tmp_path / "out", "transformers")
    record = json.loads((exported.path / "config.json").read_text(encoding="utf-8"))
    assert (record["layer_norm_eps"], record["frequency_stride"], record["patch_size"]) == (1e-6, 10, 16)
