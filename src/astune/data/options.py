"""Options of reading a data set: columns of tables, windows over long recordings, groups.

The options are fields of :class:`astune.TrainConfig` too, arguments of :func:`astune.load_data`, and options of every command that
reads labelled audio.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from astune.data.labels import clean_label, label_fault
from astune.errors import shorten
from astune.names import TaskName
from astune.patterns import compile_pattern
from astune.setting import Setting
from astune.validated import Validated

if TYPE_CHECKING:
    from collections.abc import Mapping


def given_path(value: object) -> object:
    """Refuse an empty path: a variable of the shell that is not set gives one, and it is the current folder.

    Args:
        value: the path that the user gave.

    Returns:
        The same value.

    Raises:
        ValueError: the path is empty.
    """
    if isinstance(value, str) and not value.strip():
        raise ValueError("it is empty; give one ('.' for this folder)")
    return value


def path_as_text(value: object) -> object:
    """Convert a path object to text.

    Args:
        value: the value that the user gave.

    Returns:
        The text of a path object; any other value unchanged.
    """
    return os.fspath(value) if isinstance(value, os.PathLike) else value


class DataOptions(Validated):
    """Options of reading a data set; invalid values raise ``SettingsError``, a ``ConfigError``."""

    task: Annotated[TaskName | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="labels per clip: exactly one (single-label) or any number (multi-label); by default decided from the data",
    )
    file_column: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="column of a table that names the recording, if its name is unusual"
    )
    label_column: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="column of a table that holds the label or labels, if its name is unusual"
    )
    one_hot: Annotated[list[str] | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="column of 0 and 1 for one label; may be repeated; by default all columns, if all of them hold 0 and 1",
    )
    audio_dir: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="folder of the recordings, if they are not in the folder of the tables"
    )
    annotation_format: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="format of the files that crowsetta:DIR reads, as crowsetta names it, such as textgrid"
    )
    window: Annotated[float | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        gt=0,
        description="length in seconds of the windows that labelled regions are cut into; by default regions of a table are not cut, and "
        "the windows of label tracks are long enough for 95 % of the regions",
    )
    hop: Annotated[float | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        gt=0,
        description="seconds from the start of one window to the next, in a region or the background; by default the length of a window",
    )
    min_overlap: Annotated[float | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        gt=0,
        description="a window gets a label that covers at least this many seconds of it, or whose whole region is in it; by default half "
        "of the window",
    )
    background: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="label for windows that no region touches; it counts as negative; multi-label clips get no label there; by default "
        "such windows are left out",
    )
    negative: Annotated[list[str] | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="label that means none of the others; single-label: a class that is never reported as an event; multi-label: not a "
        "class, and its clips have no label; may be repeated",
    )
    group_by: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="regular expression that finds the group (site, session, speaker) in a recording's name: its first "
        "group, or else all that matches",
    )
    make_folds: Annotated[int | None, Setting("data", "Data", since=2, placed=True)] = Field(
        None,
        ge=2,
        description="divide data that have neither folds nor a test split into this many test folds; groups are never divided, and each "
        "class is spread over the folds",
    )

    @field_validator("audio_dir", mode="before")
    @classmethod
    def _is_a_folder(cls, value: object) -> object:
        return path_as_text(given_path(value))

    @field_validator("background", "negative")
    @classmethod
    def _are_labels(cls, value: str | list[str] | None) -> str | list[str] | None:
        """Clean the labels as those of tables are cleaned.

        Raises:
            ValueError: one of them cannot be a label.
        """
        clean = [clean_label(label) for label in ([value] if isinstance(value, str) else value or [])]
        faults = [fault for label in clean if (fault := label_fault(label))]
        if faults:
            raise ValueError(faults[0])
        return clean[0] if isinstance(value, str) else clean if value is not None else None

    @field_validator("group_by")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        """Check that the pattern is a regular expression.

        Raises:
            ValueError: the pattern is not a regular expression.
        """
        if value is None:
            return None
        try:
            compile_pattern(value)
        except ValueError as fault:
            raise ValueError(
                f"{shorten(value)!r} cannot be used as a regular expression: {fault}; give one such as '^(site[0-9]+)_'"
            ) from fault
        return value

    @classmethod
    def among(cls, settings: Mapping[str, Any]) -> DataOptions:
        """Pick the data options from other settings.

        Args:
            settings: settings by name, such as the fields of a run.
        """
        return cls(**{name: settings[name] for name in DataOptions.model_fields if name in settings})

    @property
    def windowed(self) -> bool:
        """Whether the options ask for windows or for a background label."""
        return any(one is not None for one in (self.window, self.hop, self.min_overlap, self.background))

    @property
    def data_options(self) -> DataOptions:
        """The options of how data is read, without the other settings."""
        return DataOptions.among(self.given_data_options)

    @property
    def given_data_options(self) -> dict[str, Any]:
        """The options that differ from their defaults, as JSON values."""
        fields = self.model_dump(mode="json", include=set(DataOptions.model_fields))
        return {name: value for name, value in fields.items() if value is not None}
