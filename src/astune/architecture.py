"""The sizes of an Audio Spectrogram Transformer, without its weights and without transformers, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from astune.errors import ConfigError
from astune.names import LONGEST_INPUT

if TYPE_CHECKING:
    from typing import Self

    from transformers import ASTConfig

SPECIAL_TOKENS = 2  # [CLS] and distillation, in front of the patches


@dataclass(frozen=True)
class Architecture:
    """Sizes under transformers' names; those of AST-base, the paper's backbone, at the paper's 500 frames where nothing is given."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    intermediate_size: int = 3072
    qkv_bias: bool = True
    patch_size: int | tuple[int, int] = 16
    """Side of a square patch; mel bins and frames of another one."""
    frequency_stride: int = 10
    time_stride: int = 10
    num_mel_bins: int = 128
    max_length: int = 500
    """Input length, in frames of 10 ms."""

    @classmethod
    def of(cls, config: ASTConfig | Architecture) -> Self:
        """Read the sizes from a backbone's configuration.

        Args:
            config: transformers', at the input length; or sizes.
        """
        sizes = {field.name: getattr(config, field.name) for field in fields(cls)}
        side = sizes["patch_size"]
        return cls(**{**sizes, "patch_size": side if isinstance(side, int) else tuple(side)})

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Mel bins and frames of a patch."""
        return (self.patch_size, self.patch_size) if isinstance(self.patch_size, int) else self.patch_size


def time_patches(max_length: int, patch_size: int = 16, time_stride: int = 10) -> int:
    """Number of patches along time.

    Args:
        max_length: input length, in frames of 10 ms.
        patch_size: of a patch, along time, in frames.
        time_stride: step between patches, in frames.

    Returns:
        The number of columns of the patch grid.

    Raises:
        ConfigError: the input is shorter than one patch.
    """
    if max_length < patch_size:
        raise ConfigError(f"max_length {max_length} is shorter than one patch; use at least {patch_size} frames")
    if max_length > LONGEST_INPUT:
        raise ConfigError(f"max_length {max_length} is more than an hour; use at most {LONGEST_INPUT} frames")
    return (max_length - patch_size) // time_stride + 1


def patch_grid(architecture: Architecture) -> tuple[int, int]:
    """Number of patches along frequency and along time; position embeddings are frequency-major.

    Args:
        architecture: the architecture of a backbone, at its input length.

    Returns:
        Rows and columns.

    Raises:
        ConfigError: the input is shorter than one patch.
    """
    height, width = architecture.patch_shape
    rows = (architecture.num_mel_bins - height) // architecture.frequency_stride + 1
    return rows, time_patches(architecture.max_length, width, architecture.time_stride)
