"""Embeddings: transformers' own numbers at every level, rows with spans and labels, and files that are whole or not there."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

import astune
from astune import AudioClassifier, Embeddings, Predictor, load_backbone, load_data
from astune.cli import app
from astune.data import AudioDataset, Clip, DataRecipe
from astune.errors import AdapterError, AudioError, ConfigError, DataError, OutputError
from astune.features import build_cache
from astune.folder_lock import lock_folder
from astune.inference.embed import load_embedder, write_embeddings

RATE = 16_000  # Hz
LENGTH = 48  # frames: 0.495 s


def sound(seconds: float, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three: of 0.4, 1.7 and 3 seconds, the last one in stereo at 22.05 kHz."""
    folder = tmp_path_factory.mktemp("recordings")
    soundfile.write(folder / "a.wav", sound(0.4), RATE)
    soundfile.write(folder / "b.flac", sound(1.7, 1), RATE)
    stereo = np.random.default_rng(2).normal(0, 0.1, (3 * 22_050, 2))
    soundfile.write(folder / "c.wav", stereo, 22_050)
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    AudioClassifier(load_backbone("random:tiny", LENGTH), "lora", ["x", "y"], pooling="cls").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("level", [0, 1, 3, 4, "output"])
def test_levels_are_transformers_hidden_states(level: int | Literal["output"], recordings: Path) -> None:
    backbone = load_backbone("random:tiny", LENGTH)
    path = recordings / "a.wav"
    features = build_cache([path], backbone.front_end).batch([0])
    with torch.no_grad():
        theirs = backbone.model(features, output_hidden_states=True)
    assert len(theirs.hidden_states) == 5
    expected = theirs.last_hidden_state if level == "output" else theirs.hidden_states[level]
    tokens = astune.embed(backbone, path, level=level, tokens=True)
    torch.testing.assert_close(torch.from_numpy(tokens.values), expected, rtol=1e-4, atol=1e-5)
    for pool, pooled in (("cls", expected[:, 0]), ("mean", expected.mean(dim=1)), (None, expected.mean(dim=1))):
        found = astune.embed(backbone, path, level=level, pool=pool)  # type: ignore[arg-type]
        torch.testing.assert_close(torch.from_numpy(found.values), pooled, rtol=1e-4, atol=1e-5)


def test_a_predictor_embeds_what_its_head_sees_and_any_level(adapter: Path, recordings: Path) -> None:
    predictor = Predictor(adapter, device="cpu")
    paths = sorted(recordings.iterdir())
    model = predictor.model
    logits = model.classify(predictor.embed(paths)).logits
    torch.testing.assert_close(logits, predictor.logits(paths))
    tokens = predictor.embed(paths, level=2, tokens=True)
    assert tokens.shape == (3, 2 + 12 * 4, 192)  # [CLS], distillation, and 12 x 4 patches of 48 frames
    assert torch.equal(predictor.embed(paths, level=2), tokens[:, 0])  # the adapter pools by [CLS]
    torch.testing.assert_close(predictor.embed(paths, level=2, pool="mean"), tokens.mean(dim=1))
    assert predictor.embed([]).shape == (0, 192)
    assert predictor.embed([], tokens=True).shape == (0, 0, 192)


