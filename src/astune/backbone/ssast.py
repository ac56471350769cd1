"""SSAST: Self-Supervised Audio Spectrogram Transformer (Gong et al., 2022, arXiv 2110.09784), made a backbone folder.

Its authors publish what ``torch.save`` wrote of their pretraining model: timm's DeiT with a distillation token under ``v.``, the heads
of the pretraining, and the size of its input. The encoder is AST's, with LayerNorms of epsilon 1e-6. Its patches are 16 x 16, or 128 x 2,
which are whole frames. Two things change on the way. Queries, keys and values are one matrix in timm and three here. And the strides of
the patches may become smaller, for which the position embeddings are fitted as the authors do it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import ASTConfig, ASTFeatureExtractor

from astune.architecture import SPECIAL_TOKENS, Architecture, patch_grid
from astune.backbone.backbone import AUDIOSET_MEAN, AUDIOSET_STD, Backbone, whole_frames
from astune.backbone.load import CONFIG, PREPROCESSOR, WEIGHTS, load_backbone, quiet_transformers
from astune.backbone.positions import fit_grid
from astune.backbone.sites import Sites, empty_model
from astune.errors import BackboneError, ConfigError, format_faults, shorten
from astune.files import replacing_files, save_tensors, user_path, write_text
from astune.markdown import code
from astune.names import LONGEST_INPUT, MOST_MEL_BINS
from astune.plurals import number_of
from astune.tensor_file import TensorFileError, not_finite, unpickled_tensors
from astune.validated import fits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FINE_TUNING_STRIDES = {(16, 16): (10, 10), (128, 2): (128, 1)}
"""Strides along frequency and time at which the authors fine-tune, by the mel bins and frames of the patches that they published."""

_HEAD_WIDTH = 64  # of every DeiT; the file does not say it
_EPSILON = 1e-6  # of timm's LayerNorms; the file does not say it
_INPUT = ("p_input_fdim", "p_input_tdim")  # mel bins and frames of the pretraining's input
_PRETRAINING = ("mask_embed", "cpredlayer.", "gpredlayer.", "v.head.", "v.head_dist.")
"""Beginnings of the names that only the pretraining used, and timm's heads of 1,000 images, which nothing used."""
_BLOCK = re.compile(r"v\.blocks\.(\d{1,3})\..+")
_OUTSIDE = {  # ours, timm's
    "embeddings.cls": "v.cls_token",
    "embeddings.distillation": "v.dist_token",
    "embeddings.positions": "v.pos_embed",
    "embeddings.patches.weight": "v.patch_embed.proj.weight",
    "embeddings.patches.bias": "v.patch_embed.proj.bias",
    "norm.weight": "v.norm.weight",
    "norm.bias": "v.norm.bias",
}
_INSIDE = {"mhsa.norm": "norm1", "mhsa.o": "attn.proj", "ffn.norm": "norm2", "ffn.w1": "mlp.fc1", "ffn.w2": "mlp.fc2"}
_FUSED = "attn.qkv"
_KINDS = ("weight", "bias")
_CARD = "README.md"
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class _Checkpoint:
    """What a file holds of an encoder, compared with what it has to hold."""

    tensors: dict[str, Tensor]
    """In float32, under our names; position embeddings are those of the pretraining's grid."""
    native: Architecture
    """Sizes as pretrained, where patches did not overlap."""


def import_backbone(
    file: str | Path,
    folder: str | Path,
    *,
    frequency_stride: int | None = None,
    time_stride: int | None = None,
    max_length: int | None = None,
    overwrite: bool = False,
) -> Backbone:
    """Make a backbone folder of a published SSAST checkpoint.

    Args:
        file: what the authors publish, such as ``SSAST-Base-Patch-400.pth``.
        folder: the folder to write; other files in it stay.
        frequency_stride: step between patches, in mel bins; by default that of the authors' fine-tuning, 10 for patches of 16 x 16 and 128
            for frames. The pretraining's is the patch's own height.
        time_stride: step between patches, in frames; by default that of the authors' fine-tuning, 10 for patches of 16 x 16 and 1 for
            frames. The pretraining's is the patch's own width, and gives fewer tokens.
        max_length: native input length of the folder, in frames of 10 ms; by default the pretraining's.
        overwrite: replace files of the same names that are there.

    Returns:
        The backbone, loaded from the folder.

    Raises:
        BackboneError: the file is not there, is damaged, wants code to be run, or is not an SSAST checkpoint.
        ConfigError: strides or a length that do not fit the patches, or the folder is a file, or holds files of these names.
    """
    file, folder = user_path(file), user_path(folder)
    _refuse_what_is_there(folder, overwrite)
    found = _read(file)
    sizes = _at_strides(found.native, frequency_stride, time_stride)
    sizes = replace(sizes, max_length=sizes.max_length if max_length is None else whole_frames(max_length))
    rows, _ = patch_grid(found.native)
    table = fit_grid(found.tensors["embeddings.positions"], rows, patch_grid(sizes))
    config = _config(sizes)
    with torch.device("meta"):
        names = Sites(empty_model(config)).parameter_names()
    tensors = found.tensors | {"embeddings.positions": table}
    with quiet_transformers():
        extractor = ASTFeatureExtractor(  # type: ignore[no-untyped-call]
            num_mel_bins=sizes.num_mel_bins, max_length=sizes.max_length, mean=AUDIOSET_MEAN, std=AUDIOSET_STD
        )
    with replacing_files(folder, marks=[CONFIG]) as partial:
        save_tensors(partial / WEIGHTS, {names[ours]: tensor.contiguous() for ours, tensor in tensors.items()})
        extractor.save_pretrained(partial)
        write_text(partial / _CARD, _card(file, found.native, sizes))
        config.save_pretrained(partial)
        loaded = load_backbone(partial)
    return Backbone(loaded.model, replace(loaded.origin, name=str(folder.resolve()))).eval()


