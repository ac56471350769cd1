"""The output folder: what cannot take a run is said at once, what is not ours stays, and one run at a time writes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from astune import AudioClassifier, export_adapter, load_backbone
from astune.errors import AdapterError, ConfigError, Interrupted, OutputError
from astune.folder_lock import LOCK
from astune.training import checkpoint, output_folder
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.stopping import Call, StopAfter

LIMIT = 120  # seconds until a command that hangs is ended


def settings(data: Path, folder: Path, **more: Any) -> TrainConfig:
    usual = {"backbone": "random:tiny", "method": "linear", "num_train_epochs": 1, "max_length": 24}
    return TrainConfig(data=str(data), output_dir=folder, **{**usual, **more})


def no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused has to be refused before this."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("features are computed")

    monkeypatch.setattr("astune.training.listening.build_cache", refuse)


@pytest.mark.parametrize(
    "where",
    ["file/below", "file", "a" * 300, "made/" + "b" * 300, "link"],
    ids=["below", "file", "long", "deep", "dangling"],
)
def test_folders_that_cannot_be_made_are_refused_before_features(
    where: str, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_features(monkeypatch)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    config = settings(generated, tmp_path / where)
    for verb in (check, train):
        with pytest.raises(ConfigError, match=r"the output folder .* (cannot be written|is a file|is a link)"):
            verb(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="wants a file system that takes no files")
def test_file_systems_that_take_no_files_are_refused(generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_features(monkeypatch)
    for verb in (check, train):
        with pytest.raises(ConfigError, match="the output folder /proc/nope/x cannot be written"):
            verb(settings(generated, Path("/proc/nope/x")))


def test_a_disk_without_room_is_said_before_features(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine copies of the head's and the norm's float32, and a mebibyte: 9 x 4 x (6 x 192 + 6 + 2 x 192) + 2^20 bytes."""
    no_features(monkeypatch)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(ConfigError, match=r"has 1\.0 MB of free disk; the run needs 1\.1 MB"):
        train(settings(generated, tmp_path / "out"), quiet=True)
    needed = 9 * 4 * (6 * 192 + 6 + 2 * 192) + 2**20
    for free, fits in ((needed - 1, False), (needed, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(10**9, 10**9 - free, free))
        try:
            check(settings(generated, tmp_path / "out"))
        except ConfigError:
            assert not fits
        else:
            assert fits


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """As on a full disk: writing beyond it fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_while_training_is_a_sentence_and_leaves_no_halves(generated: Path, tmp_path: Path) -> None:
    train(settings(generated, tmp_path / "warm"), quiet=True)  # the caches are written
    with (
        file_size_limit(6000),
        pytest.raises(
            OutputError,
            match=r"out/checkpoint-\d/\S+ cannot be written: File too large \(.* are wanted\); free some disk",
        ),
    ):
        train(settings(generated, tmp_path / "out"), quiet=True)
    left = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    assert [name for name in left if "partial" in name or "checkpoint" in name or "adapter" in name] == []


def test_a_disk_that_fills_while_a_library_writes_is_a_sentence_too(tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64), "lora", ["a", "b"])
    with (
        file_size_limit(6000),
        pytest.raises(OutputError, match=r"cannot be written: File too large \(.* free"),
    ):
        export_adapter(model, tmp_path / "out", "transformers")
    assert list(tmp_path.iterdir()) == []


FOREIGN = {
    "README.md": "# My project\n",
    "adapter_config.json": json.dumps({"peft_type": "LORA", "r": 8}),
    "results.json": json.dumps({"accuracy": 0.9}),
    "metrics.jsonl": '{"loss": 1}\n',
    "clips.csv": "file_name,label\na.wav,dog\n",
    "checkpoint-500/trainer_state.json": json.dumps({"global_step": 500}),
    "checkpoint-500/optimizer.pt": "of transformers' Trainer",
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_replaced(
    name: str, overwrite: bool, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_features(monkeypatch)
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text(FOREIGN[name])
    with pytest.raises(ConfigError, match=f"holds a {Path(name).parts[0]} that is not ours to replace"):
        train(settings(generated, tmp_path / "out", overwrite_output_dir=overwrite), quiet=True)
    assert file.read_text() == FOREIGN[name]
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [file]


def test_save_pretrained_leaves_them_alone_too(tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 24), "linear", ["a", "b"])
    for name in ("README.md", "adapter_config.json"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(FOREIGN[name])
        with pytest.raises(AdapterError, match="not ours to replace"):
            model.save_pretrained(folder)
        assert [path.name for path in folder.iterdir()] == [name]
    for _ in range(2):  # its own are replaced
        model.save_pretrained(tmp_path / "own")


def test_what_is_ours_is_overwritten_and_the_rest_stays(generated: Path, tmp_path: Path) -> None:
    config = settings(generated, tmp_path / "out")
    train(config, quiet=True)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    result = train(config.model_copy(update={"overwrite_output_dir": True, "method": "bitfit"}), quiet=True)
    assert result.spec == "bitfit"
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_second_run_into_a_folder_is_refused(generated: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / LOCK), pytest.raises(ConfigError, match="another run is writing into"):
        train(settings(generated, tmp_path / "out"), quiet=True)
    train(settings(generated, tmp_path / "out"), quiet=True)
    assert not (tmp_path / "out" / LOCK).exists()


def test_two_commands_at_once_make_one_adapter(generated: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "astune", "train", str(generated), "--output-dir", str(tmp_path / "out"), "--backbone", "random:tiny",
        "--method", "linear", "--num-train-epochs", "2", "--max-length", "24",
    ]  # fmt: skip
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate(timeout=LIMIT) for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes
    for code, (_, err) in zip(codes, ends, strict=True):
        assert "Traceback" not in err
        assert code == 0 or "another run is writing into" in err or "holds an adapter already" in err
    assert AudioClassifier.from_pretrained(tmp_path / "out").labels


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_a_run_is_told_how_to_go_on(generated: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [
        sys.executable, "-m", "astune", "train", str(generated), "--output-dir", str(tmp_path / "out"), "--backbone", "random:tiny",
        "--method", "lora", "--num-train-epochs", "200", "--max-length", "24", "--save-steps", "2",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while checkpoint.latest(tmp_path / "out") is None and process.poll() is None and time.monotonic() < began + LIMIT:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + number
    last = err.strip().splitlines()[-1]
    kept = checkpoint.latest(tmp_path / "out")
    assert kept is not None
    assert last == f"interrupted; {kept} is kept: the same command with --resume continues from there"
    assert "Traceback" not in err


def test_an_interrupt_from_python_is_one_and_says_what_was_kept(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A KeyboardInterrupt for a notebook, whatever it says besides."""
    main = threading.main_thread().ident
    assert main == threading.get_ident()

    def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt, match="nothing was kept, because there was no checkpoint yet") as stop:
        train(settings(generated, tmp_path / "out"), quiet=True, callbacks=[Call(step=interrupt)])
    assert isinstance(stop.value, Interrupted)
    assert not isinstance(stop.value, Exception)


