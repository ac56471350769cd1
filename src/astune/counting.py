"""What a method trains and stores, on a backbone that exists as sizes alone: no weights, no transformers, milliseconds.

A method attaches to a sketch of the backbone as it does to the backbone itself; what it then adds and names is counted. So a new method
needs no formula. The conformance suite compares every registered method with the real model, tensor by tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from astune.architecture import SPECIAL_TOKENS, Architecture, patch_grid
from astune.files import saved_bytes
from astune.methods import Method, parse_method
from astune.methods.base import trained_final_norm

if TYPE_CHECKING:
    from transformers import ASTConfig

    from astune.backbone import Sites


@dataclass(frozen=True)
class Count:
    """Number of parameters and bytes of one method."""

    parameters: int
    """Trained parameters as the paper counts them."""
    percent_of_full: float
    """Trainable parameters, in percent of those of full fine-tuning."""
    adapter_bytes: int
    """Tensors of the adapter file, head included."""
    file_bytes: int
    """The whole ``adapter_model.safetensors``, to the byte."""
    with_head: int
    """All trained parameters, head and final LayerNorm included."""


@dataclass(frozen=True)
class Trained:
    """What a method trains, as tensors without values."""

    tensors: dict[str, Tensor]
    """Those of the adapter file, by name."""
    counted: frozenset[str]
    """Names of those that the paper counts."""
    buffers: frozenset[str]
    """Names of those that are no parameters, such as the statistics of a BatchNorm."""
    backbone: int
    """Parameters of the whole backbone."""


def count(method: str | Method, classes: int = 50, architecture: ASTConfig | Architecture | None = None) -> Count:
    """Count the parameters and bytes of a method.

    Args:
        method: a method or its spec string.
        classes: classes of the head.
        architecture: sizes of the backbone at the input length, or transformers' configuration; AST-base at 500 frames where None.

    Returns:
        Parameters and bytes.

    Raises:
        ConfigError: the method cannot be attached.
    """
    found = trained_by(method, classes, architecture)
    parameters = sum(found.tensors[name].numel() for name in found.counted)
    size = sum(tensor.numel() * tensor.element_size() for tensor in found.tensors.values())
    whole = sum(tensor.numel() for name, tensor in found.tensors.items() if name not in found.buffers)
    return Count(parameters, 100 * parameters / found.backbone, size, saved_bytes(found.tensors), whole)


def trained_by(
    method: str | Method, classes: int = 50, architecture: ASTConfig | Architecture | None = None
) -> Trained:
    """List the tensors that a method trains.

    Args:
        method: a method or its spec string.
        classes: classes of the head.
        architecture: see :func:`count`.

    Returns:
        Names and shapes, on the meta device.

    Raises:
        ConfigError: the method cannot be attached.
    """
    method = parse_method(method)
    sketch = _sketch(Architecture.of(architecture or Architecture()))
    with torch.device("meta"):
        attached = method.attach(cast("Sites", sketch))  # it has what methods use of a backbone
        head = nn.Linear(sketch.width, classes)
    whole = sketch.parameters()
    norm = {f"norm.{name}" for name in trained_final_norm(method)}
    own = {name: tensor for name, tensor in whole.items() if name in attached.backbone_parameters | norm}
    added = {f"{place}.{name}": p for place, part in attached.modules.items() for name, p in part.named_parameters()}
    buffers = {f"{place}.{name}": b for place, part in attached.modules.items() for name, b in part.named_buffers()}
    last = {f"head.{name}": parameter for name, parameter in head.named_parameters()}
    counted = attached.backbone_parameters | added.keys()
    if any(member.counts_head for member in method.members):
        counted |= last.keys() | norm
    size = sum(tensor.numel() for tensor in whole.values())
    return Trained(own | added | last | buffers, frozenset(counted), frozenset(buffers), size)


class _SubLayer:
    """An MHSA or FFN of which the sizes are known; nothing runs, so what is put around it is forgotten."""

    def __init__(self, path: str, width: int, projections: dict[str, nn.Linear]) -> None:
        self.path, self.norm, self.projections = path, nn.LayerNorm(width), projections

    def wrap(self, wrapper: object) -> None:
        """See :class:`astune.backbone.SubLayer`."""

    def add_to(self, projection: str, module: nn.Module) -> None:
        """See :class:`astune.backbone.SubLayer`."""

    def edit_input(self, projection: str, editor: nn.Module) -> None:
        """See :class:`astune.backbone.SubLayer`."""

    def edit_output(self, part: str, editor: nn.Module) -> None:
        """See :class:`astune.backbone.SubLayer`."""

    def replace_output(self, projection: str, module: nn.Module) -> None:
        """See :class:`astune.backbone.SubLayer`."""

    def prepend(self, prefix: object) -> None:
        """See :class:`astune.backbone.SubLayer`."""

    def parameters(self) -> dict[str, Tensor]:
        modules = {"norm": self.norm, **self.projections}
        return {
            f"{self.path}.{key}.{name}": p for key, module in modules.items() for name, p in module.named_parameters()
        }


class _Sketch:
    """A backbone in the paper's words, as far as methods ask for it; see :class:`astune.backbone.Sites`."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.width = architecture.hidden_size
        self.layers = [self._layer(index) for index in range(architecture.num_hidden_layers)]
        self._parameters = self._all()

    def _layer(self, index: int) -> dict[str, _SubLayer]:
        width, inner, bias = self.width, self.architecture.intermediate_size, self.architecture.qkv_bias
        heads = {name: nn.Linear(width, width, bias=bias) for name in "qkv"} | {"o": nn.Linear(width, width)}
        matrices = {"w1": nn.Linear(width, inner), "w2": nn.Linear(inner, width)}
        return {
            "mhsa": _SubLayer(f"layers.{index}.mhsa", width, heads),
            "ffn": _SubLayer(f"layers.{index}.ffn", width, matrices),
        }

    def patch_grid(self) -> tuple[int, int]:
        """Patches along frequency and along time."""
        return patch_grid(self.architecture)

    def before_layer(self, index: int, editor: nn.Module) -> None:
        """Do nothing, because counting runs no layers."""

    def mix_levels(self, mixer: nn.Module) -> None:
        """Do nothing, because counting runs no layers."""

    def parameters(self) -> dict[str, Tensor]:
        """All of the backbone's, under our names."""
        return self._parameters

    def _all(self) -> dict[str, Tensor]:
        rows, columns = self.patch_grid()
        width = self.width
        shapes = {
            "embeddings.cls": (1, 1, width),
            "embeddings.distillation": (1, 1, width),
            "embeddings.positions": (1, SPECIAL_TOKENS + rows * columns, width),
            "embeddings.patches.weight": (width, 1, *self.architecture.patch_shape),
            "embeddings.patches.bias": (width,),
            "norm.weight": (width,),
            "norm.bias": (width,),
        }
        found: dict[str, Tensor] = {name: torch.empty(shape) for name, shape in shapes.items()}
        for layer in self.layers:
            for sublayer in layer.values():
                found |= sublayer.parameters()
        return found


@lru_cache(maxsize=16)
def _sketch(architecture: Architecture) -> _Sketch:
    """One for all methods: attaching leaves no trace in it."""
    with torch.device("meta"):
        return _Sketch(architecture)
