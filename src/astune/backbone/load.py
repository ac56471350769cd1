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
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import ASTConfig, ASTModel

from astune.backbone.backbone import AUDIOSET_MEAN, AUDIOSET_STD, Backbone, Origin, fingerprint_of, whole_frames
from astune.backbone.hub import at_revision, find_files
from astune.backbone.sites import Sites
from astune.errors import BackboneError, ConfigError, unknown
from astune.features.log_mel import FrontEnd
from astune.json_text import json_value
from astune.names import BUNDLED_BACKBONE, PUBLISHED_BACKBONE

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
_WEIGHTS, _CONFIG, _PREPROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"


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
        if name != BUNDLED_BACKBONE and Path(name).expanduser().is_dir():
            name = str(Path(name).expanduser().resolve())
    fingerprint = fingerprint_of(Sites(model))
    nn.Module.to(model, dtype=torch_dtype)  # transformers' own signature hides torch's from type checkers
    native = Backbone(model, Origin(name, fingerprint, "fit", mean, std))
    return native.fit(native.max_length if length is None else length, position_embeddings).eval()


def load_config(name_or_path: str | Path = BUNDLED_BACKBONE) -> ASTConfig:
    """Configuration of a backbone, without its weights.

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
    return _checked_config(find_files(_source(name), [_CONFIG])[_CONFIG], name)


def load_front_end(name_or_path: str | Path, max_length: int) -> FrontEnd:
    """How audio becomes a backbone's input, known without its weights.

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
    files = find_files(_source(name), [_CONFIG], [_PREPROCESSOR])
    bins = _checked_config(files[_CONFIG], name).num_mel_bins
    return FrontEnd(max_length, bins, *_normalisation(files.get(_PREPROCESSOR)))


def load_classifier(name_or_path: str | Path) -> dict[str, torch.Tensor]:
    """The classification head that a backbone's file has beside the backbone.

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
    path = find_files(_source(name), [_WEIGHTS])[_WEIGHTS]
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key).float() for key in file.keys() if key.startswith("classifier.")}  # noqa: SIM118
    except (SafetensorError, OSError) as fault:
        raise BackboneError(f"{path} cannot be loaded: {fault}") from fault


def _checked_name(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    if name.startswith("random:") and name not in RANDOM_BACKBONES:
        raise BackboneError(unknown("backbone", name, RANDOM_BACKBONES))
    return name


def _source(name: str) -> str:
    return str(BUNDLED_FOLDER) if name == BUNDLED_BACKBONE else name


def _torch_dtype(dtype: str | torch.dtype) -> torch.dtype:
    choices = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    name = str(dtype).removeprefix("torch.")
    if name not in choices:
        raise ConfigError(unknown("dtype", name, choices))
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
    files = find_files(_source(name), [_CONFIG, _WEIGHTS], [_PREPROCESSOR])
    _checked_config(files[_CONFIG], name)
    try:
        with quiet_transformers():
            loaded: Any = ASTModel.from_pretrained(
                files[_WEIGHTS].parent,
                dtype="auto",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as fault:
        raise BackboneError(f"{files[_WEIGHTS]} cannot be loaded: {fault}") from fault
    model, report = loaded
    absent = sorted(map(str, report["missing_keys"]))
    if absent:
        raise BackboneError(
            f"{files[_WEIGHTS]} lacks {len(absent)} of the weights of an Audio Spectrogram Transformer, {absent[0]} among them; "
            "it is cut short or belongs to another architecture"
        )
    unsound = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
    if unsound:
        raise BackboneError(
            f"{files[_WEIGHTS]} is damaged: {len(unsound)} of its tensors hold NaN or infinity, {unsound[0]} among them"
        )
    return model, *_normalisation(files.get(_PREPROCESSOR))


def _normalisation(preprocessor: Path | None) -> tuple[float, float]:
    mean, std = AUDIOSET_MEAN, AUDIOSET_STD
    if preprocessor is None:
        return mean, std
    try:
        front_end: dict[str, Any] = json_value(preprocessor.read_text())
        return float(front_end.get("mean", mean)), float(front_end.get("std", std))
    except (OSError, ValueError, TypeError, AttributeError) as fault:
        raise BackboneError(f"{preprocessor} cannot be read: {fault}") from fault


def _checked_config(path: Path, name: str) -> ASTConfig:
    try:
        model_type = json_value(path.read_text()).get("model_type")
    except (ValueError, AttributeError) as fault:
        raise BackboneError(f"{path} is no readable model configuration: {fault}") from fault
    if model_type != ASTConfig.model_type:
        raise BackboneError(
            f"{name!r} is not an Audio Spectrogram Transformer: {path} says model_type {model_type!r}, not "
            f"{ASTConfig.model_type!r}. Use {PUBLISHED_BACKBONE}, a folder with an AST, or {BUNDLED_BACKBONE}"
        )
    return ASTConfig.from_pretrained(path.parent)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its bars, its list of unused head weights and its remarks on mel filters: what matters of them is checked here."""
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
