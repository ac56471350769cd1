"""What the READMEs of exported folders share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from astune.backbone.hub import is_hub_id
from astune.card_front import with_front

if TYPE_CHECKING:
    from astune.adapter import AdapterConfig


class HubModel(NamedTuple):
    """A model on the hub, as other programs name it: they take no ``user/name@revision``."""

    repo_id: str
    revision: str | None
    """Branch, tag or commit; the default branch where None."""


def hub_model(name_or_path: str) -> HubModel | None:
    """The hub id and revision of a backbone, if it is on the hub.

    Args:
        name_or_path: the backbone's name, as adapters store it.

    Returns:
        The model; None where the backbone is a folder, bundled or random.
    """
    if not is_hub_id(name_or_path):
        return None
    repo_id, _, revision = name_or_path.partition("@")
    return HubModel(repo_id, revision or None)


def card_front(config: AdapterConfig, library: str) -> str:
    """The YAML that opens a model card.

    Args:
        config: the configuration of the adapter.
        library: the library that loads the folder.

    Returns:
        The block with its fences.
    """
    about: dict[str, Any] = {"library_name": library, "pipeline_tag": "audio-classification"}
    base = hub_model(config.backbone.name_or_path)
    if base:
        about["base_model"] = base.repo_id
    return with_front({**about, "tags": ["audio-classification", "astune"]}, "")
