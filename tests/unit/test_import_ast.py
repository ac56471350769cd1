"""What `import-backbone` says of AST files: their sizes, what it refuses, and what it leaves out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from astune import import_backbone, load_backbone
from astune.errors import BackboneError, ConfigError
from tests.ast_files import ast_state_dict
from tests.ssast_files import refusal, saved
from tests.unit.test_cli import run

WIDTH = 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(tmp_path / "speechcommands.pth", ast_state_dict(144, width=WIDTH))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"v.dist_token": None}, "it lacks v.dist_token"),
        ({"v.blocks.0.attn.qkv.bias": None, "v.norm.bias": None}, "it lacks v.norm.bias, v.blocks.0.attn.qkv.bias"),
        ({"v.norm.gain": torch.ones(2)}, "it holds v.norm.gain, and no AST checkpoint does"),
        ({"mask_embed": torch.ones(2)}, "it holds mask_embed, and no AST checkpoint does"),
        ({"p_input_fdim": torch.tensor(128)}, "2 faults\n  - it lacks p_input_tdim\n  - it holds mlp_head.0.weight, mlp_head.0.bias, mlp_"),
        ({"v.pos_embed": torch.ones(1, 2 + 1009, WIDTH)}, "v.pos_embed has 1,011 positions, 2 of them special; no strides from 1 to 16"),
        ({"v.pos_embed": torch.ones(1, 2, WIDTH)}, "v.pos_embed has 2 positions, 2 of them special; no strides from 1 to 16"),
        ({"v.pos_embed": torch.ones(1, 1, WIDTH)}, "v.pos_embed has 1 positions, 2 of them special; no strides"),
        ({"v.pos_embed": torch.ones(1, 0, WIDTH)}, "v.pos_embed has 0 positions"),
        ({"v.pos_embed": torch.ones(2 + 144, WIDTH)}, "v.pos_embed has the shape (146, 64), which is not that of position embeddings"),
        ({"v.pos_embed": torch.ones(2, 2 + 144, WIDTH)}, "v.pos_embed has the shape (2, 146, 64), not (1, 146, 64)"),
        ({"v.blocks.1.attn.qkv.weight": torch.ones(WIDTH, WIDTH)}, "v.blocks.1.attn.qkv.weight has the shape (64, 64), not (192, 64)"),
        ({"v.patch_embed.proj.weight": torch.ones(WIDTH, 1, 128, 2)}, "v.patch_embed.proj.weight has the shape (64, 1, 128, 2), not ("),
        ({"v.patch_embed.proj.weight": torch.ones(WIDTH, 3, 16, 16)}, "v.patch_embed.proj.weight has the shape (64, 3, 16, 16), not ("),
        ({"v.patch_embed.proj.weight": torch.ones(60, 1, 16, 16)}, "it is 60 wide, and the width of a DeiT is a multiple of 64"),
        ({"v.norm.weight": torch.full((WIDTH,), torch.nan)}, "v.norm.weight holds NaN or infinity"),
        ({"v.norm.weight": torch.ones(WIDTH, dtype=torch.int64)}, "v.norm.weight holds torch.int64, which is not a type of"),
    ],
)  # fmt: skip
def test_each_tensor_is_named(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    state: dict[str, Any] = ast_state_dict(144, width=WIDTH)
    state |= {f"module.{name}": value for name, value in changed.items()}
    assert refusal(state, tmp_path).startswith(message)


def test_an_encoder_alone_is_of_neither_kind(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in ast_state_dict(144, width=WIDTH).items() if "mlp_head" not in name}
    with pytest.raises(BackboneError) as refused:
        import_backbone(saved(tmp_path / "headless.pth", state), tmp_path / "folder")
    assert (
        "it is not a checkpoint of SSAST (which has v, p_input_fdim and p_input_tdim) or AST (which has v and mlp_head); it has "
        "v.cls_token, v.pos_embed, v.dist_token, v.patch_embed.proj.weight, v.patch_embed.proj.bias and "
        in str(refused.value)
    )


@pytest.mark.parametrize(
    ("patches", "given", "sizes"),
    [
        (1212, {}, (10, 10, 1024)),
        (1212, {"time_stride": 10}, (10, 10, 1024)),
        (1212, {"max_length": 1024}, (10, 10, 1024)),
        (1212, {"frequency_stride": 10, "time_stride": 10, "max_length": 1020}, (10, 10, 1020)),
        (1212, {"time_stride": 10, "max_length": 1025}, (10, 10, 1025)),
        (1212, {"max_length": 1016}, (10, 10, 1016)),
        (1212, {"frequency_stride": 10, "time_stride": 5, "max_length": 518}, (10, 5, 518)),
        (1212, {"time_stride": 1}, (10, 1, 116)),
        (600, {}, (10, 10, 512)),
        (144, {}, (10, 10, 128)),
        (48, {"frequency_stride": 15, "time_stride": 16, "max_length": 100}, (15, 16, 100)),
    ],
)  # fmt: skip
def test_the_sizes_that_fit_are_found(
    patches: int, given: dict[str, Any], sizes: tuple[int, int, int], tmp_path: Path
) -> None:
    state = ast_state_dict(patches, width=WIDTH, layers=1)
    found = import_backbone(saved(tmp_path / "ast.pth", state), tmp_path / "folder", **given)
    config = found.model.config
    assert (config.frequency_stride, config.time_stride, config.max_length) == sizes
    assert torch.equal(found.sites.positions, state["module.v.pos_embed"])


@pytest.mark.parametrize(
    ("patches", "given", "messages"),
    [
        (48, {}, [
            "the file has positions for 48 patches, which several sizes make; ",
            "give frequency_stride, time_stride and max_length; sizes that fit, for example\n",
            "\n  - frequency_stride=10, time_stride=10, max_length=46 to 55\n",
        ]),
        (48, {"frequency_stride": 10, "time_stride": 10}, [
            "which several sizes make; give max_length; sizes that fit: frequency_stride=10, time_stride=10, max_length=46 to 55",
        ]),
        (1212, {"frequency_stride": 10, "time_stride": 10, "max_length": 512}, [
            "the file has positions for 1,212 patches, and frequency_stride=10, time_stride=10, max_length=512 cannot make so many; ",
            "; sizes that fit: frequency_stride=10, time_stride=10, max_length=1024 (published)",
        ]),
        (1212, {"time_stride": 16, "frequency_stride": 16}, [
            "and frequency_stride=16, time_stride=16 cannot make so many", "max_length=1024 (published)",
            "\n  - frequency_stride=10, time_stride=16, max_length=1616 to 1631",
        ]),
        (512, {"max_length": 9}, ["max_length 9 is shorter than one patch; use at least 16 frames"]),
        (512, {"max_length": 10**7}, ["max_length 10000000 is more than an hour"]),
        (512, {"max_length": "1024"}, ["max_length='1024' is of type str; give a whole number of frames"]),
        (512, {"time_stride": 17}, ["time_stride=17: give a whole number from 1 to 16, the patch's size"]),
        (512, {"frequency_stride": 0, "time_stride": 2.5}, ["2 faults\n  - frequency_stride=0: give ", "\n  - time_stride=2.5: give"]),
        (512, {"time_stride": True}, ["time_stride=True: give a whole number"]),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(
    patches: int, given: dict[str, Any], messages: list[str], tmp_path: Path
) -> None:
    file = saved(tmp_path / "ast.pth", ast_state_dict(patches, width=WIDTH, layers=1))
    with pytest.raises(ConfigError) as refused:
        import_backbone(file, tmp_path / "folder", **given)
    assert all(message in str(refused.value) for message in messages), str(refused.value)
    assert not (tmp_path / "folder").exists()


def test_a_length_of_more_than_an_hour_fits_nothing(tmp_path: Path) -> None:
    """22,600 columns at a stride of 16 would be; other strides make the same number of patches of a shorter input."""
    state = {name: tensor.half() for name, tensor in ast_state_dict(8 * 22_600, width=WIDTH, layers=1).items()}
    with pytest.raises(ConfigError, match="which several sizes make") as refused:
        import_backbone(saved(tmp_path / "ast.pth", state), tmp_path / "folder")
    lengths = [int(word) for word in str(refused.value).replace("=", " ").split() if word.isdigit()]
    assert max(lengths) <= 360_000


def test_half_precision_and_names_without_a_prefix_are_read(tmp_path: Path) -> None:
    state = ast_state_dict(144, width=WIDTH, layers=1)
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    headless = {name: tensor for name, tensor in plain.items() if not name.startswith("v.head")}
    half = {name: tensor.half() for name, tensor in plain.items()}
    found = [
        import_backbone(saved(tmp_path / f"{number}.pth", one), tmp_path / str(number))
        for number, one in enumerate((state, plain, headless, half))
    ]
    assert found[0].origin.fingerprint == found[1].origin.fingerprint == found[2].origin.fingerprint
    assert found[3].model.dtype == torch.float32
    torch.testing.assert_close(found[3].sites.positions, found[0].sites.positions, atol=1e-3, rtol=1e-3)


def test_the_folder_says_where_it_comes_from(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_backbone(file, tmp_path / "folder")
    card = (tmp_path / "folder" / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip
    assert f"`{file.name}` (SHA-256 `{hashlib.sha256(file.read_bytes()).hexdigest()}`)" in card
    assert "# An AST backbone\n" in card
    assert "arXiv 2104.01778" in card
    assert "- strides of 10 mel bins and 10 frames: 12 x 12 patches of an input of 128 frames\n" in card
    assert "- the file does not state strides and length; these fit its number of positions\n" in card
    assert "- the file's classifier (mlp_head, 527 classes) is left out\n" in card
    assert "`ASTModel.from_pretrained` of transformers loads this folder too." in card
    assert str(tmp_path) not in card
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err == (
        "Note: the file's classifier (mlp_head, 527 classes) is left out. The file does not state its sizes; strides of 10 mel bins and "
        "10 frames at 128 frames fit its number of positions\n"
    )
    import_backbone(file, tmp_path / "given", frequency_stride=10, time_stride=10, max_length=128)
    assert "; these were given\n" in (tmp_path / "given" / "README.md").read_text(encoding="utf-8")
    assert capsys.readouterr().err == "Note: the file's classifier (mlp_head, 527 classes) is left out\n"
    broken = ast_state_dict(144, width=WIDTH) | {"module.mlp_head.1.weight": torch.ones(3)}
    import_backbone(saved(tmp_path / "broken.pth", broken), tmp_path / "broken", max_length=128)
    assert capsys.readouterr().err.startswith("Note: the file's classifier (mlp_head) is left out. The")


def test_the_command(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    code, out, err = run(capsys, monkeypatch, "import-backbone", file, "-o", folder)
    assert code == 0
    assert "2 layers of width 64, 12 x 12 patches of 16 mel bins x 16 frames in 128 frames" in " ".join(out.split())
    assert "the file's classifier (mlp_head, 527 classes) is left out" in " ".join(err.split())
    code, out, err = run(
        capsys, monkeypatch, "import-backbone", file, "-o", tmp_path / "new", "--time-stride", 16, "--max-length", 999
    )
    assert (code, out) == (1, "")
    assert "and --time-stride 16, --max-length 999 cannot make so many; sizes that fit" in " ".join(err.split())
    assert "- --frequency-stride 10, --time-stride 10, --max-length 128 (published)" in " ".join(err.split())
    code, out, err = run(capsys, monkeypatch, "import-backbone", file, "-o", folder, "--overwrite", "--json")
    assert code == 0
    assert json.loads(out) == {
        "backbone": str(folder), "checkpoint": "AST", "left_out": ["mlp_head", "v.head", "v.head_dist"], "layers": 2, "width": 64,
        "max_length": 128, "patch_shape": [16, 16], "patch_grid": [12, 12], "fingerprint": load_backbone(folder).origin.fingerprint,
    }  # fmt: skip
    assert "is left out" in err
