"""``astune data``: look into a data set before training on it, or fetch a public one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.cli.help import HelpGroup, add_command
from astune.cli.options import options_given, with_fields
from astune.console import print_exact, print_result, results, results_table
from astune.data.options import DataOptions
from astune.json_text import json_text
from astune.names import BUNDLED_BACKBONE, LONGEST_INPUT
from astune.plurals import number_of

if TYPE_CHECKING:
    from rich.table import Table

    from astune.data.check_report import InputLength, Report


def register(app: typer.Typer) -> None:
    """Add the verbs.

    Args:
        app: the command line.
    """
    group = typer.Typer(
        cls=HelpGroup, no_args_is_help=True, help="Check a data set, download a public one, or list the layouts."
    )
    everyday = ("backbone", "plot", "as_json", "task", "window")
    add_command(group, "check", check, examples=["astune data check esc50:ESC-50"], everyday=everyday, progress=True)
    add_command(group, "download", download, examples=["astune data download esc50 ESC-50"], progress=True)
    add_command(group, "layouts", layouts, examples=["astune data layouts"])
    app.add_typer(group, name="data")


@with_fields(DataOptions)
def check(
    context: typer.Context,
    *,
    data: Annotated[str, typer.Argument(help="Labelled audio, as for `astune train`.")],
    backbone: Annotated[
        str,
        typer.Option(
            help="Backbone whose log-Mel statistics are compared with those of the data, as for `astune train`."
        ),
    ] = BUNDLED_BACKBONE,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw durations, levels and clips by class into this .png, .pdf or .svg (extra [plots]).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is found as one JSON object.")] = False,
    **fields: Any,
) -> None:
    """Decode every file of a data set and count, measure and compare them; the exit code is 1 if any file is broken."""
    from astune.backbone.load import load_front_end
    from astune.console import notify
    from astune.data import load_data
    from astune.data.check import check as check_data
    from astune.reporting.check_picture import refuse_picture, save_check_picture

    if plot:
        refuse_picture(plot)
    report = check_data(load_data(data, **options_given(context, fields)), load_front_end(backbone, LONGEST_INPUT))
    if as_json:
        typer.echo(json_text(report.record()))
    else:
        _show(report)
    for line in report.sentences():
        notify(line)
    if plot:
        save_check_picture(report, plot)
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


def layouts() -> None:
    """List the data layouts: what each one expects in its folder."""
    from astune.data.layouts.base import layout_trees

    print_exact(f"{layout_trees()}\n")


def _show(report: Report) -> None:
    from astune.data.audio_notices import by_kind

    print_result(report.source)
    results().print(_table(report))
    if report.recordings < report.clips:
        print_result(f"recordings  {report.recordings:,}, of which the clips are parts")
    if report.seconds:
        lengths = "   ".join(f"{name.replace('_', ' ')} {value:g} s" for name, value in report.seconds.items())
        print_result(f"durations   {lengths}")
        print_result(f"rates       {_shares(report.sampling_rates, ' Hz')}")
        print_result(f"channels    {_shares(report.channels, '')}")
        print_result(f"lengths     {'   '.join(map(_length, report.lengths))}")
        _show_sound(report)
    print_result(f"broken      {len(report.broken):,} of {number_of(report.clips, 'clip')}")
    if report.doubts:
        kinds = by_kind((doubt.name, doubt.reason) for doubt in report.doubts)
        print_result(f"suspicious  {'   '.join(f'{kind}: {len(found)}' for kind, found in kinds.items())}")


def _length(length: InputLength) -> str:
    cut = f"cuts {length.cut.lost}" if length.cut.longer_clips else "cuts nothing"
    return f"{length.name} {length.max_length} frames ({length.cut.input_seconds:.1f} s) {cut}"


def _show_sound(report: Report) -> None:
    if report.levels:
        levels = "   ".join(f"{name.replace('_', ' ')} {value:.0f} dBFS" for name, value in report.levels.items())
        print_result(f"levels      {levels}")
    print_result(f"silent      {100 * report.silent_share:.1f} % of the audio")
    print_result(f"clipped     samples of {number_of(report.clipped_clips, 'clip')}")
    print_result(f"over 8 kHz  {100 * report.above_8_khz.share:.1f} % of the energy")
    if report.log_mel:
        found = report.log_mel
        print_result(
            f"log-Mel     mean {found.mean:.2f}, standard deviation {found.std:.2f} "
            f"(backbone: {found.backbone_mean:.2f}, {found.backbone_std:.2f})"
        )
    copies = sum(len(group.clips) for group in report.near_duplicates)
    print_result(f"alike       {number_of(copies, 'clip')} in {number_of(len(report.near_duplicates), 'group')}")


def _table(report: Report) -> Table:
    table = results_table(["class"], [*report.parts, "all"])
    for label, counts in report.counts.items():
        table.add_row(label, *(str(count) for count in (*counts.values(), sum(counts.values()))))
    summed = {part: sum(counts[part] for counts in report.counts.values()) for part in report.parts}
    last = number_of(len(report.counts), "class") if summed == report.part_clips else "clips"
    table.add_section()
    table.add_row(last, *map(str, [*report.part_clips.values(), report.clips]))
    return table


def _shares(counts: dict[int, int], unit: str) -> str:
    return "   ".join(f"{value}{unit}: {count}" for value, count in counts.items())