def _refuse_what_is_there(folder: Path, overwrite: bool) -> None:
    """Refuse to replace what nobody said may be replaced.

    Raises:
        ConfigError: the folder is a file, or holds files of the names that are written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder")
    there = [name for name in (CONFIG, WEIGHTS, PREPROCESSOR, _CARD) if (folder / name).exists()]
    if there and not overwrite:
        raise ConfigError(f"{folder} holds {' and '.join(there)}; give another folder, or overwrite=True")


def _read(file: Path) -> _Checkpoint:
    """Read a file and compare it with an encoder of its sizes.

    Raises:
        BackboneError: it is not there, is damaged, or is not an SSAST checkpoint.
    """
    if (file / CONFIG).is_file() or file.suffix == ".safetensors":
        raise BackboneError(
            f"{file} is not a checkpoint of torch.save; a folder with {CONFIG} and {WEIGHTS} is a backbone already: give it as backbone="
        )
    if not file.is_file():
        raise BackboneError(
            f"there is no file {file}; give the path of an SSAST checkpoint, such as SSAST-Base-Patch-400.pth"
        )
    headline = f"{file} cannot be imported"
    try:
        stored = {name.removeprefix("module."): tensor for name, tensor in unpickled_tensors(file).items()}
    except (TensorFileError, OSError) as fault:
        raise BackboneError(f"{headline}: {fault}") from fault
    depth = 1 + max((int(found[1]) for name in stored if (found := _BLOCK.fullmatch(name))), default=0)
    names = _names(depth)
    wanted = {*names, *_INPUT}
    missing = [name for name in names if name not in stored] + [name for name in _INPUT if name not in stored]
    surplus = [name for name in stored if name not in wanted and not name.startswith(_PRETRAINING)]
    faults = [f"it lacks {_listed(missing)}"] if missing else []
    faults += [f"it holds {_listed(surplus)}, and no SSAST checkpoint does"] if surplus else []
    if faults:
        raise BackboneError(format_faults(faults, headline))
    kept = {name: stored[name] for name in names}
    faults = _strange_input(stored) or _other_shapes(kept, _sizes(stored, depth)) or [
        f"{name} holds NaN or infinity" for name in not_finite(kept)
    ]  # fmt: skip
    if faults:
        raise BackboneError(format_faults(faults, headline))
    return _Checkpoint(_translated(kept, depth), _sizes(stored, depth))


def _listed(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {number_of(len(names) - _SHOWN, 'more tensor')}" if len(names) > _SHOWN else ""
    return f"{', '.join(map(shorten, names[:_SHOWN]))}{more}"


def _names(depth: int) -> list[str]:
    """The names of an encoder's tensors in timm."""
    inside = [*_INSIDE.values(), _FUSED]
    blocks = [f"v.blocks.{layer}.{part}.{kind}" for layer in range(depth) for part in inside for kind in _KINDS]
    return [*_OUTSIDE.values(), *blocks]


