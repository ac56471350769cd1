"""Clips with several labels from training to label tracks: thresholds that validation clips choose, and everything that uses them."""

from __future__ import annotations

import csv
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from astune import AudioClassifier, Predictor, adapter_file, load_backbone
from astune.adapter import Adapter, AdapterConfig
from astune.cli import app
from astune.data import LAYOUTS, load_data
from astune.data.audio import read_audio
from astune.errors import ConfigError, DataError
from astune.experiments.baseline import fit_regressions
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.results import Results
from astune.experiments.runner import execute
from astune.experiments.store import Store
from astune.experiments.table import load_table
from astune.features.log_mel import FrontEnd
from astune.inference.model_digest import digest_of
from astune.inference.request import Request
from astune.inference.review import review
from astune.inference.review_choice import uncertainty
from astune.inference.review_folder import SETTINGS
from astune.label_scores import best_thresholds, score_labels
from astune.reporting.report import write_report
from astune.tasks import MULTI_LABEL, SINGLE_LABEL
from astune.training.config import TrainConfig
from astune.training.cross_validation import cross_validate
from astune.training.inner_folds import inner_folds
from astune.training.loop import train
from astune.training.result import TrainResult
from astune.training.strength import Features
from tests.several_labels import RATE, SeveralLabels, sound, write_several
from tests.stopping import PowerCut, StopAfter

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELS = ("beep", "hum", "rare", "whistle")


@pytest.fixture(scope="module", autouse=True)
def _layout() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LAYOUTS, "several-labels", SeveralLabels())
        yield


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"several-labels:{write_several(tmp_path_factory.mktemp('several')).parent}"


def config(data: str, folder: Path, **settings: object) -> TrainConfig:
    fixed = {
        "backbone": "random:tiny",
        "method": "bitfit",
        "max_length": 64,
        "num_train_epochs": 6,
        "bf16": False,
        "recipe": "paper",
    }
    return TrainConfig.build(
        {"data": data, "output_dir": str(folder), "learning_rate": 1e-2, **fixed, **settings}, "test"
    )


