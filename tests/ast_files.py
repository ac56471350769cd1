"""Fabricated AST checkpoints, with the names and shapes of those that the authors' training code writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ssast_files import PATCH, drawn, encoder_shapes, layer_shapes

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 527


def grid(frequency_stride: int, time_stride: int, frames: int) -> tuple[int, int]:
    """Patches along frequency and time of 128 mel bins, as their convolution makes them."""
    return (128 - 16) // frequency_stride + 1, (frames - 16) // time_stride + 1


def ast_state_dict(
    patches: int, *, width: int = 192, layers: int = 2, classes: int = CLASSES, seed: int = 0
) -> dict[str, Tensor]:
    """What ``torch.save(torch.nn.DataParallel(ASTModel(...)).state_dict(), path)`` of the authors' AST code holds.

    Args:
        patches: number of patches of an input.
        width: of a token.
        layers: number of blocks.
        classes: of the classifier.
        seed: of the values.

    Returns:
        Tensors by name.
    """
    heads = layer_shapes({"mlp_head.0": (width,), "mlp_head.1": (classes, width)})
    tensors = drawn(encoder_shapes(PATCH, patches, width=width, layers=layers) | heads, seed)
    return {f"module.{name}": tensor for name, tensor in tensors.items()}
