"""Large pieces of memory go back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

PIECES = """
import ctypes, sys
from astune.serving.memory import return_large_pieces
from tests.serving_parts import running

class Figures(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Figures
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "kept":
    assert return_large_pieces()
elif sys.argv[1] != "raised":
    with running(adapters=(sys.argv[1],)):
        pass
library.free(library.malloc(2**24))  # glibc raises its limit to 16 MiB here
before = library.mallinfo2().hblks
pieces = [library.malloc(2**20) for _ in range(50)]
held = library.mallinfo2().hblks - before
for piece in pieces[:-1]:
    library.free(piece)
print(held, library.mallinfo2().hblks - before)
"""


glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this C library is not glibc 2.33 or newer"
)


@glibc
@pytest.mark.parametrize(("limit", "pieces"), [("kept", (50, 1)), ("raised", (0, 0))])
def test_each_large_piece_is_the_systems(limit: str, pieces: tuple[int, int]) -> None:
    """Of 50 pieces of 1 MiB, 49 are freed. The others are counted by glibc (hblks)."""
    assert pieces_after(limit) == pieces


@glibc
def test_a_service_keeps_the_limit(adapter: Path) -> None:
    assert pieces_after(str(adapter)) == (50, 1)


def pieces_after(what: str) -> tuple[int, ...]:
    """Pieces that glibc counts while 50 are held, and when 49 are freed, in a process of its own."""
    command = [sys.executable, "-c", PIECES, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    return tuple(map(int, done.stdout.split()))