@pytest.fixture(scope="module")
def trained(several: str, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(config(several, tmp_path_factory.mktemp("trained") / "out"), quiet=True)


def test_validation_clips_choose_the_thresholds_of_the_kept_weights(several: str, trained: TrainResult) -> None:
    """Test clips choose nothing: their scores are taken at thresholds that follow from validation logits alone."""
    predictor = Predictor(trained.output_dir)
    data, split = load_data(several), load_data(several).split()
    logits, targets = {}, {}
    for name, clips in (("validation", split.validation), ("test", split.test)):
        logits[name] = predictor.logits([str(data.clips[clip].path) for clip in clips])
        targets[name] = MULTI_LABEL.encode([data.clips[clip] for clip in clips], data.labels)
    thresholds = best_thresholds(logits["validation"], targets["validation"])
    assert list(predictor.thresholds) == list(LABELS)
    assert list(predictor.thresholds.values()) == pytest.approx(thresholds, abs=1e-5)
    assert predictor.thresholds["rare"] == 0.5
    for name in ("validation", "test"):
        found = score_labels(logits[name], targets[name], list(predictor.thresholds.values())).record()
        assert trained.scores[name] == {
            key: pytest.approx(value, abs=1e-5) if key == "loss" else value for key, value in found.items()
        }
    kept = trained.history[trained.best_epoch]["validation"]
    assert kept == {name: trained.scores["validation"][name] for name in kept}
    assert trained.best_epoch == max(range(6), key=lambda epoch: (_validation(trained, epoch), -epoch))


def _validation(run: TrainResult, epoch: int) -> tuple[float, float]:
    scores = run.history[epoch]["validation"]
    return scores["map"], -scores["loss"]


def test_what_has_no_clips_is_said_where_results_are_kept(trained: TrainResult) -> None:
    said = [notice for notice in trained.notices if "rare" in notice]
    assert [notice.partition(" has ")[2][:20] for notice in said] == [
        "no validation clip, ",
        "no test clip, and mA",
        "no validation clip t",
    ]
    kept = json.loads((Path(trained.output_dir) / "results.json").read_text())["notices"]
    assert kept == trained.notices


@pytest.mark.parametrize("selection", ["best-validation", "last"])
def test_a_stopped_run_ends_with_the_same_thresholds(several: str, selection: str, tmp_path: Path) -> None:
    settings = config(several, tmp_path / "whole", selection=selection, num_train_epochs=4)
    whole = train(settings, quiet=True)
    stopped = settings.model_copy(update={"output_dir": tmp_path / "stopped"})
    with pytest.raises(PowerCut):
        train(stopped, quiet=True, callbacks=[StopAfter(2)])
    resumed = train(stopped.model_copy(update={"resume": True}), quiet=True)
    assert resumed.scores == whole.scores
    one, other = (adapter_file.read(tmp_path / name) for name in ("whole", "stopped"))
    assert one.thresholds == other.thresholds != dict.fromkeys(LABELS, 0.5)
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_without_validation_clips_a_half_is_the_threshold_and_said(
    several: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clips of two splits: training and test."""
    folder = tmp_path / "two"
    folder.mkdir()
    source = Path(several.partition(":")[2])
    rows = [
        row for row in csv.DictReader((source / "clips.csv").read_text().splitlines()) if row["split"] != "validation"
    ]
    with (folder / "clips.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows({**row, "file_name": str(source / row["file_name"])} for row in rows)
    run = train(config(f"several-labels:{folder}", tmp_path / "out", num_train_epochs=1, selection="last"))
    assert "validation" not in run.scores
    assert run.scores["test"]["thresholds"] == [0.5] * 4
    assert adapter_file.read(tmp_path / "out").thresholds == dict.fromkeys(LABELS, 0.5)
    said = "no validation clip chooses the thresholds; that of each label is 0.5"
    assert said in " ".join(capsys.readouterr().err.split())
    assert any(said in notice for notice in run.notices)


def test_an_adapter_keeps_thresholds_and_one_without_is_written_as_before(trained: TrainResult, tmp_path: Path) -> None:
    folder = Path(trained.output_dir)
    adapter = adapter_file.read(folder)
    model = AudioClassifier.from_adapter(adapter)
    assert model.thresholds == adapter.thresholds
    model.save_pretrained(tmp_path / "again")
    assert adapter_file.read(tmp_path / "again").thresholds == adapter.thresholds
    other = AudioClassifier.from_adapter(adapter)
    other.thresholds["hum"] = 0.9
    assert adapter_file.read(folder).thresholds == adapter.thresholds
    assert digest_of(other) != digest_of(model)  # a folder of tables that other thresholds made is not continued
    card = (folder / "README.md").read_text()
    assert "| thresholds | " + ", ".join(f"{label} {one:.3f}" for label, one in adapter.thresholds.items()) in card
    assert f"| test | 16 | {trained.scores['test']['map']:.2%} |" in card
    single = AudioClassifier(load_backbone("random:tiny", 64), "linear", ("a", "b"))
    single.save_pretrained(tmp_path / "single")
    assert "thresholds" not in json.loads((tmp_path / "single" / "adapter_config.json").read_text())
    kept = json.loads((folder / "adapter_config.json").read_text())["metrics"]["test"]
    assert {name for name, value in kept.items() if isinstance(value, list)} == {"average_precision"}


def test_thresholds_that_cannot_be_are_refused(trained: TrainResult) -> None:
    config = adapter_file.read(trained.output_dir).config.model_dump()
    thresholds = config["thresholds"]
    for damage, words in (
        ({**thresholds, "hum": 1.5}, "less than or equal to 1"),
        ({**thresholds, "hum": float("nan")}, "less than or equal to 1"),
        ({**thresholds, "hum": -0.1}, "greater than or equal to 0"),
        ({**thresholds, "hums": 0.5}, "unknown label with a threshold 'hums'.*did you mean 'hum'"),
        ({"hum": 0.5}, "none for 'beep'"),
    ):
        with pytest.raises(ValueError, match=words):
            AdapterConfig(**config | {"thresholds": damage})
    with pytest.raises(ValueError, match="compete; leave them out"):
        AdapterConfig(**config | {"task": SINGLE_LABEL.name})


def test_a_merged_classifier_keeps_them(several: str, tmp_path: Path) -> None:
    train(config(several, tmp_path / "out", method="lora", num_train_epochs=1), quiet=True)
    model = AudioClassifier.from_pretrained(tmp_path / "out")
    assert model.merge_and_unload().thresholds == model.thresholds


def test_labels_of_a_recording_are_those_that_reach_their_thresholds(several: str, trained: TrainResult) -> None:
    predictor = Predictor(trained.output_dir)
    files = [str(clip.path) for clip in load_data(several).clips]
    whole = predictor.predict(files, top_k=None)
    assert [len(one) for one in whole] == [4] * len(files)
    logits = predictor.logits(files)
    for row, one in zip(logits, whole, strict=True):
        scores = {entry["label"]: entry["score"] for entry in one}
        assert [scores[label] for label in LABELS] == pytest.approx(row.sigmoid().tolist(), abs=1e-6)
    assert [len(one) for one in predictor.predict(files, top_k=2)] == [2] * len(files)
    reached = predictor.predict(files, top_k=None, threshold=predictor.thresholds)
    for one, some in zip(whole, reached, strict=True):
        assert some == [entry for entry in one if entry["score"] >= predictor.thresholds[entry["label"]]]
    assert len({len(one) for one in reached}) > 1
    assert predictor.predict(files[0], top_k=None, threshold=1.0) == []
    with pytest.raises(ConfigError, match="unknown label 'ham'"):
        predictor.predict(files[0], threshold={"ham": 0.5})


def test_predict_writes_labels_that_reach_their_thresholds(several: str, trained: TrainResult, tmp_path: Path) -> None:
    """Text, JSON and tables; ``--top-k`` and ``--threshold`` win."""
    predictor = Predictor(trained.output_dir)
    files = [str(clip.path) for clip in load_data(several).clips[:6]]
    reached = predictor.predict(files, top_k=None, threshold=predictor.thresholds)

    def run(*options: str) -> str:
        done = CliRunner().invoke(app, ["predict", trained.output_dir, *files, *options])
        assert done.exit_code == 0, done.output
        assert ("each label has a threshold of its own" in done.stderr) == (not options or "k" not in options[0])
        return done.stdout

    for line, labels in zip(run().splitlines(), reached, strict=True):
        shown = ", ".join(f"{one['label']} {one['score']:.3f}" for one in labels)
        assert line.partition("\t")[2] == (shown or "-")
    records = json.loads(run("--json"))
    assert [record["labels"] for record in records] == reached
    assert [len(record["labels"]) for record in json.loads(run("--top-k", "3", "--json"))] == [3] * 6
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert [row["label"] for row in rows] == [one["label"] for labels in reached for one in labels]
    run("--format", "audacity", "-o", str(tmp_path / "tracks"))
    track = (tmp_path / "tracks" / f"{Path(files[3]).stem}.txt").read_text()
    assert [line.split("\t")[2] for line in track.splitlines()] == [one["label"] for one in reached[3]]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds: hum from 0 to 4, beep from 2 to 6."""
    file = tmp_path_factory.mktemp("long") / "long.wav"
    parts = [(("hum",), 2.0), (("hum", "beep"), 2.0), (("beep",), 2.0)]
    soundfile.write(file, np.concatenate([sound(labels, 7, seconds) for labels, seconds in parts]), RATE)
    return file


def test_events_of_two_labels_overlap_and_begin_at_the_adapters_thresholds(trained: TrainResult, long: Path) -> None:
    predictor = Predictor(trained.output_dir)
    request = Request("events", window=0.5, hop=0.25)
    settled = request.settled(predictor)
    assert settled.threshold == predictor.thresholds
    (found,) = request.findings(predictor, [str(long)])
    timeline = predictor.timeline(str(long), window=0.5, hop=0.25)
    events = timeline.events(threshold=predictor.thresholds)
    assert [row[:3] for row in found.rows] == [(one.onset, one.offset, one.label) for one in events]
    assert events != timeline.events()
    at = {label: np.zeros(600, bool) for label in LABELS}
    for one in events:
        at[one.label][round(100 * one.onset) : round(100 * one.offset)] = True
    starts = np.concatenate(([0.0], timeline.starts[1:] + 0.125, [6.0]))
    for column, label in enumerate(LABELS):  # hop by hop, what each window stands for
        for row, (start, end) in enumerate(itertools.pairwise(starts)):
            expected = timeline.scores[row, column] >= np.float32(predictor.thresholds[label])
            assert at[label][round(100 * start) + 1 : round(100 * end) - 1].all() == expected
    assert (at["hum"] & at["beep"]).any()


def test_windows_have_all_labels_that_reach_their_thresholds(trained: TrainResult, long: Path) -> None:
    predictor = Predictor(trained.output_dir)
    (found,) = Request("windows", window=0.5).findings(predictor, [str(long)])
    timeline = predictor.timeline(str(long), window=0.5)
    cuts = np.array(list(predictor.thresholds.values()), np.float32)
    expected = {(float(timeline.starts[row]), LABELS[label]) for row, label in np.argwhere(timeline.scores >= cuts)}
    assert {(row.start, row.label) for row in found.rows} == expected
    (best,) = Request("windows", window=0.5, top_k=1).findings(predictor, [str(long)])
    assert len(best.rows) == len(timeline.starts)


def test_evaluate_uses_the_adapters_thresholds_and_shows_each_label(several: str, trained: TrainResult) -> None:
    found = Predictor(trained.output_dir).evaluate(several)
    expected = trained.scores["test"]
    assert found.scores.record() == {**expected, "loss": pytest.approx(expected["loss"], abs=1e-5)}
    assert len(found.score_notices) == 1
    assert "rare" in repr(found.score_notices)
    shown = CliRunner().invoke(app, ["evaluate", trained.output_dir, several])
    assert shown.exit_code == 0, shown.output
    assert "has no test clip" in shown.stderr
    assert f"mAP {expected['map']:.2%}   micro mAP {expected['micro_map']:.2%}   macro F1" in shown.output
    for number, label in enumerate(LABELS):
        (line,) = [line for line in shown.output.splitlines() if f" {label} " in line]
        cells = [cell.strip() for cell in line.strip("│┃ ").split("│")]
        shares = (expected[name][number] for name in ("average_precision", "auc", "f1"))
        assert cells[1:] == [
            str(expected["clips_with_label"][number]),
            *("-" if share is None else f"{share:.1%}" for share in shares),
            f"{expected['thresholds'][number]:.3f}",
        ]
    record = json.loads(CliRunner().invoke(app, ["evaluate", trained.output_dir, several, "--json"]).stdout)
    assert record["thresholds"] == expected["thresholds"]
    assert any("rare" in notice for notice in record["notices"])


def test_other_thresholds_of_the_user_score_otherwise(several: str, trained: TrainResult) -> None:
    """Thresholds are a setting of the adapter: an edited one is a whole adapter with other F1 and the same mAP."""
    adapter = adapter_file.read(trained.output_dir)
    never = adapter.config.model_copy(update={"thresholds": dict.fromkeys(LABELS, 1.0)})
    found = Predictor(Adapter(never, adapter.tensors)).evaluate(several).scores.figures()
    assert found["macro_f1"] == 0
    assert found["map"] == trained.scores["test"]["map"]


def test_an_adapter_of_one_label_a_clip_is_refused_where_clips_have_several(several: str) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64), "linear", LABELS)
    with pytest.raises(DataError, match="no label; a task with one label a clip needs exactly one"):
        Predictor(model).evaluate(several)


