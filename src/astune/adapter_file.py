"""The adapter folder: everything one task needs beside the backbone.

``adapter_model.safetensors`` holds what was trained, under our own names; ``adapter_config.json`` says what it is and what it fits;
``README.md`` is its model card. About 1 MB for LoRA on AST-base.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from astune.backbone import origin_of
from astune.backbone.hub import find_files
from astune.data.labels import label_faults
from astune.environment import versions
from astune.errors import AdapterError, unknown
from astune.features.log_mel import FrontEnd
from astune.files import save_tensors, write_text
from astune.json_text import json_text
from astune.methods import Method
from astune.methods.registry import method_from_record, method_record
from astune.model_card import model_card

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor
    from transformers import ASTModel

    from astune.classifier import AudioClassifier

WEIGHTS, CONFIG, CARD = "adapter_model.safetensors", "adapter_config.json", "README.md"
FORMAT_VERSION = 1
_FAULTS_SHOWN = 3
_ABOUT = ("training", "metrics")  # entries of the configuration that callers give
_CARD_MARK = "library_name: astune"


class BackboneReference(BaseModel):
    """Which backbone an adapter was trained on."""

    model_config = ConfigDict(frozen=True)

    name_or_path: str
    fingerprint: str
    """See :func:`astune.backbone.load.fingerprint_of`."""


class AdapterConfig(BaseModel):
    """``adapter_config.json``."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")  # else they would silently become null

    format_version: int
    spec: str
    """The method for people; :meth:`read_method` reads the record below, in which no default is left out."""
    method: list[dict[str, Any]]
    backbone: BackboneReference
    labels: tuple[str, ...]
    pooling: Literal["all", "cls"]
    position_embeddings: Literal["fit", "zero"]
    front_end: FrontEnd
    compute_dtype: str
    """Of the products while training: float32 or bfloat16. The file is float32."""
    trainable_parameters: int
    """As the paper counts them."""
    training: dict[str, Any] = {}
    """Data, fold, seed and every number of the recipe."""
    metrics: dict[str, Any] = {}
    """Scores by split."""
    versions: dict[str, str] = {}

    @field_validator("labels")
    @classmethod
    def _can_be_shown(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Labels from elsewhere are shown and served like one's own.

        Raises:
            ValueError: fewer than two, the same twice, or not as they can be shown.
        """
        faults = label_faults(labels, outer_spaces=True)
        if faults:
            raise ValueError("; ".join(faults[:_FAULTS_SHOWN]))
        return labels

    def read_method(self) -> Method:
        """The method.

        Raises:
            AdapterError: this version does not know it.
        """
        try:
            return method_from_record(self.method)
        except ValueError as fault:
            raise AdapterError(f"the adapter's method is not known to astune {version('astune')}: {fault}") from fault


def write(folder: str | Path, model: AudioClassifier, *, compute_dtype: str = "float32", **about: Any) -> None:
    """Write an adapter folder; each file appears whole or not at all, the configuration last.

    Args:
        folder: made if it is not there.
        model: what is saved.
        compute_dtype: of training.
        about: ``training`` and ``metrics``, see :class:`AdapterConfig`; a confusion matrix among the metrics stays out, because it may
            be many times as large as the weights. It is in ``results.json``.

    Raises:
        AdapterError: what is saved holds values that are not finite, the folder is a file or holds one of the user's under the name of
            one of ours, or ``about`` has an entry of another name.
        DataError: a number among what is said about it is not finite.
    """
    folder = Path(folder)
    strange = foreign_files(folder)
    if strange:
        raise AdapterError(
            f"{folder} holds a {strange[0]} that is not ours to replace; move it away, or give another folder"
        )
    state = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in model.adapter_state().items()
    }
    refuse_unsound(state, "this adapter cannot be saved")
    unexpected = about.keys() - _ABOUT
    if unexpected:
        raise AdapterError(unknown("entry", min(unexpected), _ABOUT))
    about["metrics"] = {split: _figures(scores) for split, scores in about.get("metrics", {}).items()}
    config = AdapterConfig(
        format_version=FORMAT_VERSION,
        spec=model.method.spec,
        method=method_record(model.method),
        backbone=BackboneReference(name_or_path=model.origin.name, fingerprint=model.origin.fingerprint),
        labels=model.labels,
        pooling=model.pooling,
        position_embeddings=model.origin.position_embeddings,
        front_end=model.front_end,
        compute_dtype=compute_dtype,
        trainable_parameters=model.parameter_count(),
        versions=versions(),
        **about,
    )
    texts = {
        CARD: model_card(config),
        CONFIG: json_text(config.model_dump(mode="json"), indent=2, escaped=False) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as fault:
        raise AdapterError(f"{folder} is a file; give a folder") from fault
    save_tensors(folder / WEIGHTS, state)
    for name, text in texts.items():
        write_text(folder / name, text)


def _figures(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if name != "confusion"}


def unsound(state: Mapping[str, Tensor]) -> list[str]:
    """Tensors that hold NaN or infinity.

    Args:
        state: tensors by name.

    Returns:
        Their names.
    """
    return [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]


def refuse_unsound(state: Mapping[str, Tensor], headline: str) -> None:
    """Refuse tensors that hold NaN or infinity.

    Args:
        state: tensors by name.
        headline: what cannot be done with them.

    Raises:
        AdapterError: some do.
    """
    names = unsound(state)
    if names:
        many = f"{len(names)} of {len(state)} tensors hold values that are not finite (NaN or infinity), {names[0]} among them"
        raise AdapterError(f"{headline}: {many}. Train it again, with a lower learning rate if training diverged")


def foreign_files(folder: Path) -> list[str]:
    """Files under the names of an adapter's that astune did not write: a README of the user's, PEFT's ``adapter_config.json``.

    Args:
        folder: which need not exist.

    Returns:
        Their names.
    """
    card, config, weights = (folder / name for name in (CARD, CONFIG, WEIGHTS))
    strange = [card.name] if card.exists() and _CARD_MARK not in _text(card) else []
    if config.exists() and not {"format_version", "spec"} <= set(_record(config)):
        strange.append(config.name)
    if weights.exists() and not config.exists() and "head.weight" not in _tensor_names(weights):
        strange.append(weights.name)
    return strange


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_text(path)))
    except (ValueError, TypeError):
        return {}


def _tensor_names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError):
        return []


def read(name_or_path: str | Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Read an adapter folder.

    Args:
        name_or_path: the folder, or the hub id of one.

    Returns:
        Configuration and tensors.

    Raises:
        AdapterError: files are missing or damaged, hold values that are not finite, or were written by a newer version.
    """
    files = find_files(str(name_or_path), [CONFIG, WEIGHTS], error=AdapterError)
    config = read_config(files[CONFIG])
    try:
        state = load_file(files[WEIGHTS])
    except (SafetensorError, OSError) as fault:
        raise AdapterError(f"{files[WEIGHTS]} is damaged: {fault}") from fault
    refuse_unsound(state, f"{files[WEIGHTS]} cannot be used")
    return config, state


def read_config(path: Path) -> AdapterConfig:
    """Read ``adapter_config.json``.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        AdapterError: it is damaged, or was written by a newer version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))  # as editors of Windows save it
        written = int(record["format_version"])
        if written > FORMAT_VERSION:
            raise AdapterError(
                f"{path} has format {written}; astune {version('astune')} reads up to {FORMAT_VERSION}. Upgrade astune"
            )
        return AdapterConfig(**record)
    except (ValueError, KeyError, TypeError) as fault:
        if isinstance(fault, ValidationError):
            fault = ValueError(
                "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in fault.errors())
            )
        raise AdapterError(f"{path} is no adapter configuration of astune's: {fault}") from fault


def check_backbone(config: AdapterConfig, backbone: ASTModel, adapter: str) -> None:
    """Refuse a backbone the adapter was not trained on.

    Args:
        config: of the adapter.
        backbone: the candidate, fitted to a length.
        adapter: name of the adapter, for messages.

    Raises:
        AdapterError: other weights, another length or another position setting.
    """
    origin = origin_of(backbone)
    if origin.fingerprint != config.backbone.fingerprint:
        raise AdapterError(
            f"{adapter} was trained on the backbone {config.backbone.name_or_path} (fingerprint "
            f"{config.backbone.fingerprint[:12]}), and {origin.name} is another ({origin.fingerprint[:12]}); an adapter means "
            "nothing on other weights. Give the right one as backbone"
        )
    if origin.position_embeddings != config.position_embeddings:
        raise AdapterError(
            f"{adapter} was trained with position_embeddings={config.position_embeddings}; the backbone given has "
            f"{origin.position_embeddings}"
        )
    if backbone.config.max_length != config.front_end.max_length:
        raise AdapterError(
            f"{adapter} takes {config.front_end.max_length} frames; the backbone given was loaded for {backbone.config.max_length}"
        )


def file_bytes(model: AudioClassifier) -> int:
    """Size of the adapter file a classifier would write, without writing it; works on the meta device.

    Args:
        model: a classifier.

    Returns:
        Bytes of its tensors; the file adds a header of a few percent.
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in model.adapter_state().values())
