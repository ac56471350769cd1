"""Look-Aside adapters: adapters that see the neighbours of a patch in time and in frequency (Yeo et al., 2024).

A(x) = up(GELU(down(x))), where both layers are convolutions over the grid of patches: ``down`` (d to r) along one axis, ``up`` (r to d)
along the other.

Only the abstract and the first page of the paper could be read. They settle that the linear layers of a parallel adapter become
one-dimensional convolutions along time and frequency. What is ours: kernel 3, time first, and GELU in between, as in our other adapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from astune.methods.adapters import Adapted, Adapters, Place
from astune.methods.base import initialise
from astune.methods.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.backbone import Sites
    from astune.backbone.sublayer import Wrapper
    from astune.methods.base import Init

Axis = Literal["time", "frequency"]
Axes = Literal["time-frequency", "frequency-time", "time", "frequency"]
_WIDEST_KERNEL = 31


class AxisConvolution(nn.Conv1d):
    """A convolution along the rows or the columns of the patch grid: (batch, N, in) to (batch, N, out).

    The last rows · columns tokens are the patches, frequency-major. Those in front of them ([CLS], distillation, prompts) have no
    neighbours: the middle of the kernel is their linear layer. Beyond the edge of the grid there are zeros.

    Args:
        inputs: features of a token.
        outputs: features of a token of the result.
        kernel: how many patches are seen, an odd number.
        axis: along which.
        grid: patches along frequency and along time.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, axis: Axis, grid: tuple[int, int]) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.axis, self.grid = axis, grid

    @override
    def forward(self, input: Tensor) -> Tensor:
        """(batch, N, in) to (batch, N, out)."""
        rows, columns = self.grid
        front = input.shape[1] - rows * columns
        patches = input[:, front:].reshape(-1, rows, columns, self.in_channels)
        lines = patches if self.axis == "time" else patches.transpose(1, 2)  # (batch, lines, patches of a line, in)
        made = super().forward(lines.flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        made = made.reshape(-1, *lines.shape[1:3], self.out_channels)
        made = made if self.axis == "time" else made.transpose(1, 2)
        # Copied, because torch multiplies views in another order where a gradient is wanted.
        middle = self.weight[:, :, self.kernel_size[0] // 2].contiguous()
        alone = F.linear(input[:, :front].contiguous(), middle, self.bias)
        return torch.cat([alone, made.flatten(1, 2)], dim=1)


class LookAside(nn.Module):
    """Down along one axis, GELU, up along the other, with biases: (batch, N, d) to the same.

    Args:
        width: d.
        rank: r.
        kernel: patches that each layer sees.
        axes: of ``down`` and ``up``.
        grid: patches along frequency and along time.
        init: how it starts.
    """

    def __init__(
        self, width: int, rank: int, kernel: int, axes: tuple[Axis, Axis], grid: tuple[int, int], init: Init
    ) -> None:
        super().__init__()
        self.down = AxisConvolution(width, rank, kernel, axes[0], grid)
        self.up = AxisConvolution(rank, width, kernel, axes[1], grid)
        initialise(self, init, up=["up"])

    @override
    def forward(self, x: Tensor) -> Tensor:
        """A(x); (batch, N, d) to (batch, N, d)."""
        return self.up(F.gelu(self.down(x)))  # type: ignore[no-any-return]


@register("look-aside")
class LookAsideAdapters(Adapters):
    """Adapters with convolutions along time and frequency."""

    adapter_type: ClassVar[type[nn.Module]] = LookAside
    needs_all_patches: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"look-aside": {}}
    examples: ClassVar[tuple[str, ...]] = (
        "look-aside:configuration=houlsby,axes=frequency-time",
        "look-aside:kernel=5,axes=time,sublayer=ffn",
        "look-aside:kernel=1,axes=frequency,init=normal",
        "look-aside:sublayer=ffn+dpt:tokens=3",
    )

    kernel: int = Field(3, ge=1, le=_WIDEST_KERNEL, description="patches that each layer sees, an odd number")
    axes: Axes = Field("time-frequency", description="axis of the first and of the second layer, or one for both")

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"give an odd number, such as {kernel - 1} or {kernel + 1}")
        return kernel

    @override
    def adapter(self, sites: Sites, place: Place) -> tuple[nn.Module, Wrapper]:
        """A new adapter for the backbone's grid of patches, and how it is put around its sub-layer.

        Args:
            sites: the backbone, which has the sizes.
            place: where it sits.
        """
        first, _, second = self.axes.partition("-")
        axes: Any = (first, second or first)
        module = LookAside(sites.width, self.rank(sites.width), self.kernel, axes, sites.patch_grid(), self.init)
        return module, Adapted(module, place)
