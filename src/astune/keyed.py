"""Randomness as a function of what it is for, not of what was drawn before.

Shuffling, masks and draws are keyed by (seed, purpose, epoch, clip), so that neither data workers nor a resumed run can change them.
"""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_generator(*key: int | str) -> np.random.Generator:
    """A generator that depends on its key alone, the same on every machine.

    Args:
        key: integers (not negative) and strings.

    Returns:
        numpy's generator, freshly seeded.
    """
    words = [
        part if isinstance(part, int) else int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "big")
        for part in key
    ]
    return np.random.Generator(np.random.PCG64(words))