def _strange_input(stored: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with the two numbers, and with the tensors that other sizes are read from."""
    faults = []
    for name, most in zip(_INPUT, (MOST_MEL_BINS, LONGEST_INPUT), strict=True):
        one = stored[name]
        if one.dim() or one.is_floating_point() or one.is_complex() or not 1 <= int(one) <= most:
            faults.append(f"{name} is not a whole number from 1 to {most}")
    patches, inner = stored["v.patch_embed.proj.weight"], stored["v.blocks.0.mlp.fc1.weight"]
    if patches.dim() != 4 or inner.dim() != 2 or not patches.numel():
        faults.append(
            f"v.patch_embed.proj.weight and v.blocks.0.mlp.fc1.weight have the shapes {tuple(patches.shape)} and {tuple(inner.shape)}, "
            "which are not those of patches and of a matrix"
        )
    elif patches.shape[0] % _HEAD_WIDTH:
        faults.append(
            f"it is {patches.shape[0]} wide, and the width of a DeiT is a multiple of {_HEAD_WIDTH}, the width of its heads"
        )
    elif not faults and any(
        side > size for side, size in zip(patches.shape[2:], (int(stored[name]) for name in _INPUT), strict=True)
    ):
        faults.append(f"its patches of {tuple(patches.shape[2:])} are larger than the input of its pretraining")
    return faults


def _sizes(stored: Mapping[str, Tensor], depth: int) -> Architecture:
    width, _, height, frames = stored["v.patch_embed.proj.weight"].shape
    bins, length = (int(stored[name]) for name in _INPUT)
    return Architecture(
        hidden_size=width, num_hidden_layers=depth, intermediate_size=len(stored["v.blocks.0.mlp.fc1.weight"]),
        patch_size=height if height == frames else (height, frames), frequency_stride=height, time_stride=frames,
        num_mel_bins=bins, max_length=length,
    )  # fmt: skip


def _other_shapes(kept: Mapping[str, Tensor], sizes: Architecture) -> list[str]:
    """Tensors of other shapes than those of an encoder of these sizes, or of no floating point numbers."""
    width, inner, (rows, columns) = sizes.hidden_size, sizes.intermediate_size, patch_grid(sizes)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kept, (width,)) | {
        "v.cls_token": (1, 1, width), "v.dist_token": (1, 1, width), "v.pos_embed": (1, SPECIAL_TOKENS + rows * columns, width),
        "v.patch_embed.proj.weight": (width, 1, *sizes.patch_shape),
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


def _translated(kept: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """The tensors under our names, in float32; of queries, keys and values a matrix each."""
    found = {ours: kept[theirs] for ours, theirs in _OUTSIDE.items()}
    for layer in range(depth):
        for kind in _KINDS:
            block = f"v.blocks.{layer}"
            found |= {f"layers.{layer}.{ours}.{kind}": kept[f"{block}.{part}.{kind}"] for ours, part in _INSIDE.items()}
            parts = kept[f"{block}.{_FUSED}.{kind}"].chunk(3)
            found |= {f"layers.{layer}.mhsa.{ours}.{kind}": one for ours, one in zip("qkv", parts, strict=True)}
    return {ours: tensor.float() for ours, tensor in found.items()}


def _at_strides(native: Architecture, frequency_stride: int | None, time_stride: int | None) -> Architecture:
    """The sizes at the strides asked for, or at those of the authors' fine-tuning.

    Raises:
        ConfigError: a stride that is no whole number, or that leaves a part of the input out.
    """
    defaults = FINE_TUNING_STRIDES.get(native.patch_shape, native.patch_shape)
    strides = [
        own if given is None else given
        for given, own in zip((frequency_stride, time_stride), defaults, strict=True)
    ]  # fmt: skip
    faults = [
        f"{name}={stride!r}: give a whole number from 1 to {side}, the patch's size"
        for name, stride, side in zip(("frequency_stride", "time_stride"), strides, native.patch_shape, strict=True)
        if not fits(stride, int) or not 1 <= stride <= side
    ]
    if faults:
        raise ConfigError(format_faults(faults, "these strides cannot be used"))
    return replace(native, frequency_stride=int(strides[0]), time_stride=int(strides[1]))


def _config(sizes: Architecture) -> ASTConfig:
    """The configuration of transformers for these sizes."""
    config = ASTConfig(
        hidden_size=sizes.hidden_size, num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.hidden_size // _HEAD_WIDTH, intermediate_size=sizes.intermediate_size,
        layer_norm_eps=_EPSILON, patch_size=sizes.patch_size if isinstance(sizes.patch_size, int) else list(sizes.patch_size),
        frequency_stride=sizes.frequency_stride, time_stride=sizes.time_stride, num_mel_bins=sizes.num_mel_bins,
        max_length=sizes.max_length, dtype=torch.float32,
    )  # fmt: skip
    config.architectures = ["ASTModel"]
    return config


def _card(file: Path, native: Architecture, sizes: Architecture) -> str:
    """The folder's README: where it comes from, what it is, and who can load it."""
    (height, frames), (rows, columns) = sizes.patch_shape, patch_grid(sizes)
    square = height == frames
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    own = native.patch_shape == (sizes.frequency_stride, sizes.time_stride) and native.max_length == sizes.max_length
    lines = [
        "# An SSAST backbone\n",
        f"astune made this folder of {code(file.name)} (SHA-256 `{digest}`),",
        "a checkpoint of SSAST: Self-Supervised Audio Spectrogram Transformer (Gong, Lai, Chung, Glass, 2022, arXiv 2110.09784).",
        "The file does not state a licence; the authors' code is under the BSD 3-Clause licence.\n",
        f"- {number_of(sizes.num_hidden_layers, 'layer')} of width {sizes.hidden_size}",
        f"- patches of {height} mel bins x {frames} frames, pretrained without overlap on {native.max_length} frames",
        f"- strides of {sizes.frequency_stride} mel bins and {sizes.time_stride} frames: {rows} x {columns} patches of an input of "
        f"{sizes.max_length} frames",
        f"- position embeddings {'as pretrained' if own else 'cut or interpolated from the pretrained ones'}",
        "- inputs normalised as in the pretraining\n",
        "`ASTModel.from_pretrained` of transformers loads this folder too."
        if square
        else "transformers' `ASTModel` has square patches only, so it cannot load this folder. astune can.",
    ]
    return "\n".join(lines) + "\n"
