"""What an experiment is: rows (methods) by columns (data sets, and settings that vary), in YAML.

The paper's tables are in ``tables/``. A user's own file has the same form and runs the same way::

    title: Do positions matter?
    datasets:
      - {name: digits, data: "csv:spoken_digits/metadata.csv", settings: {max_length: 64}}
    vary: {position_embeddings: [fit, zero]}
    rows:
      - {name: LoRA, method: lora}
      - {name: Full FT, method: full-ft}

Settings are fields of :class:`astune.TrainConfig`; the nearest to a run wins: row, then data set, then table, then the recipe
(the paper's in its own tables, else that of ``astune train``).
``extends: table1`` starts from a table of the paper. What the file says replaces what that table says, but its rows
follow that table's.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from astune.data.layouts.base import LAYOUTS
from astune.data.options import DataOptions
from astune.errors import ConfigError, format_faults, unknown_choice
from astune.experiments.published import PUBLISHED
from astune.experiments.records import Kind
from astune.methods import parse_method
from astune.methods.registry import method_fields
from astune.printable import UNPRINTABLE, printable
from astune.training.config import TrainConfig, read_yaml, settings_where
from astune.validated import SettingsError, Validated
from astune.yaml_text import yaml_value

SHIPPED = Path(__file__).parent / "tables"
_OURS = frozenset(settings_where(placed=True))
"""Fields of a run that its place in the table decides."""


def check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is not a setting of a run, or is decided by the table.

    Args:
        settings: values by name.

    Returns:
        The same.

    Raises:
        ValueError: an unknown name.
    """
    allowed = [name for name in TrainConfig.model_fields if name not in _OURS]
    for name in settings:
        if name not in allowed:
            raise ValueError(unknown_choice("setting", name, allowed))
    return settings


