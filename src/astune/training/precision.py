"""Which arithmetic a machine trains in, decided in one place."""

from __future__ import annotations

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware.

    Without the instructions a CPU emulates them, measured at 120 times slower than float32 (AMD EPYC with AVX2 only).

    Args:
        device: where training would run.

    Returns:
        True where bfloat16 is worth having.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # absent before torch 2.10
        return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return False
