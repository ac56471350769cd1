"""One sub-layer of a backbone, and how a method attaches to it: from outside, through hooks.

::

    x ── norm ──┬── before(x) ── F ── after(input, output) ──▶ + residual          F = MHSA or FFN
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor, nn

from astune.backbone.attention import Prefix, set_prefix

Kind = Literal["mhsa", "ffn"]


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
class _InputHook:
    editor: nn.Module

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.editor(args[0]), *args[1:])


@dataclass(frozen=True)
class _OutputHook:
    editor: nn.Module

    def __call__(self, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self.editor(output)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _ReplaceHook:
    module: nn.Module

    def __call__(self, projection: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self.module(projection, args[0], output)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class LayerHook:
    """Edits the tokens that enter a whole layer."""

    editor: nn.Module
    """(batch, N, d) to (batch, M, d)."""

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The arguments of the layer, edited."""
        return (self.editor(args[0]), *args[1:])


class Handle(Protocol):
    """A handle of something attached, which can remove it again."""

    def remove(self) -> None:
        """Remove what was attached."""


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
    handles: list[Handle] = field(repr=False)

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

    def edit_input(self, projection: str, editor: nn.Module) -> None:
        """Edit what a projection is given.

        Args:
            projection: a key of ``projections``.
            editor: maps its input to an input.
        """
        self.handles.append(self.projections[projection].register_forward_pre_hook(_InputHook(editor)))

    def edit_output(self, part: str, editor: nn.Module) -> None:
        """Edit what a projection or the LayerNorm gives.

        Args:
            part: a key of ``projections``, or ``norm``.
            editor: maps its output to an output.
        """
        edited = self.norm if part == "norm" else self.projections[part]
        self.handles.append(edited.register_forward_hook(_OutputHook(editor)))

    def replace_output(self, projection: str, module: nn.Module) -> None:
        """Put something else in the place of what a projection gives.

        Args:
            projection: a key of ``projections``.
            module: called with the projection itself, which has the weights, its input and its output.
        """
        self.handles.append(self.projections[projection].register_forward_hook(_ReplaceHook(module)))

    def prepend(self, prefix: Prefix) -> None:
        """Put keys and values that come from no token into the attention of an MHSA.

        Args:
            prefix: of p keys and p values.
        """
        set_prefix(self.module, prefix)
        self.handles.append(_PrefixHandle(self.module))
