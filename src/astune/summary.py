"""What an object says of itself: one line in a program, a small table in a notebook.

A class that derives from :class:`Summarised` says in ``_summary`` what matters of it; how that looks is decided here alone.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from jinja2 import Template

_NAMED = 3  # names in a line
_ROWS = 12  # of a table
_LONGEST = 40  # letters of a name
_FRAMES = 100  # a second

_PAGE = """\
{% set text = "text-align: left; padding: .1rem .8rem .1rem 0" %}{% set number = "text-align: right; padding: .1rem .8rem .1rem 0" -%}
<div style="max-width: 60rem">
<p style="margin: 0 0 .3rem"><b>{{ kind }}</b>{% if name %} {{ name }}{% endif %}</p>
<table style="margin: 0 0 .5rem">
{%- for heading, value in rows %}
<tr><th style="{{ text }}; vertical-align: top">{{ heading }}</th><td style="{{ text }}">{{ value }}</td></tr>
{%- endfor %}
</table>
{%- if headings %}
<table style="margin: 0 0 .5rem">
<thead><tr>
{%- for heading in headings %}<th style="{{ number if loop.index0 else text }}">{{ heading }}</th>{% endfor -%}
</tr></thead>
<tbody>
{%- for cells in table %}
<tr>{% for cell in cells %}<td style="{{ number if loop.index0 else text }}">{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody>
</table>
{%- endif %}
{%- if more %}
<p style="margin: 0 0 .5rem">{{ more }}</p>
{%- endif %}
{%- if notices %}
<ul style="margin: 0 0 .5rem">
{%- for notice in notices %}
<li style="white-space: pre-line">{{ notice }}</li>
{%- endfor %}
</ul>
{%- endif %}
</div>
"""


@dataclass(frozen=True)
class Summary:
    """The facts that describe an object."""

    kind: str
    """Name of its class."""
    name: str
    """Name of the object, such as its folder; may be empty."""
    parts: tuple[str, ...]
    """Parts of the line."""
    rows: tuple[tuple[str, str], ...]
    """Heading and value of each row of the small table."""
    headings: tuple[str, ...] = ()
    """Headings of a second table: one for the names, then those of the numbers."""
    table: tuple[tuple[str, ...], ...] = ()
    """Its rows; of many the first ones are shown, and how many there are."""
    notices: tuple[str, ...] = ()
    """Sentences below."""

    @property
    def line(self) -> str:
        """The summary in one line, as ``repr`` shows it."""
        return printable(f"{self.kind}({f'{self.name!r}: ' if self.name else ''}{', '.join(self.parts)})")

    @property
    def html(self) -> str:
        """The summary as notebooks show it; whatever comes from outside is escaped."""
        left = len(self.table) - _ROWS
        return _template().render(
            kind=self.kind,
            name=printable(self.name),
            rows=[(printable(heading), printable(value)) for heading, value in self.rows],
            headings=[printable(heading) for heading in self.headings],
            table=[[cut_name(cell) for cell in cells] for cells in self.table[:_ROWS]],
            more=f"and {left:,} more" if left > 0 else "",
            notices=[printable(notice, lines=True) for notice in self.notices],
        )


class Summarised:
    """Has a ``repr`` of one line and an HTML one, from its summary."""

    @abstractmethod
    def _summary(self) -> Summary:
        """What matters of it."""

    @override
    def __repr__(self) -> str:
        return self._summary().line

    def _repr_html_(self) -> str:
        return self._summary().html


def some(names: Collection[str], noun: str) -> str:
    """Write the number of names, and the first ones.

    Args:
        names: any.
        noun: what one of them is.

    Returns:
        ``4 classes (dog, rain, siren, ...)``.
    """
    shown = [cut_name(name) for name, _ in zip(names, range(_NAMED), strict=False)]
    more = ["..."] if len(names) > _NAMED else []
    return f"{number_of(len(names), noun)} ({', '.join([*shown, *more])})" if shown else number_of(0, noun)


def cut_name(name: object) -> str:
    """A name from outside, as it may be shown in a line; a very long one is cut.

    Args:
        name: any.
    """
    text = printable(name)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def input_of(frames: int) -> str:
    """Write an input length in words.

    Args:
        frames: frames of 10 ms.

    Returns:
        ``input of 98 frames (1.0 s)``.
    """
    return f"input of {number_of(frames, 'frame')} ({frames / _FRAMES:.1f} s)"


def here(path: str | Path) -> str:
    """A path as one would type it in this folder.

    Args:
        path: the path of a file or folder.

    Returns:
        It from the current folder on, if it is in there; else as it is.
    """
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def source_here(source: str) -> str:
    """The path of a data set, as one would type it in this folder.

    Args:
        source: ``layout:absolute path``.
    """
    layout, colon, path = source.partition(":")
    return f"{layout}{colon}{here(path)}" if colon else source


def of_model(
    kind: str,
    name: str,
    *,
    labels: Collection[str],
    frames: int,
    parameters: int,
    also: tuple[str, ...] = (),
    **facts: object,
) -> Summary:
    """Summarise a model.

    Args:
        kind: name of the class.
        name: the name of the object; may be empty.
        labels: labels of its classes.
        frames: frames of its input, of 10 ms.
        parameters: parameters that are trained, counted as the paper counts them.
        also: words to add at the end of the line.
        facts: ``method`` and ``backbone``, and what else there is to say.

    Returns:
        The summary.
    """
    counted, classes, input_length = number_of(parameters, "trained parameter"), some(labels, "class"), input_of(frames)
    line = (f"{facts['method']} on {facts['backbone']}", counted, classes, input_length, *also)
    rows = {
        **facts,
        "trained parameters": f"{parameters:,}",
        "classes": classes,
        "input": input_length.removeprefix("input of "),
    }
    return Summary(kind, name, line, tuple((heading, str(value)) for heading, value in rows.items()))


def score_rows(scores: Iterable[tuple[str, float]]) -> tuple[tuple[str, ...], ...]:
    """Rows of a table of labels and their scores.

    Args:
        scores: label and score, from 0 to 1.
    """
    return tuple((label, f"{score:.3f}") for label, score in scores)


def numbers_among(figures: Mapping[str, object]) -> dict[str, str]:
    """The numbers among some figures, as they are shown.

    Args:
        figures: figures by name.

    Returns:
        Whole numbers unchanged, others with three decimals.
    """
    return {
        name: f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
        for name, value in figures.items()
        if isinstance(value, int | float)
    }


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