@pytest.mark.parametrize("method", ["pref-t-24", "spt-300:tokens=5", "dpt-25", "layermix", "bottleneck-pf-par"])
def test_every_kind_of_method_embeds(method: str, recordings: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", LENGTH), method, ["x", "y"])
    predictor, path = Predictor(model), recordings / "a.wav"
    torch.testing.assert_close(model.classify(predictor.embed(path)).logits, predictor.logits(path))
    depth = len(model.sites.layers)
    if model.sites.mixer is None:  # what is classified is the last level, normalised
        last = predictor.embed(path, level=depth, tokens=True)
        torch.testing.assert_close(model.pool(model.sites.norm(last)), predictor.embed(path))


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"level": 5}, r"level=5: give output .* or a number from 0 \(patch embeddings\) to 4"),
        ({"level": -1}, "level=-1"),
        ({"level": True}, "level=True"),
        ({"level": "last"}, "level='last'"),
        ({"pool": "max"}, "unknown pool 'max'; choose one of: mean, cls"),
        ({"pool": "cls", "tokens": True}, "cannot be combined"),
        ({"window": 0}, "window=0: give seconds"),
        ({"hop": 0.001}, r"hop=0\.001: give at least"),
        ({"max_length": 48, "window": 1.0}, r"window=1 is longer than the adapter's input of 0\.495 s"),
        ({"threads": 0}, "threads=0: give a whole number of 1 or more"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"device": "cuda:99"}, "cannot be used; here there is"),
        ({"backbone": "bundled"}, "is not an adapter; leave it out"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], fault: str, recordings: Path) -> None:
    with pytest.raises(ConfigError, match=fault):
        astune.embed("random:tiny", recordings, **settings)


def test_settings_that_the_model_has_are_refused(adapter: Path, recordings: Path) -> None:
    with pytest.raises(ConfigError, match="max_length cannot be given for an adapter"):
        astune.embed(adapter, recordings, max_length=64)
    with pytest.raises(ConfigError, match="device cannot be given together with a Predictor"):
        astune.embed(Predictor(adapter), recordings, device="cpu")
    with pytest.raises(ConfigError, match="differs from the loaded backbone's max_length=48"):
        astune.embed(load_backbone("random:tiny", LENGTH), recordings, max_length=64)
    with pytest.raises(ConfigError, match="model is of type int"):
        astune.embed(3, recordings)  # type: ignore[arg-type]
    with pytest.raises(AdapterError, match=r"has no adapter_config\.json"):
        astune.embed(recordings, recordings)
    with pytest.raises(AdapterError, match="there is no folder 'nowhere'"):
        astune.embed("nowhere", recordings)


def test_a_recording_has_a_row_for_each_window(adapter: Path, recordings: Path) -> None:
    found = astune.embed(adapter, recordings, window=0.4, hop=0.5)
    whole = [str(recordings / name) for name in ("a.wav", "b.flac", "c.wav")]
    assert found.names == (whole[0], *[whole[1]] * 4, *[whole[2]] * 6)
    assert found.files == found.names
    assert found.starts.tolist() == [0.0, *(0.5 * np.arange(4)), *(0.5 * np.arange(6))]
    assert found.ends.tolist() == pytest.approx([0.4, 0.4, 0.9, 1.4, 1.7, 0.4, 0.9, 1.4, 1.9, 2.4, 2.9])
    assert found.labels is None
    assert found.about["window"] == 0.4
    assert found.about["hop"] == 0.5
    assert found.about["pool"] == "cls"
    predictor = Predictor(adapter)
    samples, _ = soundfile.read(recordings / "b.flac", dtype="float32")
    third = predictor.embed(samples[RATE : RATE + 6_400], sampling_rate=RATE)
    np.testing.assert_allclose(found.values[3], third[0], rtol=1e-4, atol=1e-5)
    assert repr(found) == f"Embeddings(11, 192) of {adapter}, 3 inputs"


def test_a_bare_backbone_takes_the_length_of_the_window_or_its_own(recordings: Path) -> None:
    assert load_embedder("random:tiny").backbone.max_length == 1024
    assert load_embedder("random:tiny", max_length=64).backbone.max_length == 64
    assert load_embedder("random:tiny", window=0.495).backbone.max_length == 48
    assert load_embedder("random:tiny", window=0.496).backbone.max_length == 49
    found = astune.embed("random:tiny", recordings, window=0.7)
    assert found.about["max_length"] == 69
    assert found.about["adapter"] is None
    assert len(found) == 1 + 3 + 5


