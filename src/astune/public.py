"""What of an adapter may be seen by everybody: its data and its backbone by name, and no path of the machine that trained it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from astune.backbone.hub import is_hub_id
from astune.names import BUNDLED_BACKBONE

if TYPE_CHECKING:
    from astune.adapter import AdapterConfig

_FOLDERS = ("audio_dir", "background_noise")  # settings that are paths, also where they do not look like one
_TABLE = "metadata"  # a table of this name is named after its folder
# Two parts or more, so that a lone '/' between words stays.
_PATH = re.compile(r"(?<![\w./\\~-])(?:~|[A-Za-z]:)?(?:[/\\][^/\\\s:*?\"'<>|,;()]+){2,}[/\\]?")


def public_config(config: AdapterConfig) -> tuple[AdapterConfig, list[str]]:
    """An adapter's configuration for everybody.

    Args:
        config: the configuration, as training wrote it.

    Returns:
        It without paths of this machine, and a sentence for each thing that was shortened.
    """
    changed: dict[str, str] = {}
    training = {name: _public(value, name, changed) for name, value in config.training.items()}
    metrics = {name: _public(value, f"metrics.{name}", changed) for name, value in config.metrics.items()}
    name = public_backbone(config.backbone.name_or_path)
    if name != config.backbone.name_or_path:
        changed["backbone"] = name
    shared = config.model_copy(
        update={
            "training": training,
            "metrics": metrics,
            "backbone": config.backbone.model_copy(update={"name_or_path": name}),
        }
    )
    notices = [f"{key} is a path of this machine; the copy names {value!r} alone" for key, value in changed.items()]
    return shared, notices


def private_paths(config: AdapterConfig) -> list[str]:
    """Paths of this machine that an adapter names, which no shared file may hold.

    Args:
        config: the configuration, as training wrote it.

    Returns:
        Each path, and the user's home where it is more than ``/``.
    """
    texts = [*_texts(config.training), *_texts(config.metrics), config.backbone.name_or_path]
    whole = {path for text in texts for path in (text, text.partition(":")[2]) if _is_absolute(path)}
    found = {path.rstrip("/\\") for path in whole | {match[0] for text in texts for match in _PATH.finditer(text)}}
    home = str(Path.home())
    return sorted(found | ({home} if len(Path(home).parts) > 2 else set()))


def public_backbone(name: str) -> str:
    """A backbone's name for everybody.

    Args:
        name: the name, as an adapter stores it.

    Returns:
        ``bundled``, a hub id or ``random:*`` as it is; of a folder its name alone.
    """
    is_name = name == BUNDLED_BACKBONE or name.startswith("random:") or is_hub_id(name)
    return name if is_name else _last(name)


def public_data(source: str) -> str:
    """A data set's name for everybody.

    Args:
        source: ``layout:PATH``, a path, or ``hf:owner/name``.

    Returns:
        The layout and the name of the folder or file; a data set of the hub as it is.
    """
    layout, colon, path = source.partition(":")
    if not colon or not re.fullmatch(r"[a-z0-9_]{2,}", layout):  # a drive's letter is not a layout
        return _data_name(source)
    return source if hub_dataset(source) else f"{layout}:{_data_name(path)}"


def hub_dataset(source: str) -> str | None:
    """The hub id of a data set.

    Args:
        source: see :func:`public_data`.

    Returns:
        ``owner/name``; None of data that are not on the hub.
    """
    layout, _, path = source.partition(":")
    repo = path.partition(":")[0]
    return repo if layout == "hf" and is_hub_id(repo) else None


def _public(value: Any, name: str, changed: dict[str, str]) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict):
        return {key: _public(one, f"{name}.{key}", changed) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one, name, changed) for one in value]
    if not isinstance(value, str):
        return value
    shown = public_data(value) if name == "data" else _last(value) if name in _FOLDERS else _without_paths(value)
    if shown != value:
        changed[name] = shown
    return shown


def _without_paths(text: str) -> str:
    return _last(text) if _is_absolute(text) else _PATH.sub(lambda match: _last(match[0]), text)


def _is_absolute(text: str) -> bool:
    one_line = "\n" not in text and len(text) > 1
    return one_line and (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute() or text[:2] == "~/")


def _last(path: str) -> str:
    """The last part of a path of any system."""
    parts = [part for part in re.split(r"[/\\]", path) if part not in {"", ".", "..", "~"}]
    return parts[-1] if parts else "data"


def _data_name(path: str) -> str:
    last = _last(path)
    folder = path[: path.rfind(last)]
    return _last(folder) if last.rpartition(".")[0] == _TABLE and _last(folder) != "data" else last


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []
