"""Several labels on real recordings: ESC-10 clips added up two by two, with folds kept apart."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve
from sklearn.preprocessing import StandardScaler

import astune
from astune import adapter_file
from astune.data import AudioDataset, load_data
from astune.data.audio import read_audio
from astune.inference.predictor import Predictor
from astune.training.config import TrainConfig
from astune.training.loop import train

RATE, SAMPLES = 16_000, 40_000  # 2.5 s
SPLITS = {1: "test", 5: "validation", 2: "train", 3: "train", 4: "train"}  # of ESC-10's folds


def write_mixtures(esc10: Path, folder: Path, per_fold: int, kinds: int = 10, seed: int = 0) -> Path:
    """Add clips of one fold two by two, of two classes and equally loud, and write ``clips.csv`` with a column ``labels``.

    Args:
        esc10: real recordings.
        folder: made here; nothing of it is kept.
        per_fold: mixtures of each fold.
        kinds: how many of the ten classes are mixed.
        seed: of the pairs.

    Returns:
        The table.
    """
    folder.mkdir()
    draw, files = np.random.default_rng(seed), {path.stem: path for path in (esc10 / "audio").iterdir()}
    with (esc10 / "meta" / "esc50.csv").open(newline="") as stream:
        clips = list(csv.DictReader(stream))
    kept = sorted({clip["category"] for clip in clips})[:kinds]
    rows = []
    for fold, split in SPLITS.items():
        own = [clip for clip in clips if int(clip["fold"]) == fold and clip["category"] in kept]
        pairs: list[tuple[dict[str, str], dict[str, str]]] = []
        while len(pairs) < per_fold:
            order = [own[number] for number in draw.permutation(len(own))]
            both = zip(order[::2], order[1::2], strict=True)
            pairs += [(one, other) for one, other in both if one["category"] != other["category"]]
        for number, pair in enumerate(pairs[:per_fold]):
            sounds = [loudest(read_audio(files[Path(clip["filename"]).stem])) for clip in pair]
            mixed = sum(sound / np.sqrt(np.mean(sound**2)) for sound in sounds)
            name = f"{fold}-{number:02}.wav"
            soundfile.write(folder / name, 0.5 * mixed / np.abs(mixed).max(), RATE)
            labels = sorted(clip["category"] for clip in pair)
            rows.append({"file_name": name, "labels": ";".join(labels), "split": split})
    return write_table(folder / "clips.csv", rows)


def loudest(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The part of a clip that has most energy: some are a short sound and silence."""
    energy = np.concatenate(([0.0], np.cumsum(samples.astype(np.float64) ** 2)))
    start = int(np.argmax(energy[SAMPLES:] - energy[:-SAMPLES]))
    return samples[start : start + SAMPLES]


