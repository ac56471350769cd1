"""Published checkpoints, made a backbone folder: the kind of file is recognised, its tensors are checked, and the folder is written.

Each kind is a :class:`astune.backbone.checkpoint_format.CheckpointFormat`. A folder in our format is read like any other, and needs no
pickle afterwards.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import ASTConfig, ASTFeatureExtractor

from astune.architecture import Architecture, patch_grid
from astune.backbone.backbone import AUDIOSET_MEAN, AUDIOSET_STD, Backbone
from astune.backbone.checkpoint_format import CheckpointFormat, EncoderSizes, GivenSizes
from astune.backbone.load import CONFIG, PREPROCESSOR, WEIGHTS, load_backbone, quiet_transformers
from astune.backbone.positions import fit_grid
from astune.backbone.published_ast import AstFormat
from astune.backbone.sites import Sites, empty_model
from astune.backbone.ssast import SsastFormat
from astune.backbone.timm_names import (
    EPSILON,
    HEAD_WIDTH,
    encoder_names,
    first_names,
    in_our_names,
    number_of_layers,
    unusual_shapes,
)
from astune.console import notify
from astune.errors import BackboneError, ConfigError, format_faults
from astune.files import replacing_files, save_tensors, user_path, write_text
from astune.markdown import code
from astune.plurals import enumerated, number_of
from astune.tensor_file import TensorFileError, not_finite, unpickled_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FORMATS: tuple[CheckpointFormat, ...] = (SsastFormat(), AstFormat())
"""The kinds of files that are read; the first one that recognises a file reads it."""

_CARD = "README.md"


@dataclass(frozen=True)
class ImportedBackbone:
    """A backbone, and what is known of the file that it was made from."""

    backbone: Backbone
    """Loaded from the folder that was written."""
    checkpoint: str
    """The kind of file: ``SSAST`` or ``AST``."""
    left_out: list[str]
    """Modules of the file that are not in the folder."""


@dataclass(frozen=True)
class _Checkpoint:
    """What a file has of an encoder, compared with what it must have."""

    format: CheckpointFormat
    tensors: dict[str, Tensor]
    """In float32, under our names; position embeddings are those of the native grid."""
    sizes: EncoderSizes
    left_out: list[str]


def import_backbone(
    file: str | Path,
    folder: str | Path,
    *,
    frequency_stride: int | None = None,
    time_stride: int | None = None,
    max_length: int | None = None,
    overwrite: bool = False,
) -> Backbone:
    """Make a backbone folder of a checkpoint of SSAST or AST, in the format of their authors.

    Strides and length have two meanings. SSAST files state the sizes of the pretraining, and you choose those of the folder. AST files do
    not state their sizes: you describe the file, whose grid of patches stays as it is.

    Args:
        file: what the authors publish or their training code saves, such as ``SSAST-Base-Patch-400.pth`` or
            ``audioset_10_10_0.4593.pth``.
        folder: the folder to write; other files in it stay.
        frequency_stride: step between patches, in mel bins. SSAST: by default that of the authors' fine-tuning, 10 for patches of 16 x 16
            and 128 for frames; the pretraining's is the patch's own height. AST: that of the file; by default the published one that
            fits the number of positions.
        time_stride: step between patches, in frames. SSAST: by default that of the authors' fine-tuning, 10 for patches of 16 x 16 and 1
            for frames; the pretraining's is the patch's own width, and gives fewer tokens. AST: as for ``frequency_stride``.
        max_length: input length in frames of 10 ms. SSAST: the native length of the folder; by default the pretraining's. AST: as for
            ``frequency_stride``.
        overwrite: replace files of the same names that are there.

    Returns:
        The backbone, loaded from the folder.

    Raises:
        BackboneError: the file is not there, is damaged, wants code to be run, or is a checkpoint of neither.
        ConfigError: strides or a length that do not fit the file, or are needed and not given; the folder is a file, or has files of these
            names.
    """
    given = GivenSizes(frequency_stride, time_stride, max_length)
    return import_checkpoint(file, folder, given, overwrite=overwrite).backbone


def import_checkpoint(
    file: str | Path, folder: str | Path, given: GivenSizes, *, overwrite: bool = False
) -> ImportedBackbone:
    """Do what :func:`import_backbone` does, and say what the file was.

    Args:
        file: as of :func:`import_backbone`.
        folder: as of :func:`import_backbone`.
        given: strides and length.
        overwrite: as of :func:`import_backbone`.

    Returns:
        The backbone, and what was read.

    Raises:
        BackboneError: as of :func:`import_backbone`.
        ConfigError: as of :func:`import_backbone`.
    """
    file, folder = user_path(file), user_path(folder)
    _refuse_what_is_there(folder, overwrite)
    found = _read(file, given)
    native, written = found.sizes.native, found.sizes.written
    positions = fit_grid(found.tensors["embeddings.positions"], patch_grid(native)[0], patch_grid(written))
    config = _config(written)
    with torch.device("meta"):
        names = Sites(empty_model(config)).parameter_names()
    tensors = found.tensors | {"embeddings.positions": positions}
    with quiet_transformers():
        extractor = ASTFeatureExtractor(  # type: ignore[no-untyped-call]
            num_mel_bins=written.num_mel_bins, max_length=written.max_length, mean=AUDIOSET_MEAN, std=AUDIOSET_STD
        )
    with replacing_files(folder, marks=[CONFIG]) as partial:
        save_tensors(partial / WEIGHTS, {names[ours]: tensor.contiguous() for ours, tensor in tensors.items()})
        extractor.save_pretrained(partial)
        write_text(partial / _CARD, _card(file, found))
        config.save_pretrained(partial)
        loaded = load_backbone(partial)
    if found.sizes.note:
        notify(found.sizes.note)
    backbone = Backbone(loaded.model, replace(loaded.origin, name=str(folder.resolve()))).eval()
    return ImportedBackbone(backbone, found.format.name, found.left_out)


def _refuse_what_is_there(folder: Path, overwrite: bool) -> None:
    """Refuse to replace what nobody said may be replaced.

    Raises:
        ConfigError: the folder is a file, or holds files of the names that are written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder")
    there = [name for name in (CONFIG, WEIGHTS, PREPROCESSOR, _CARD) if (folder / name).exists()]
    if there and not overwrite:
        raise ConfigError(f"{folder} holds {enumerated(there)}; give another folder, or overwrite=True")