def test_a_run_that_is_refused_leaves_no_folder(generated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        train(settings(generated, tmp_path / "deep" / "out", method="lara"), quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_before_training_says_what_an_earlier_run_kept(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While audio is read too: a run that goes on has kept what it had."""
    config = settings(generated, tmp_path / "out", num_train_epochs=2)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="kept: the same command with resume=True continues from there"):
        train(config, quiet=True, callbacks=[StopAfter(1, KeyboardInterrupt)])
    monkeypatch.setattr("astune.training.listening.build_cache", stop)
    for update, how in (
        ({"resume": True}, "kept: the same command continues from there"),
        ({"overwrite_output_dir": True}, "with resume=True instead of overwrite_output_dir=True continues"),
    ):
        with pytest.raises(Interrupted, match=how):
            train(config.model_copy(update=update), quiet=True)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(Interrupted, match="nothing was kept"):
        train(config, quiet=True)


def test_resuming_where_nothing_is_says_so(generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was mistyped should not look like a run that went on."""
    train(settings(generated, tmp_path / "ou", resume=True))
    assert f"Note: {tmp_path / 'ou'} holds no run to continue" in capsys.readouterr().err


def test_a_run_loses_its_results_before_its_weights(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings(generated, tmp_path), quiet=True)
    gone: list[str] = []
    unlink = Path.unlink

    def noted(path: Path, missing_ok: bool = False) -> None:
        gone.append(path.name)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)
    output_folder.clear(tmp_path)
    assert gone[:3] == ["results.json", "adapter_config.json", "adapter_model.safetensors"]