def write_table(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return file


def as_columns(file: Path) -> Path:
    """The same table with a column of 0 and 1 for each label."""
    rows = list(csv.DictReader(file.read_text().splitlines()))
    labels = sorted({label for row in rows for label in row["labels"].split(";")})
    written = []
    for row in rows:
        there = row.pop("labels").split(";")
        written.append(row | {label: str(int(label in there)) for label in labels})
    return write_table(file.with_name("columns.csv"), written)


def test_labels_in_a_column_and_columns_of_0_and_1_give_equal_runs(real_audio: Path, tmp_path: Path) -> None:
    cells = write_mixtures(real_audio / "esc10", tmp_path / "mixed", per_fold=6, kinds=4)
    fixed = {
        "backbone": "random:tiny",
        "method": "bitfit",
        "max_length": 64,
        "num_train_epochs": 2,
        "learning_rate": 0.01,
    }
    runs = [
        train(TrainConfig(data=f"csv:{file}", output_dir=tmp_path / file.stem, **fixed), quiet=True)
        for file in (cells, as_columns(cells))
    ]
    one, other = (adapter_file.read(tmp_path / name) for name in ("clips", "columns"))
    assert one.config.task == other.config.task == "multi-label"
    assert one.tensors.keys() == other.tensors.keys()
    assert all(one.tensors[name].equal(other.tensors[name]) for name in one.tensors)
    assert one.thresholds == other.thresholds
    steps = [[{**epoch, "seconds": 0} for epoch in run.history] for run in runs]
    assert steps[0] == steps[1]
    assert runs[0].scores == runs[1].scores
    assert {split: scores["clips"] for split, scores in runs[0].scores.items()} == {"validation": 6, "test": 6}


def probe_map(data: AudioDataset) -> float:
    """Test mAP of one logistic regression a label on the frozen backbone; mAP of the validation clips chooses its strength."""
    found = astune.embed("bundled", data, max_length=248)
    rows = {name: row for row, name in enumerate(found.names)}
    features = found.values[[rows[clip.name] for clip in data.clips]]
    targets = truth(data, range(len(data.clips)))
    split = data.split()
    fitting, choosing, testing = (list(part) for part in (split.train, split.validation, split.test))
    scaled = StandardScaler().fit(features[fitting]).transform(features)
    maps = []
    for strength in (0.01, 0.03, 0.1, 0.3):
        probes = [
            LogisticRegression(C=strength, max_iter=5000).fit(scaled[fitting], targets[fitting, one])
            for one in range(10)
        ]
        scores = np.stack([probe.decision_function(scaled) for probe in probes], axis=1)
        maps.append([float(average_precision_score(targets[part], scores[part])) for part in (choosing, testing)])
    return max(maps)[1]


def truth(data: AudioDataset, clips: Iterable[int]) -> npt.NDArray[np.int64]:
    """Which labels clips have, (clips, labels), 0 or 1."""
    return np.array([[label in data.clips[clip].labels for label in data.labels] for clip in clips], np.int64)


@pytest.mark.slow
def test_two_sounds_at_once(real_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """240 mixtures train, 80 of another fold choose epoch and thresholds, 80 of a third test."""
    table = write_mixtures(real_audio / "esc10", tmp_path / "mixed", per_fold=80)
    data = load_data(f"csv:{table}")
    split = data.split()
    assert (len(data.labels), len(split.train), len(split.validation), len(split.test)) == (10, 240, 80, 80)
    run = train(TrainConfig(data=f"csv:{table}", method="layermix", output_dir=tmp_path / "out"), quiet=True)
    predictor = Predictor(tmp_path / "out")
    files = {name: [str(data.clips[clip].path) for clip in split.named(name)] for name in ("validation", "test")}
    logits = {name: predictor.logits(paths).double().numpy() for name, paths in files.items()}
    there = {name: truth(data, split.named(name)) for name in ("validation", "test")}
    for name in files:
        assert run.scores[name]["map"] == pytest.approx(average_precision_score(there[name], logits[name]), abs=1e-6)
    cuts = np.array(list(predictor.thresholds.values()))
    likely = {name: 1 / (1 + np.exp(-one)) for name, one in logits.items()}
    for label, cut in enumerate(cuts):  # the best F1 that any threshold has on the validation clips
        known, scores = there["validation"][:, label], likely["validation"][:, label]
        precision, recall, _ = precision_recall_curve(known, scores)
        best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        assert f1_score(known, scores >= cut) == pytest.approx(best)
    found = [
        {one["label"] for one in labels}
        for labels in predictor.predict(files["test"], top_k=None, threshold=predictor.thresholds)
    ]
    both = sum(set(data.clips[clip].labels) <= labels for clip, labels in zip(split.test, found, strict=True))
    exact = sum(set(data.clips[clip].labels) == labels for clip, labels in zip(split.test, found, strict=True))
    one = sum(bool(set(data.clips[clip].labels) & labels) for clip, labels in zip(split.test, found, strict=True))
    probe, reached = probe_map(data), run.scores["test"]["map"]
    with capsys.disabled():
        print(
            f"\nmAP {reached:.3f}, frozen probe {probe:.3f}; of 80: a sound found in {one}, both in {both}, both alone in {exact}"
        )
    # Measured: 0.755, 0.727, 69, 31 and 14. Two labels of ten drawn blindly are both right in 2 of 80.
    assert reached > probe - 0.02
    assert one >= 60
    assert both >= 20
    assert exact >= 7
