"""The feature cache: right numbers, computed once, and never trusted where anything changed, broke or died."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import astune.features.cache as cache_module
from astune.data.audio import read_audio
from astune.data.store import cache_root
from astune.errors import AudioError, DataError, OutputError
from astune.features import FeatureCache, FrontEnd, build_cache, listen_to_clip

FRONT_END = FrontEnd(12)


def write_clips(folder: Path, count: int, seconds: float = 0.1) -> list[Path]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(count)
    paths = [folder / f"{number}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        rate = 8000 if number % 2 else 16_000
        soundfile.write(path, 0.2 * rng.standard_normal(round(seconds * rate)), rate)
    return paths


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return write_clips(tmp_path / "clips", 5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def expected(paths: list[Path], front_end: FrontEnd = FRONT_END) -> np.ndarray:
    """By the front end alone, without the code of the cache."""
    rows = [front_end(torch.from_numpy(read_audio(path))).numpy().astype(np.float16) for path in paths]
    return np.stack(rows)


def folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / "features").glob("*") if path.suffix != ".lock")


@contextmanager
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files that features are computed of meanwhile, in this process."""
    seen: list[Path] = []

    def recorded(path: Path, front_end: FrontEnd) -> object:
        seen.append(path)
        return listen_to_clip(path, front_end)

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "listen_to_clip", recorded)
        yield seen


def test_rows_are_the_features_of_the_files(clips: list[Path], root: Path) -> None:
    cache = build_cache(clips, FRONT_END, root=root)
    assert cache.features.shape == (5, 12, 128)
    assert cache.features.dtype == np.float16
    assert cache.broken == {}
    assert np.array_equal(cache.features, expected(clips))
    for row, path in enumerate(clips):
        assert np.array_equal(cache.features[row], listen_to_clip(path, FRONT_END).features)


def test_features_are_mapped_and_cannot_be_written(clips: list[Path], root: Path) -> None:
    build_cache(clips, FRONT_END, root=root)
    features = build_cache(clips, FRONT_END, root=root).features
    assert isinstance(features, np.memmap)
    assert not features.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        features[0] = 0


def test_files_on_disk_are_plain(clips: list[Path], root: Path) -> None:
    """``numpy.load`` reads the features, so whoever wants them needs nothing of ours."""
    build_cache(clips, FRONT_END, root=root)
    (folder,) = folders(root)
    assert sorted(path.name for path in folder.iterdir()) == ["features.npy", "index.json"]
    assert np.array_equal(np.load(folder / "features.npy"), expected(clips))
    index = json.loads((folder / "index.json").read_text())
    assert index == {"broken": {}, "seconds": [0.1] * 5, "doubts": {}, "paths": [str(path) for path in clips]}


def test_batches_are_rows_in_single_precision(clips: list[Path], root: Path) -> None:
    cache, rows = build_cache(clips, FRONT_END, root=root), expected(clips).astype(np.float32)
    for chosen in ([3, 0, 3], np.array([4, 1]), [2]):
        batch = cache.batch(chosen)
        assert batch.dtype == torch.float32
        assert np.array_equal(batch.numpy(), rows[chosen])
    assert cache.batch([]).shape == (0, 12, 128)
    changed = cache.batch([0])
    changed.zero_()  # a copy: the cache is not touched
    assert np.array_equal(cache.batch([0]).numpy(), rows[:1])


def test_the_second_call_computes_nothing(clips: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with computed(monkeypatch) as seen:
        first = build_cache(clips, FRONT_END, root=root)
        assert seen == clips
        second = build_cache(clips, FRONT_END, root=root)
        third = build_cache(clips, FrontEnd(12), root=root, skip_broken=True)
        monkeypatch.chdir(clips[0].parent.parent)
        fourth = build_cache([Path("clips") / path.name for path in clips], FRONT_END, root=root)
        assert seen == clips
    for other in (second, third, fourth):
        assert np.array_equal(first.features, other.features)


def test_a_clip_listed_twice_has_two_rows(clips: list[Path], root: Path) -> None:
    paths = [clips[0], clips[1], clips[0]]
    assert np.array_equal(build_cache(paths, FRONT_END, root=root).features, expected(paths))


def _grow(paths: list[Path]) -> None:
    status = paths[2].stat()
    soundfile.write(paths[2], np.full(3000, 0.1), 16_000)
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))


