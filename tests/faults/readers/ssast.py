"""Checkpoints of SSAST and AST: changed bytes, and tensors of other names, shapes, types and values, imported as the command does it."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from astune import import_backbone
from tests.ast_files import ast_state_dict
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes
from tests.ssast_files import FRAME, PATCH, state_dict

if TYPE_CHECKING:
    from random import Random

FILE = "ssast.pth"
_SHAPES: tuple[tuple[int, ...], ...] = (
    (),
    (0,),
    (1,),
    (64,),
    (1, 1, 64),
    (64, 0),
    (64, 1, 0, 2),
    (60, 1, 16, 16),
    (1,) * 9,
)
_TELLING = tuple(
    f"module.{name}"
    for name in ("p_input_fdim", "p_input_tdim", "v.patch_embed.proj.weight", "v.pos_embed", "mlp_head.1.weight")
)
"""Tensors that sizes and classes are read from."""
_NUMBERS = (0, -1, 1, 15, 257, 10**6, 2**62)


def _changed(one: torch.Tensor, random: Random) -> object:
    """A tensor of another type, shape or device, or something that is no tensor."""
    if one.is_meta or one.is_sparse:  # a step before made it so, and torch can do little with it
        return one
    real, whole = one.is_floating_point(), torch.tensor(random.choice(_NUMBERS))
    return random.choice([
        one.half() if real else one.float(), one.to(torch.int64), one.to(torch.complex64), torch.full_like(one, torch.nan if real else 0),
        one.to_sparse() if one.dim() else one, one.to("meta"), one.expand(10**5, *one.shape), one.flatten()[:-1],
        torch.ones(random.choice(_SHAPES)), whole, whole, {"tensor": one}, one.tolist(), "text",
    ])  # fmt: skip


_KINDS = ("square", "frames", "ast")


@cache
def _state(kind: str) -> dict[str, torch.Tensor]:
    if kind == "ast":
        return ast_state_dict(144, width=64, layers=1, classes=3)
    return state_dict(PATCH if kind == "square" else FRAME, width=64, layers=1, frames=32)


def _bytes(held: object) -> bytes:
    stream = io.BytesIO()
    torch.save(held, stream)
    return stream.getvalue()


def make(folder: Path, random: Random) -> Path:
    state: dict[Any, Any] = dict(_state(random.choice(_KINDS)))
    if random.random() < 0.4:
        (folder / FILE).write_bytes(hostile_bytes(_bytes(state), random))
        return folder
    for _ in range(random.choice([1, 1, 2])):
        name = random.choice([*_TELLING, *(name for name in state if isinstance(name, str))])
        if name not in state:
            continue
        value, kind = state.pop(name), random.random()
        if kind < 0.8:
            state[name] = _changed(value, random) if isinstance(value, torch.Tensor) else value
        elif kind < 0.9:
            state[random.choice([name + "x", "module." + name, name[7:], "module.v.blocks.999.x", 7])] = value
    (folder / FILE).write_bytes(_bytes(state))
    return folder


def read(folder: Path) -> None:
    with redirect_stderr(io.StringIO()):
        import_backbone(folder / FILE, folder / "imported")


def warm_up(folder: Path) -> None:
    for kind in _KINDS:
        (folder / kind).mkdir()
        (folder / kind / FILE).write_bytes(_bytes(_state(kind)))
        read(folder / kind)


READER = Reader("ssast", make, read, warm_up)
