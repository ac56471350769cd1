"""What glibc keeps of freed memory, so that a service that runs for weeks stays as large as its work.

Two limits of glibc suit programs that end soon:

- A large piece comes from the system, and goes back when it is freed. A piece is large from 128 KiB on, but this rises to the size of what
  is freed, up to 32 MiB. Recordings and features of many sizes then share heaps with what stays, and the heaps never shrink. In 425
  requests `astune serve` grew by 11 MiB, although the memory in use grew by 0.1 MiB (mallinfo2). With the limit kept, it grew by 2 MiB in
  856 requests.
- Threads get heaps of their own, up to eight for each core, and each keeps what its threads freed. In 13,000 requests of all kinds these
  heaps held 17 MiB of free memory, and two heaps 9 MiB.
"""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # numbers of glibc's mallopt
_LARGE = 128 * 1024  # glibc's own limit when a process starts
_HEAPS = 2


def limit_free_memory() -> bool:
    """Set both limits for the whole process. Threads that have a heap already keep it, so call it before they start.

    Returns:
        Whether the C library has such limits. glibc has; others need not.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([set_option(_MMAP_THRESHOLD, _LARGE) == 1, set_option(_ARENA_MAX, _HEAPS) == 1])
