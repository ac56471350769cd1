"""``python -m benchmarks NAME``: measure one claim, or all of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from astune.console import notify
from astune.errors import AstuneError, ConfigError, unknown_choice
from benchmarks.catalogue import BENCHMARKS
from benchmarks.report import Benchmark, Options, environment

_NARROWEST = 200  # columns where stdout is no terminal: tables are not broken for a file


def measure(
    name: Annotated[
        str | None, typer.Argument(help=f"{', '.join(BENCHMARKS)}; all but the slow ones if not given.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Another than the benchmark's own, such as random:tiny.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="In which contestants take turns.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of each contestant a round.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of each contestant.")] = 1,
    device: Annotated[
        str, typer.Option(help="Where it computes, such as cuda; for benchmarks that can choose.")
    ] = "cpu",
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all rounds to this file.")] = None,
) -> None:
    """Measure what we claim about speed and memory; fails only where contestants do not compute the same."""
    chosen = _chosen(name, device)
    options = Options(backbone, rounds, steps, threads, device)
    console = Console(highlight=False)
    console.width = console.width if console.is_terminal else _NARROWEST
    machine = environment(threads)
    for key, value in machine.items():
        console.print(f"{key}: {value}", markup=False, soft_wrap=True)
    record: dict[str, object] = {"environment": machine}
    wrong: list[str] = []
    for benchmark in chosen:
        notify(f"{benchmark.name}: {benchmark.claim}")
        reports = []
        for report in benchmark.run(options):
            report.show(console)
            reports.append(report.record())
            wrong += [str(check) for check in report.checks if check.holds is False]
        record[benchmark.name] = reports
        if json_path:
            json_path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _refuse(wrong)


def _chosen(name: str | None, device: str) -> list[Benchmark]:
    if name is not None and name not in BENCHMARKS:
        raise ConfigError(unknown_choice("benchmark", name, BENCHMARKS))
    chosen = [one for one in BENCHMARKS.values() if not one.slow] if name is None else [BENCHMARKS[name]]
    fixed = [one.name for one in chosen if not one.any_device]
    if device != "cpu" and fixed:
        able = ", ".join(one.name for one in BENCHMARKS.values() if one.any_device)
        raise ConfigError(f"--device {device}: {', '.join(fixed)} measures the CPU alone; name one of: {able}")
    return chosen


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise AstuneError(f"{len(wrong)} checks failed, so these timings mean nothing: {'; '.join(wrong)}")


def main() -> None:
    """Run the command line; an error is one message."""
    try:
        typer.run(measure)
    except AstuneError as fault:
        notify(f"Error: {fault}")
        sys.exit(1)


if __name__ == "__main__":
    main()
