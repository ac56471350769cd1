"""``astune data``: look into a data set before training on it, or fetch a public one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astune.console import print_result, results, results_table
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from astune.data.check import Report

_SHOWN = 10  # of a list of faults


def register(app: typer.Typer) -> None:
    """Add the verbs.

    Args:
        app: the command line.
    """
    group = typer.Typer(no_args_is_help=True, help="Check a data set, or download a public one.")
    group.command("check", epilog="Example: `astune data check esc50:ESC-50`")(check)
    group.command("download", epilog="Example: `astune data download esc50 ESC-50`")(download)
    app.add_typer(group, name="data")


def check(
    data: Annotated[str, typer.Argument(help="Labelled audio, as for `astune train`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what is found as one JSON object.")] = False,
) -> None:
    """Decode every file of a data set and count, measure and compare them; the exit code is 1 if any file is broken."""
    from astune.console import say
    from astune.data import load_data
    from astune.data.check import check as check_data

    report = check_data(load_data(data))
    if as_json:
        typer.echo(json_text(report.record()))
    else:
        _show(report)
    for line in (*report.notices, *_complaints(report)):
        say(line)
    if report.broken:
        raise typer.Exit(1)


def download(
    name: Annotated[str, typer.Argument(help="esc50 or speech_commands.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; a folder that is not there yet.")],
    url: Annotated[str | None, typer.Option(help="A mirror of the archive.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Checksum the archive must have.")] = None,
) -> None:
    """Download and unpack a public data set; when the connection breaks, the same command goes on where it stopped."""
    from astune.data.download.published import download as download_data

    dataset = download_data(name, folder, url, sha256)
    print_result(
        f"{dataset.source}: {number_of(len(dataset.clips), 'clip')}, {number_of(len(dataset.labels), 'class')}"
    )


def _show(report: Report) -> None:
    from astune.data.heard import by_kind

    print_result(report.source)
    results().print(_table(report))
    if report.seconds:
        lengths = "   ".join(f"{name.replace('_', ' ')} {value:g} s" for name, value in report.seconds.items())
        print_result(f"durations   {lengths}")
        print_result(f"rates       {_shares(report.sampling_rates, ' Hz')}")
        print_result(f"channels    {_shares(report.channels, '')}")
    if report.unheard.longer_clips:
        print_result(f"unheard     {report.unheard.lost}, with an input of {report.unheard.input_seconds:.1f} s")
    print_result(f"broken      {len(report.broken):,} of {number_of(report.clips, 'file')}")
    if report.doubts:
        kinds = by_kind((doubt.name, doubt.reason) for doubt in report.doubts)
        print_result(f"suspicious  {'   '.join(f'{kind}: {len(found)}' for kind, found in kinds.items())}")


def _table(report: Report) -> Table:
    table = results_table(["class"], [*report.parts, "all"])
    for label, counts in report.counts.items():
        table.add_row(printable(label), *(str(count) for count in (*counts.values(), sum(counts.values()))))
    totals = [sum(counts[part] for counts in report.counts.values()) for part in report.parts]
    table.add_section()
    table.add_row(number_of(len(report.counts), "class"), *(str(total) for total in (*totals, report.clips)))
    return table


def _shares(counts: dict[int, int], unit: str) -> str:
    return "   ".join(f"{value}{unit}: {count}" for value, count in counts.items())


def _complaints(report: Report) -> Iterator[str]:
    """Lines for the user's eye, on stderr."""
    from astune.data.heard import doubt_notices

    for fault in report.broken[:_SHOWN]:
        yield f"error: {fault.reason}"
    if report.broken:
        broken = f"{len(report.broken):,} of {number_of(report.clips, 'file')} cannot be read"
        yield f"{broken}; mend or remove them, or train with --skip-broken"
    yield from doubt_notices(((doubt.name, doubt.reason) for doubt in report.doubts), report.clips)
    unheard = report.unheard
    if unheard.longer_clips:
        yield (
            f"Note: {unheard.longer(report.clips)} than the input of "
            f"{unheard.input_seconds:.1f} s that training would choose (--max-length for another): "
            f"{unheard.lost} would not be heard"
        )
    groups = {
        "Warning: the same sound lies in different splits or folds, so scores may be too good": report.leaks,
        "Warning: the same sound has different labels": report.contradictions,
        "Note: the same sound occurs more than once within a split or fold": report.duplicates,
    }
    for sentence, group in groups.items():
        if group:
            yield f"{sentence}: {number_of(len(group), 'time')}, {printable(' = '.join(group[0][:4]))} among them"
