"""Labelled regions to clips: windows by hand, what holds for all of them, and faults with their locations."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from astune.data import Clip
from astune.data.options import DataOptions
from astune.data.regions import Cut, LabelledRegion, cut, recording_of
from astune.data.window_labels import Part, cut_recording, overlaps
from astune.data.windowing import STEP, Coverage, Measure, find_gaps, merge_spans, windows_over
from astune.errors import ConfigError, DataError

if TYPE_CHECKING:
    from astune.data.windowing import Span

RATE = 1000  # Hz: a sample a millisecond


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    """A recording of ten seconds."""
    soundfile.write(tmp_path / "garden.wav", np.zeros(10 * RATE), RATE)
    return tmp_path / "garden.wav"


def region(path: Path, start: float, end: float, label: str, line: int = 1, **sides: Any) -> LabelledRegion:
    return LabelledRegion(path.name, path, start, end, label, f"{path.stem}.txt line {line}", **sides)


def cut_some(
    *regions: LabelledRegion, events: bool = True, recordings: dict[str, Path] | None = None, **options: Any
) -> Cut:
    return cut(regions, DataOptions(**options), events=events, recordings=recordings or {})


def spans(made: Cut) -> list[tuple[float | None, float | None, str]]:
    return [(clip.start, clip.end, clip.label) for clip in made.clips]


def test_regions_of_a_table_are_clips_as_they_are(garden: Path) -> None:
    made = cut_some(
        region(garden, 1.5, 2.75, "wren"), region(garden, 2, 2.1234567, "robin", 2, group="site"), events=False
    )
    assert [clip.name for clip in made.clips] == ["garden.wav 1.500-2.750", "garden.wav 2.000-2.123"]
    assert spans(made) == [(1.5, 2.75, "wren"), (2, 2.1234567, "robin")]
    assert [clip.group for clip in made.clips] == ["garden.wav", "site"]
    assert (made.remarks, made.window) == ([], None)
    assert made.locations == {"wren": "garden.txt line 1", "robin": "garden.txt line 2"}
    assert [recording_of(clip) for clip in made.clips] == ["garden.wav"] * 2
    assert recording_of(Clip("a 1.000-2.000", garden, ("x",))) == "a 1.000-2.000"


@pytest.mark.parametrize(
    ("start", "end", "options", "expected"),
    [
        (4.0, 5.0, {"window": 2}, [(3.5, 5.5)]),  # in the middle
        (0.2, 0.6, {"window": 2}, [(0, 2)]),  # moved to lie within the recording
        (9.5, 10.0, {"window": 2}, [(8, 10)]),
        (4.0, 6.0, {"window": 2}, [(4, 6)]),
        (4.0, 6.005, {"window": 2}, [(4.002, 6.002)]),  # 5 ms are less than a step of the features
        (1.0, 6.5, {"window": 2}, [(1, 3), (3, 5), (4.5, 6.5)]),  # the last one ends with the region
        (1.0, 5.0, {"window": 2}, [(1, 3), (3, 5)]),
        (1.0, 4.2, {"window": 2, "hop": 0.5}, [(1, 3), (1.5, 3.5), (2, 4), (2.2, 4.2)]),
        (0.0, 9.0, {"window": 1, "hop": 4}, [(0, 1), (4, 5), (8, 9)]),
        (4.0, 5.0, {"window": 30}, [(0, 10)]),  # the whole recording
    ],
)
def test_windows_of_a_region(
    garden: Path, start: float, end: float, options: dict[str, Any], expected: list[tuple[float, float]]
) -> None:
    made = cut_some(region(garden, start, end, "wren"), **options)
    assert spans(made) == [(*span, "wren") for span in expected]
    assert made.window == options["window"]


def test_without_a_window_it_is_the_length_that_holds_95_percent(garden: Path) -> None:
    """Of 20 regions the 19th: 0.73 s, rounded up to 0.8 s. Regions of test recordings do not decide."""
    some = [region(garden, 0.4 * n, 0.4 * n + 0.2, "wren", n) for n in range(18)]
    longer = [region(garden, 8, 8.73, "wren", 18), region(garden, 5, 9, "wren", 19)]
    test = replace(garden_region := region(garden, 0, 9.9, "wren"), recording="other.wav", split="test")
    made = cut_some(*some, *longer, test)
    assert made.window == 0.8
    assert (
        "Note: regions become windows of 0.8 s, which hold 95% of them (set window for another length)" in made.remarks
    )
    assert cut_some(garden_region).window == 9.9
    long = cut_some(replace(garden_region, end=9.95), background="none", events=False)
    assert long.window == 10.0  # asked for by the background


def test_the_default_window_is_not_longer_than_the_longest_input(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(30 * RATE), RATE)
    assert cut_some(region(tmp_path / "long.wav", 0, 25, "wren")).window == 10.24


def test_a_window_has_the_label_that_it_holds_enough_of(garden: Path) -> None:
    """At 2.8-4.8 a wren sounds for 0.8 s, which is all of it, and a robin of 3 s for 0.6 s, less than half of the window."""
    wren, robin = region(garden, 3.4, 4.2, "wren"), region(garden, 4.2, 7.2, "robin", 2)
    made = cut_some(wren, robin, window=2)
    assert spans(made) == [(2.8, 4.8, "wren"), (4.2, 6.2, "robin"), (5.2, 7.2, "robin")]
    # a robin of 0.3 s is in the first window whole, so that window has two labels
    short = cut_some(wren, replace(robin, end=4.5), replace(robin, start=8, end=9), window=2)
    assert spans(short) == [(7.5, 9.5, "robin")]
    assert short.remarks == [
        "Note: 2 windows hold enough of several labels and cannot be used, garden.wav 2.800-4.800 among them; windows shorter than "
        "2 s or a larger min_overlap leave out fewer, and task=multi-label none",
        "Note: 1.1 of 2.1 s of the labelled regions are in no clip",
        "Warning: no window of 1 label can be used, so it is not a class: wren",
    ]


def test_sums_of_regions_give_a_label(garden: Path) -> None:
    """Between 2.0 and 4.0 two regions of a cricket sound for 0.5 s each: together as much as an overlap of 1 s asks for."""
    cricket = [region(garden, 1.0, 2.5, "cricket"), region(garden, 3.5, 5.0, "cricket", 2)]
    fox = region(garden, 2.9, 3.1, "fox", 3)
    assert "2 windows" not in " ".join(cut_some(*cricket, fox, window=2, min_overlap=1.1).remarks)
    made = cut_some(*cricket, fox, window=2, min_overlap=1)
    assert ("fox" in {clip.label for clip in made.clips}) is False
    assert ("fox" in {clip.label for clip in cut_some(*cricket, fox, window=2, min_overlap=1.1).clips}) is True


def test_background_touches_no_region(garden: Path) -> None:
    other = garden.with_name("quiet.wav")
    soundfile.write(other, np.zeros(3 * RATE), RATE)
    short = garden.with_name("short.wav")
    soundfile.write(short, np.zeros(RATE), RATE)
    files = {path.name: path for path in (garden, other, short)}
    made = cut_some(region(garden, 4.5, 5.5, "wren"), window=2, background="none", recordings=files)
    assert [(clip.name, clip.label) for clip in made.clips] == [
        ("garden.wav 4.000-6.000", "wren"),
        ("garden.wav 0.000-2.000", "none"),
        ("garden.wav 2.000-4.000", "none"),
        ("garden.wav 5.500-7.500", "none"),
        ("garden.wav 7.500-9.500", "none"),
        ("quiet.wav 0.000-2.000", "none"),
        ("short.wav 0.000-1.000", "none"),
    ]
    # 0.5 s before the wren, 0.5 s at the end, 1 s of quiet.wav
    assert made.remarks == [
        "Note: 6 windows that no region touches, of label none; 2.0 s more without a label are in pieces shorter than a window"
    ]
    # 15 before the wren, 15 after it, 9 and 1 in the other two
    more = cut_some(region(garden, 4.5, 5.5, "wren"), window=1, hop=0.25, background="none", recordings=files)
    assert more.remarks[1] == "Note: there are 40 clips of none and 1 other clip; a longer hop gives fewer"


def test_negative_regions_give_way(garden: Path) -> None:
    """Wind that somebody labelled all over: a wren within it is a wren, and a window of wind with a little of it is not used."""
    wind, wren = region(garden, 0, 10, "wind"), region(garden, 5, 6, "wren", 2)
    made = cut_some(wind, wren, window=2, negative=["wind"])
    assert spans(made) == [
        (0, 2, "wind"),
        (2, 4, "wind"),
        (4, 6, "wren"),
        (4.5, 6.5, "wren"),
        (6, 8, "wind"),
        (8, 10, "wind"),
    ]
    spoilt = cut_some(wind, replace(wren, end=6.2), window=2, negative=["wind"])
    assert "garden.wav 6.000-8.000" in spoilt.remarks[0]
    assert spoilt.remarks[0].startswith("Note: 1 window of a negative label cannot be used")
    with pytest.raises(DataError, match=r"'wind' .* overlaps 'wren'|'wren' .* overlaps 'wind'"):
        cut_some(wind, wren, window=2)


def test_faults_have_their_places_and_come_together(garden: Path) -> None:
    wren = region(garden, 1, 2, "wren", 1)
    with pytest.raises(DataError) as fault:
        cut_some(wren, region(garden, 12, 13, "wren", 2), region(garden, 9, 10.2, "wren", 3), events=False)
    assert str(fault.value).splitlines() == [
        "labelled regions: 2 faults",
        "  - garden.txt line 3: it ends at 10.2 s, after the end of garden.wav at 10.000 s",
        "  - garden.txt line 2: it starts at 12 s, after the end of garden.wav at 10.000 s",
    ]
    overlap = r"'wren' \(garden.txt line 1, 1.000-2.000 s\) overlaps 'robin' \(garden.txt line 2, 1.500-3.000 s\)"
    with pytest.raises(DataError, match=overlap):
        cut_some(wren, region(garden, 1.5, 3, "robin", 2), window=1)
    with pytest.raises(DataError, match=r"'robin' .*line 2.* overlaps 'wren' .*line 1"):
        cut_some(wren, region(garden, 1, 2.0001, "robin", 2), events=False)
    assert len(cut_some(wren, region(garden, 1, 2.01, "robin", 2), events=False).clips) == 2


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"split": "train"}, {"split": "test"}, "split train .*line 1.* and test .*line 2"),
        ({"fold": 1}, {"fold": 2}, "fold 1 .*line 1.* and 2 .*line 2"),
        ({"group": "north"}, {"group": "south"}, "group north .*line 1.* and south .*line 2"),
    ],
)
def test_a_recording_is_on_one_side(garden: Path, first: dict[str, Any], second: dict[str, Any], said: str) -> None:
    both = region(garden, 1, 2, "wren", 1, **first), region(garden, 3, 4, "wren", 2, **second)
    with pytest.raises(DataError, match=f"garden.wav is in {said}"):
        cut_some(*both)
    assert len(cut_some(*both, events=False).clips) == 2  # clips as they are meant share no sound


def test_what_is_cut_and_repeated_is_said(garden: Path) -> None:
    made = cut_some(
        region(garden, 9, 10.1, "wren", 1),
        region(garden, 1, 2, "wren", 2),
        region(garden, 1, 2, "wren", 3),
        events=False,
    )
    assert spans(made) == [(1, 2, "wren"), (9, 10, "wren")]
    assert made.remarks == [
        "Note: 1 region is cut at the end of the recording, up to 0.1 s before the given end, garden.txt line 1 among them",
        "Note: 1 region is given twice and used once, garden.txt line 3 among them",
    ]


def test_recordings_that_cannot_be_read_are_left_for_those_who_read_them(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_text("no audio")
    broken, empty = tmp_path / "broken.wav", tmp_path / "gone.wav"
    made = cut_some(
        region(broken, 1, 2, "wren"), window=3, background="none", recordings={"broken.wav": broken, "gone.wav": empty}
    )
    assert spans(made) == [(1, 2, "wren"), (None, None, "none")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 0.01}, "window=0.01: give at least 0.025 seconds"),
        ({"hop": 0.001}, "hop=0.001: give at least 0.01 seconds"),
        ({"window": 1, "min_overlap": 2}, "min_overlap=2 is longer than the window of 1 s"),
    ],
)
def test_numbers_that_do_not_go_together(garden: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cut_some(region(garden, 1, 2, "wren"), events=False, **options)


LENGTH = 20_000
MEASURES = st.builds(
    lambda window, hop, share: Measure(window, hop, max(1, round(window * share))),
    st.integers(30, 6_000), st.integers(10, 6_000), st.floats(0.01, 1),
)  # fmt: skip
PARTS = st.lists(
    st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 8_000), st.sampled_from("abn")).map(
        lambda one: Part(one[0], min(one[0] + one[1], LENGTH), one[2])
    ),
    max_size=12,
)


def inside(span: Span, others: list[Span]) -> int:
    return sum(max(0, min(span[1], end) - max(span[0], start)) for start, end in merge_spans(others))


def hears(span: Span, parts: list[Part], label: str, least: int) -> bool:
    """As the options say it, without a shortcut."""
    mine = [(start, end) for start, end, name in parts if name == label]
    return inside(span, mine) >= least or any(inside(span, [one]) >= min(least, one[1] - one[0]) for one in mine)


@given(PARTS, MEASURES)
def test_windows_hear_what_they_claim(parts: list[Part], measure: Measure) -> None:
    parts = list(dict.fromkeys(parts))
    made = cut_recording(parts, LENGTH, measure, {"n"}, background=True)
    assert made.labelled == sorted(made.labelled)
    for span, (label,) in made.labelled:
        assert span[1] - span[0] == measure.window
        assert span[0] >= 0
        assert span[1] <= LENGTH
        assert hears(span, parts, label, measure.min_overlap)
        for other in {"a", "b"} - {label}:
            assert not hears(span, parts, other, measure.min_overlap)
            if label == "n":
                assert not inside(span, [part[:2] for part in parts if part.label == other])
    for span in made.background:
        assert not inside(span, [part[:2] for part in parts])
    covered = merge_spans(span for span, _ in made.labelled)
    regions = merge_spans(part[:2] for part in parts)
    assert made.lost == sum(end - start - inside((start, end), covered) for start, end in regions)
    assert made.unused == LENGTH - sum(end - start for start, end in regions) - inside((0, LENGTH), made.background)


@given(st.integers(0, LENGTH - 1), st.integers(1, LENGTH), MEASURES)
def test_a_region_is_heard_whole_unless_the_hop_leaves_gaps(start: int, seconds: int, measure: Measure) -> None:
    end = min(start + seconds, LENGTH)
    measure = replace(measure, hop=min(measure.hop, measure.window))
    found = windows_over(start, end, LENGTH, measure)
    assert end - start - inside((start, end), found) <= STEP
    assert len(set(found)) == len(found)


@given(PARTS, MEASURES)
def test_overlaps_are_those_of_every_pair(parts: list[Part], measure: Measure) -> None:
    parts = list(dict.fromkeys(parts))
    several = {
        number
        for number, part in enumerate(parts)
        for other in "abn"
        if other != part.label
        and (other == "n") == (part.label == "n")
        and hears(part[:2], parts, other, measure.min_overlap)
    }
    found = overlaps(parts, measure, {"n"})
    for first, second in found:
        assert parts[first].label != parts[second].label
        assert inside(parts[first][:2], [parts[second][:2]]) > 0
    assert several <= {number for pair in found for number in pair}
    assert bool(several) == bool(found)


@given(PARTS.filter(bool), st.lists(st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(sorted), min_size=1))
def test_coverage_is_the_sum(parts: list[Part], windows: list[list[int]]) -> None:
    some = [part[:2] for part in parts]
    starts, ends = np.array(windows, np.int64).T
    assert Coverage(some).within(starts, ends).tolist() == [inside((a, b), some) for a, b in windows]
    assert merge_spans([*merge_spans(some), *find_gaps(merge_spans(some), LENGTH)]) == [(0, LENGTH)]


@given(st.randoms(use_true_random=False))
def test_the_order_of_regions_does_not_matter(shuffled: random.Random) -> None:
    draw = random.Random(7)  # noqa: S311 - no secret
    path = Path("nowhere.wav")
    made = [
        LabelledRegion(f"{n % 3}.wav", path, n / 3, n / 3 + draw.uniform(0.1, 2), draw.choice("ab"), f"line {n}")
        for n in range(20)
    ]
    again = shuffled.sample(made, len(made))
    options = DataOptions(window=1)
    assert cut(again, options, events=True, recordings={}) == cut(made, options, events=True, recordings={})
