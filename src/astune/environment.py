"""What a run ran with: versions, device, cores, memory. torch is imported where it is asked."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def versions() -> dict[str, str]:
    """Collect the versions of Python and of the packages that decide results.

    Returns:
        Versions of Python and of the packages that decide numbers.
    """
    packages = ("astune", "torch", "transformers", "accelerate", "numpy", "soundfile", "soxr")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def device_name(device: torch.device) -> str:
    """Name the device that a run used.

    Args:
        device: torch's.

    Returns:
        A GPU's own name; of a CPU ``cpu (Intel Xeon)``, because seconds on another processor are others; else the device's type.
    """
    import torch

    from astune.compute import cpu_capabilities

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = cpu_capabilities().get("cpu_name")
    return f"cpu ({name})" if device.type == "cpu" and name else device.type


def usable_cores() -> int:
    """How many cores this process may use, which a scheduler or a container may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mib(device: torch.device) -> float:
    """Largest resident set of the process so far, or what CUDA allocated at most.

    Args:
        device: the device that ran.

    Returns:
        MiB.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def source_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout this package runs from, and whether its source differs: results and plans in it may differ."""
    root = Path(__file__).parents[2]  # of a checkout; of an installed package it is some folder of Python's
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        return commit, bool(_git(root, "status", "--porcelain", "--", "src").strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words
