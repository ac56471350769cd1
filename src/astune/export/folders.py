"""What exports that are folders share: they are whole or not there, and what is in them is compared with the adapter."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor

from astune.errors import ConfigError, NumericalError
from astune.files import replacing_files, replacing_folder
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from astune.features import FrontEnd

_MADE = 4  # inputs on which models are compared
_SEED = 0


@contextmanager
def replace_folder(folder: Path, mark: str) -> Iterator[Path]:
    """A folder to write into, whose files are moved to another one when all are there.

    Args:
        folder: folder for the files. Files of the same names are replaced, and others stay.
        mark: the file without which nobody reads the others; it comes last.

    Yields:
        An empty folder on the same disk.

    Raises:
        ConfigError: there is a file in the folder's place.
        OutputError: the system refuses.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{printable(folder)} is a file; give a folder")
    whole = folder.absolute()
    writing = replacing_files(whole, marks=[mark]) if folder.exists() else replacing_folder(whole)
    with writing as partial, _with_the_systems_reason(partial / "model.safetensors"):
        yield partial


@contextmanager
def _with_the_systems_reason(path: Path) -> Iterator[None]:
    """Transformers saves with safetensors, which has what the system refuses as text.

    Raises:
        OSError: the system's.
        SafetensorError: writing failed for a reason other than the disk.
    """
    try:
        yield
    except SafetensorError as fault:
        number = re.search(r"\(os error ([0-9]+)\)", str(fault))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from fault


def size_of(folder: Path) -> int:
    """Bytes of all files of a folder.

    Args:
        folder: it is there.
    """
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def made_inputs(front_end: FrontEnd) -> Tensor:
    """Inputs on which two models are compared, the same every time.

    Args:
        front_end: the front end of the models.

    Returns:
        (4, max_length, num_mel_bins): noise, louder from one to the next, and the second half of the last one is padding.
    """
    generator = torch.Generator().manual_seed(_SEED)
    inputs = torch.randn(_MADE, front_end.max_length, front_end.num_mel_bins, generator=generator)
    inputs *= torch.linspace(0.25, 1, _MADE)[:, None, None]
    inputs[-1, front_end.max_length // 2 :] = -front_end.mean / (2 * front_end.std)
    return inputs


def largest_difference(ours: Tensor, theirs: Tensor, allowed: float, what: str) -> float:
    """Compare what two models give.

    Args:
        ours: outputs of the adapter.
        theirs: outputs of the exported model.
        allowed: the largest difference that rounding explains.
        what: they are, in the plural, such as ``scores``.

    Returns:
        The largest difference.

    Raises:
        NumericalError: it is larger than allowed.
    """
    found = float((ours - theirs).abs().max())
    if not found <= allowed:  # NaN too
        raise NumericalError(
            f"its {what} differ from the adapter's by {found:.1e}, more than the {allowed:.0e} that rounding explains, so nothing was "
            "written. Export to onnx instead, and report this with the adapter"
        )
    return found
