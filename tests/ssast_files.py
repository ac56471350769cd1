"""Fabricated SSAST checkpoints, with the names and shapes of the published ones, and their output computed from timm's formulas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional as F

from astune import import_backbone
from astune.errors import BackboneError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

PATCH, FRAME = (16, 16), (128, 2)
HEADS_OF_IMAGENET = 1_000
"""timm's model has two heads for them, which the authors leave in the file."""


def encoder_shapes(shape: tuple[int, int], patches: int, *, width: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the encoder ``v`` in the authors' models, by timm 0.4.5; AST and SSAST share it.

    Args:
        shape: mel bins and frames of a patch.
        patches: number of patches of an input.
        width: of a token.
        layers: number of blocks.
    """
    inner = 4 * width
    square: tuple[int, ...] = (width, width)
    found: dict[str, tuple[int, ...]] = {
        "v.cls_token": (1, 1, width), "v.pos_embed": (1, 2 + patches, width),
        "v.dist_token": (1, 1, width), "v.patch_embed.proj.weight": (width, 1, *shape), "v.patch_embed.proj.bias": (width,),
    }  # fmt: skip
    for layer in range(layers):
        block = f"v.blocks.{layer}."
        for name, size in (
            ("norm1", (width,)), ("attn.qkv", (3 * width, width)), ("attn.proj", square), ("norm2", (width,)),
            ("mlp.fc1", (inner, width)), ("mlp.fc2", (width, inner)),
        ):  # fmt: skip
            found |= {f"{block}{name}.weight": size, f"{block}{name}.bias": size[:1]}
    heads = (HEADS_OF_IMAGENET, width)
    return found | layer_shapes({"v.norm": (width,), "v.head": heads, "v.head_dist": heads})


def layer_shapes(weights: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Weight and bias of each layer, from the shape of its weight."""
    return {
        f"{name}.{kind}": size if kind == "weight" else size[:1]
        for name, size in weights.items()
        for kind in ("weight", "bias")
    }


def shapes(
    shape: tuple[int, int], *, width: int = 192, layers: int = 12, frames: int = 64, bins: int = 128
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all trained tensors of the authors' pretraining model, by ``ASTModel`` of their ``ast_models.py``.

    Args:
        shape: mel bins and frames of a patch.
        width: of a token.
        layers: number of blocks.
        frames: of the pretraining's input.
        bins: of the pretraining's input.
    """
    encoder = encoder_shapes(shape, (bins // shape[0]) * (frames // shape[1]), width=width, layers=layers)
    square, codes = (width, width), (256, width)
    heads = layer_shapes({"cpredlayer.0": square, "cpredlayer.2": codes, "gpredlayer.0": square, "gpredlayer.2": codes})
    return {"mask_embed": (1, 1, width)} | encoder | heads


def drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Tensors of these shapes, whose values are drawn so that each of them changes the output.

    Args:
        shapes: by name.
        seed: of the values.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for name, size in shapes.items():
        values = torch.randn(size, generator=generator)
        scale = 0.1 if len(size) == 1 else 1 / math.sqrt(math.prod(size[1:]))
        found[name] = 1 + 0.2 * values if "norm" in name and name.endswith("weight") else scale * values
    return found


def state_dict(shape: tuple[int, int], *, seed: int = 0, **sizes: int) -> dict[str, Tensor]:
    """What ``torch.save(torch.nn.DataParallel(ASTModel(...)).state_dict(), path)`` of the authors' pretraining code holds.

    Args:
        shape: mel bins and frames of a patch.
        seed: of the values.
        sizes: as of :func:`shapes`.

    Returns:
        Tensors by name.
    """
    found = drawn(shapes(shape, **sizes), seed) | {
        "p_input_fdim": torch.tensor(sizes.get("bins", 128)),
        "p_input_tdim": torch.tensor(sizes.get("frames", 64)),
    }
    return {f"module.{name}": tensor for name, tensor in found.items()}


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def refusal(state: dict[str, Any], folder: Path) -> str:
    """The message with which the import refuses a changed checkpoint, after its path; nothing is written.

    Args:
        state: tensors by name; what is None is left out.
        folder: for the file.
    """
    file = saved(folder / "changed.pth", {name: value for name, value in state.items() if value is not None})
    with pytest.raises(BackboneError) as refused:
        import_backbone(file, folder / "folder")
    assert not (folder / "folder").exists()
    before, found, message = str(refused.value).partition(f"{file} cannot be imported: ")
    assert (before, bool(found)) == ("", True)
    return message


def folder_of(folder: Path, shape: tuple[int, int], **sizes: int) -> Path:
    """A backbone folder of a fabricated checkpoint."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = saved(folder.with_suffix(".pth"), state_dict(shape, **sizes))
    import_backbone(file, folder)
    return folder


def timm_output(
    state: dict[str, Tensor], features: Tensor, strides: tuple[int, int], positions: Tensor | None = None
) -> Tensor:
    """The tokens after the last LayerNorm, as timm 0.4.5's ``DistilledVisionTransformer`` computes them inside SSAST and AST.

    Args:
        state: a checkpoint.
        features: (batch, frames, bins).
        strides: of the patches, along frequency and time.
        positions: those of another grid; the checkpoint's where None.

    Returns:
        (batch, 2 + patches, width).
    """
    w = {
        name.removeprefix("module.v."): tensor.double() for name, tensor in state.items() if tensor.is_floating_point()
    }
    batch, width = len(features), w["cls_token"].shape[-1]
    heads = width // 64  # DeiT-tiny has 3, small 6, base 12

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = centred.square().mean(dim=-1, keepdim=True)
        return centred / (variance + 1e-6).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    images = features.double().unsqueeze(1).transpose(2, 3)  # (batch, 1, bins, frames)
    patches = F.conv2d(images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=strides)
    special = [w[name].expand(batch, -1, -1) for name in ("cls_token", "dist_token")]
    x = torch.cat([*special, patches.flatten(2).transpose(1, 2)], dim=1)
    x = x + (w["pos_embed"] if positions is None else positions.double())
    for layer in range(sum(name.endswith("attn.qkv.bias") for name in w)):
        block = f"blocks.{layer}"
        qkv = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x))
        q, k, v = qkv.reshape(batch, -1, 3, heads, 64).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(64)).softmax(dim=-1)
        x = x + linear(f"{block}.attn.proj", (weights @ v).transpose(1, 2).reshape(batch, -1, width))
        inner = linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x))
        gelu = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
        x = x + linear(f"{block}.mlp.fc2", gelu)
    return norm("norm", x)
