"""What the formats of published checkpoints have in common; each format is a file beside this one, and ``imported.py`` lists them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from astune.backbone.backbone import whole_frames
from astune.errors import ConfigError, format_faults
from astune.validated import fits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from astune.architecture import Architecture


@dataclass(frozen=True)
class GivenSizes:
    """Strides and input length as the user gave them; None where nothing was given."""

    frequency_stride: int | None = None
    time_stride: int | None = None
    max_length: int | None = None

    def checked(self, patch_shape: tuple[int, int]) -> GivenSizes:
        """Check that these are numbers that patches of a shape can have.

        Args:
            patch_shape: mel bins and frames of a patch.

        Returns:
            The same, as Python integers.

        Raises:
            ConfigError: a stride or a length is no whole number, or a stride leaves a part of the input out.
        """
        strides = {"frequency_stride": self.frequency_stride, "time_stride": self.time_stride}
        faults = [
            f"{name}={stride!r}: give a whole number from 1 to {side}, the patch's size"
            for (name, stride), side in zip(strides.items(), patch_shape, strict=True)
            if stride is not None and (not fits(stride, int) or not 1 <= stride <= side)
        ]
        if faults:
            raise ConfigError(format_faults(faults, "these strides cannot be used"))
        frequency, time = (None if stride is None else int(stride) for stride in strides.values())
        return GivenSizes(frequency, time, None if self.max_length is None else whole_frames(self.max_length))


@dataclass(frozen=True)
class EncoderSizes:
    """The sizes of an encoder in its file and in the folder that is written."""

    native: Architecture
    """As in the file."""
    written: Architecture
    """As in the folder; strides and input length may be others, for which position embeddings are then fitted."""
    facts: tuple[str, ...]
    """What the folder's README says about patches, positions and what was left out, one line each."""
    note: str | None = None
    """What the user should know at once."""


class CheckpointFormat(ABC):
    """One kind of file: which tensors tell it, and how sizes are read from them."""

    name: ClassVar[str]
    """The model's name."""
    paper: ClassVar[str]
    """Its full name and where it was published."""
    example: ClassVar[str]
    """Name of a file that its authors published."""
    own: ClassVar[str]
    """The modules and numbers that tell this kind from others, in words."""
    needed: ClassVar[tuple[str, ...]] = ()
    """Tensors that are read in addition to the encoder's."""
    unused: ClassVar[tuple[str, ...]]
    """Beginnings of the names of the tensors that are left out."""

    @abstractmethod
    def recognises(self, names: Mapping[str, object]) -> bool:
        """Whether a file with tensors of these names is of this kind.

        Args:
            names: of all tensors, without the prefix of ``DataParallel``.
        """

    @abstractmethod
    def faults(self, stored: Mapping[str, Tensor]) -> list[str]:
        """What is wrong with the tensors that :meth:`sizes` reads from.

        Args:
            stored: all tensors; those of the encoder and those needed are there.
        """

    @abstractmethod
    def sizes(self, stored: Mapping[str, Tensor], layers: int, given: GivenSizes) -> EncoderSizes:
        """Read the sizes of the encoder, and decide those of the folder.

        Args:
            stored: all tensors, without faults.
            layers: number of blocks.
            given: strides and length from the user, not yet checked.

        Raises:
            ConfigError: strides or a length that cannot be used with this file.
        """

    def left_out(self, names: Mapping[str, object]) -> list[str]:
        """The modules of a file that are not read.

        Args:
            names: of all tensors, without the prefix of ``DataParallel``.

        Returns:
            Their names, such as ``mlp_head``.
        """
        return [begin.rstrip(".") for begin in self.unused if any(name.startswith(begin) for name in names)]
