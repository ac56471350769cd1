"""What the READMEs of exported folders share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from astune.adapter import AdapterConfig


def hub_name(name_or_path: str) -> str | None:
    """The hub id of a backbone.

    Args:
        name_or_path: as adapters name it.

    Returns:
        The same; None where it is a folder, bundled or random.
    """
    is_id = (
        name_or_path.count("/") == 1 and not Path(name_or_path).expanduser().is_dir() and name_or_path[0] not in "./~"
    )
    return name_or_path if is_id else None


def card_front(config: AdapterConfig, library: str) -> str:
    """The YAML that opens a model card.

    Args:
        config: of the adapter.
        library: that loads the folder.

    Returns:
        The block with its fences.
    """
    about: dict[str, Any] = {"library_name": library, "pipeline_tag": "audio-classification"}
    base = hub_name(config.backbone.name_or_path)
    if base:
        about["base_model"] = base
    front = yaml.safe_dump({**about, "tags": ["audio-classification", "astune"]}, sort_keys=False, width=math.inf)
    return f"---\n{front}---\n"
