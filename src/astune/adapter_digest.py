"""What an adapter computes with, in one short text: a graph remembers whose weights it has. torch is not needed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from astune.errors import AdapterError
from astune.json_text import read_object
from astune.names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from astune.printable import printable

_WITHOUT_EFFECT = frozenset((
    "training", "metrics", "versions", "trainable_parameters", "format_version", "peft_type", "base_model_name_or_path",
))  # fmt: skip # fields that change no score
_STEP = 2**20  # bytes


def adapter_digest(folder: str | Path) -> str:
    """SHA-256 of an adapter's weights, and of every part of its configuration that decides scores or labels.

    Args:
        folder: the folder of the adapter, on this machine.

    Returns:
        64 hexadecimal digits.

    Raises:
        AdapterError: a file is missing, or the configuration is damaged.
    """
    folder = Path(folder)
    try:
        record = read_object(folder / ADAPTER_CONFIG)
        decisive = {name: value for name, value in record.items() if name not in _WITHOUT_EFFECT}
        decisive["backbone"] = record["backbone"]["fingerprint"]  # wherever it is, and whatever it is called there
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
        with (folder / ADAPTER_WEIGHTS).open("rb") as stream:
            while part := stream.read(_STEP):
                digest.update(part)
    except (OSError, ValueError, TypeError, KeyError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise AdapterError(f"{printable(folder)} cannot be read as an adapter folder: {reason}") from fault
    return digest.hexdigest()