def check_varied(varied: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Refuse to vary what is neither a setting of a run nor a field of any method.

    Args:
        varied: values by name.

    Returns:
        The same.

    Raises:
        ValueError: an unknown name, one without values, or one with a value twice.
    """
    fields = method_fields() - set(TrainConfig.model_fields)
    allowed = [*(name for name in TrainConfig.model_fields if name not in _OURS), *sorted(fields)]
    for name, values in varied.items():
        if name not in allowed:
            raise ValueError(unknown_choice("setting", name, allowed))
        if not values:
            raise ValueError(f"nothing is given for {name} to vary over")
        twice = [text for text, number in Counter(map(str, values)).items() if number > 1]
        if twice:
            raise ValueError(f"{name} has the value {printable(twice[0])[:80]} twice; leave one out")
    return varied


def varied(text: str) -> tuple[str, list[Any]]:
    """A setting and its values, as the command line has them.

    Args:
        text: such as ``position_embeddings=fit,zero``.

    Returns:
        Its name, and the values as YAML reads them.

    Raises:
        ConfigError: a value cannot be read.
    """
    name, _, values = text.partition("=")
    try:
        return name, [yaml_value(value) for value in values.split(",") if value]
    except ValueError as fault:
        raise ConfigError(f"{printable(text)!r} cannot be varied: {fault}; give values such as {name}=1,2") from fault


class _Part(Validated):
    @model_validator(mode="before")
    @classmethod
    def _can_be_shown(cls, fields: object) -> object:
        for name, value in fields.items() if isinstance(fields, dict) else ():
            if isinstance(value, str) and printable(value, lines=True) != value:
                raise ValueError(f"{name} '{printable(value)}' holds {UNPRINTABLE}; give another one")
        return fields


class DataEntry(_Part):
    """One data set of a table."""

    name: str
    data: str | None = None
    """``layout:PATH``, the path under the data root; ``<name>:<data root>/<name>`` where None."""
    options: DataOptions = DataOptions()
    """How it is read: windows, columns, groups; one way for all rows and columns."""
    settings: dict[str, Any] = Field(default_factory=dict)
    vary: dict[str, list[Any]] = Field(default_factory=dict)
    """Settings with several values, each a column; or fields of the methods, such as ``init``."""

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return check_settings(settings)

    @field_validator("vary")
    @classmethod
    def _can_vary(cls, varied: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return check_varied(varied)

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.data is None and self.name not in LAYOUTS:
            raise ValueError(
                f"data set {self.name!r} needs data: layout:PATH, because it is not one of {', '.join(LAYOUTS)}"
            )
        return self


class Row(_Part):
    """One row of a table."""

    name: str
    method: str
    series: str | None = None
    """Rows of one series are joined by a line in a figure."""
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return check_settings(settings)

    @field_validator("method")
    @classmethod
    def _a_method(cls, spec: str) -> str:
        parse_method(spec)
        return spec


class Table(_Part):
    """One experiment."""

    title: str
    paper: bool = False
    """Whether it is the paper's experiment: every data set gets the paper's recipe, and reduction rates are meant for AST-base, so that on
    another width the bottlenecks stay as wide as the paper's."""
    printed: str | None = None
    """Which table's printed figures are shown next to ours, see :mod:`astune.experiments.published`."""
    kind: Kind = "table"
    """A curve is drawn against parameters, t-SNE from the tokens of test clips. A comparison has one data set and ends with advice."""
    notes: tuple[str, ...] = ()
    """What a report says first of how the runs were made, a sentence each."""
    datasets: list[DataEntry] = Field(min_length=1)
    rows: list[Row] = Field(min_length=1)
    backbone: str | None = None
    """Of rows that state none; the paper's checkpoint where None. An option of the command wins."""
    seeds: int | None = Field(None, ge=1, le=1_000)
    """Runs of each cell and fold, with seeds 0, 1, ...; one where None. An option of the command wins."""
    as_published: bool = False
    """Whether runs have the setting of the published code, see :mod:`astune.methods.published_code`; what the file states stays."""
    settings: dict[str, Any] = Field(default_factory=dict)
    vary: dict[str, list[Any]] = Field(default_factory=dict)
    """Settings with several values, each a column of every data set; or fields of the methods."""

    @field_validator("printed")
    @classmethod
    def _is_printed(cls, name: str | None) -> str | None:
        if name is not None and name not in PUBLISHED:
            raise ValueError(unknown_choice("printed table", name, PUBLISHED))
        return name

    @field_validator("datasets", mode="before")
    @classmethod
    def _names_alone(cls, entries: object) -> object:
        return (
            [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
            if isinstance(entries, list)
            else entries
        )

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return check_settings(settings)

    @field_validator("vary")
    @classmethod
    def _can_vary(cls, varied: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return check_varied(varied)

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        for kind, names in (
            ("row", [row.name for row in self.rows]),
            ("data set", [one.name for one in self.datasets]),
        ):
            twice = sorted(name for name, number in Counter(names).items() if number > 1)
            if twice:
                raise ValueError(f"two {kind}s are named {twice[0]!r}; give each a name of its own")
        if self.kind == "comparison" and (len(self.datasets) > 1 or self.vary or self.datasets[0].vary):
            raise ValueError("a comparison has one data set, and nothing that varies")
        return self


def shipped_tables() -> dict[str, Path]:
    """The paper's tables and figures by name, from the folder as it is."""
    return {path.stem: path for path in sorted(SHIPPED.rglob("*.yaml"))}


def load_table(name_or_path: str | Path) -> tuple[str, Table]:
    """Read a table.

    Args:
        name_or_path: ``table1`` to ``table7``, ``figure2`` to ``figure4``, or a YAML file.

    Returns:
        Its name, and the table.

    Raises:
        ConfigError: there is no such table or file, or with all faults of its content.
    """
    shipped = shipped_tables()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise ConfigError(f"{unknown_choice('experiment', name_or_path, shipped)}; or give a YAML file of your own")
    try:
        return path.stem, Table(**_extended(path, shipped))
    except SettingsError as error:
        raise ConfigError(format_faults(error.faults, str(path))) from error


def _extended(path: Path, shipped: dict[str, Path]) -> dict[str, object]:
    """What a file says, on top of the shipped table that it extends, if any.

    Raises:
        ConfigError: there is no such table, or the file cannot be read.
    """
    own = read_yaml(path)
    if "extends" not in own:
        return own
    name = str(own.pop("extends"))
    if name not in shipped:
        raise ConfigError(f"{path}: extends: {unknown_choice('experiment', name, shipped)}")
    base = read_yaml(shipped[name])
    rows = own.get("rows", [])
    if isinstance(rows, list) and isinstance(base["rows"], list):
        own["rows"] = [*base["rows"], *rows]
    return base | own
