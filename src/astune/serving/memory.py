"""Memory that the C library keeps: a service of many threads gives it back to the system once a minute.

glibc keeps the pieces that were freed, in a heap for several threads each. With requests of many sizes its free part grew from 55 to 78 MiB
in ten minutes of `python -m tests.faults soak` (mallinfo2), while the part in use stayed the same.
"""

from __future__ import annotations

import asyncio
import ctypes

_SECONDS = 60.0


def release_free_memory() -> bool:
    """Give the free pages of all heaps back to the system.

    Returns:
        Whether the C library can do so; glibc can, others need not.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    trim(0)
    return True


async def keep_memory_low(seconds: float = _SECONDS) -> None:
    """Release free memory again and again, until it is cancelled.

    Args:
        seconds: between two releases.
    """
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(release_free_memory)