def test_review_cuts_windows_with_all_their_labels(several: str, trained: TrainResult, tmp_path: Path) -> None:
    predictor = Predictor(trained.output_dir)
    found = review(predictor, Path(several.partition(":")[2]), tmp_path / "review", count=4, per_class=2)
    settings = json.loads((tmp_path / "review" / SETTINGS).read_text())
    assert settings["threshold"] == predictor.thresholds
    several_at_once = 0
    for row in found.rows:
        track = (tmp_path / "review" / row["file"]).with_suffix(".txt").read_text()
        labels = [line.split("\t")[2] for line in track.splitlines()]
        (whole,) = predictor.predict([row["recording"]], top_k=None, threshold=predictor.thresholds)
        assert labels[0] == row["label"]
        assert set(labels) == {row["label"], *(one["label"] for one in whole)}
        several_at_once += len(labels) > 1
    assert several_at_once
    assert {row["label"] for row in found.rows if row["criterion"] == "confident"} == {"beep", "hum", "whistle"}


def test_uncertainty_is_nearness_to_the_threshold_of_a_label() -> None:
    """By hand: 0.3 lies at half of 0.6; 0.55 at a half between 0.1 and 1."""
    scores, thresholds = np.array([[0.3, 0.0], [0.0, 0.55], [0.6, 0.55]]), np.array([0.6, 0.1])
    assert uncertainty(scores, MULTI_LABEL, thresholds) == pytest.approx([0.5, 0.5, 1.0])


