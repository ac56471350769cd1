"""How data are read where more than their path has to be said: columns of tables, windows over long recordings, groups.

The options are fields of :class:`astune.TrainConfig` too, arguments of :func:`astune.load_data`, and options of every command that
reads labelled audio.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from astune.data.labels import cleaned, label_fault
from astune.errors import shortened
from astune.names import TaskName
from astune.patterns import compiled
from astune.setting import Setting
from astune.validated import Validated

if TYPE_CHECKING:
    from collections.abc import Mapping


def given_path(value: object) -> object:
    """Refuse an empty path: a variable of the shell that is not set gives one, and it is the current folder.

    Args:
        value: as it was given.

    Returns:
        The same.

    Raises:
        ValueError: it is empty.
    """
    if isinstance(value, str) and not value.strip():
        raise ValueError("it is empty; give one ('.' for this folder)")
    return value


def path_as_text(value: object) -> object:
    """A path as text, where it is one.

    Args:
        value: as it was given.

    Returns:
        Text for a path; anything else as it is.
    """
    return os.fspath(value) if isinstance(value, os.PathLike) else value


class DataOptions(Validated):
    """Options of reading a data set; making one of values that cannot be used raises ``SettingsError``, a ``ConfigError``."""

    task: Annotated[TaskName | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="what a clip may have: one label (single-label) or any number (multi-label); by default as the data look",
    )
    file_column: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="column of a table that names the recording, where it has an unusual name"
    )
    label_column: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="column of a table that has the label, or the labels, where it has an unusual name"
    )
    one_hot: Annotated[list[str] | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="column of 0 and 1 that is a label; may be repeated; by default all columns, where all hold 0 and 1",
    )
    audio_dir: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="folder of the recordings, where they are not beside the tables"
    )
    annotation_format: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None, description="format of the files that crowsetta:DIR reads, as crowsetta names it, such as textgrid"
    )
    window: Annotated[float | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        gt=0,
        description="seconds of the windows that labelled regions become; by default regions of a table are clips as they are, and "
        "those of label tracks get windows that hold 95 % of them",
    )
    hop: Annotated[float | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        gt=0,
        description="seconds from one window to the next within a region or the background; by default the window's",
    )
    min_overlap: Annotated[float | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        gt=0,
        description="seconds of a label within a window that give it to the window, as a whole region does; by default half of the window",
    )
    background: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="label for windows that no region touches; it is negative; with several labels per clip, such windows have none; by "
        "default there are no such windows",
    )
    negative: Annotated[list[str] | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="label that means none of the others: a class like them, and never an event; with several labels per clip, no class, "
        "and its clips have no label; may be repeated",
    )
    group_by: Annotated[str | None, Setting("data", "Label tables", since=2, placed=True)] = Field(
        None,
        description="regular expression that finds the group (site, session, speaker) in a recording's name: its first "
        "group, or else all that matches",
    )
    make_folds: Annotated[int | None, Setting("data", "Data", since=2, placed=True)] = Field(
        None,
        ge=2,
        description="divide data without folds and without a test split into so many test folds; groups stay whole, and each class "
        "is spread over the folds",
    )

    @field_validator("audio_dir", mode="before")
    @classmethod
    def _is_a_folder(cls, value: object) -> object:
        return path_as_text(given_path(value))

    @field_validator("background", "negative")
    @classmethod
    def _are_labels(cls, value: str | list[str] | None) -> str | list[str] | None:
        """Clean them as labels of tables are.

        Raises:
            ValueError: one of them can be no label.
        """
        clean = [cleaned(label) for label in ([value] if isinstance(value, str) else value or [])]
        faults = [fault for label in clean if (fault := label_fault(label))]
        if faults:
            raise ValueError(faults[0])
        return clean[0] if isinstance(value, str) else clean if value is not None else None

    @field_validator("group_by")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        """Groups are found with it.

        Raises:
            ValueError: it cannot be used as a regular expression.
        """
        if value is None:
            return None
        try:
            compiled(value)
        except ValueError as fault:
            raise ValueError(
                f"{shortened(value)!r} cannot be used as a regular expression: {fault}; give one such as '^(site[0-9]+)_'"
            ) from fault
        return value

    @classmethod
    def among(cls, settings: Mapping[str, Any]) -> DataOptions:
        """Those among other settings.

        Args:
            settings: by name, such as the fields of a run.
        """
        return cls(**{name: settings[name] for name in DataOptions.model_fields if name in settings})

    @property
    def windowed(self) -> bool:
        """Whether windows or background are asked for."""
        return any(one is not None for one in (self.window, self.hop, self.min_overlap, self.background))

    @property
    def data_options(self) -> DataOptions:
        """The options of how data is read, without the other settings."""
        return DataOptions.among(self.given_data_options)

    @property
    def given_data_options(self) -> dict[str, Any]:
        """Those that are not left at their default, as JSON has them."""
        fields = self.model_dump(mode="json", include=set(DataOptions.model_fields))
        return {name: value for name, value in fields.items() if value is not None}
