"""Randomness as a function of what it is for, not of what was drawn before.

Shuffling, masks and draws are keyed by (seed, purpose, epoch, clip name), so that neither data workers nor a resumed run can change them.
"""

from __future__ import annotations

import hashlib
import json
import operator

import numpy as np

FORMAT = 2
"""Raised when equal settings draw other masks, patches or clips: results of one format are not mixed with another's.

1: masks and Patchout keyed by a clip's index in its data set; 2: by its name.
"""


def keyed_generator(*key: int | str) -> np.random.Generator:
    """A generator that depends on its key alone, the same on every machine.

    Args:
        key: integers, also NumPy's, and strings; keys that differ in length, order or type are different.

    Returns:
        numpy's generator, freshly seeded.
    """
    # hashed whole: numpy's own seeding takes (1, 2) and (1, 2, 0) for one key, and refuses negative numbers
    digest = hashlib.sha256(json.dumps(key, default=operator.index).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
