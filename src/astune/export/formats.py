"""The registry of export formats, and the one function that all exports go through.

A format is a function of a :class:`Source` and a path, which writes what is then at that path whole or not at all. Its keyword parameters
are the options that it takes::

    @register_format("onnx", ending=".onnx")
    def export_onnx(source: Source, path: Path, *, int8: bool = False) -> Exported: ...
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune import adapter_file
from astune.adapter import Adapter
from astune.classifier import AudioClassifier
from astune.errors import ConfigError, explain_write_errors, unknown_choice
from astune.files import user_path
from astune.folder_lock import lock_folder
from astune.inference.loading import refuse_second_backbone
from astune.printable import printable
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from astune.backbone import Backbone

_UNNAMED = "adapter"  # what is in memory


@strict_constructor
@dataclass(frozen=True)
class Source:
    """What is exported."""

    name: str
    """Name of the adapter: that of its folder, without the parent folders."""
    adapter: Adapter
    """Configuration and tensors."""
    model: AudioClassifier
    """The adapter on its backbone: on the CPU, in float32, in evaluation mode, and nobody else's."""
    folder: Path | None = None
    """Folder of the adapter, if it is on this machine."""


@strict_constructor
@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    format: str
    path: Path
    size: int
    """Bytes; of a folder, those of all its files."""
    sentences: tuple[str, ...] = ()
    """Remarks for the user: what was checked, and how the export differs from the adapter."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same as data."""
    faults: tuple[str, ...] = ()
    """Why files that it was to be compared on could not be read."""
    files: int = 0
    """Files that it was to be compared on."""

    def record(self) -> dict[str, Any]:
        """Return the record that is written as JSON."""
        record = {"format": self.format, "path": str(self.path), "bytes": self.size, **self.facts}
        return record | ({"unreadable": list(self.faults)} if self.files else {})


Writer = Callable[..., Exported]
"""Takes a source, a path and options; writes, and says what."""


@dataclass(frozen=True)
class Format:
    """A format that adapters are exported to."""

    name: str
    ending: str
    """Ending of the file or folder, which follows the adapter's name if the user gives no path."""
    write: Writer

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the format's options."""
        parameters = inspect.signature(self.write).parameters.values()
        return tuple(one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY)

    def named(self, path: Path) -> Path:
        """A path of the user's, with the suffix that ``astune predict`` knows the format by.

        Raises:
            ConfigError: it has another suffix, or none.
        """
        if self.ending.startswith(".") and path.suffix.lower() != self.ending and not path.is_dir():
            raise ConfigError(
                f"{printable(path)}: a file of the format {self.name} ends in {self.ending}; give {printable(path)}{self.ending}"
            )
        return path


FORMATS: dict[str, Format] = {}


def register_format(name: str, ending: str) -> Callable[[Writer], Writer]:
    """Decorator that makes a format known to :func:`export_adapter` and the command line.

    Args:
        name: name of the format, as users write it.
        ending: the ending of its file or folder.

    Returns:
        The decorator.
    """

    def add(write: Writer) -> Writer:
        if name in FORMATS:
            raise ValueError(f"two formats have the name {name!r}")
        FORMATS[name] = Format(name, ending, write)
        return write

    return add


def export_adapter(
    adapter: str | Path | Adapter | AudioClassifier,
    path: str | Path | None = None,
    format: str = "onnx",  # noqa: A002 - the option's name
    *,
    backbone: str | Path | Backbone | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Exported:
    """Write an adapter, with or without its backbone, in the format of another program.

    Args:
        adapter: an adapter folder, the hub id of one, an adapter in memory, or a classifier, which is copied.
        path: file or folder to write; it is whole or not there. Where None, the adapter's name and the format's ending, in the current
            folder.
        format: name of the format, a key of :data:`FORMATS`.
        backbone: hub id or folder of the backbone, if not the one that the adapter names; or the loaded backbone itself.
        overwrite: replace what is there.
        options: options of the format, such as ``int8`` and ``clips`` of ``onnx``, see :func:`astune.export.onnx.export_onnx`.

    Returns:
        What was written.

    Raises:
        AdapterError: it is not an adapter, or the format cannot hold its method.
        BackboneError: the backbone cannot be found.
        ConfigError: an unknown format or option, a path that is there already or is being written, or a package that is not installed.
        OutputError: it cannot be written.
    """
    if format not in FORMATS:
        raise ConfigError(unknown_choice("format", format, FORMATS))
    chosen = FORMATS[format]
    for name in options:
        if name not in chosen.options:
            takers = [one.name for one in FORMATS.values() if name in one.options]
            if takers:
                raise ConfigError(f"{name} is not an option of the format {format}, but of {', '.join(takers)}")
            raise ConfigError(unknown_choice(f"option of the format {format}", name, chosen.options))
    target = None if path is None else _free(chosen.named(Path(path)), overwrite=overwrite)
    source = _source(adapter, backbone)
    target = target or _free(Path(source.name + chosen.ending), overwrite=overwrite)
    with (
        lock_folder(target.parent, target.name),
        explain_write_errors(printable(target), "free some disk, or give another path"),
    ):
        return chosen.write(source, target, **options)


def _free(path: Path, *, overwrite: bool) -> Path:
    """A path that may be written.

    Raises:
        ConfigError: it is taken, or its folder is not there.
    """
    if path.exists() and not overwrite:
        raise ConfigError(f"{printable(path)} is there already; give another path, or overwrite=True")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{printable(path.parent)} is not a folder; make it, or give another path")
    return path


def _source(adapter: str | Path | Adapter | AudioClassifier, backbone: str | Path | Backbone | None) -> Source:
    if isinstance(adapter, AudioClassifier):
        refuse_second_backbone(backbone)
        return Source(_UNNAMED, adapter.to_adapter(), copy.deepcopy(adapter).cpu().eval())
    if isinstance(adapter, Adapter):
        return Source(_UNNAMED, adapter, AudioClassifier.from_adapter(adapter, backbone))
    value = adapter_file.read(adapter)
    folder = user_path(adapter)
    model = AudioClassifier.from_adapter(value, backbone)
    return Source(folder.resolve().name, value, model, folder if folder.is_dir() else None)
