"""How a machine computes: every choice of kernel, precision and storage, in one place, by device and shape.

Each choice has its measurement in ``docs/performance.md``. Those that change a number by rounding, or the time it takes to start, can be
overridden by an option of ``astune train``: ``--bf16``, ``--store-bf16``, ``--attention-kernel``, ``--matmul-precision``, ``--compile``.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

import torch
from filelock import FileLock
from torch import Tensor, nn

from astune.data.store import cache_root
from astune.errors import ConfigError, OutputError
from astune.files import make_folder, write_text
from astune.json_text import json_text, json_value
from astune.shared_change import shared_change

if TYPE_CHECKING:
    from astune.names import AttentionKernel, MatmulPrecision

_MOST_SCORES = 2**26  # a layer; 128 MiB in bfloat16


class HasKernels(Protocol):
    """A backbone as far as arithmetic sees it; :class:`astune.backbone.Sites` is one."""

    @property
    def model(self) -> nn.Module:
        """The model with its layers."""

    def set_kernel(self, kernel: AttentionKernel) -> None:
        """Choose the kernel of every layer's attention."""


@dataclass(frozen=True)
class Arithmetic:
    """The kernel, precision and storage that one run uses."""

    device: torch.device
    bf16: bool
    """Matrix products in bfloat16 (autocast); what is trained, its gradients and AdamW's moments stay float32."""
    store_bf16: bool
    """Frozen matrices are kept in bfloat16, so that autocast has nothing to cast at every call, in half the memory."""
    attention_kernel: AttentionKernel = "auto"
    matmul_precision: MatmulPrecision = "highest"
    """Precision of float32 products: ``high`` is TF32 on a GPU, ``medium`` bfloat16 inside where a CPU has it."""
    compile: bool = False
    """Whether torch.compile translates the model."""

    @classmethod
    def of(
        cls, device: torch.device, bf16: bool | None = None, store_bf16: bool | None = None, **more: Any
    ) -> Arithmetic:
        """Choose what suits a device, where nothing else is set.

        Args:
            device: device on which the run computes.
            bf16: the user's wish; None for what is faster.
            store_bf16: the field of the same name; None to follow ``bf16``.
            more: further fields.
        """
        half = bf16_is_faster(device) if bf16 is None else bf16
        return cls(device, half, half if store_bf16 is None else half and store_bf16, **more)

    @property
    def compute_dtype(self) -> str:
        """Name of the type of the matrix products, for records."""
        return "bfloat16" if self.bf16 else "float32"

    def computing(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    @contextmanager
    def products(self) -> Iterator[None]:
        """The context of a run, for its float32 products; afterwards the process has its earlier setting again."""

        def make() -> Callable[[], None]:
            before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
            torch.set_float32_matmul_precision(self.matmul_precision)
            # The patches' projection is a convolution, which has a switch of its own.
            torch.backends.cudnn.allow_tf32 = self.matmul_precision != "highest"

            def undo() -> None:
                torch.set_float32_matmul_precision(before[0])
                torch.backends.cudnn.allow_tf32 = before[1]

            return undo

        with shared_change(("products", self.matmul_precision), make):
            yield

    def prepare(self, sites: HasKernels) -> None:
        """Choose the kernels of a backbone, and store its frozen matrices, in place, as this arithmetic reads them.

        Args:
            sites: the backbone with a method attached, so that what is trained requires a gradient already.
        """
        sites.set_kernel(self.attention_kernel)
        if not self.store_bf16:
            return
        for module in sites.model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                for parameter in module.parameters(recurse=False):
                    if not parameter.requires_grad:
                        parameter.data = parameter.data.bfloat16()

    def compiled(self, model: nn.Module) -> nn.Module:
        """Compile a model with torch.compile, where ``compile`` is set.

        Args:
            model: the model that is trained.

        Returns:
            A module that computes the same and shares the tensors.
        """
        return torch.compile(model) if self.compile else model  # type: ignore[return-value]

    def optimizer(self, parameters: Any, **settings: Any) -> torch.optim.AdamW:  # noqa: ANN401 - as AdamW takes them
        """AdamW, in one kernel where torch has it: the same numbers, and a third of the time where there are few parameters.

        Args:
            parameters: what is trained.
            settings: AdamW's.

        Returns:
            The optimiser.
        """
        return torch.optim.AdamW(parameters, fused=self.device.type in {"cpu", "cuda"} or None, **settings)

    def to_device(self, batch: Tensor) -> Tensor:
        """Copy a batch to the device; to a GPU through pinned memory, without waiting for it.

        Args:
            batch: any, on the CPU.

        Returns:
            The same values.
        """
        if self.device.type == "cuda":
            return batch.pin_memory().to(self.device, non_blocking=True)
        return batch.to(self.device)


def best_device() -> torch.device:
    """The GPU, if there is one."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device that can be used on this machine.

    Args:
        device: name of a device, as the user gave it.

    Raises:
        ConfigError: the device is unknown, or not available.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
        torch.autocast(found.type, torch.bfloat16, enabled=False)  # "meta" holds no values, and nothing computes there
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as fault:
        here = torch.accelerator.current_accelerator(check_available=True)
        count = torch.accelerator.device_count() if here else 0
        choices = ["cpu", *(f"{here}:{number}" for number in range(count))]
        raise ConfigError(f"device={str(device)!r} cannot be used; here there is {', '.join(choices)}") from fault
    return found


def bf16_is_faster(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32.

    A CPU that lacks the instructions emulates them, measured at 7 to 120 times slower (AMD EPYC with AVX2 only). One that has them need not
    gain: an Intel Xeon with AVX512-BF16 and no AMX took twice float32's time for a product and 1.5 times for a training. So it is tried.

    Args:
        device: device on which training would run.

    Returns:
        True where bfloat16 is worth having.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        able = cpu_capabilities()
        return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")) and _product_gains()
    return False


def cpu_capabilities() -> dict[str, object]:
    """Read what torch reports of the processor, such as ``avx512_bf16`` and ``cpu_name``; nothing before torch 2.10."""
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return known


@cache  # a run must not change its mind
def _product_gains() -> bool:
    """Whether bfloat16 was faster on this CPU when that was first tried.

    The cache remembers it, because a busy machine may find otherwise: then runs of one table would have two precisions, and none could be
    resumed.
    """
    file, name = cache_root() / "processors.json", f"{cpu_capabilities().get('cpu_name')}, torch {torch.__version__}"
    try:
        make_folder(file.parent)
        with FileLock(f"{file}.lock"):
            known = _known_gains(file)
            if name not in known:
                known[name] = _product_takes_less_time()
                write_text(file, json_text(known, indent=1))
            return known[name]
    except (OSError, OutputError):  # nothing can be remembered
        return _product_takes_less_time()


def _known_gains(file: Path) -> dict[str, bool]:
    try:
        return {
            name: gains
            for name, gains in json_value(file.read_text(encoding="utf-8")).items()
            if gains in {True, False}
        }
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or it is damaged and written again
        return {}


def _product_takes_less_time() -> bool:
    """Whether one product of AST-base's shape takes less time in bfloat16 now: a tenth of a second, the best of turns."""
    best = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
    operands = {dtype: (torch.ones(1024, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)) for dtype in best}
    with torch.inference_mode():
        for dtype in [*best] * 6:
            began = time.perf_counter()
            torch.nn.functional.linear(*operands[dtype])
            best[dtype] = min(best[dtype], time.perf_counter() - began)
    return best[torch.bfloat16] < best[torch.float32]


def missing_compiler() -> str | None:
    """Name of the C++ compiler that torch.compile would call on a CPU, where it is not there.

    Returns:
        ``CXX`` or the platform's; None where it can be called.
    """
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return name if shutil.which(name) is None else None


def prefers_eager_attention(query: Tensor) -> bool:
    """Whether eager attention is the faster kernel: in bfloat16 on a CPU, where the backward pass of sdpa is the slower one.

    In float32 sdpa won at every length tried (62 to 1,214 tokens: 1.0 to 2.1 times), and it stores no scores. Those of a
    large batch would fill the memory, so it also takes over there.

    Args:
        query: (batch, heads, N, d / heads).
    """
    batch, heads, tokens, _ = query.shape
    low_precision = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad
    return low_precision and batch * heads * tokens * tokens <= _MOST_SCORES


def stacks_adapters(device: torch.device) -> bool:
    """Whether clips of different adapters go through the model in one batch, with the adapters' tensors stacked, or adapter by adapter.

    A CPU computes a clip alone nearly as fast as in a batch, and torch attends clip by clip there when tensors are stacked: measured at
    0.94 to 1.15 times the speed. A GPU waits for the kernels of small batches to be started.

    Args:
        device: the device that computes.
    """
    return device.type == "cuda"


def one_core(usual: int) -> None:
    """Let torch use one core in this thread: each thread that computes would start a team as large as the main one's.

    Args:
        usual: torch's number of threads; torch also takes the last number set for the threads that will start later, and a thread sets
            its own with it, so a short-lived one puts it back.
    """
    torch.set_num_threads(1)
    torch.get_num_threads()  # torch reads the number once in each thread: here, before it is put back
    restoring = Thread(target=torch.set_num_threads, args=(usual,))
    restoring.start()
    restoring.join()


def one_core_each() -> Callable[[], None]:
    """What threads that compute begin with: :func:`one_core`, with the number of threads that torch has now.

    Returns:
        To be called once in each thread.
    """
    return partial(one_core, torch.get_num_threads())
