"""The long campaigns, behind `make faults`: what is found is printed, and the exit code is 1 where anything is."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import determinism, fuzzing, kills, power, refusals, soak, stops


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    fuzz = verbs.add_parser("fuzz", help="hostile inputs for everything that reads")
    fuzz.add_argument("--readers", nargs="+", choices=fuzzing.reader_names(), default=fuzzing.reader_names())
    fuzz.add_argument("--inputs", type=int, default=20_000, help="for each reader")
    fuzz.add_argument("--first", type=int, default=0, help="number of the first input")
    fuzz.add_argument("--seconds", type=float, default=1_500, help="for each reader at most")
    fuzz.add_argument("--jobs", type=int, default=2, help="readers at a time")
    fuzz.add_argument("--case", help="one input alone, as audio:17, in this process, with its traceback")
    verbs.add_parser("injection", help="text that is code in everything that is written")
    long = verbs.add_parser("soak", help="training and serving, with clients of all kinds")
    long.add_argument("--minutes", type=float, default=30)
    long.add_argument("--series", type=Path, help="CSV file for all samples, to look at the curves")
    end = verbs.add_parser("stops", help="commands killed and told to stop at random moments")
    end.add_argument(
        "--kills", type=int, default=50, help="of a process whose workers compute features, for each length"
    )
    end.add_argument("--signals", type=int, default=10, help="of each kind, for each command")
    verbs.add_parser("determinism", help="the same bytes in other folder orders, locales, folders, ...")
    for verb, what in (
        ("kills", "commands killed at each change of a file"),
        ("power", "power cut after each change"),
        ("full-disk", "each change of a file refused once, as a full disk does"),
    ):
        own = verbs.add_parser(verb, help=what)
        own.add_argument("--commands", nargs="+", choices=kills.command_names(), default=kills.command_names())
        own.add_argument("--most", type=int, help="moments of each command; all without it")
        own.add_argument("--seconds", type=float, default=3_600, help="for each command at most")
    chosen = parser.parse_args()
    if chosen.verb in _CUT_SHORT:
        return _cut_short(chosen)
    if chosen.verb == "stops":
        return _stops(chosen.kills, chosen.signals)
    if chosen.verb == "determinism":
        return _determinism()
    if chosen.verb == "injection":
        return _injection()
    if chosen.verb == "soak":
        return _soak(chosen.minutes, chosen.series)
    return _one(chosen.case) if chosen.case else _fuzz(chosen)


_CUT_SHORT = {"kills": kills.run, "power": power.run, "full-disk": refusals.run}


def _cut_short(chosen: argparse.Namespace) -> int:
    if not kills.can_trace():
        print(kills.MISSING)
        return 1
    found = 0
    print("command changes tried cut_short wrong wall_s", flush=True)
    for name in chosen.commands:
        begin = time.monotonic()
        campaign = _CUT_SHORT[chosen.verb](name, chosen.most, chosen.seconds)
        print(
            name,
            campaign.changes,
            campaign.tries,
            campaign.cut_short,
            len(campaign.faults),
            f"{time.monotonic() - begin:.0f}",
            flush=True,
        )
        for what, changes in campaign.kinds().items():
            print(f"  {len(changes)} x {what} ({', '.join(map(str, changes[:5]))})", flush=True)
        found += len(campaign.faults)
    return 1 if found else 0


def _injection() -> int:
    from tests.faults.injection import outputs  # with all that writes, so that other verbs begin sooner

    found = 0
    print("output texts otherwise")
    for name, output in outputs.OUTPUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            wrong = outputs.faults_of(name, Path(folder))
        print(f"{name}: {len(output.given)} {len(wrong)}", flush=True)
        for text, what in wrong.items():
            print(f"  {text!a}: {what[:200]}")
        found += len(wrong)
    return 1 if found else 0


def _one(case: str) -> int:
    name, _, number = case.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        reader = fuzzing.load_reader(name)
        given = reader.make(Path(folder), fuzzing.random_of(name, int(number)))
        print(given)
        reader.read(given)
    return 0


def _stops(killed: int, signalled: int) -> int:
    faults = 0
    print("what tries slowest_s ends")
    for found in stops.campaign(killed, signalled):
        ends = ", ".join(f"{number} x {end}" for end, number in found.ends.items())
        print(f"{found.what}: {found.tries}, {found.slowest:.1f}, {ends}", flush=True)
        for fault in found.faults:
            print(f"  {fault}", flush=True)
        faults += len(found.faults)
    return 1 if faults else 0


def _determinism() -> int:
    found = determinism.compare(determinism.VARIATIONS)
    print(f"{found.files} files, {len(found.same)} variations with the same bytes, {len(found.other)} with others")
    print(f"{found.seconds:.0f} s; the same: {', '.join(found.same)}")
    for name, files in found.other.items():
        print(f"  {name}: {', '.join(files)}")
    return 1 if found.other else 0


def _soak(minutes: float, series: Path | None) -> int:
    with tempfile.TemporaryDirectory() as folder:
        seen = soak.soak(Path(folder), 60 * minutes)
    print(seen.table())
    if series is not None:
        series.write_text(seen.series(), encoding="utf-8")
    return 1 if seen.faults or seen.grown(soak.TOLERANCE) else 0


def _fuzz(chosen: argparse.Namespace) -> int:
    numbers = range(chosen.first, chosen.first + chosen.inputs)

    def one(name: str) -> tuple[fuzzing.Campaign, float]:
        begin = time.monotonic()
        return fuzzing.run(name, numbers, chosen.seconds), time.monotonic() - begin

    found = 0
    print("reader inputs read refused escaped slowest_s wall_s")
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for campaign, seconds in pool.map(one, chosen.readers):
            counts = campaign.counts
            print(campaign.reader, campaign.inputs, counts["read"], counts["refused"], counts["escaped"], end=" ")
            print(f"{campaign.slowest:.2f} {seconds:.0f}", flush=True)
            for kind, cases in campaign.kinds().items():
                print(f"  {len(cases)} x {kind}: {', '.join(cases[:5])}", flush=True)
            found += len(campaign.escapes)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
