"""``config.json`` and ``preprocessor_config.json`` of a backbone: every field is bounded before transformers sees one.

What is not listed here is not read: of two hundred settings that transformers would take from the file, an encoder needs these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator
from transformers import ASTConfig

from astune.backbone.backbone import AUDIOSET_MEAN, AUDIOSET_STD
from astune.errors import BackboneError, format_faults
from astune.json_text import record_of
from astune.names import (
    BUNDLED_BACKBONE,
    FARTHEST_MEAN,
    LONGEST_INPUT,
    MOST_MEL_BINS,
    PUBLISHED_BACKBONE,
    STD_BOUNDS,
)
from astune.validated import FileContent, fits

if TYPE_CHECKING:
    from pathlib import Path

_WIDEST = 65_536  # four times that of the largest transformers there are
_DEEPEST = 200  # layers
_MOST_CLASSES = 1_000_000
_Share = Annotated[float, Field(ge=0, lt=1)]
_Activation = Literal[
    "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu6", "silu", "swish", "mish", "tanh"
]
_Type = Literal["float64", "float32", "float16", "bfloat16"]


class _ModelFile(FileContent):
    """Under transformers' names, and with its defaults."""

    hidden_size: int = Field(768, ge=1, le=_WIDEST)
    num_hidden_layers: int = Field(12, ge=1, le=_DEEPEST)
    num_attention_heads: int = Field(12, ge=1, le=_WIDEST)
    intermediate_size: int = Field(3072, ge=1, le=4 * _WIDEST)
    hidden_act: _Activation = "gelu"
    hidden_dropout_prob: _Share = 0.0
    attention_probs_dropout_prob: _Share = 0.0
    initializer_range: float = Field(0.02, ge=0, le=1)
    layer_norm_eps: float = Field(1e-12, ge=1e-20, le=1)
    patch_size: int | list[int] = 16
    """Side of a square, or mel bins and frames; transformers' own model has square patches only."""
    qkv_bias: bool = True
    frequency_stride: int = Field(10, ge=1, le=MOST_MEL_BINS)
    time_stride: int = Field(10, ge=1, le=MOST_MEL_BINS)
    max_length: int = Field(1024, ge=1, le=LONGEST_INPUT)
    num_mel_bins: int = Field(128, ge=1, le=MOST_MEL_BINS)
    problem_type: Literal["regression", "single_label_classification", "multi_label_classification"] | None = None
    num_labels: int | None = Field(None, ge=0, le=_MOST_CLASSES)
    id2label: dict[Annotated[str, StringConstraints(pattern="^[0-9]{1,7}$")], str] | None = Field(
        None, max_length=_MOST_CLASSES
    )
    dtype: _Type | None = None
    torch_dtype: _Type | None = None
    """As transformers 4 called it."""

    @field_validator("patch_size", mode="plain")
    @classmethod
    def _whole_sides(cls, value: object) -> int | list[int]:
        """Take one way to write each shape, because it is a part of fingerprints.

        Raises:
            ValueError: it is written in another way, or cannot be used.
        """
        pair = isinstance(value, list) and len(value) == 2 and value[0] != value[1]
        sides: list[Any] = value if pair else [value]  # type: ignore[assignment] # a list, where it is a pair
        if not all(fits(side, int) and 1 <= side <= MOST_MEL_BINS for side in sides):
            raise ValueError(
                f"give the side of a square patch, or a list of mel bins and frames that differ, from 1 to {MOST_MEL_BINS}"
            )
        return value  # type: ignore[return-value] # as was just checked

    def contradictions(self) -> list[str]:
        """Contradictions between fields that are each valid alone."""
        faults = []
        if self.hidden_size % self.num_attention_heads:
            faults.append(
                f"hidden_size={self.hidden_size} is not a multiple of num_attention_heads={self.num_attention_heads}"
            )
        sides = [self.patch_size] * 2 if isinstance(self.patch_size, int) else self.patch_size
        if sides[0] > self.num_mel_bins or sides[1] > self.max_length:
            faults.append(
                f"patch_size={self.patch_size} is larger than the input, which has {self.num_mel_bins} Mel filters (num_mel_bins) and "
                f"{self.max_length} frames (max_length)"
            )
        return faults

    def config(self) -> ASTConfig:
        """The configuration as a transformers object."""
        settings = self.model_dump(exclude={"torch_dtype", "dtype", "id2label", "num_labels"}, exclude_unset=True)
        if self.id2label is not None:
            settings["id2label"] = {int(number): label for number, label in self.id2label.items()}
            settings["label2id"] = {label: int(number) for number, label in self.id2label.items()}
        elif self.num_labels is not None:
            settings["num_labels"] = self.num_labels
        return ASTConfig(**settings, dtype=self.dtype or self.torch_dtype)


class _PreprocessorFile(FileContent):
    mean: float = Field(AUDIOSET_MEAN, ge=-FARTHEST_MEAN, le=FARTHEST_MEAN)
    std: float = Field(AUDIOSET_STD, ge=STD_BOUNDS[0], le=STD_BOUNDS[1])


def read_model_config(path: Path, name: str) -> ASTConfig:
    """Read ``config.json``.

    Args:
        path: the file.
        name: of the backbone, for messages.

    Returns:
        transformers' configuration, with the type of the weights where the file says it.

    Raises:
        BackboneError: it is damaged, is not an Audio Spectrogram Transformer's, or a field cannot be used.
    """
    record = record_of(path, "a model configuration", BackboneError)
    model_type = record.get("model_type")
    if model_type != ASTConfig.model_type:
        raise BackboneError(
            f"{name!r} is not an Audio Spectrogram Transformer: {path} says model_type {model_type!r}, not "
            f"{ASTConfig.model_type!r}. Use {PUBLISHED_BACKBONE}, a folder with an AST, or {BUNDLED_BACKBONE}"
        )
    found = _ModelFile.of(record, f"{path} cannot be used", BackboneError)
    faults = found.contradictions()
    if faults:
        raise BackboneError(format_faults(faults, f"{path} cannot be used"))
    return found.config()


def read_normalisation(path: Path) -> tuple[float, float]:
    """Read ``preprocessor_config.json``.

    Args:
        path: the file.

    Returns:
        Mean and standard deviation of the log-Mel energies; AudioSet's where the file has none.

    Raises:
        BackboneError: it is damaged, or features cannot be normalised with them.
    """
    found = _PreprocessorFile.of(
        record_of(path, "the configuration of a preprocessor", BackboneError),
        f"{path} cannot be used",
        BackboneError,
    )
    return found.mean, found.std
