"""Files of MATLAB: everything that scipy reads soundly passes, and what would end the process in it does not."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from astune.data.mat_files import refuse_damaged
from astune.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

CONTENT: dict[str, Any] = {
    "numbers": np.arange(6.0).reshape(2, 3), "whole": np.array([1, 2], np.uint8), "yes": np.array([True]), "complex": np.array([1 + 2j]),
    "none": np.zeros((0, 0)), "text": "höhle", "texts": np.array([["x", "y"]]), "cells": np.array(["ab", "cde"], dtype=object),
    "structure": {"x": 1, "inside": {"z": "q"}}, "structures": [{"p": 1}, {"p": "w"}],
}  # fmt: skip


def written(content: dict[str, Any], *, compressed: bool = False) -> bytes:
    stream = io.BytesIO()
    savemat(stream, content, do_compression=compressed)
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_sound_files(tmp_path: Path, compressed: bool) -> None:
    (tmp_path / "a.mat").write_bytes(written(CONTENT, compressed=compressed))
    refuse_damaged(tmp_path / "a.mat")
    assert set(CONTENT) < set(loadmat(tmp_path / "a.mat"))


SMALL = written({"x": np.array([[1.0, 2.0]])})
TEXT = written({"x": "ab"})
NONE = written({"x": np.zeros((0, 0))})
DAMAGED = {
    "cut": SMALL[:-8],
    "another level": bytes(128) + SMALL[128:],
    "no mark of its order": SMALL[:126] + b"XX" + SMALL[128:],
    "a type of data that is none": SMALL.replace(struct.pack("<II", 9, 16), struct.pack("<II", 34_320, 16)),
    "no numbers of a type that is none": NONE.replace(struct.pack("<II", 9, 0), struct.pack("<II", 255, 0)),
    "fewer numbers than its shape": SMALL.replace(struct.pack("<ii", 1, 2), struct.pack("<ii", 1, 3)),
    "a shape below 0": SMALL.replace(struct.pack("<ii", 1, 2), struct.pack("<ii", 1, -2)),
    "a shape of petabytes": SMALL.replace(struct.pack("<ii", 1, 2), struct.pack("<ii", 2**31 - 1, 2**31 - 1)),
    "a text of numbers": TEXT.replace(struct.pack("<HH", 16, 2), struct.pack("<HH", 9, 2)),
    "a function": SMALL.replace(struct.pack("<III", 6, 8, 6), struct.pack("<III", 6, 8, 16)),
    "compressed, without an end": written(CONTENT, compressed=True)[:128] + struct.pack("<II", 15, 4) + b"\x78\x9c\x00\x00",
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files(tmp_path: Path, case: str) -> None:
    assert DAMAGED[case] not in (SMALL, TEXT, NONE)
    (tmp_path / "a.mat").write_bytes(DAMAGED[case])
    with pytest.raises(DataError, match=r"a\.mat is not a readable MATLAB file: it is "):
        refuse_damaged(tmp_path / "a.mat")