def table(several: str, folder: Path, **settings: object) -> tuple[str, Path]:
    file = folder / "mine.yaml"
    lines = ", ".join(f"{name}: {value}" for name, value in settings.items())
    file.write_text(
        "title: Mine\nkind: table\nrows: [{name: Linear, method: linear}, {name: BitFit, method: bitfit}]\n"
        f"datasets: [{{name: sounds, data: '{several}'}}]\n"
        f"settings: {{backbone: 'random:tiny', max_length: 64, num_train_epochs: 2, bf16: false, {lines}}}\n"
    )
    return "mine", file


def test_reports_show_map_and_each_label(several: str, tmp_path: Path) -> None:
    """A table with its baseline: headline, other figures, what is left out, and pictures without a confusion matrix."""
    name, planned = load_table(str(table(several, tmp_path)[1]))
    runs = plan(name, planned, PlanOptions(with_baseline=True))
    store = Store(tmp_path / "store")
    store.write_plan(to_saved_plan(name, planned, runs))
    records = [execute(run, store) for run in runs]
    assert all(record.headline == record.test["map"] for record in records)
    written = {path.name: path for path in write_report(Results.load(store, name), tmp_path / "reports")}
    assert not [file for file in written if "confusion" in file]
    assert {"mine-labels-1.png", "mine-map.png"} <= set(written)
    shown = written["mine.md"].read_text()
    assert "Test mAP in percent" in shown
    assert "sounds: 1 of 4 labels has no test clip, and mAP, AUC and macro F1 leave it out: rare" in shown
    assert "one run each has no interval" in shown
    assert "accuracy" not in shown
    rows = list(csv.DictReader(io.StringIO(written["mine.csv"].read_text())))
    assert len(rows) == 3
    for row, record in zip(rows, records, strict=True):
        assert float(row["mean"]) == pytest.approx(100 * record.test["map"], abs=1e-4)
        assert float(row["micro_map"]) == pytest.approx(100 * record.test["micro_map"], abs=1e-4)
        assert float(row["macro_f1"]) == pytest.approx(100 * record.test["macro_f1"], abs=1e-4)
    assert store.status(runs[0], {}) == "done"
    path = store.path(records[0].key)
    content = json.loads(path.read_text())
    content["result"]["scores"]["test"]["average_precision"].pop()
    path.write_text(json.dumps(content))
    assert store.status(runs[0], {}) == "damaged"


