"""safetensors files from elsewhere: names, types and shapes are read from the header and compared before a tensor is."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from astune.errors import shorten

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from torch import Tensor

_COMPUTED = frozenset(("F64", "F32", "F16", "BF16"))
_COUNTERS = "I64"  # of BatchNorm, one number each
_MOST_TENSORS = 100_000  # the largest model of transformers that hears has hundreds
_MOST_DIMENSIONS = 8
_LONGEST_NAME = 300  # letters
_LONGEST_HEADER = 1 << 24  # bytes; safetensors itself reads six times as many


class TensorFileError(ValueError):
    """A file of tensors is damaged, or holds what nothing is computed with."""


@dataclass(frozen=True)
class Stored:
    """A tensor as the header of its file describes it."""

    dtype: str
    """Data type, as safetensors names it, such as ``F32``."""
    shape: tuple[int, ...]


def stored_tensors(path: Path) -> dict[str, Stored]:
    """What a file holds, of which the header alone is read; safetensors compares the sizes in it with the file's.

    Args:
        path: the path of the file.

    Returns:
        The tensors by name, in the order of the file.

    Raises:
        TensorFileError: it cannot be read, is damaged, or has types, names or shapes that no model has.
    """
    try:
        with path.open("rb") as stream:
            begin = stream.read(8)
        size = struct.unpack("<Q", begin)[0] if len(begin) == 8 else 0
        if size > _LONGEST_HEADER:
            raise TensorFileError(f"its header would have {size:,} bytes, and {_LONGEST_HEADER:,} are read at most")
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if len(names) > _MOST_TENSORS:
                raise TensorFileError(f"it holds {len(names):,} tensors, and {_MOST_TENSORS:,} are read at most")
            slices = {name: file.get_slice(name) for name in names}
            found = {name: Stored(one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
    except (SafetensorError, OSError) as fault:
        raise TensorFileError(str(fault)) from fault
    for name, stored in found.items():
        _refuse_strange(name, stored)
    return found


def _refuse_strange(name: str, stored: Stored) -> None:
    """Refuse what torch may have no type or no words for.

    Raises:
        TensorFileError: a name, a type or a shape that no model has.
    """
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise TensorFileError(f"the name of a tensor is not one that a model has: {name[:_LONGEST_NAME]!r}")
    if len(stored.shape) > _MOST_DIMENSIONS:
        raise TensorFileError(f"{name} has {len(stored.shape):,} dimensions, and {_MOST_DIMENSIONS} are read at most")
    if stored.dtype not in _COMPUTED and (stored.dtype != _COUNTERS or stored.shape):
        raise TensorFileError(
            f"{name} holds {stored.dtype}, and models are computed in F32, F16, BF16 or F64; save it again, in F32"
        )


def read_tensors(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    """Read some tensors of a file.

    Args:
        path: the path of the file.
        names: names of tensors that :func:`stored_tensors` found in it.

    Returns:
        Them, in memory of their own: a file that changes later changes none.

    Raises:
        TensorFileError: it cannot be read any more.
    """
    import torch

    # safetensors 0.8 leaks two objects with each tensor that it makes for torch, and none for NumPy, which has no bfloat16.
    found: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="np") as file:
            halves = [name for name in names if file.get_slice(name).get_dtype() == "BF16"]
            for name in set(names).difference(halves):
                found[name] = torch.from_numpy(file.get_tensor(name)).clone()
        if halves:
            with safe_open(path, framework="pt") as file:
                found.update((name, file.get_tensor(name).clone()) for name in halves)
    except (SafetensorError, OSError) as fault:
        raise TensorFileError(str(fault)) from fault
    return {name: found[name] for name in names}


def unpickled_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors as ``torch.save`` wrote them: a zip archive with a pickle, of which torch loads tensors alone.

    Args:
        path: the path of the file.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        TensorFileError: it is something else, asks for code to be run, or would be larger in memory than the file is.
    """
    import torch

    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        raise TensorFileError(
            "it is not a whole file of torch.save: a download that was cut short, a web page, or a file of torch before 1.6, which "
            "torch.load and torch.save write anew"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > size:
            raise TensorFileError("it is compressed, which torch never does")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except TensorFileError:
        raise
    except Exception as fault:  # a damaged pickle raises whatever its steps run into
        if "weights_only" in str(fault):  # torch's own message tells how to run the code
            raise TensorFileError("it holds something other than tensors, which only code in it could make") from fault
        raise TensorFileError(shorten(str(fault).partition("\n")[0]) or type(fault).__name__) from fault
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise TensorFileError("it does not hold tensors by name")
    for name, tensor in found.items():
        if isinstance(tensor, dict):
            raise TensorFileError(
                f"its tensors are not at the top: {shorten(name)!r} holds others; save that part alone"
            )
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise TensorFileError(f"{shorten(name)!r} is not a plain tensor")
        if tensor.numel() * tensor.element_size() > size:
            raise TensorFileError(f"{shorten(name)!r} has more values than the file")
    return found


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Tensors that hold NaN or infinity.

    Args:
        state: tensors by name.

    Returns:
        Their names.
    """
    return [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