def _read(file: Path, given: GivenSizes) -> _Checkpoint:
    """Read a file and compare it with an encoder of its sizes.

    Raises:
        BackboneError: it is not there, is damaged, or is not of a kind that is read.
        ConfigError: the given sizes cannot be used with it.
    """
    stored = _tensors(file)
    headline = f"{file} cannot be imported"
    kind = next((one for one in FORMATS if one.recognises(stored)), None)
    if kind is None:
        raise BackboneError(f"{headline}: {_unknown(stored)}")
    layers = number_of_layers(stored)
    names = encoder_names(layers)
    wanted = dict.fromkeys([*names, *kind.needed])
    missing = [name for name in wanted if name not in stored]
    surplus = [name for name in stored if name not in wanted and not name.startswith(kind.unused)]
    faults = [f"it lacks {first_names(missing)}"] if missing else []
    faults += [f"it holds {first_names(surplus)}, and no {kind.name} checkpoint does"] if surplus else []
    faults = faults or kind.faults(stored)
    if faults:
        raise BackboneError(format_faults(faults, headline))
    kept, sizes = {name: stored[name] for name in names}, kind.sizes(stored, layers, given)
    faults = unusual_shapes(kept, sizes.native) or [f"{name} holds NaN or infinity" for name in not_finite(kept)]
    if faults:
        raise BackboneError(format_faults(faults, headline))
    return _Checkpoint(kind, in_our_names(kept, layers), sizes, kind.left_out(stored))


def _tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, without the prefix of ``DataParallel``.

    Raises:
        BackboneError: it is not there, is damaged, or has other things than tensors.
    """
    if (file / CONFIG).is_file() or file.suffix == ".safetensors":
        raise BackboneError(
            f"{file} is not a checkpoint of torch.save; a folder with {CONFIG} and {WEIGHTS} is a backbone already: give it as backbone="
        )
    if not file.is_file():
        kinds, examples = (" or ".join(getattr(one, what) for one in FORMATS) for what in ("name", "example"))
        raise BackboneError(f"there is no file {file}; give the path of a checkpoint of {kinds}, such as {examples}")
    try:
        return {name.removeprefix("module."): tensor for name, tensor in unpickled_tensors(file).items()}
    except (TensorFileError, OSError) as fault:
        raise BackboneError(f"{file} cannot be imported: {fault}") from fault


def _unknown(names: Mapping[str, object]) -> str:
    """What the files that are read look like, and what this one has."""
    looks = " or ".join(f"{one.name} (which has {one.own})" for one in FORMATS)
    return f"it is not a checkpoint of {looks}; it has {first_names(list(names)) if names else 'no tensors'}"


def _config(sizes: Architecture) -> ASTConfig:
    """The configuration of transformers for these sizes."""
    config = ASTConfig(
        hidden_size=sizes.hidden_size, num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.hidden_size // HEAD_WIDTH, intermediate_size=sizes.intermediate_size,
        layer_norm_eps=EPSILON, patch_size=sizes.patch_size if isinstance(sizes.patch_size, int) else list(sizes.patch_size),
        frequency_stride=sizes.frequency_stride, time_stride=sizes.time_stride, num_mel_bins=sizes.num_mel_bins,
        max_length=sizes.max_length, dtype=torch.float32,
    )  # fmt: skip
    config.architectures = ["ASTModel"]
    return config


def _card(file: Path, found: _Checkpoint) -> str:
    """The folder's README: where it comes from, what it is, and who can load it."""
    sizes = found.sizes.written
    height, frames = sizes.patch_shape
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    lines = [
        f"# An {found.format.name} backbone\n",
        f"astune made this folder of {code(file.name)} (SHA-256 `{digest}`),",
        f"a checkpoint of {found.format.paper}.",
        "The file does not state a licence; the authors' code is under the BSD 3-Clause licence.\n",
        f"- {number_of(sizes.num_hidden_layers, 'layer')} of width {sizes.hidden_size}",
        *(f"- {fact}" for fact in found.sizes.facts),
        "\n`ASTModel.from_pretrained` of transformers loads this folder too."
        if height == frames
        else "\ntransformers' `ASTModel` has square patches only, so it cannot load this folder. astune can.",
    ]
    return "\n".join(lines) + "\n"