def test_waveforms_and_generators(adapter: Path) -> None:
    sounds = [sound(0.4), sound(1.2, 1)]
    listed = astune.embed(adapter, sounds, sampling_rate=RATE)
    assert listed.names == ("inputs[0]", "inputs[1]", "inputs[1]", "inputs[1]")
    assert listed.files == ("",) * 4
    drawn = astune.embed(adapter, (one for one in sounds), sampling_rate=RATE)
    np.testing.assert_array_equal(drawn.values, listed.values)


@pytest.fixture
def labelled(generated: Path) -> str:
    return f"folder:{generated}"


def test_a_labelled_data_set_has_a_row_for_each_clip_in_its_order(labelled: str, adapter: Path) -> None:
    dataset = load_data(labelled)
    found = astune.embed(adapter, dataset)
    assert found.names == tuple(clip.name for clip in dataset.clips)
    assert found.files == tuple(str(clip.path) for clip in dataset.clips)
    assert found.labels == tuple(clip.labels for clip in dataset.clips)
    assert found.splits == tuple(clip.split for clip in dataset.clips)
    assert found.folds is None
    assert found.starts.tolist() == [0.0] * len(found)
    expected = Predictor(adapter).embed(dataset.paths)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="each of which gives one row; window and hop cut recordings"):
        astune.embed(adapter, labelled, window=0.2)


def test_parts_of_a_file_keep_their_spans_labels_folds_and_groups(tmp_path: Path, adapter: Path) -> None:
    soundfile.write(tmp_path / "long.wav", sound(4), RATE)
    clips = (
        Clip("1", tmp_path / "long.wav", ("x",), start=1.5, end=1.8, fold=2, group="g"),
        Clip("2", tmp_path / "long.wav", ("y",), start=2, end=4, fold=1),
    )
    dataset = AudioDataset("made", clips, ("x", "y"), DataRecipe())
    found = astune.embed(adapter, dataset)
    assert found.starts.tolist() == [1.5, 2.0]
    assert found.ends.tolist() == [1.8, 2.495]  # as much as the input takes
    assert found.labels == (("x",), ("y",))
    assert found.folds == (2, 1)
    assert found.groups == ("g", None)
    samples, _ = soundfile.read(tmp_path / "long.wav", dtype="float32")
    part = Predictor(adapter).embed(samples[24_000:28_800], sampling_rate=RATE)
    np.testing.assert_allclose(found.values[0], part[0], rtol=1e-4, atol=1e-5)
    for name in ("f.npz", "f.parquet"):
        found.save(tmp_path / name)
        assert Embeddings.load(tmp_path / name).columns.keys() == found.columns.keys()
        assert Embeddings.load(tmp_path / name).folds == (2, 1)
        assert Embeddings.load(tmp_path / name).groups == ("g", None)