def test_the_baseline_is_one_logistic_regression_a_label(several: str, tmp_path: Path) -> None:
    """Against scikit-learn label by label; mAP of the validation clips chooses the strength, and they choose the thresholds."""
    name, planned = load_table(str(table(several, tmp_path)[1]))
    (run,) = [run for run in plan(name, planned, PlanOptions(with_baseline=True)) if run.method is None]
    record = execute(run, Store(tmp_path / "store"))
    data, front_end = load_data(several), FrontEnd(64)
    energies = [
        front_end.log_mel(torch.from_numpy(read_audio(clip.path, seconds=front_end.seconds))).numpy()
        for clip in data.clips
    ]
    features = np.stack([np.concatenate([clip.mean(0), clip.std(0)]) for clip in energies])
    targets, split = MULTI_LABEL.encode(data.clips, data.labels).numpy(), data.split()
    train_, validation, test = (list(part) for part in (split.train, split.validation, split.test))
    scaled = StandardScaler().fit(features[train_]).transform(features)
    known = [0, 1, 3]  # no validation or test clip has the third
    found = {}
    for strength in (0.003, 0.03, 0.3):
        likely = np.stack(
            [
                LogisticRegression(C=strength, max_iter=2000)
                .fit(scaled[train_], targets[train_, label])
                .predict_proba(scaled)[:, 1]
                for label in range(4)
            ],
            axis=1,
        )
        chosen_by, tested = (
            average_precision_score(targets[part][:, known], likely[part][:, known], average="macro")
            for part in (validation, test)
        )
        cuts = best_thresholds(torch.logit(torch.from_numpy(likely[validation])), torch.from_numpy(targets[validation]))
        found[strength] = chosen_by, tested, cuts
    strength = record.result.recipe["inverse_regularisation"]
    assert strength == max(found, key=lambda one: found[one][0])
    assert record.headline == pytest.approx(found[strength][1])
    assert record.test["thresholds"] == pytest.approx(found[strength][2], abs=1e-4)  # as far as its solver converges
    assert record.result.trainable_parameters == run.parameters == 4 * 257
    assert len(record.result.notices) == 3


