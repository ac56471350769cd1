"""AST: Audio Spectrogram Transformer (Gong, Chung, Glass, 2021, arXiv 2104.01778), as its authors' training code writes it.

A file has what ``torch.save`` wrote of their model: the encoder, and a classifier under ``mlp_head.``, which is left out. Patches are
16 x 16, of 128 mel bins. Strides and input length are not in the file. The number of its position embeddings is, and they have to fit it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from astune.architecture import SPECIAL_TOKENS, Architecture, time_patches
from astune.backbone.checkpoint_format import CheckpointFormat, EncoderSizes, GivenSizes
from astune.backbone.timm_names import IMAGE_HEADS, INNER, PATCHES, POSITIONS, unusual_sizes
from astune.errors import ConfigError, format_list
from astune.names import LONGEST_INPUT
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PUBLISHED_SIZES = ((10, 10, 1024), (12, 12, 1024), (14, 14, 1024), (16, 16, 1024), (10, 10, 512), (10, 10, 128))
"""Frequency stride, time stride and input length of the authors' models: AudioSet's, then ESC-50's and Speech Commands'."""

_MEL_BINS, _SIDE = 128, 16
_CLASSIFIER = "mlp_head."
_SHOWN = 5  # sizes in a message


@dataclass(frozen=True)
class _Fit:
    """Strides, and the shortest and longest input from which they make some number of patches."""

    strides: tuple[int, int]
    rows: int
    columns: int

    @property
    def shortest(self) -> int:
        return (self.columns - 1) * self.strides[1] + _SIDE

    @property
    def longest(self) -> int:
        return min(self.shortest + self.strides[1] - 1, LONGEST_INPUT)

    @property
    def published(self) -> int | None:
        """The authors' input length, if they published these sizes."""
        return next(
            (one for *strides, one in PUBLISHED_SIZES if self.strides == tuple(strides) and self.has(one)), None
        )

    def has(self, length: int) -> bool:
        return self.shortest <= length <= self.longest

    def contradictions(self, given: GivenSizes) -> int:
        """How many of the given numbers are others than these."""
        strides = zip(self.strides, (given.frequency_stride, given.time_stride), strict=True)
        length = given.max_length is not None and not self.has(given.max_length)
        return sum(other is not None and other != own for own, other in strides) + length

    @override
    def __str__(self) -> str:
        lengths = str(self.shortest) if self.shortest == self.longest else f"{self.shortest} to {self.longest}"
        end = lengths if self.published is None else f"{self.published} (published)"
        return f"frequency_stride={self.strides[0]}, time_stride={self.strides[1]}, max_length={end}"


def _fits(patches: int) -> list[_Fit]:
    """All strides that make this many patches of some input; published ones first, then equal ones."""
    found = []
    for stride in range(1, _SIDE + 1):
        rows = (_MEL_BINS - _SIDE) // stride + 1
        columns, rest = divmod(patches, rows)
        if columns > 0 and not rest:
            found += [_Fit((stride, time), rows, columns) for time in range(1, _SIDE + 1)]
    found = [fit for fit in found if fit.shortest <= LONGEST_INPUT]
    return sorted(found, key=lambda fit: (fit.published is None, fit.strides[0] != fit.strides[1]))


def _chosen(patches: int, given: GivenSizes) -> tuple[_Fit, int]:
    """The strides and the input length of a file.

    Args:
        patches: number of patches that the file has positions for; some strides make it.
        given: by the user, checked.

    Raises:
        ConfigError: the given numbers contradict the file, or leave more than one possibility.
    """
    every = _fits(patches)
    left = [fit for fit in every if not fit.contradictions(given)]
    published = [
        (fit, fit.published) for fit in left if fit.published and given.max_length in {None, fit.published}
    ]  # fmt: skip
    if len(published) == 1:
        return published[0]
    if len(left) == 1 and (given.max_length or left[0].shortest == left[0].longest):
        return left[0], given.max_length or left[0].shortest
    numbers = {name: getattr(given, name) for name in ("frequency_stride", "time_stride", "max_length")}
    if left:
        *first, last = (name for name, number in numbers.items() if number is None)
        reason = f"which several sizes make; give {', '.join(first)}{' and ' if first else ''}{last}"
    else:
        fewest = min(fit.contradictions(given) for fit in every)
        left = [fit for fit in every if fit.published or fit.contradictions(given) == fewest]
        stated = ", ".join(f"{name}={number}" for name, number in numbers.items() if number is not None)
        reason = f"and {stated} cannot make so many"
    example = ", for example" if len(left) > _SHOWN else ""
    headline = f"the file has positions for {patches:,} patches, {reason}; sizes that fit{example}"
    raise ConfigError(format_list([str(fit) for fit in left[:_SHOWN]], headline))


