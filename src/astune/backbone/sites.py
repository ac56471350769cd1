"""Where the paper's places lie in transformers' model: the one file that knows transformers' module names.

Everything else speaks of ``layers.3.mhsa.q`` or ``layers.3.ffn.norm``. These names also stand in adapter files and in the
fingerprint of a backbone, so a renaming in transformers changes this file and nothing on disk.

A method attaches from outside, through hooks::

    x ── norm ──┬── before(x) ── F ── after(input, output) ──▶ + residual          F = MHSA or FFN
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from torch import Tensor, nn

from astune.backbone.attention import NAME as ATTENTION
from astune.backbone.attention import Prefix, set_prefix

if TYPE_CHECKING:
    from transformers import ASTModel

Kind = Literal["mhsa", "ffn"]

_NAMES = (  # transformers >= 5.9, ours
    (r"^embeddings\.cls_token$", "embeddings.cls"),
    (r"^embeddings\.distillation_token$", "embeddings.distillation"),
    (r"^embeddings\.position_embeddings$", "embeddings.positions"),
    (r"^embeddings\.patch_embeddings\.projection\.", "embeddings.patches."),
    (r"^layers\.(\d+)\.layernorm_before\.", r"layers.\1.mhsa.norm."),
    (r"^layers\.(\d+)\.attention\.([qkvo])_proj\.", r"layers.\1.mhsa.\2."),
    (r"^layers\.(\d+)\.layernorm_after\.", r"layers.\1.ffn.norm."),
    (r"^layers\.(\d+)\.mlp\.fc([12])\.", r"layers.\1.ffn.w\2."),
    (r"^layernorm\.", "norm."),
)


def our_name(name: str) -> str:
    """Our name of a parameter of transformers' model.

    Args:
        name: as in ``ASTModel.state_dict()``, such as ``layers.0.attention.q_proj.weight``.

    Returns:
        Such as ``layers.0.mhsa.q.weight``.

    Raises:
        KeyError: transformers has a parameter this file does not know.
    """
    for pattern, replacement in _NAMES:
        ours, found = re.subn(pattern, replacement, name)
        if found:
            return ours
    raise KeyError(f"transformers' parameter {name!r} has no name in astune.backbone.sites")


class Wrapper(Protocol):
    """What is put around a sub-layer F: a module with a view of F's input and of its output."""

    def before(self, x: Tensor) -> Tensor:
        """Input of F, from the output of the LayerNorm; (batch, tokens, d) both."""

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """Output of the sub-layer, from F's input as ``before`` left it and F's output; (batch, tokens, d) all."""


# Hooks are objects, not closures: a deep copy of a model must call the copied adapter, and deepcopy does not enter closures.
@dataclass(frozen=True)
class _BeforeHook:
    wrapper: Wrapper

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.wrapper.before(args[0]), *args[1:])


@dataclass(frozen=True)
class _AfterHook:
    wrapper: Wrapper

    def __call__(
        self, _: nn.Module, args: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]
    ) -> Tensor | tuple[Tensor, ...]:
        if isinstance(output, tuple):  # attention returns its weights too
            return (self.wrapper.after(args[0], output[0]), *output[1:])
        return self.wrapper.after(args[0], output)


@dataclass(frozen=True)
class _AddHook:
    module: nn.Module

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + self.module(args[0])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _LayerHook:
    editor: nn.Module

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.editor(args[0]), *args[1:])


class _Handle(Protocol):
    """Takes away what was attached."""

    def remove(self) -> None: ...


@dataclass(frozen=True)
class _PrefixHandle:
    attention: nn.Module

    def remove(self) -> None:
        set_prefix(self.attention, None)


@dataclass(frozen=True)
class SubLayer:
    """One MHSA or FFN with the LayerNorm in front of it."""

    path: str
    """``layers.<index>.mhsa`` or ``layers.<index>.ffn``."""
    norm: nn.LayerNorm
    module: nn.Module
    projections: dict[str, nn.Linear]
    """``q k v o`` of an MHSA, ``w1 w2`` of an FFN."""
    handles: list[_Handle] = field(repr=False)

    def wrap(self, wrapper: Wrapper) -> None:
        """Put a module around the sub-layer.

        Args:
            wrapper: sees the sub-layer's input and output.
        """
        self.handles.append(self.module.register_forward_pre_hook(_BeforeHook(wrapper)))
        self.handles.append(self.module.register_forward_hook(_AfterHook(wrapper)))

    def add_to(self, projection: str, module: nn.Module) -> None:
        """Add a module's output, from the same input, to that of a projection.

        Args:
            projection: a key of ``projections``.
            module: maps what the projection maps.
        """
        self.handles.append(self.projections[projection].register_forward_hook(_AddHook(module)))

    def prepend(self, prefix: Prefix) -> None:
        """Put keys and values that come from no token into the attention of an MHSA.

        Args:
            prefix: of p keys and p values.
        """
        set_prefix(self.module, prefix)
        self.handles.append(_PrefixHandle(self.module))


class Sites:
    """A backbone in the paper's words; its attention becomes our function from here on.

    Args:
        model: transformers' model, weights loaded.
    """

    def __init__(self, model: ASTModel) -> None:
        self.model = model
        model.set_attn_implementation(ATTENTION)
        self.width: int = model.config.hidden_size
        self.handles: list[_Handle] = []
        self.layers = [self._layer(index, layer) for index, layer in enumerate(model.layers)]
        self.norm: nn.LayerNorm = model.layernorm

    def _layer(self, index: int, layer: nn.Module) -> dict[Kind, SubLayer]:
        attention, mlp = layer.get_submodule("attention"), layer.get_submodule("mlp")
        norms = [layer.get_submodule(name) for name in ("layernorm_before", "layernorm_after")]
        heads = {name: attention.get_submodule(f"{name}_proj") for name in "qkvo"}
        matrices = {name: mlp.get_submodule(f"fc{name[1]}") for name in ("w1", "w2")}
        return {
            "mhsa": SubLayer(f"layers.{index}.mhsa", norms[0], attention, heads, self.handles),  # type: ignore[arg-type]
            "ffn": SubLayer(f"layers.{index}.ffn", norms[1], mlp, matrices, self.handles),  # type: ignore[arg-type]
        }

    def before_layer(self, index: int, editor: nn.Module) -> None:
        """Edit the tokens that enter a layer.

        Args:
            index: of the layer.
            editor: (batch, N, d) to (batch, M, d).
        """
        self.handles.append(self.model.layers[index].register_forward_pre_hook(_LayerHook(editor)))

    def parameters(self) -> dict[str, nn.Parameter]:
        """The backbone's parameters under our names, in the model's order."""
        return {our_name(name): parameter for name, parameter in self.model.named_parameters()}

    def detach(self) -> None:
        """Take away everything that was attached."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