def _rewrite(paths: list[Path]) -> None:
    status = paths[2].stat()
    samples, rate = soundfile.read(paths[2])
    soundfile.write(paths[2], -samples[::-1], rate)
    assert paths[2].stat().st_size == status.st_size
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns + 1))  # the smallest step there is


def _replace(paths: list[Path]) -> None:
    """Another sound under the same name, size and times, as from an archive whose times are fixed."""
    status = paths[2].stat()
    samples, rate = soundfile.read(paths[2])
    soundfile.write(paths[2], -samples[::-1], rate)
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (paths[2].stat().st_size, paths[2].stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def _exchange(paths: list[Path]) -> None:
    """Two files change their names, and keep their inodes and times."""
    for path in paths[:2]:
        os.utime(path, ns=(10**18, 10**18))
    spare = paths[0].with_name("spare")
    paths[0].rename(spare)
    paths[1].rename(paths[0])
    spare.rename(paths[1])


def _swap(paths: list[Path]) -> None:
    paths[0], paths[1] = paths[1], paths[0]


def _drop(paths: list[Path]) -> None:
    del paths[-1]


def _add(paths: list[Path]) -> None:
    paths.append(paths[0])


@pytest.mark.parametrize("change", [_grow, _rewrite, _replace, _exchange, _swap, _drop, _add])
def test_a_changed_file_or_list_is_computed_anew(
    clips: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Path]], None]
) -> None:
    before = np.array(build_cache(clips, FRONT_END, root=root).features)
    change(clips)
    with computed(monkeypatch) as seen:
        after = build_cache(clips, FRONT_END, root=root).features
    assert seen == clips
    assert np.array_equal(after, expected(clips))
    assert not np.array_equal(before, after)


CHANGED = {"max_length": 13, "num_mel_bins": 64, "mean": -4.0, "std": 4.0}


def test_changed_settings_cover_every_field() -> None:
    assert CHANGED.keys() == {field.name for field in dataclasses.fields(FrontEnd)}


@pytest.mark.parametrize("field", CHANGED)
def test_a_changed_setting_is_computed_anew_beside_the_old(
    clips: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    build_cache(clips, FRONT_END, root=root)
    other = dataclasses.replace(FRONT_END, **{field: CHANGED[field]})  # type: ignore[arg-type] # all fields are numbers
    with computed(monkeypatch) as seen:
        features = build_cache(clips, other, root=root).features
        assert seen == clips
        assert np.array_equal(features, expected(clips, other))
        assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))
        assert seen == clips  # what was there stayed