SEVERAL = {"labels": (("a", "b"), (), ("c",)), "splits": ("train", None, "test"), "folds": (None, 0, 3)}


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 5)])
@pytest.mark.parametrize("more", [{}, SEVERAL, {"labels": (("a",), ("bc",), ("a",))}], ids=["none", "several", "one"])
def test_what_is_saved_is_read_back(suffix: str, shape: tuple[int, ...], more: dict[str, Any], tmp_path: Path) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    given = Embeddings(
        values,
        ("a", "ä b", "c"),
        ("/x/a", "", "/x/c"),
        np.array([0, 1.5, 2]),
        np.array([1, 2.0, 3]),
        **more,
        about={"level": 3},
    )
    given.save(tmp_path / f"out{suffix}")
    found = Embeddings.load(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(found.values, values)
    assert found.values.dtype == np.float32
    assert found.about == {"level": 3}
    assert found.columns.keys() == given.columns.keys()
    for name, cells in given.columns.items():
        assert list(getattr(found, name)) == list(cells), name
    assert [entry.name for entry in tmp_path.iterdir()] == [f"out{suffix}"]


def test_other_programs_read_the_files(labelled: str, tmp_path: Path) -> None:
    for name in ("out.npz", "out.parquet"):
        write_embeddings(tmp_path / name, "bundled", labelled, max_length=LENGTH)
    with np.load(tmp_path / "out.npz") as file:  # pickles are refused by default
        names, labels, values = file["names"], file["labels"], file["values"]
        assert json.loads(str(file["about"]))["model"] == "bundled"
    assert labels.tolist() == [name.split("/")[1] for name in names]
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["names", "files", "starts", "ends", "labels", "splits", "embedding"]
    assert table.column("names").to_pylist() == names.tolist()
    np.testing.assert_array_equal(np.array(table.column("embedding").to_pylist(), np.float32), values)


def test_logistic_regression_on_the_file_scores_as_on_features_of_training(labelled: str, tmp_path: Path) -> None:
    """The same clips through transformers' model, pooled and split by hand."""
    outcome = CliRunner().invoke(
        app, ["embed", "bundled", labelled, "-o", str(tmp_path / "x.npz"), "--max-length", str(LENGTH), "--json"]
    )
    assert outcome.exit_code == 0, outcome.output
    with np.load(tmp_path / "x.npz") as file:
        values, labels, splits = file["values"], file["labels"], file["splits"]
    dataset, backbone = load_data(labelled), load_backbone("bundled", LENGTH)
    features = build_cache(dataset.clips, backbone.front_end)
    with torch.no_grad():
        pooled = backbone(features.batch(range(len(dataset.clips)))).last_hidden_state.mean(dim=1).numpy()
    truth = np.array([clip.label for clip in dataset.clips])
    train = np.array([clip.split == "train" for clip in dataset.clips])

    def accuracy(rows: np.ndarray[Any, Any], classes: np.ndarray[Any, Any], of: np.ndarray[Any, Any]) -> float:
        probe = LogisticRegression(max_iter=2000).fit(rows[of], classes[of])
        return float(probe.score(rows[~of], classes[~of]))

    ours, theirs = accuracy(values, labels, splits == "train"), accuracy(pooled, truth, train)
    assert ours == pytest.approx(theirs, abs=1 / 36)  # one of the 36 clips may lie on the border
    assert ours > 0.5  # six classes


def test_broken_recordings(adapter: Path, recordings: Path, tmp_path: Path) -> None:
    """One that cannot be opened, and one that breaks after its first windows: neither has a row."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.wav").write_bytes((recordings / "a.wav").read_bytes())
    (folder / "bad.wav").write_bytes(b"nothing")
    wild = sound(70)  # longer than what is decoded at a time
    wild[-100] = np.nan
    soundfile.write(folder / "late.wav", wild, RATE, subtype="FLOAT")
    (folder / "z.wav").write_bytes((recordings / "a.wav").read_bytes())
    with pytest.raises(AudioError, match=r"2 of 4 files cannot be read\n(.*\n)*.*bad\.wav"):
        astune.embed(adapter, folder)
    kept = [str(folder / "a.wav"), str(folder / "z.wav")]
    found = astune.embed(adapter, folder, skip_broken=True)
    assert list(found.names) == kept
    np.testing.assert_allclose(found.values[0], found.values[1])
    for suffix in ("npz", "parquet"):
        outcome = CliRunner().invoke(app, ["embed", str(adapter), str(folder), "-o", str(tmp_path / f"o.{suffix}")])
        assert outcome.exit_code == 1
        assert "2 of 4 files could not be read" in outcome.stderr
        read = Embeddings.load(tmp_path / f"o.{suffix}")
        assert list(read.names) == kept
        np.testing.assert_array_equal(read.values, found.values)
    with pytest.raises(AudioError, match=r"1 of 1 file cannot be read"):
        write_embeddings(tmp_path / "none.npz", adapter, folder / "bad.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed", "o.npz", "o.parquet"]


def test_a_file_that_is_there_is_kept_unless_it_may_be_replaced(
    adapter: Path, recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.npz"
    out.write_text("mine")
    arguments = ["embed", str(adapter), str(recordings / "a.wav"), "-o", str(out)]
    outcome = CliRunner().invoke(app, arguments)
    assert isinstance(outcome.exception, ConfigError)
    assert out.read_text() == "mine"
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0
    assert len(Embeddings.load(out)) == 1
    for path, fault in (
        (tmp_path / "x.csv", r"unknown file format '\.csv'; choose one of: \.npz, \.parquet"),
        (tmp_path, "unknown file format"),
        (tmp_path / "no" / "x.npz", "is not a folder; make it"),
    ):
        with pytest.raises(ConfigError, match=fault):
            write_embeddings(path, adapter, recordings)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", values=np.zeros((2, 3)))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    for name in ("other.npz", "cut.parquet", "empty.npz"):
        with pytest.raises(DataError, match="holds no embeddings that can be read"):
            Embeddings.load(tmp_path / name)
    with pytest.raises(DataError, match="there is no such file"):
        Embeddings.load(tmp_path / "gone.npz")
    with pytest.raises(ConfigError, match=r"names has 1 entries, and values has 2 rows"):
        Embeddings(np.zeros((2, 3), np.float32), ("a",), ("", ""), np.zeros(2), np.zeros(2))
    with pytest.raises(OutputError, match="cannot be written"):
        Embeddings(np.zeros((1, 3), np.float32), ("a",), ("",), np.zeros(1), np.zeros(1)).save(
            tmp_path / "no" / "x.npz"
        )


def test_a_killed_run_leaves_no_file(adapter: Path, tmp_path: Path) -> None:
    """Killed by the system while rows are on disk: neither the file nor the rows are left under any name."""
    soundfile.write(tmp_path / "long.wav", sound(60), RATE)
    out = tmp_path / "out"
    out.mkdir()
    code = (
        "import os, sys, signal\nfrom astune.inference import embed\n"
        "append = embed._OnDisk.append\n"
        "def dying(self, rows, seen=[]):\n"
        "    append(self, rows)\n    seen.append(1)\n"
        "    if len(seen) == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "embed._OnDisk.append = dying\n"
        "embed.write_embeddings(sys.argv[1], sys.argv[2], sys.argv[3])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(out / "x.npz"), str(adapter), str(tmp_path / "long.wav")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9
    assert [path.name for path in out.iterdir()] == [".x.npz.lock"]  # which is empty, and nobody holds it


def test_a_file_takes_one_run_at_a_time(adapter: Path, recordings: Path, tmp_path: Path) -> None:
    with lock_folder(tmp_path, "e.npz"):
        with pytest.raises(
            ConfigError,
            match=r"another run is writing .*e\.npz \(process \d+ on .*\); wait until it ends, or give another file",
        ):
            write_embeddings(tmp_path / "e.npz", adapter, recordings)
        write_embeddings(tmp_path / "other.npz", adapter, recordings)
    write_embeddings(tmp_path / "e.npz", adapter, recordings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.npz", "other.npz"]


def test_the_command_says_what_it_wrote(adapter: Path, recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    arguments = ["embed", str(adapter), str(recordings), "-o", str(out), "--level", "2", "--window", "0.4"]
    outcome = CliRunner().invoke(app, [*arguments, "--tokens", "--json"])
    assert outcome.exit_code == 0, outcome.output
    record = json.loads(outcome.stdout)
    found = Embeddings.load(out)
    assert record["shape"] == list(found.values.shape) == [1 + 5 + 8, 50, 192]
    assert record["inputs"] == 3
    assert record["about"]["level"] == 2
    assert record["about"]["pool"] is None
    plain = CliRunner().invoke(app, [*arguments, "--overwrite"])
    assert f"14 rows of 192 numbers, of 3 recordings, in {out}" in plain.stdout
    gaps = CliRunner().invoke(app, [*arguments, "--overwrite", "--hop", "1"])
    assert "0.6 s between two of them are not heard" in gaps.stderr
    (tmp_path / "t.csv").write_text("file_name,label\n")
    with pytest.raises(ConfigError, match=r"t\.csv is a table; for the clips that it names give .* csv:"):
        astune.embed(adapter, tmp_path / "t.csv")
