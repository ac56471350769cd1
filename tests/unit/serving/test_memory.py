"""Free memory goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from pathlib import Path

import pytest

from astune.serving import memory
from astune.serving.memory import keep_memory_low, release_free_memory

MIB = 2**20
PIECE = 2**16  # bytes; below the size from which glibc asks the system for each piece


def resident() -> float:
    """What this process has in memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pieces_that_are_free_go_back_to_the_system() -> None:
    """1,600 pieces of 64 KiB are 100 MiB. The last one is kept, so the heap cannot shrink by itself."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        assert not release_free_memory()
        pytest.skip("this C library has no malloc_trim")
    library.malloc.restype, library.malloc.argtypes, library.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    pieces = [library.malloc(PIECE) for _ in range(1600)]
    for piece in pieces:
        ctypes.memset(piece, 1, PIECE)
    full = resident()
    for piece in pieces[:-1]:
        library.free(piece)
    kept = resident()
    assert release_free_memory()
    released = resident()
    library.free(pieces[-1])
    assert kept > full - 10
    assert released < full - 90


def test_it_is_done_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[None] = []

    def release() -> bool:
        released.append(None)
        return True

    monkeypatch.setattr(memory, "release_free_memory", release)

    async def watch() -> None:
        task = asyncio.create_task(keep_memory_low(0.001))
        while len(released) < 3:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(asyncio.wait_for(watch(), 30))
    assert len(released) >= 3