def _write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def _edit(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(edit((folder / name).read_bytes()))


def _save(array: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "features.npy", array)


def _no_features(folder: Path) -> None:
    (folder / "features.npy").unlink()


def _no_index(folder: Path) -> None:
    (folder / "index.json").unlink()


def _nothing(folder: Path) -> None:
    _no_features(folder)
    _no_index(folder)


def _folders_for_files(folder: Path) -> None:
    _nothing(folder)
    (folder / "features.npy").mkdir()
    (folder / "index.json").mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "features cut short": _edit("features.npy", lambda data: data[:-2]),
    "features cut in the middle": _edit("features.npy", lambda data: data[: len(data) // 2]),
    "features cut in their header": _edit("features.npy", lambda data: data[:50]),
    "features too long": _edit("features.npy", lambda data: data + b"\0\0"),
    "features empty": _write("features.npy", b""),
    "features garbage": _edit("features.npy", lambda data: b"\x93NUMPY\1\0" + b"{('" * (len(data) // 3)),
    "features zipped": _write("features.npy", b"PK\3\4 and so on"),
    "features missing": _no_features,
    "features of another precision": _save(np.zeros((5, 12, 128), np.float32)),
    "features of another shape": _save(np.zeros((5, 128, 12), np.float16)),
    "features in another order": _save(np.asfortranarray(np.zeros((5, 12, 128), np.float16))),
    "index missing": _no_index,
    "index empty": _write("index.json", b""),
    "index cut": _edit("index.json", lambda data: data[:-5]),
    "index garbage": _write("index.json", b"\xff\xfe\0garbage"),
    "index a list": _write("index.json", b"[]"),
    "index a number": _write("index.json", b"7"),
    "index without its entry": _write("index.json", b"{}"),
    "index with a list for a table": _write("index.json", b'{"broken": [1]}'),
    "index with a number that is too large": _edit(
        "index.json", lambda data: data.replace(b'"seconds": [', b'"seconds": [1' + b"0" * 400 + b", ")
    ),
    "index with words for rows": _write("index.json", b'{"broken": {"first": "x"}}'),
    "empty folder": _nothing,
    "folders for files": _folders_for_files,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_rebuilt(clips: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    build_cache(clips, FRONT_END, root=root)
    (folder,) = folders(root)
    DAMAGE[damage](folder)
    with computed(monkeypatch) as seen:
        assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))
        assert seen == clips
        assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))
        assert seen == clips
    assert folders(root) == [folder]


@pytest.mark.parametrize("name", [".{}.partial", ".{}.removed"])
def test_a_leftover_that_looks_whole_is_not_trusted(clips: list[Path], root: Path, name: str) -> None:
    build_cache(clips, FRONT_END, root=root)
    (folder,) = folders(root)
    np.save(folder / "features.npy", np.zeros((5, 12, 128), np.float16))
    (folder / "more").write_text("of a killed process")
    folder.rename(folder.with_name(name.format(folder.name)))
    assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))
    assert folders(root) == [folder]
    assert not (folder / "more").exists()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_leaves_nothing(
    clips: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def interrupted(path: Path, front_end: FrontEnd) -> object:
        if path == clips[3]:
            raise fault
        return listen_to_clip(path, front_end)

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "listen_to_clip", interrupted)
        with pytest.raises(fault):
            build_cache(clips, FRONT_END, root=root)
    assert folders(root) == []
    assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Stands for a full disk: the system refuses to write beyond ``size``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_nothing_is_left_on_it(clips: list[Path], root: Path) -> None:
    with (
        pytest.raises(
            OutputError, match=r"features/\w+ cannot be written: File too large .* wanted\); .*set ASTUNE_CACHE"
        ) as caught,
        file_size_limit(10_000),
    ):  # of the 15 488 bytes needed
        build_cache(clips, FRONT_END, root=root)
    assert str(root) in str(caught.value)
    assert folders(root) == []


def test_a_disk_without_room_is_said_before_anything_is_computed(
    clips: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1, 1, 10_000))
    monkeypatch.setattr(cache_module, "listen_to_clip", None)  # calling it would fail
    with pytest.raises(
        OutputError,
        match=r"No space left on device \(0.0 MB of its disk are free, and 0.0 MB are wanted\); .* set ASTUNE_CACHE",
    ):
        build_cache(clips, FRONT_END, root=root)
    assert folders(root) == []


@pytest.mark.parametrize("file_name", ["", "features"])
def test_a_folder_that_cannot_be_made_is_said(clips: list[Path], root: Path, file_name: str) -> None:
    (root / file_name).parent.mkdir(exist_ok=True)
    (root / file_name).write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="set ASTUNE_CACHE to another folder") as caught:
        build_cache(clips, FRONT_END, root=root)
    assert str(root) in str(caught.value)


def test_no_clips_are_refused(root: Path) -> None:
    with pytest.raises(DataError, match="no clips are given"):
        build_cache([], FRONT_END, root=root)