class AstFormat(CheckpointFormat):
    """The authors' model with its classifier."""

    name = "AST"
    paper = "AST: Audio Spectrogram Transformer (Gong, Chung, Glass, 2021, arXiv 2104.01778)"
    example = "audioset_10_10_0.4593.pth"
    own = "v and mlp_head"
    unused = (_CLASSIFIER, *IMAGE_HEADS)

    @override
    def recognises(self, names: Mapping[str, object]) -> bool:
        """Whether it has a classifier.

        Args:
            names: of all tensors, without the prefix of ``DataParallel``.
        """
        return any(name.startswith(_CLASSIFIER) for name in names)

    @override
    def faults(self, stored: Mapping[str, Tensor]) -> list[str]:
        """What is wrong with the patches and the number of positions.

        Args:
            stored: all tensors; those of the encoder are there.
        """
        faults, positions = unusual_sizes(stored), stored[POSITIONS]
        if positions.dim() != 3:
            faults.append(
                f"{POSITIONS} has the shape {tuple(positions.shape)}, which is not that of position embeddings"
            )
        elif not _fits(positions.shape[1] - SPECIAL_TOKENS):
            faults.append(
                f"{POSITIONS} has {positions.shape[1]:,} positions, {SPECIAL_TOKENS} of them special; "
                f"no strides from 1 to {_SIDE} make the others of {_MEL_BINS} mel bins"
            )
        return faults

    @override
    def sizes(self, stored: Mapping[str, Tensor], layers: int, given: GivenSizes) -> EncoderSizes:
        """The sizes of the file, which are those of the folder too.

        Args:
            stored: all tensors, without faults.
            layers: number of blocks.
            given: strides and length of the file.

        Raises:
            ConfigError: numbers that cannot be strides or a length, or that do not make the file's number of patches; or no numbers where
                several would.
        """
        given = given.checked((_SIDE, _SIDE))
        if given.max_length is not None:
            time_patches(given.max_length, _SIDE)  # raises where it is too short or too long
        fit, length = _chosen(stored[POSITIONS].shape[1] - SPECIAL_TOKENS, given)
        sizes = Architecture(
            hidden_size=len(stored[PATCHES]), num_hidden_layers=layers, intermediate_size=len(stored[INNER]), patch_size=_SIDE,
            frequency_stride=fit.strides[0], time_stride=fit.strides[1], num_mel_bins=_MEL_BINS, max_length=length,
        )  # fmt: skip
        guessed = None in {given.frequency_stride, given.time_stride, given.max_length}
        strides = f"strides of {fit.strides[0]} mel bins and {fit.strides[1]} frames"
        left_out = f"the file's classifier ({_classifier(stored)}) is left out"
        facts = (
            f"patches of {_SIDE} mel bins x {_SIDE} frames",
            f"{strides}: {fit.rows} x {fit.columns} patches of an input of {length} frames",
            f"the file does not state strides and length; these {'fit its number of positions' if guessed else 'were given'}",
            "position embeddings as in the file",
            left_out,
            "inputs normalised with AudioSet's mean and standard deviation, which `preprocessor_config.json` states",
        )
        note = f"Note: {left_out}"
        if guessed:
            note += f". The file does not state its sizes; {strides} at {length:,} frames fit its number of positions"
        return EncoderSizes(sizes, sizes, facts, note)


def _classifier(stored: Mapping[str, Tensor]) -> str:
    """The module, and its number of classes where it has the authors' form."""
    weight = stored.get(f"{_CLASSIFIER}1.weight")
    classes = "" if weight is None or weight.dim() != 2 else f", {number_of(len(weight), 'class')}"
    return f"{_CLASSIFIER.rstrip('.')}{classes}"
