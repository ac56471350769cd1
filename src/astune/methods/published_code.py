"""The setting that the published code had in effect, which made the figures printed in the paper.

Its loading left position embeddings at zero and redrew the first values of what a method adds, its test took the last epoch's weights,
and its Convpass never dropped anything. ``docs/deviations.md`` says how each came about. The paper's text mentions none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astune.methods.base import Method, Sum
from astune.methods.registry import parse_method, replace_fields

PUBLISHED_CODE_SETTINGS: Mapping[str, Any] = {"position_embeddings": "zero", "selection": "last"}
"""Settings of a run, by name."""
PUBLISHED_CODE_FIELDS: Mapping[str, Any] = {"init": "published", "dropout": 0.0}
"""Fields of those methods that have them."""


def method_as_published(method: Method) -> Method:
    """A method as the published code trains it.

    Args:
        method: one, or a sum of several.

    Returns:
        The method with :data:`PUBLISHED_CODE_FIELDS`, as far as it has these fields and does not state them itself.
    """
    members = [
        replace_fields(
            member,
            {name: value for name, value in PUBLISHED_CODE_FIELDS.items() if name not in member.model_fields_set},
        )
        for member in method.members
    ]
    return members[0] if len(members) == 1 else Sum(parts=tuple(members))


def settings_as_published(settings: Mapping[str, Any], default_method: str) -> dict[str, Any]:
    """Settings of a run in the published code's setting.

    Args:
        settings: fields of :class:`astune.TrainConfig`; what they state stays.
        default_method: the method where they state none.

    Returns:
        All settings of the run.

    Raises:
        ConfigError: the method cannot be read.
    """
    method = method_as_published(parse_method(settings.get("method", default_method)))
    return {**PUBLISHED_CODE_SETTINGS, **settings, "method": method.spec}
