"""The files of a PEFT folder, with limits: its configuration, its tensors, and the record that an export of astune adds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import Tensor

from astune.adapter_file import refuse_unsound
from astune.adapter_rules import Labels, Line, TaskKey
from astune.errors import AdapterError, format_faults, shorten
from astune.json_text import record_of
from astune.names import LONGEST_INPUT, Pooling
from astune.patterns import compile_pattern
from astune.tensor_file import TensorFileError, read_tensors, stored_tensors, unpickled_tensors
from astune.validated import FileContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import regex

CONFIG, WEIGHTS, FORMER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
_READ = frozenset((
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout",
    "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "target_modules", "task_type", "use_dora", "use_rslora",
))  # fmt: skip
"""Fields of PEFT's configuration that are read, or that describe the tensors in the file."""
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # the others change the backbone's weights too
_LONGEST_PATTERN, _MOST_REPEATS, _MOST_GROUPS = 300, 2, 4
_Alpha = Annotated[float, Field(gt=0, le=1e9)]


class PeftConfig(FileContent):
    """What is read of PEFT's ``adapter_config.json``."""

    base_model_name_or_path: Line | None = None
    revision: Line | None = None
    lora_alpha: _Alpha = 8
    alpha_pattern: dict[str, _Alpha] | None = Field(None, max_length=1_000)
    """Alpha of modules, by a regular expression that matches the end of their names."""
    use_rslora: bool | None = None
    use_dora: bool | None = None
    peft_version: Line = ""

    def alphas(self, path: Path) -> list[tuple[Callable[[str], object], float]]:
        """The patterns, as functions that say whether a module has the pattern's value.

        Args:
            path: the path of the file, for messages.

        Raises:
            AdapterError: one is not a regular expression, or one that may take for ever.
        """
        found: list[tuple[Callable[[str], object], float]] = []
        for pattern, alpha in (self.alpha_pattern or {}).items():
            try:
                found.append((_compiled(pattern).match, alpha))
            except ValueError as fault:
                raise AdapterError(
                    f"{path} has the alpha_pattern {shorten(pattern)!r}, which cannot be used: {fault}"
                ) from fault
        return found


def _compiled(pattern: str) -> regex.Pattern[str]:
    """A pattern that is tried in no time.

    Raises:
        ValueError: parts that repeat, or groups with choices, multiply each other, or it is not a regular expression.
    """
    repeats, groups = len(re.findall(r"[*+?{]", pattern)), pattern.count("(")
    if (
        len(pattern) > _LONGEST_PATTERN
        or repeats > _MOST_REPEATS
        or groups > _MOST_GROUPS
        or re.search(r"\)[*+{]", pattern)
    ):
        raise ValueError(
            f"patterns have {_LONGEST_PATTERN} letters, {_MOST_REPEATS} repetitions and {_MOST_GROUPS} groups at most, and no group that "
            "is repeated; write one pattern for each module"
        )
    return compile_pattern(rf"(.*\.)?({pattern})$")


class HeadFacts(FileContent):
    """The record that an export of astune adds to PEFT's files; empty for other folders."""

    labels: Annotated[Labels, Field(strict=False)] | None = None  # JSON has lists
    task: TaskKey | None = None
    pooling: Pooling = "special"
    backbone: Line | None = None
    max_length: int | None = Field(None, ge=1, le=LONGEST_INPUT)


def read_config(path: Path) -> PeftConfig:
    """PEFT's configuration.

    Args:
        path: the path of the file.

    Returns:
        What is read of it.

    Raises:
        AdapterError: it is damaged, of another method, or says something that is not read.
    """
    record = record_of(path, "a configuration of PEFT", AdapterError)
    if "format_version" in record:
        raise AdapterError(f"{path.parent} is already an adapter of astune; load it with astune.Predictor")
    if record.get("peft_type") != "LORA":
        raise AdapterError(f"{path} has peft_type {record.get('peft_type')!r}; of PEFT's methods, LORA can be imported")
    faults = [
        f"{shorten(name)}={shorten(repr(value))} changes what is computed, which LoRA of astune does not support"
        for name, value in record.items()
        if value and name not in _READ
    ]
    begin = record.get("init_lora_weights")
    if begin not in _STARTS:
        faults.append(
            f"init_lora_weights={shorten(repr(begin))} changes the weights of the backbone too; convert it with PEFT's "
            "path_initial_model_for_weight_conversion first"
        )
    if faults:
        raise AdapterError(format_faults(faults, f"{path} cannot be imported"))
    # PEFT writes null where it was given nothing
    given = {name: value for name, value in record.items() if value is not None}
    return PeftConfig.of(given, f"{path} cannot be used", AdapterError)


def read_facts(path: Path | None) -> HeadFacts:
    """The record that an export of astune adds to PEFT's files.

    Args:
        path: path of the file; None if there is no file.

    Raises:
        AdapterError: it is damaged.
    """
    if path is None:
        return HeadFacts()
    record = record_of(path, "what an export wrote", AdapterError)
    return HeadFacts.of(record, f"{path} cannot be used", AdapterError)


def read_weights(files: Mapping[str, Path], folder: str) -> dict[str, Tensor]:
    """PEFT's tensors.

    Args:
        files: files of the folder, by name.
        folder: the folder, for messages.

    Returns:
        Tensors in float32, by their names in the file.

    Raises:
        AdapterError: the file does not exist, it is damaged, or it holds values that are not finite.
    """
    path = files.get(WEIGHTS) or files.get(FORMER_WEIGHTS)
    if path is None:
        raise AdapterError(f"{folder} has no {WEIGHTS} and no {FORMER_WEIGHTS}")
    return read_file(path)


def read_file(path: Path) -> dict[str, Tensor]:
    """Tensors of one file.

    Args:
        path: path of the file.

    Returns:
        Tensors in float32, by their names in the file.

    Raises:
        AdapterError: it is damaged, or holds values that are not finite.
    """
    try:
        tensors = unpickled_tensors(path) if path.name == FORMER_WEIGHTS else read_tensors(path, stored_tensors(path))
    except TensorFileError as fault:
        raise AdapterError(f"{path} is damaged: {fault}") from fault
    refuse_unsound(tensors, f"{path} cannot be used")
    return {name: tensor.float() for name, tensor in tensors.items()}
