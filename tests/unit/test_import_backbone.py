"""What `import-backbone` refuses, what it writes, and that it writes all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from typing_extensions import override

from astune import import_backbone, load_backbone
from astune.errors import BackboneError, ConfigError
from tests.ssast_files import FRAME, PATCH, refusal, saved, state_dict
from tests.unit.test_cli import run

WIDTH = 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(tmp_path / "SSAST-Tiny-Patch-400.pth", state_dict(PATCH, width=WIDTH, layers=2))


class Code:
    """A pickle of it asks for a command to be run."""

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


BOTH = "v.patch_embed.proj.weight and v.blocks.0.mlp.fc1.weight"
NAMES = "v.cls_token, v.dist_token, v.pos_embed, v.patch_embed.proj.weight, v.patch_embed.proj.bias"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"v.dist_token": None}, "it lacks v.dist_token"),
        ({"p_input_tdim": None}, "it lacks p_input_tdim"),
        ({"v.blocks.0.attn.qkv.bias": None, "v.norm.bias": None}, "it lacks v.norm.bias, v.blocks.0.attn.qkv.bias"),
        ({"v.blocks.3.norm1.bias": torch.ones(WIDTH)}, "it lacks v.blocks.2.norm1.weight, v.blocks.2.norm1.bias, v.blocks"),
        ({"mlp_head.1.bias": torch.ones(2)}, "it holds mlp_head.1.bias, and no SSAST checkpoint does"),
        ({"v.norm.gain": torch.ones(2), "v.norm.bias": None}, "2 faults\n  - it lacks v.norm.bias\n  - it holds v.norm.gain, and"),
        ({"v.pos_embed": torch.ones(1, 3, WIDTH)}, "v.pos_embed has the shape (1, 3, 64), not (1, 34, 64)"),
        ({"v.blocks.1.attn.qkv.weight": torch.ones(WIDTH, WIDTH)}, "v.blocks.1.attn.qkv.weight has the shape (64, 64), not (192, 64)"),
        ({"v.norm.weight": torch.ones(WIDTH, dtype=torch.int64)}, "v.norm.weight holds torch.int64, which is not a type of"),
        ({"v.norm.weight": torch.full((WIDTH,), torch.nan)}, "v.norm.weight holds NaN or infinity"),
        ({"p_input_fdim": torch.tensor(10**6)}, "p_input_fdim is not a whole number from 1 to 257"),
        ({"p_input_fdim": torch.tensor(128.0)}, "p_input_fdim is not a whole number"),
        ({"p_input_tdim": torch.tensor([64, 64])}, "p_input_tdim is not a whole number"),
        ({"p_input_tdim": torch.tensor(8)}, "its patches of (16, 16) are larger than the input of its pretraining"),
        ({"v.patch_embed.proj.weight": torch.ones(60, 1, 16, 16)}, "it is 60 wide, and the width of a DeiT is a multiple of 64"),
        ({"v.patch_embed.proj.weight": torch.ones(WIDTH, 256)}, f"{BOTH} have the shapes (64, 256) and (256, 64), which are not those of"),
        ({"v.patch_embed.proj.weight": torch.ones(WIDTH, 1, 0, 16)}, f"{BOTH} have the shapes (64, 1, 0, 16)"),
        ({"v.patch_embed.proj.weight": torch.ones(WIDTH, 3, 16, 16)}, "v.patch_embed.proj.weight has the shape (64, 3, 16, 16), not (64,"),
        ({"v.norm.weight": "text"}, "'module.v.norm.weight' is not a plain tensor"),
        ({"v.norm.weight": Code()}, "it holds something other than tensors, which only code in it could make"),
    ],
)  # fmt: skip
def test_each_tensor_is_named(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    state: dict[str, Any] = state_dict(PATCH, width=WIDTH, layers=2)
    state |= {f"module.{name}": value for name, value in changed.items()}
    assert refusal(state, tmp_path).startswith(message)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            {},
            "it is not a checkpoint of SSAST .* or AST .which has v and mlp_head.; it has no tensors",
        ),
        ({"model.weight": torch.ones(1)}, "it is not a checkpoint of SSAST .* or AST .*; it has model.weight"),
        ({"p_input_fdim": torch.tensor(128)}, f"it lacks {NAMES} and 15 more tensors"),
        ([1], "it does not hold tensors by name"),
        ({"model": {"a": torch.ones(1)}}, "its tensors are not at the top: 'model' holds others; save that part alone"),
        (Code(), "it holds something other than tensors"),
    ],
)
def test_other_files_of_torch(held: object, message: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "other.pth")
    with pytest.raises(BackboneError, match=message):
        import_backbone(tmp_path / "other.pth", tmp_path / "folder")


def test_a_backbone_that_needs_no_import(tmp_path: Path) -> None:
    load_backbone("random:tiny").model.save_pretrained(tmp_path / "ready")
    for given in (tmp_path / "ready", tmp_path / "ready" / "model.safetensors"):
        with pytest.raises(BackboneError, match="is a backbone already: give it as backbone="):
            import_backbone(given, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_files_that_torch_did_not_write(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BackboneError, match=r"there is no file .*absent.pth; give the path of a checkpoint of SSAST or AST"
    ):
        import_backbone(tmp_path / "absent.pth", tmp_path / "folder")
    torch.save(torch.load(file), tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # as torch 1.5 did
    contents = (b"", b"PK\3\4", b"<html></html>", file.read_bytes()[:-5_000], (tmp_path / "old.pth").read_bytes())
    for content in contents:
        (tmp_path / "damaged.pth").write_bytes(content)
        with pytest.raises(
            BackboneError, match=r"damaged\.pth cannot be imported: it is not a whole file of torch.save: a download"
        ):
            import_backbone(tmp_path / "damaged.pth", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time_stride": 17}, "time_stride=17: give a whole number from 1 to 16, the patch's size"),
        ({"frequency_stride": 0, "time_stride": 2.5}, "2 faults\n  - frequency_stride=0: give .*\n  - time_stride=2.5: give"),
        ({"time_stride": True}, "time_stride=True: give a whole number"),
        ({"max_length": 15}, "max_length 15 is shorter than one patch; use at least 16 frames"),
        ({"max_length": 10**7}, "max_length 10000000 is more than an hour"),
        ({"max_length": "64"}, "max_length='64' is of type str; give a whole number of frames"),
    ],
)  # fmt: skip
def test_each_argument_is_bounded(fields: dict[str, Any], message: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        import_backbone(file, tmp_path / "folder", **fields)
    assert not (tmp_path / "folder").exists()


def test_a_backbone_that_is_there_stays_unless_asked(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    first = import_backbone(file, folder)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        ConfigError, match=r"folder holds config\.json, .* and README\.md; give another folder, or overwrite=True"
    ):
        import_backbone(file, folder, time_stride=16)
    broken = saved(tmp_path / "broken.pth", {})
    with pytest.raises(BackboneError):
        import_backbone(broken, folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    second = import_backbone(file, folder, time_stride=16, overwrite=True)
    assert (first.patch_grid, second.patch_grid) == ((12, 5), (12, 4))
    assert load_backbone(folder).origin == second.origin
    assert {path.name for path in folder.iterdir()} == before.keys()
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"project holds README\.md; give another folder, or overwrite=True"):
        import_backbone(file, tmp_path / "project")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        import_backbone(file, broken, overwrite=True)


def test_half_precision_and_names_without_a_prefix_are_read(tmp_path: Path) -> None:
    """`DataParallel` puts `module.` in front of the names; a model saved without it has none."""
    state = state_dict(PATCH, width=WIDTH, layers=1)
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items() if "predlayer" not in name}
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in plain.items()}
    found = [
        import_backbone(saved(tmp_path / f"{number}.pth", one), tmp_path / str(number))
        for number, one in enumerate((state, plain, half))
    ]
    assert found[0].origin.fingerprint == found[1].origin.fingerprint
    assert found[2].model.dtype == torch.float32
    torch.testing.assert_close(found[2].sites.positions, found[0].sites.positions, atol=1e-3, rtol=1e-3)


def test_the_folder_says_where_it_comes_from(file: Path, tmp_path: Path) -> None:
    found = import_backbone(file, tmp_path / "folder")
    card = (tmp_path / "folder" / "README.md").read_text(encoding="utf-8")
    assert f"`{file.name}` (SHA-256 `{hashlib.sha256(file.read_bytes()).hexdigest()}`)" in card
    assert "patches of 16 mel bins x 16 frames, pretrained without overlap on 64 frames" in card
    assert "strides of 10 mel bins and 10 frames: 12 x 5 patches of an input of 64 frames" in card
    assert "cut or interpolated from the pretrained ones" in card
    assert str(tmp_path) not in card
    assert found.origin.name == str((tmp_path / "folder").resolve())
    frames = saved(tmp_path / "frames.pth", state_dict(FRAME, width=WIDTH, layers=1))
    import_backbone(frames, tmp_path / "frames", time_stride=2)
    card = (tmp_path / "frames" / "README.md").read_text(encoding="utf-8")
    assert "position embeddings as pretrained" in card
    assert "transformers' `ASTModel` has square patches only" in card


def test_the_command(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    code, out, _ = run(capsys, monkeypatch, "import-backbone", file, "-o", folder)
    assert code == 0
    assert "2 layers of width 64, 12 x 5 patches of 16 mel bins x 16 frames in 64 frames" in " ".join(out.split())
    assert f"astune train RECORDINGS --backbone {folder}" in " ".join(out.split())
    code, _, err = run(capsys, monkeypatch, "import-backbone", file, "-o", folder)
    assert code == 1
    assert "give another folder, or --overwrite" in " ".join(err.split())
    code, _, err = run(capsys, monkeypatch, "import-backbone", file, "-o", tmp_path / "new", "--time-stride", 20)
    assert code == 1
    assert "--time-stride 20: give a whole number from 1 to 16" in " ".join(err.split())
    options = ("--frequency-stride", 16, "--time-stride", 16, "--max-length", 32, "--overwrite", "--json")
    code, out, _ = run(capsys, monkeypatch, "import-backbone", file, "-o", folder, *options)
    assert code == 0
    assert json.loads(out) == {
        "backbone": str(folder), "checkpoint": "SSAST", "layers": 2, "width": 64,
        "left_out": ["mask_embed", "cpredlayer", "gpredlayer", "v.head", "v.head_dist"],
        "max_length": 32, "patch_shape": [16, 16], "patch_grid": [8, 2],
        "fingerprint": load_backbone(folder).origin.fingerprint,
    }  # fmt: skip
