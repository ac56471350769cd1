"""Load transformers' own ``ASTModel``: from the package, the hub, a local folder, or with seeded random weights.

Whatever the file holds, the model comes back in float32 unless asked otherwise, fitted to the input length, as a
:class:`astune.backbone.backbone.Backbone` that knows where it comes from.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import ASTConfig, ASTModel

from astune.backbone.backbone import AUDIOSET_MEAN, AUDIOSET_STD, Backbone, Origin, fingerprint_of, whole_frames
from astune.backbone.config_file import read_model_config, read_normalisation
from astune.backbone.hub import at_revision, find_files
from astune.backbone.sites import Sites, current_name, empty_model
from astune.errors import BackboneError, ConfigError, format_faults, unknown_choice
from astune.features.log_mel import FrontEnd
from astune.files import local_folder
from astune.names import BUNDLED_BACKBONE
from astune.plurals import number_of
from astune.tensor_file import TensorFileError, not_finite, read_tensors, stored_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astune.backbone.positions import PositionEmbeddings

RANDOM_BACKBONES: dict[str, dict[str, Any]] = {
    "random:base": {},
    "random:small": {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3, "intermediate_size": 768},
    "random:tiny": {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 768},
}
"""Seeded random weights in the shape of the published backbone, of the bundled one, and of a smaller one for tests."""

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
"""Configuration, weights and model card of the bundled backbone, in transformers' own format."""

_RANDOM_SEED = 2312_03694
# Of random positions and tokens: transformers starts them at zero, where no test would notice their loss.
_TOKEN_STD = 0.02
_PREFIX, _HEAD = f"{ASTModel.base_model_prefix}.", "classifier."  # of a model with a head
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
WEIGHTS, CONFIG, PREPROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"
"""The files of a backbone's folder, under transformers' names."""


def load_backbone(
    name_or_path: str | Path = BUNDLED_BACKBONE,
    max_length: int | None = None,
    position_embeddings: PositionEmbeddings = "fit",
    dtype: str | torch.dtype = "float32",
    *,
    revision: str | None = None,
) -> Backbone:
    """Load a backbone and fit it to an input length.

    Args:
        name_or_path: ``bundled``, small and in the package; a hub id, also as ``owner/name@revision``; a local folder (bare model or with
            a classification head, transformers 4 names too); or ``random:base``, ``random:small``, ``random:tiny``.
        max_length: input length in frames of 10 ms; the backbone's own where None.
        position_embeddings: ``"fit"`` keeps the pretrained positions, cut or interpolated; ``"zero"`` sets them all to zero, as the
            paper's code did.
        dtype: of the weights returned, such as ``"float32"`` or ``torch.bfloat16``.
        revision: branch, tag or commit of a hub id.

    Returns:
        The backbone in evaluation mode, taking (batch, max_length, 128); its ``model`` is transformers' ``ASTModel``.

    Raises:
        BackboneError: it cannot be found or reached, or is not an Audio Spectrogram Transformer.
        ConfigError: a value outside of its choices, or a revision of what is on no hub.
    """
    name = _checked_name(at_revision(name_or_path, revision))
    torch_dtype = _torch_dtype(dtype)
    length = None if max_length is None else whole_frames(max_length)  # before the weights are read
    if name in RANDOM_BACKBONES:
        model, mean, std = _random(name), AUDIOSET_MEAN, AUDIOSET_STD
    else:
        model, mean, std = _pretrained(name)
        folder = None if name == BUNDLED_BACKBONE else local_folder(name)
        name = str(folder.resolve()) if folder else name
    fingerprint = fingerprint_of(Sites(model))
    nn.Module.to(model, dtype=torch_dtype)  # transformers' own signature hides torch's from type checkers
    native = Backbone(model, Origin(name, fingerprint, "fit", mean, std))
    return native.fit(native.max_length if length is None else length, position_embeddings).eval()


def load_config(name_or_path: str | Path = BUNDLED_BACKBONE) -> ASTConfig:
    """Load the configuration of a backbone, without its weights.

    Args:
        name_or_path: as for :func:`load_backbone`.

    Returns:
        transformers' configuration, at the backbone's native length.

    Raises:
        BackboneError: it cannot be found, or is not an Audio Spectrogram Transformer.
    """
    name = _checked_name(name_or_path)
    if name in RANDOM_BACKBONES:
        return ASTConfig(**RANDOM_BACKBONES[name])
    return read_model_config(find_files(_source(name), [CONFIG])[CONFIG], name)


def load_front_end(name_or_path: str | Path, max_length: int) -> FrontEnd:
    """Load how audio becomes a backbone's input, without its weights.

    Args:
        name_or_path: as for :func:`load_backbone`.
        max_length: input length in frames of 10 ms.

    Returns:
        The front end that the backbone will have at that length.

    Raises:
        BackboneError: it cannot be found, is not an Audio Spectrogram Transformer, or its preprocessor's configuration cannot be read.
    """
    name = _checked_name(name_or_path)
    if name in RANDOM_BACKBONES:
        return FrontEnd(max_length, load_config(name).num_mel_bins)
    files = find_files(_source(name), [CONFIG], [PREPROCESSOR])
    bins = read_model_config(files[CONFIG], name).num_mel_bins
    return FrontEnd(max_length, bins, *_normalisation(files.get(PREPROCESSOR)))


