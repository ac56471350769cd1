"""timm's DeiT with a distillation token, the encoder of SSAST's and AST's authors: its names, its shapes, and its tensors under our names.

Both keep it under ``v.`` with LayerNorms of epsilon 1e-6. Queries, keys and values are one matrix in timm, and three here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astune.architecture import SPECIAL_TOKENS, Architecture, patch_grid
from astune.errors import shorten
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

HEAD_WIDTH = 64
"""Width of a head of every DeiT; no file states it."""

EPSILON = 1e-6
"""Epsilon of timm's LayerNorms; no file states it."""

POSITIONS, PATCHES, INNER = "v.pos_embed", "v.patch_embed.proj.weight", "v.blocks.0.mlp.fc1.weight"
"""The tensors that sizes are read from."""

IMAGE_HEADS = ("v.head.", "v.head_dist.")
"""Beginnings of the names of timm's two classifiers of 1,000 images, which audio models never use."""

_BLOCK = re.compile(r"v\.blocks\.(\d{1,3})\..+")
_OUTSIDE = {  # ours, timm's
    "embeddings.cls": "v.cls_token",
    "embeddings.distillation": "v.dist_token",
    "embeddings.positions": POSITIONS,
    "embeddings.patches.weight": PATCHES,
    "embeddings.patches.bias": "v.patch_embed.proj.bias",
    "norm.weight": "v.norm.weight",
    "norm.bias": "v.norm.bias",
}
_INSIDE = {"mhsa.norm": "norm1", "mhsa.o": "attn.proj", "ffn.norm": "norm2", "ffn.w1": "mlp.fc1", "ffn.w2": "mlp.fc2"}
_FUSED = "attn.qkv"
_KINDS = ("weight", "bias")
_SHOWN = 5  # names in a message


def number_of_layers(names: Mapping[str, object]) -> int:
    """Count the layers that the names of a checkpoint have.

    Args:
        names: of all tensors.

    Returns:
        One more than the highest number of a block; 1 where there is no block.
    """
    return 1 + max((int(found[1]) for name in names if (found := _BLOCK.fullmatch(name))), default=0)


def encoder_names(layers: int) -> list[str]:
    """The names of an encoder's tensors in timm.

    Args:
        layers: number of blocks.
    """
    inside = [*_INSIDE.values(), _FUSED]
    blocks = [f"v.blocks.{layer}.{part}.{kind}" for layer in range(layers) for part in inside for kind in _KINDS]
    return [*_OUTSIDE.values(), *blocks]


def first_names(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are.

    Args:
        names: of tensors, from any file.

    Returns:
        Such as ``v.cls_token, v.dist_token and 3 more tensors``.
    """
    more = f" and {number_of(len(names) - _SHOWN, 'more tensor')}" if len(names) > _SHOWN else ""
    return f"{', '.join(map(shorten, names[:_SHOWN]))}{more}"


def unusual_sizes(stored: Mapping[str, Tensor]) -> list[str]:
    """Compare the tensors that sizes are read from with those of a DeiT.

    Args:
        stored: all tensors of an encoder.

    Returns:
        What is wrong; if nothing is, width, patches and feed-forward size can be read.
    """
    patches, inner = stored[PATCHES], stored[INNER]
    if patches.dim() != 4 or inner.dim() != 2 or not patches.numel():
        return [
            f"{PATCHES} and {INNER} have the shapes {tuple(patches.shape)} and {tuple(inner.shape)}, "
            "which are not those of patches and of a matrix"
        ]
    if patches.shape[0] % HEAD_WIDTH:
        return [
            f"it is {patches.shape[0]} wide, and the width of a DeiT is a multiple of {HEAD_WIDTH}, the width of its heads"
        ]
    return []


def unusual_shapes(kept: Mapping[str, Tensor], sizes: Architecture) -> list[str]:
    """Compare every tensor with those of an encoder of the same sizes.

    Args:
        kept: the encoder's tensors, under timm's names.
        sizes: of the encoder.

    Returns:
        Tensors of other shapes, and tensors that hold no floating point numbers.
    """
    width, inner, (rows, columns) = sizes.hidden_size, sizes.intermediate_size, patch_grid(sizes)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kept, (width,)) | {
        "v.cls_token": (1, 1, width), "v.dist_token": (1, 1, width), POSITIONS: (1, SPECIAL_TOKENS + rows * columns, width),
        PATCHES: (width, 1, *sizes.patch_shape),
    }  # fmt: skip
    for layer in range(sizes.num_hidden_layers):
        block = f"v.blocks.{layer}."
        shapes |= {f"{block}{_FUSED}.weight": (3 * width, width), f"{block}{_FUSED}.bias": (3 * width,)}
        shapes |= {f"{block}attn.proj.weight": (width, width), f"{block}mlp.fc1.weight": (inner, width)}
        shapes |= {f"{block}mlp.fc1.bias": (inner,), f"{block}mlp.fc2.weight": (width, inner)}
    faults = [
        f"{name} has the shape {tuple(tensor.shape)}, not {shapes[name]}"
        for name, tensor in kept.items()
        if tuple(tensor.shape) != shapes[name]
    ]
    strange = [name for name, tensor in kept.items() if not tensor.is_floating_point()]
    return faults + [
        f"{name} holds {kept[name].dtype}, which is not a type of floating point numbers" for name in strange
    ]


def in_our_names(kept: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Translate the names of an encoder's tensors.

    Args:
        kept: the encoder's tensors, under timm's names.
        layers: number of blocks.

    Returns:
        Them under our names, in float32; queries, keys and values have a matrix each.
    """
    found = {ours: kept[theirs] for ours, theirs in _OUTSIDE.items()}
    for layer in range(layers):
        for kind in _KINDS:
            block = f"v.blocks.{layer}"
            found |= {f"layers.{layer}.{ours}.{kind}": kept[f"{block}.{part}.{kind}"] for ours, part in _INSIDE.items()}
            parts = kept[f"{block}.{_FUSED}.{kind}"].chunk(3)
            found |= {f"layers.{layer}.mhsa.{ours}.{kind}": one for ours, one in zip("qkv", parts, strict=True)}
    return {ours: tensor.float() for ours, tensor in found.items()}