def test_all_broken_files_are_counted_in_one_error(clips: list[Path], root: Path, tmp_path: Path) -> None:
    bad = [tmp_path / f"bad{number}.wav" for number in range(12)]
    for path in bad[:11]:
        path.write_text("text, not audio")
    with pytest.raises(AudioError) as caught:
        build_cache([*clips, *bad], FRONT_END, root=root)
    lines = str(caught.value).splitlines()
    assert lines[0] == "12 of 17 audio files cannot be read:"
    assert lines[1:11] == [f"  - {path}: it cannot be decoded (Format not recognised)" for path in bad[:10]]
    assert lines[11] == "  - and 2 more"
    assert "skip_broken=True" in lines[12]
    assert len(lines) == 13
    assert folders(root) == []


def test_broken_files_are_left_out_when_asked(
    clips: list[Path], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, missing = tmp_path / "text.wav", tmp_path / "missing.wav"
    text.write_text("text, not audio")
    paths = [clips[0], text, clips[1], missing]
    reasons = {1: f"{text}: it cannot be decoded (Format not recognised)", 3: f"{missing}: there is no such file"}
    with computed(monkeypatch) as seen:
        for _ in range(2):
            cache = build_cache(paths, FRONT_END, root=root, skip_broken=True)
            assert cache.broken == reasons
            assert np.array_equal(cache.features[[0, 2]], expected(clips[:2]))
            assert not cache.features[[1, 3]].any()
        with pytest.raises(AudioError) as caught:
            build_cache(paths, FRONT_END, root=root)
        assert seen == paths  # known, so not tried again
    assert str(caught.value).splitlines()[:3] == [
        "2 of 4 audio files cannot be read:",
        f"  - {reasons[1]}",
        f"  - {reasons[3]}",
    ]
    missing.write_bytes(clips[2].read_bytes())
    text.write_bytes(clips[3].read_bytes())
    assert np.array_equal(
        build_cache(paths, FRONT_END, root=root).features, expected([clips[0], clips[3], clips[1], clips[2]])
    )


def test_a_name_no_system_takes_is_a_broken_file(clips: list[Path], root: Path) -> None:
    cache = build_cache([clips[0], Path("x\0y.wav"), Path("x" * 300)], FRONT_END, root=root, skip_broken=True)
    assert cache.broken.keys() == {1, 2}


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ASTUNE_CACHE", "~/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "mine"
    monkeypatch.setenv("ASTUNE_CACHE", "")
    assert cache_root() == tmp_path / "xdg" / "astune"
    monkeypatch.delenv("ASTUNE_CACHE")
    assert cache_root() == tmp_path / "xdg" / "astune"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_root() == tmp_path / ".cache" / "astune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == tmp_path / ".cache" / "astune"


@pytest.mark.parametrize(("variable", "below"), [("ASTUNE_CACHE", "features"), ("XDG_CACHE_HOME", "astune/features")])
def test_the_variables_decide_where_features_go(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, below: str
) -> None:
    monkeypatch.delenv("ASTUNE_CACHE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    build_cache(clips, FRONT_END)
    assert len(list((tmp_path / "named" / below).glob("*/features.npy"))) == 1


@pytest.mark.parametrize("count", [5, 70])
def test_computing_draws_nothing_from_torchs_generator(tmp_path: Path, root: Path, count: int) -> None:
    """Else a run that computes its features would draw other dropout masks than one that finds them."""
    paths = write_clips(tmp_path / "clips", count, seconds=0.03)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    build_cache(paths, FrontEnd(2), root=root)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("count", [63, 64])
def test_many_files_go_through_workers_and_give_the_same_numbers(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    paths, log = write_clips(tmp_path / "clips", count, seconds=0.05), tmp_path / "log"
    paths[7].write_text("text, not audio")

    def recorded(path: Path, front_end: FrontEnd) -> object:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return listen_to_clip(path, front_end)

    monkeypatch.setattr(cache_module, "listen_to_clip", recorded)
    cache = build_cache(paths, FRONT_END, root=root, skip_broken=True)
    processes = [int(line) for line in log.read_text().split()]
    assert len(processes) == count
    assert (os.getpid() in processes) == (count < 64)
    assert list(cache.broken) == [7]
    whole = [row for row in range(count) if row != 7]
    assert np.array_equal(cache.features[whole], expected([paths[row] for row in whole]))


CHILD = """
import json, os, sys, time
from pathlib import Path
import torch
import astune.features.cache as module
from astune.features import FrontEnd, build_cache

torch.set_num_threads(1)
given = json.loads(sys.argv[1])
log, compute = Path(given["log"]), module.listen_to_clip

def recorded(path, front_end):
    with log.open("a") as file:
        file.write(f"{os.getpid()} {path}\\n")
    time.sleep(given["pause"])
    if Path(path).name == given["stop"]:
        time.sleep(600)
    return compute(path, front_end)

module.listen_to_clip = recorded
print("ready", flush=True)
sys.stdin.readline()
cache = build_cache([Path(path) for path in given["paths"]], FrontEnd(12), root=Path(given["root"]))
print(cache.features.astype("float64").sum(axis=(1, 2)).tolist())
"""


@contextmanager
def child(
    paths: list[Path], root: Path, log: Path, *, pause: float = 0, stop: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Another process that builds the cache once it is told to; killed if it still runs at the end."""
    given = {"paths": [str(path) for path in paths], "root": str(root), "log": str(log), "pause": pause, "stop": stop}
    command = [sys.executable, "-c", CHILD, json.dumps(given)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def start(*processes: subprocess.Popen[str]) -> None:
    """Let them go at the same moment, when all have loaded what they need."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def sums(features: np.ndarray) -> list[float]:
    result: list[float] = features.astype("float64").sum(axis=(1, 2)).tolist()
    return result


def test_two_processes_build_once_and_both_read_it(
    clips: list[Path], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    with child(clips, root, log, pause=0.1) as one, child(clips, root, log, pause=0.1) as other:
        start(one, other)
        printed = [process.communicate(timeout=60)[0] for process in (one, other)]
        assert one.returncode == other.returncode == 0
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [path for _, path in lines] == [str(path) for path in clips]
    assert len({process for process, _ in lines}) == 1
    assert [json.loads(line) for line in printed] == [sums(expected(clips))] * 2
    with computed(monkeypatch) as seen:  # and a third process, this one, finds it
        assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))
        assert seen == []


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about within a minute")


def test_a_killed_process_leaves_nothing_that_is_trusted(
    clips: list[Path], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    with child(clips, root, log, stop=clips[3].name) as process:
        start(process)
        wait_for(lambda: log.exists() and str(clips[3]) in log.read_text())
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    (left,) = folders(root)
    assert left.suffix == ".partial"
    with computed(monkeypatch) as seen:
        assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))
    assert seen == clips
    (whole,) = folders(root)
    assert left.name == f".{whole.name}.partial"


@pytest.mark.slow
def test_killed_while_its_workers_compute(root: Path, tmp_path: Path) -> None:
    """The workers inherit the lock; they notice within seconds that their parent is gone, and let go of it."""
    clips, log = write_clips(tmp_path / "many", 80, seconds=0.05), tmp_path / "log"
    with child(clips, root, log, pause=0.2) as process:
        start(process)
        wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 10)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert np.array_equal(build_cache(clips, FRONT_END, root=root).features, expected(clips))


def test_real_recordings(real_audio: Path, root: Path) -> None:
    paths = [*sorted(real_audio.glob("esc10/audio/*.ogg"))[:2], *sorted(real_audio.glob("spoken_digits/audio/*"))[:2]]
    assert len(paths) == 4
    front_end = FrontEnd(64)
    cache: FeatureCache = build_cache(paths, front_end, root=root)
    # the whole file is decoded here, and its beginning there
    assert np.abs(cache.features.astype(np.float64) - expected(paths, front_end)).max() < 1e-3