def test_the_baseline_takes_labels_that_all_training_clips_have_or_none() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(20, 256)).astype(np.float32)
    targets = torch.tensor(np.stack([np.ones(20), np.zeros(20), draw.integers(0, 2, 20)], axis=1), dtype=torch.float32)
    [model] = fit_regressions(Features(features, targets.numpy()), [0.03])
    logits = model.logits(features)
    assert bool((logits[:, 0] > 20).all())
    assert bool((logits[:, 1] < -20).all())
    assert bool(logits.isfinite().all())


def test_folds_inside_training_keep_groups_whole_and_labels_trained() -> None:
    targets = np.tile(np.eye(3, dtype=np.float32), (6, 1))
    groups = [f"g{number // 3}" for number in range(18)]
    for rest, held in inner_folds(targets, groups):
        assert not {groups[one] for one in rest} & {groups[one] for one in held}
        assert targets[rest].any(axis=0).all()
    assert len(inner_folds(targets, None)) == 3
    assert inner_folds(targets, ["one"] * 9 + ["two"] * 9) == []
    assert inner_folds(np.eye(3, dtype=np.float32), None) == []  # each fold would train without a label


def test_cross_validation_summarises_map(several: str, tmp_path: Path) -> None:
    folder = tmp_path / "folds"
    folder.mkdir()
    source = Path(several.partition(":")[2])
    rows = [row for row in csv.DictReader((source / "clips.csv").read_text().splitlines()) if row["split"] == "train"]
    with (folder / "clips.csv").open("w", newline="") as stream:
        written = csv.DictWriter(stream, ["file_name", "labels", "split", "fold"])
        written.writeheader()
        for number, row in enumerate(rows):
            labels = row["labels"].replace(";rare", "").replace("rare", "")
            written.writerow({
                "file_name": str(source / row["file_name"]), "labels": labels, "split": "", "fold": number // 8 % 2 + 1,
            })  # fmt: skip
    runs = cross_validate(config(f"several-labels:{folder}", tmp_path / "out", num_train_epochs=2), quiet=True)
    summary = json.loads((tmp_path / "out" / "cross_validation.json").read_text())
    assert summary["test_map"] == [run.scores["test"]["map"] for run in runs]
    assert summary["mean"] == pytest.approx(sum(summary["test_map"]) / 2)
    for run in runs:
        assert run.scores["test"]["thresholds"] == run.scores["validation"]["thresholds"]


def test_an_embedded_classifier_has_thresholds_of_a_half() -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64), "linear", LABELS, task=MULTI_LABEL)
    assert Predictor(model).thresholds == dict.fromkeys(LABELS, 0.5)
    single = AudioClassifier(load_backbone("random:tiny", 64), "linear", LABELS)
    predictor = Predictor(single)
    assert predictor.thresholds == {}
    settled = Request("recordings").settled(predictor)
    assert settled == replace(Request("recordings"), top_k=1)
