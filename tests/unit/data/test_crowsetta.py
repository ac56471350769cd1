"""Annotations of other programs, read by crowsetta: files written as those programs write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat

from astune.data import load_data
from astune.data.layouts import crowsetta as layout
from astune.errors import ConfigError, DataError
from tests.example_layouts import write_text, write_tone
from tests.unit.data.refusals import refusal

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("crowsetta")

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 4
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "songs"
        xmin = 0
        xmax = 4
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.2504
            text = "robin"
        intervals [3]:
            xmin = 1.2504
            xmax = 4
            text = "wren"
"""


def covered(data: str, **options: Any) -> list[tuple[str, str, float, float]]:
    """Recording, label, first and last second of what each label's clips cover."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for clip in load_data(data, **options).clips:
        _, start, end = clip.region
        first, last = found.get((clip.path.name, clip.label), (start, end or 0.0))
        found[clip.path.name, clip.label] = (min(first, start), max(last, end or 0.0))
    return [(*key, *span) for key, span in found.items()]


def test_praat(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", seconds=4.0)
    (tmp_path / "a.TextGrid").write_text(GRID, encoding="utf-8")
    (_, _, first, last), (_, label, start, end) = covered(f"crowsetta:{tmp_path}", window=1.0)
    assert label == "wren"
    assert first <= 0.5
    assert last >= 1.2504
    assert (start, end) == pytest.approx((1.2504, 4.0), abs=0.5)


def test_tiers_are_asked_for(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", seconds=4.0)
    tier = (
        GRID[GRID.index("    item [1]") :]
        .replace("songs", "calls")
        .replace("item [1]", "item [2]")
        .replace("wren", "crow")
    )
    (tmp_path / "a.TextGrid").write_text(GRID.replace("size = 1", "size = 2") + tier, encoding="utf-8")
    message = f"{tmp_path / 'a.TextGrid'} has 2 tiers (songs, calls); say which with annotation_format, such as 'textgrid:songs'"
    assert refusal(f"crowsetta:{tmp_path}") == message
    assert load_data(f"crowsetta:{tmp_path}", annotation_format="textgrid:calls", window=1.0).labels == (
        "crow",
        "robin",
    )
    with pytest.raises(DataError, match="is not a readable textgrid file"):
        load_data(f"crowsetta:{tmp_path}", annotation_format="textgrid:birds")
    with pytest.raises(ConfigError, match="the format timit has no tiers; give 'timit'"):
        load_data(f"crowsetta:{tmp_path}", annotation_format="timit:songs")


def test_timit_counts_samples(tmp_path: Path) -> None:
    """At the rate of the recording: 8,000 a second here."""
    write_tone(tmp_path / "audio" / "SA1.wav", seconds=4.0)
    write_text(tmp_path / "SA1.phn", "0 8000 h#", "8000 16000 sh")
    names = [
        (clip.label, clip.start)
        for clip in load_data(f"crowsetta:{tmp_path}", audio_dir=tmp_path / "audio", window=1.0).clips
    ]
    assert names == [("h#", 0.0), ("sh", 1.0)]


def test_notmat_counts_milliseconds(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", seconds=4.0)
    fields = {"min_int": 2.0, "min_dur": 2.0, "sm_win": 2.0, "threshold": 1.0, "fname": "a.wav", "Fs": 8000.0}
    times = {"onsets": np.array([500.0, 2000.0]), "offsets": np.array([1500.0, 3000.0]), "labels": "ab"}
    savemat(tmp_path / "a.wav.not.mat", fields | times)
    names = [(clip.label, clip.start) for clip in load_data(tmp_path, window=1.0).clips]
    assert names == [("a", 0.5), ("b", 2.0)]


def test_a_table_of_several_recordings(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_tone(tmp_path / f"{name}.wav", seconds=4.0, pitch=300 + len(name))
    rows = ["x,0.5,1.5,a.wav,all.csv,0,0", "y,2.0,3.0,a.wav,all.csv,0,0", "x,1.0,2.0,/elsewhere/b.wav,all.csv,0,1"]
    write_text(tmp_path / "all.csv", "label,onset_s,offset_s,notated_path,annot_path,sequence,annotation", *rows)
    clips = load_data(f"crowsetta:{tmp_path}", window=1.0).clips
    assert [(clip.path.name, clip.label, clip.start) for clip in clips] == [
        ("a.wav", "x", 0.5),
        ("a.wav", "y", 2.0),
        ("b.wav", "x", 1.0),
    ]


@pytest.mark.parametrize("name", ["aud-seq", "aud-bbox"])
def test_formats_that_share_a_suffix_are_named(tmp_path: Path, name: str) -> None:
    write_tone(tmp_path / "a.wav", seconds=4.0)
    lines = ["0.5\t1.5\tx", "\\\t100.0\t900.0", "2.0\t3.0\ty", "\\\t100.0\t900.0"]
    write_text(tmp_path / "a.txt", *(lines if name == "aud-bbox" else lines[::2]))
    assert "there is no file of annotations" in refusal(f"crowsetta:{tmp_path}")
    clips = load_data(f"crowsetta:{tmp_path}", annotation_format=name, window=1.0).clips
    assert [(clip.label, clip.start) for clip in clips] == [("x", 0.5), ("y", 2.0)]


def test_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tone(tmp_path / "a.wav", seconds=4.0)
    (tmp_path / "a.TextGrid").write_text("nothing of the kind", encoding="utf-8")
    assert refusal(f"crowsetta:{tmp_path}").startswith(f"{tmp_path / 'a.TextGrid'} is not a readable textgrid file (")
    with pytest.raises(ConfigError, match="unknown annotation_format 'textgird'"):
        load_data(f"crowsetta:{tmp_path}", annotation_format="textgird")
    (tmp_path / "a.TextGrid").write_text(
        GRID.replace("1.2504\n            text", "0.25\n            text"), encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"a.TextGrid"):
        load_data(f"crowsetta:{tmp_path}")
    monkeypatch.setitem(__import__("sys").modules, "crowsetta", None)
    with pytest.raises(ConfigError, match=r"pip install .*\[crowsetta\]'"):
        layout.Crowsetta().write_example(tmp_path)
    with pytest.raises(ConfigError, match=r"pip install .*\[crowsetta\]'"):
        load_data(f"crowsetta:{tmp_path}")
