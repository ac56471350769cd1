"""The adapter folder: an :class:`astune.adapter.Adapter` on disk.

``adapter_model.safetensors`` holds what was trained, under our own names; ``adapter_config.json`` says what it is and what it fits;
``README.md`` is its model card. About 1 MB for LoRA on AST-base.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from astune.adapter import FORMAT_VERSION, Adapter, AdapterConfig
from astune.backbone.hub import find_files
from astune.backbone.licence import licence_of
from astune.errors import AdapterError, ConfigError, format_faults, validation_faults
from astune.files import replacing_files, save_tensors, write_text
from astune.json_text import json_text, read_object, record_of
from astune.model_card import model_card
from astune.names import ADAPTER_CONFIG, ADAPTER_GRAPH, ADAPTER_WEIGHTS
from astune.tensor_file import TensorFileError, not_finite, read_tensors, stored_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

WEIGHTS, CONFIG, CARD = ADAPTER_WEIGHTS, ADAPTER_CONFIG, "README.md"
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_CARD_MARK = "library_name: astune"
_ANSWERS = {
    "peft_type": "this is an adapter of astune, and not of PEFT. Load it with astune.Predictor(FOLDER), or write one that PEFT "
    "loads with 'astune export FOLDER --format peft -o DIR'",
    "base_model_name_or_path": "this is an adapter of astune, and not a model. Load it with astune.Predictor(FOLDER), or write "
    "a model that transformers loads with 'astune export FOLDER --format transformers -o DIR'",
}
"""What PEFT and transformers show of a folder with PEFT's file names. They take these keys for a registered name and for the place of a
model, find neither, and quote the value; without the keys they end in a bare KeyError. Reading ignores them."""


def write(folder: str | Path, adapter: Adapter, *, overwrite: bool = True) -> None:
    """Write an adapter folder. Until all of it is there, it holds the earlier adapter, or none.

    Args:
        folder: made if it is not there.
        adapter: what is saved.
        overwrite: replace an adapter that is there.

    Raises:
        AdapterError: the adapter holds values that are not finite, or the folder is a file or holds one of the user's under the name
            of one of ours.
        ConfigError: there is an adapter, which ``overwrite`` says to keep.
        DataError: a number among its metrics or settings is not finite.
    """
    folder = Path(folder)
    if not overwrite and (folder / CONFIG).exists():
        raise ConfigError(f"there is an adapter in {folder}; give another folder, or overwrite=True")
    strange = foreign_files(folder)
    if strange:
        raise AdapterError(
            f"{folder} holds a {strange[0]} that is not ours to replace; move it away, or give another folder"
        )
    refuse_unsound(adapter.tensors, "this adapter cannot be saved")
    absent = {name for name in ("negatives", "thresholds") if not getattr(adapter.config, name)}  # as files were before
    record = adapter.config.model_dump(mode="json", exclude=absent) | {"format_version": FORMAT_VERSION} | _ANSWERS
    texts = {
        CARD: model_card(adapter.config, base_license=licence_of(adapter.config.backbone.name_or_path)),
        CONFIG: json_text(record, indent=2, escaped=False) + "\n",
    }
    if folder.exists() and not folder.is_dir():
        raise AdapterError(f"{folder} is a file; give a folder")
    with replacing_files(folder, marks=[CONFIG]) as partial:
        save_tensors(partial / WEIGHTS, adapter.tensors)
        for name, text in texts.items():
            write_text(partial / name, text)


def refuse_unsound(state: Mapping[str, Tensor], headline: str) -> None:
    """Refuse tensors that hold NaN or infinity.

    Args:
        state: tensors by name.
        headline: what cannot be done with them.

    Raises:
        AdapterError: some do, or are of a type that nothing is computed in.
    """
    # The only whole numbers are counters of BatchNorm, one each.
    counters = {name for name, tensor in state.items() if tensor.dtype == torch.int64 and not tensor.ndim}
    others = {name: tensor.dtype for name, tensor in state.items() if name not in counters}
    strange = [f"{name} holds {dtype}" for name, dtype in others.items() if dtype not in _DTYPES]
    if strange:
        raise AdapterError(f"{headline}: {strange[0]}; save it again, in torch.float32")
    names = not_finite(state)
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
        return read_object(path)
    except (OSError, ValueError):
        return {}


def _tensor_names(path: Path) -> list[str]:
    try:
        return list(stored_tensors(path))
    except TensorFileError:
        return []


def read(name_or_path: str | Path) -> Adapter:
    """Read an adapter folder.

    Args:
        name_or_path: the folder, or the hub id of one, also as ``user/name@revision``.

    Returns:
        The adapter.

    Raises:
        AdapterError: files are missing or damaged, hold values that are not finite, or were written by a newer version.
    """
    path = Path(str(name_or_path))  # which may be anything, and is refused below
    if path.suffix == Path(ADAPTER_GRAPH).suffix and path.is_file():
        raise AdapterError(
            f"{name_or_path} is an exported graph, which gives scores of recordings and nothing else: astune.OnnxPredictor and "
            "`astune predict` take it. Give the adapter folder that it was exported from"
        )
    files = find_files(str(name_or_path), [CONFIG, WEIGHTS], error=AdapterError)
    config = read_config(files[CONFIG])
    try:
        tensors = read_tensors(files[WEIGHTS], stored_tensors(files[WEIGHTS]))
    except TensorFileError as fault:
        raise AdapterError(f"{files[WEIGHTS]} is damaged: {fault}") from fault
    refuse_unsound(tensors, f"{files[WEIGHTS]} cannot be used")
    return Adapter(config, tensors, str(name_or_path))


def read_config(path: Path) -> AdapterConfig:
    """Read ``adapter_config.json``.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        AdapterError: it is damaged, or was written by a newer version.
    """
    record = record_of(path, "an adapter's configuration", AdapterError)
    if "peft_type" in record and "format_version" not in record:
        raise AdapterError(
            f"{path.parent} is a folder of PEFT; make it an adapter with `astune import-peft {path.parent} -o ADAPTER`"
        )
    written = record.get("format_version")
    if isinstance(written, int) and written > FORMAT_VERSION:
        raise AdapterError(
            f"{path} has format {written}; astune {version('astune')} reads up to {FORMAT_VERSION}. Upgrade astune"
        )
    try:
        return AdapterConfig.model_validate_json(json_text(record), strict=True)  # strict, and lists become tuples
    except ValidationError as fault:
        faults = format_faults(
            validation_faults(fault, AdapterConfig), f"{path} cannot be used as an adapter's configuration"
        )
        raise AdapterError(faults) from fault


def file_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Size of the adapter file that tensors would fill, without writing it; works on the meta device.

    Args:
        tensors: tensors of an adapter.

    Returns:
        Their bytes; the file adds a header of a few percent.
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
