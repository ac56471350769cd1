"""What is said of PyAV's formats where it is not installed, and what changes when it is."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from astune.data import load_data, opening
from astune.data.audio import read_audio
from astune.data.formats import AV_SUFFIXES, av_installed, readable_suffixes
from astune.data.recordings import find_recordings, passed_over
from astune.errors import AudioError
from astune.features import FrontEnd, build_cache
from tests.unit.data.test_recordings import classes

MARK = b"\0\0\0\x20ftypM4A " + bytes(500)  # how every .m4a begins


@pytest.fixture(autouse=True)
def absent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """As in an environment without PyAV, until what is given is called."""
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "av" else found(name, package)

    def install() -> None:
        monkeypatch.undo()
        av_installed.cache_clear()

    monkeypatch.setattr(importlib.util, "find_spec", find)
    av_installed.cache_clear()
    yield install
    install()


@pytest.mark.parametrize("suffix", [".m4a", ".AAC", ".webm", ".wma", ".amr", ".3gp", ".ape", ".mka", ".mov", ".mp4"])
def test_folders_count_them_and_name_the_extra(tmp_path: Path, suffix: str) -> None:
    classes(tmp_path)
    for number in range(4):
        (tmp_path / "low" / f"{number}{suffix}").write_bytes(MARK)
    kind = f"files in a format that needs pip install -e '.[av]' ({suffix.lower()})"
    assert [(one.kind, one.count) for one in passed_over(find_recordings(tmp_path).skipped)] == [(kind, 4)]
    assert load_data(tmp_path).notices == (
        f"Note: 4 {kind} were passed over: low/0{suffix}, low/1{suffix}, low/2{suffix}, ...",
    )


@pytest.mark.parametrize("name", ["clip.m4a", "clip.mp3", "clip"])
def test_the_error_names_the_content_and_the_extra(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(MARK)
    with pytest.raises(AudioError) as caught:
        read_audio(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: its content is MPEG-4 (.m4a, .mp4), which libsndfile does not decode; pip install -e '.[av]', "
        "or convert it to .wav or .flac"
    )


@pytest.mark.parametrize("suffix", sorted(AV_SUFFIXES))
def test_a_suffix_alone_names_the_extra_too(tmp_path: Path, suffix: str) -> None:
    assert suffix not in readable_suffixes()
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(5_000))
    with pytest.raises(
        AudioError, match=rf"\{suffix} is not a format libsndfile decodes; pip install -e '\.\[av\]', or"
    ):
        read_audio(path)


def test_what_could_not_be_read_is_tried_again_when_it_is_installed(tmp_path: Path, absent: Callable[[], None]) -> None:
    from tests.foreign_audio import KINDS, encode

    paths = [tmp_path / "a.m4a", tmp_path / "b.wav"]
    encode(paths[0], KINDS["a.m4a"])
    soundfile.write(paths[1], 0.1 * np.sin(np.arange(8_000)), 16_000)
    front_end = FrontEnd(max_length=64)
    for _ in range(2):
        assert list(build_cache(paths, front_end, skip_broken=True).broken) == [0]
    absent()
    for _ in range(2):
        assert not build_cache(paths, front_end, skip_broken=True).broken


def test_a_broken_installation_is_a_fault_of_the_files_that_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "av_installed", lambda: True)
    monkeypatch.setitem(sys.modules, "astune.data.av_sound", None)
    (tmp_path / "clip.m4a").write_bytes(MARK)
    with pytest.raises(
        AudioError, match=r"PyAV, which decodes it, is installed but cannot be imported .*--force-reinstall, or convert"
    ):
        read_audio(tmp_path / "clip.m4a")
    soundfile.write(tmp_path / "clip.wav", 0.1 * np.sin(np.arange(8_000)), 16_000)
    assert len(read_audio(tmp_path / "clip.wav")) == 8_000
    (tmp_path / "bad.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    with pytest.raises(AudioError, match=r"bad\.wav: (?!PyAV)"):
        read_audio(tmp_path / "bad.wav")