def load_classifier(name_or_path: str | Path) -> dict[str, torch.Tensor]:
    """Load the classification head that a backbone's file contains.

    Args:
        name_or_path: as for :func:`load_backbone`.

    Returns:
        Tensors as transformers names them, such as ``classifier.dense.weight``; none of a bare backbone.

    Raises:
        BackboneError: the file cannot be found or read.
    """
    name = _checked_name(name_or_path)
    if name in RANDOM_BACKBONES:
        return {}
    path = find_files(_source(name), [WEIGHTS])[WEIGHTS]
    try:
        names = [key for key in stored_tensors(path) if key.startswith(_HEAD)]
        return {key: tensor.float() for key, tensor in read_tensors(path, names).items()}
    except TensorFileError as fault:
        raise BackboneError(f"{path} cannot be loaded: {fault}") from fault


def _checked_name(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    if name.startswith("random:") and name not in RANDOM_BACKBONES:
        raise BackboneError(unknown_choice("backbone", name, RANDOM_BACKBONES))
    return name


def _source(name: str) -> str:
    return str(BUNDLED_FOLDER) if name == BUNDLED_BACKBONE else name


def _torch_dtype(dtype: str | torch.dtype) -> torch.dtype:
    choices = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    name = str(dtype).removeprefix("torch.")
    if name not in choices:
        raise ConfigError(unknown_choice("dtype", name, choices))
    return choices[name]


def _random(size: str) -> ASTModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        model = ASTModel(ASTConfig(**RANDOM_BACKBONES[size]))
        parameters = Sites(model).parameters()
        for name in ("embeddings.cls", "embeddings.distillation", "embeddings.positions"):
            torch.nn.init.normal_(parameters[name], std=_TOKEN_STD)
    return model


def _pretrained(name: str) -> tuple[ASTModel, float, float]:
    files = find_files(_source(name), [CONFIG, WEIGHTS], [PREPROCESSOR])
    config = read_model_config(files[CONFIG], name)
    normalisation = _normalisation(files.get(PREPROCESSOR))
    try:
        return _model(config, files[WEIGHTS]), *normalisation
    except TensorFileError as fault:
        raise BackboneError(f"{files[WEIGHTS]} cannot be loaded: {fault}") from fault


def _model(config: ASTConfig, path: Path) -> ASTModel:
    """A model with the weights of a file, of the type that transformers gives them: the configuration's, else the first's.

    Raises:
        BackboneError: weights are missing, of another shape, or not finite.
        TensorFileError: the file is damaged.
    """
    stored = stored_tensors(path)
    theirs = {current_name(name.removeprefix(_PREFIX)): name for name in stored if not name.startswith(_HEAD)}
    with torch.device("meta"):  # sizes alone: the file is to be compared with them before there is memory for them
        model = empty_model(config)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    _refuse_other_weights({ours: stored[name].shape for ours, name in theirs.items()}, shapes, config, path)
    dtype = config.dtype or _TYPES[next(one.dtype for one in stored.values() if one.dtype in _TYPES)]
    values = read_tensors(path, [theirs[name] for name in shapes])
    state = {name: values[theirs[name]].to(dtype) for name in shapes}
    damaged = not_finite(state)
    if damaged:
        raise BackboneError(
            f"{path} is damaged: {len(damaged)} of its tensors hold NaN or infinity, {damaged[0]} among them"
        )
    model.load_state_dict(state, assign=True)
    return model


def _refuse_other_weights(
    found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]], config: ASTConfig, path: Path
) -> None:
    """Compare shapes by name; what the file has beside a backbone, such as a head, is its own business.

    Raises:
        BackboneError: some are missing, of another shape, or of layers that the configuration does not have.
    """
    absent = [name for name in wanted if name not in found]
    if absent:
        raise BackboneError(
            f"{path} lacks {len(absent)} of the weights of an Audio Spectrogram Transformer, {absent[0]} among them; "
            "it is cut short or belongs to another architecture"
        )
    other = [
        f"{name} has the shape {found[name]}, not {shape}" for name, shape in wanted.items() if found[name] != shape
    ]
    layers = number_of(config.num_hidden_layers, "layer")
    other += [
        f"{name} is of a layer beyond the {layers}"
        for name in found
        if name.startswith("layers.") and name not in wanted
    ]
    if other:
        raise BackboneError(format_faults(other, f"{path} does not fit {path.with_name(CONFIG)}"))


def _normalisation(preprocessor: Path | None) -> tuple[float, float]:
    return (AUDIOSET_MEAN, AUDIOSET_STD) if preprocessor is None else read_normalisation(preprocessor)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and its warnings about unused weights and mel filters, which are checked here instead."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
