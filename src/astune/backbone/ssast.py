"""SSAST: Self-Supervised Audio Spectrogram Transformer (Gong et al., 2022, arXiv 2110.09784), as its authors publish it.

A file has what ``torch.save`` wrote of their pretraining model: the encoder, the heads of the pretraining, and the size of its input. The
encoder is AST's. Its patches are 16 x 16, or 128 x 2, which are whole frames. They did not overlap in the pretraining. The strides may
become smaller in the folder, for which the position embeddings are fitted as the authors do it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import override

from astune.architecture import Architecture, patch_grid
from astune.backbone.checkpoint_format import CheckpointFormat, EncoderSizes, GivenSizes
from astune.backbone.timm_names import IMAGE_HEADS, INNER, PATCHES, unusual_sizes
from astune.names import LONGEST_INPUT, MOST_MEL_BINS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FINE_TUNING_STRIDES = {(16, 16): (10, 10), (128, 2): (128, 1)}
"""Strides along frequency and time at which the authors fine-tune, by the mel bins and frames of the patches that they published."""


class SsastFormat(CheckpointFormat):
    """The authors' pretraining model."""

    name = "SSAST"
    paper = "SSAST: Self-Supervised Audio Spectrogram Transformer (Gong, Lai, Chung, Glass, 2022, arXiv 2110.09784)"
    example = "SSAST-Base-Patch-400.pth"
    own = "v, p_input_fdim and p_input_tdim"
    needed = ("p_input_fdim", "p_input_tdim")  # mel bins and frames of the pretraining's input
    unused = ("mask_embed", "cpredlayer.", "gpredlayer.", *IMAGE_HEADS)

    @override
    def recognises(self, names: Mapping[str, object]) -> bool:
        """Whether it has the size of the pretraining's input.

        Args:
            names: of all tensors, without the prefix of ``DataParallel``.
        """
        return any(name in names for name in self.needed)

    @override
    def faults(self, stored: Mapping[str, Tensor]) -> list[str]:
        """What is wrong with the two numbers, and with the tensors that other sizes are read from.

        Args:
            stored: all tensors; those of the encoder and those needed are there.
        """
        faults = []
        for name, most in zip(self.needed, (MOST_MEL_BINS, LONGEST_INPUT), strict=True):
            one = stored[name]
            if one.dim() or one.is_floating_point() or one.is_complex() or not 1 <= int(one) <= most:
                faults.append(f"{name} is not a whole number from 1 to {most}")
        faults += unusual_sizes(stored)
        if faults:
            return faults
        patch = tuple(stored[PATCHES].shape[2:])
        if any(side > int(stored[name]) for side, name in zip(patch, self.needed, strict=True)):
            return [f"its patches of {patch} are larger than the input of its pretraining"]
        return []

    @override
    def sizes(self, stored: Mapping[str, Tensor], layers: int, given: GivenSizes) -> EncoderSizes:
        """The sizes of the pretraining, and those at the strides asked for, or at those of the authors' fine-tuning.

        Args:
            stored: all tensors, without faults.
            layers: number of blocks.
            given: strides and length of the folder.

        Raises:
            ConfigError: a stride that is no whole number, or that leaves a part of the input out; a length that cannot be used.
        """
        width, _, height, frames = stored[PATCHES].shape
        bins, length = (int(stored[name]) for name in self.needed)
        native = Architecture(
            hidden_size=width, num_hidden_layers=layers, intermediate_size=len(stored[INNER]),
            patch_size=height if height == frames else (height, frames), frequency_stride=height, time_stride=frames,
            num_mel_bins=bins, max_length=length,
        )  # fmt: skip
        defaults = FINE_TUNING_STRIDES.get(native.patch_shape, native.patch_shape)
        given = given.checked(native.patch_shape)
        written = replace(
            native,
            frequency_stride=defaults[0] if given.frequency_stride is None else given.frequency_stride,
            time_stride=defaults[1] if given.time_stride is None else given.time_stride,
            max_length=length if given.max_length is None else given.max_length,
        )
        rows, columns = patch_grid(written)
        own = native.patch_shape == (written.frequency_stride, written.time_stride) and length == written.max_length
        facts = (
            f"patches of {height} mel bins x {frames} frames, pretrained without overlap on {length} frames",
            f"strides of {written.frequency_stride} mel bins and {written.time_stride} frames: {rows} x {columns} patches of an input of "
            f"{written.max_length} frames",
            f"position embeddings {'as pretrained' if own else 'cut or interpolated from the pretrained ones'}",
            "inputs normalised as in the pretraining",
        )
        return EncoderSizes(native, written, facts)
