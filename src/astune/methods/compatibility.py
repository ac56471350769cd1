"""What does not go together with a method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.errors import ConfigError

if TYPE_CHECKING:
    from astune.methods.base import Method


def refuse_pooling(method: Method, pooling: str) -> None:
    """Refuse a pooling of tokens that a method replaces.

    Args:
        method: a method.
        pooling: see :data:`astune.names.Pooling`.

    Raises:
        ConfigError: it replaces one of them.
    """
    replacing = [member.spec for member in method.members if not member.keeps_distillation]
    if pooling == "special" and replacing:
        raise ConfigError(
            f"pooling='special' takes the distillation token, which {replacing[0]} replaces; use pooling='all' or 'cls'"
        )


def refuse_dropped_patches(method: Method) -> None:
    """Refuse to drop patches where a method looks at the neighbours of a patch.

    Args:
        method: a method.

    Raises:
        ConfigError: it does.
    """
    looking = [member.spec for member in method.members if member.needs_all_patches]
    if looking:
        raise ConfigError(f"{looking[0]} looks at neighbouring patches, so none may be dropped; use patchout=0")
