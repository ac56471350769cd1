"""Freed memory goes back to the system, and threads share two heaps."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

COUNTS = """
import ctypes, os, sys, tempfile
from threading import Barrier, Thread
from astune.serving.memory import limit_free_memory
from tests.serving_parts import running

class Figures(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Figures
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.fopen.restype = ctypes.c_void_p
library.malloc_info.argtypes, library.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
if sys.argv[1] == "limited":
    assert limit_free_memory()
elif sys.argv[1] != "glibc's own":
    with running(adapters=(sys.argv[1],)):
        pass
library.free(library.malloc(2**24))  # glibc raises its limit to 16 MiB here
before = library.mallinfo2().hblks
pieces = [library.malloc(2**20) for _ in range(50)]
held = library.mallinfo2().hblks - before
for piece in pieces[:-1]:
    library.free(piece)
left = library.mallinfo2().hblks - before

def allocate(barrier=Barrier(8)):
    barrier.wait()
    library.malloc(1000)
    barrier.wait()

threads = [Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.NamedTemporaryFile() as file:
    stream = library.fopen(file.name.encode(), b"w")
    library.malloc_info(0, stream)
    library.fclose(stream)
    print(held, left, file.read().count(b"<heap nr="))
"""
glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this C library is not glibc 2.33 or newer"
)


def counts(what: str) -> tuple[int, int, int]:
    """What glibc counts in a process of its own: pieces of the system while 50 of 1 MiB are held, those when 49 are freed, and heaps."""
    command = [sys.executable, "-c", COUNTS, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    held, left, heaps = map(int, done.stdout.split())
    return held, left, heaps


@glibc
def test_each_large_piece_is_the_systems_and_threads_share_two_heaps() -> None:
    assert counts("limited") == (50, 1, 2)


@glibc
def test_of_itself_glibc_keeps_them_and_makes_more_heaps() -> None:
    held, left, heaps = counts("glibc's own")
    assert (held, left) == (0, 0)
    assert heaps > 2


@glibc
def test_a_service_has_the_limits(adapter: Path) -> None:
    assert counts(str(adapter)) == (50, 1, 2)
