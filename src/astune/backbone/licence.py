"""Under which licence the weights of a backbone are, as its own model card says."""

from __future__ import annotations

from pathlib import Path

from astune.backbone.hub import find_cached, find_files, is_hub_id
from astune.backbone.load import BUNDLED_FOLDER
from astune.card_front import front_of
from astune.errors import BackboneError
from astune.files import local_folder
from astune.names import BUNDLED_BACKBONE

_CARD = "README.md"


def licence_of(name: str, *, ask: bool = False) -> str | None:
    """The licence of a backbone's weights.

    Args:
        name: as an adapter names it.
        ask: fetch the card from the hub, where it is not in the cache.

    Returns:
        Such as ``"apache-2.0"``; None where its card does not say, or is not there.
    """
    card = _card_of(name, ask=ask)
    try:
        front = front_of(card.read_text(encoding="utf-8", errors="replace")) if card else {}
    except OSError:
        return None
    stated = front.get("license_name") or front.get("license")
    return ", ".join(map(str, stated)) if isinstance(stated, list) else None if stated is None else str(stated)


def _card_of(name: str, *, ask: bool) -> Path | None:
    folder = BUNDLED_FOLDER if name == BUNDLED_BACKBONE else local_folder(name)
    if folder is not None:
        return folder / _CARD
    if not is_hub_id(name):
        return None
    if not ask:
        return find_cached(name, _CARD)
    try:
        return find_files(name, [_CARD])[_CARD]
    except BackboneError:
        return None
