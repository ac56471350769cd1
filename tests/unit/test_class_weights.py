"""Weights of the classes in the training loss: what they are, what they do to a step, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight

from astune import AudioClassifier, load_backbone
from astune.data import AudioDataset, Clip, load_data
from astune.data.balance import balance_notices
from astune.data.dataset import DataRecipe
from astune.errors import CheckpointError, ConfigError
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.table import load_table
from astune.features import build_cache
from astune.keyed import keyed_generator
from astune.task import Task
from astune.tasks import MULTI_LABEL, SINGLE_LABEL
from astune.training.check import check, check_file, split_of
from astune.training.class_weights import weigh
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_cli import run
from tests.unit.test_processes import assert_same_run, forking, together

LABELS = ("high", "low", "mid")
SIZES = {
    "train": {"low": 11, "high": 2, "mid": 4},
    "validation": {"low": 6, "high": 1, "mid": 2},
    "test": dict.fromkeys(LABELS, 3),
}
WEIGHTS = {"high": 3.0, "low": 0.5, "mid": 1.5}
Capture = pytest.CaptureFixture[str]


def write_uneven(folder: Path) -> Path:
    """Three tones; 17 training clips, of which 11, 4 and 2 are of one class."""
    for split, sizes in SIZES.items():
        for label, clips in sizes.items():
            (folder / split / label).mkdir(parents=True)
            for clip in range(clips):
                tone = 0.3 * np.sin(2 * np.pi * (200 + 300 * LABELS.index(label)) * np.arange(8000) / 16_000 + clip)
                soundfile.write(folder / split / label / f"{clip}.wav", tone, 16_000)
    return folder


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_uneven(tmp_path_factory.mktemp("uneven"))


def settings(data: Path, folder: Path, **fields: Any) -> TrainConfig:
    common = {
        "backbone": "random:tiny",
        "method": "linear",
        "max_length": 32,
        "num_train_epochs": 2,
        "bf16": False,
        "recipe": "paper",
    }
    return TrainConfig(
        **{**common, "data": str(data), "output_dir": folder, "per_device_train_batch_size": 6, **fields}
    )


def data_of(labels: list[tuple[str, ...]], task: Task) -> AudioDataset:
    clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), of, split="train") for n, of in enumerate(labels))
    return AudioDataset("made up", clips, tuple(sorted({one for of in labels for one in of})), DataRecipe(), task=task)


@pytest.mark.parametrize("fields", [{}, {"limit_clips": 9}, {"shots": 2}])
def test_balanced_weights_are_those_of_scikit_learn(uneven: Path, tmp_path: Path, fields: dict[str, int]) -> None:
    """Of the clips that train in this run."""
    config = settings(uneven, tmp_path, **fields)
    dataset, split = split_of(load_data(config.data), config)
    found = weigh("balanced", dataset, split.train)
    trained = [dataset.clips[clip].label for clip in split.train]
    expected = compute_class_weight("balanced", classes=np.array(dataset.labels), y=np.array(trained))
    assert list(found.weights) == list(dataset.labels)
    assert list(found.weights.values()) == pytest.approx(expected)
    assert np.mean([found.weights[label] for label in trained]) == pytest.approx(1)


def test_of_several_labels_each_is_balanced_by_itself() -> None:
    """Clips without the label over clips with it: at these weights both have the same sum in torch's loss."""
    data = data_of([("a", "b"), ("a",), ("a",), (), ("b", "c")], MULTI_LABEL)
    found = weigh("balanced", data, range(5))
    assert found.weights == pytest.approx({"a": 2 / 3, "b": 3 / 2, "c": 4})
    targets = MULTI_LABEL.encode(data.clips, data.labels)
    logits = torch.zeros(5, 3, requires_grad=True)
    MULTI_LABEL.loss(logits, targets, "sum", torch.tensor(list(found.weights.values()))).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.sum(dim=0), torch.zeros(3), atol=1e-6, rtol=0)
    assert found.notices == ("Class weights, balanced over 5 training clips: a 0.667, b 1.5, c 4",)


def test_weights_of_very_rare_and_of_common_labels_are_cut_and_it_is_said() -> None:
    data = data_of([("all", "once"), *[("all",)] * 199], MULTI_LABEL)
    found = weigh("balanced", data, range(200))
    assert found.weights == {"all": 0.01, "once": 100}  # not 0 and 199
    assert "2 classes would be below 0.01 or above 100 and are cut to that: all, once" in found.notices[1]
    single = replace(
        data, clips=tuple(replace(clip, labels=clip.labels[-1:]) for clip in data.clips), task=SINGLE_LABEL
    )
    assert weigh("balanced", single, range(200)).weights == {"all": pytest.approx(100 / 199), "once": 100.0}


def test_many_weights_are_said_by_their_ends() -> None:
    data = data_of([(f"c{n}",) for n in range(12) for _ in range(n + 1)], SINGLE_LABEL)
    (line,) = weigh("balanced", data, range(78)).notices
    assert line == "Class weights, balanced over 78 training clips: 12 classes, from 0.542 (c11) to 6.5 (c0)"
    even = data_of([(f"c{n}",) for n in range(12)], SINGLE_LABEL)
    assert weigh("balanced", even, range(12)).notices[0].endswith(": 12 classes, all 1")


FORMS = {
    "w.csv": "\ufefflabel,weight\nhigh,3\nlow,0.5\nmid,1.5\n",
    "turned.csv": 'weight,note,label\n3,x,high\n.5,,low\n15e-1,,"mid"\n',
    "w.yaml": "high: 3\nlow: 0.5\nmid: 1.5\n",
    "w.json": '{\n\t"high": 3,\n\t"low": 0.5,\n\t"mid": 1.5\n}',
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_is_read_in_each_form(name: str, uneven: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8")
    for path in (tmp_path / name, str(tmp_path / name)):
        assert settings(uneven, tmp_path, class_weights=path).class_weights == WEIGHTS


def test_labels_are_text_in_yaml_too(uneven: Path, tmp_path: Path) -> None:
    (tmp_path / "w.yml").write_text("yes: 1\n01: 2\n1: 3\nnull: 4\n")
    found = settings(uneven, tmp_path, class_weights=tmp_path / "w.yml").class_weights
    assert found == {"yes": 1.0, "01": 2.0, "1": 3.0, "null": 4.0}
    assert settings(uneven, tmp_path, class_weights={0: np.float32(2), "1": 1}).class_weights == {"0": 2.0, "1": 1.0}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.csv", "label,weight\nhigh,0\n", "line 2: the weight of 'high' is '0'; give a number above 0"),
        ("w.csv", "label,weight\nlow,1\nhigh,nan\n", "line 3: the weight of 'high' is 'nan'"),
        ("w.csv", "label,weight\nhigh,inf\n", "line 2: the weight of 'high' is 'inf'"),
        ("w.csv", "label,weight\nhigh\n", "line 2: the weight of 'high' is ''"),
        ("w.csv", "label,weight\n,2\n", "line 2: a label is missing"),
        ("w.csv", "label,weight\nlow,1\n low ,2\n", "line 3: 'low' is there twice"),
        ("w.csv", "label,weight\nlow,-1\nhigh,x\n", "2 faults"),
        ("w.csv", "low,1\n", "it needs the columns label and weight; its first line is 'low,1'"),
        ("w.csv", "", "it needs the columns label and weight"),
        ("w.csv", "label,weight\n", "it has no weights"),
        ("w.yaml", "low: 1\nhigh: -2\n", "line 2: the weight of 'high' is '-2'"),
        ("w.yaml", "low: 1\nlow: 2\n", "line 2: 'low' is there twice"),
        ("w.yaml", "low: [1]\n", "line 1: the weight of 'low'"),
        ("w.yaml", "- low\n", "it does not map labels to weights"),
        ("w.yaml", "low: 'x\n", "it cannot be read"),
        ("w.json", '{"low": 1, "low": 2}', "'low' is there twice"),
        ("w.json", '{"low": true}', "the weight of 'low' is 'True'"),
        ("w.json", '[["low", 1]]', "it does not map labels to weights"),
        ("w.json", "{", "it cannot be read"),
        ("w.txt", "low 1", "unknown suffix of a file with class weights '.txt'; choose one of: .csv, .json, .yaml, .yml"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused(
    name: str, content: str, said: str, uneven: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as refusal:
        settings(uneven, tmp_path, class_weights=tmp_path / name)
    assert said in str(refusal.value)
    assert "class_weights=" in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("balnced", "expected 'balanced' or a file"), ({True: 1.0}, "the label True is not text"),
        ({"low": "x"}, "the weight of 'low' is 'x'"), (3, "class_weights"),
    ],
)  # fmt: skip
def test_other_values_are_refused(value: object, said: str, uneven: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        settings(uneven, tmp_path, class_weights=value)
    assert said in str(refusal.value)


def test_weights_that_do_not_fit_the_classes_are_refused_before_anything_is_computed(
    uneven: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="class_weights: 2 faults") as refusal:
        check(settings(uneven, tmp_path / "out", class_weights={"hihg": 1.0, "low": 1.0, "mid": 1.0}))
    assert "unknown label 'hihg'; choose one of: high, low, mid; did you mean 'high'?" in str(refusal.value)
    assert "high has no weight; give each class one" in str(refusal.value)
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"data": str(uneven), "output_dir": str(tmp_path / "out"), "class_weights": {"low": 1}}))
    with pytest.raises(ConfigError, match="high has no weight"):
        check_file(file)
    assert not (tmp_path / "out").exists()


def test_a_class_without_training_clips_has_no_weight() -> None:
    data = data_of([("a",), ("b",), ("a",)], SINGLE_LABEL)
    for wish in ("balanced", {"a": 1.0, "b": 1.0}):
        with pytest.raises(ConfigError, match="b has no training clip, so no weight"):
            weigh(wish, data, [0, 2])


def test_balancing_twice_is_refused(uneven: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampler=balanced each make up for rare classes.*leave one out"):
        check(settings(uneven, tmp_path / "out", class_weights="balanced", sampler="balanced"))
    check(settings(uneven, tmp_path / "out", class_weights=WEIGHTS, sampler="balanced"))


def trained_by_hand(data: Path, weight: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """What two epochs of torch's own loss and optimiser give; the mean divides by the clips, not by their weights."""
    dataset = load_data(data)
    split = dataset.split()
    torch.manual_seed(0)
    model = AudioClassifier(load_backbone("random:tiny", 32), "linear", dataset.labels)
    features = build_cache(dataset.paths, model.front_end, quiet=True)
    optimizer = torch.optim.AdamW(
        model.trained_parameters().values(), lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1
    )
    steps = -(-len(split.train) // 6)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2 * steps)
    for epoch in range(2):
        order = keyed_generator(0, "shuffle", epoch).permutation(split.train).tolist()
        for start in range(0, len(order), 6):
            clips = order[start : start + 6]
            targets = torch.tensor([dataset.targets[clip] for clip in clips])
            optimizer.zero_grad()
            logits = model(features.batch(clips)).logits
            (torch.nn.functional.cross_entropy(logits, targets, weight, reduction="sum") / len(clips)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
    return model.adapter_state()


@pytest.mark.parametrize("cached", [True, False])
def test_the_steps_are_those_of_the_weighted_loss(uneven: Path, tmp_path: Path, cached: bool) -> None:
    config = settings(
        uneven, tmp_path / "out", class_weights=WEIGHTS, learning_rate=0.01, selection="last", freq_mask=0, time_mask=0,
        cache_frozen=cached,
    )  # fmt: skip
    result = train(config, quiet=True)
    trained = load_file(tmp_path / "out" / "adapter_model.safetensors")
    for name, tensor in trained_by_hand(uneven, torch.tensor([3.0, 0.5, 1.5])).items():
        torch.testing.assert_close(trained[name], tensor, atol=1e-5, rtol=1e-4)
    unweighted = trained_by_hand(uneven, None)
    assert max(float((trained[name] - tensor).abs().max()) for name, tensor in unweighted.items()) > 1e-3
    assert result.class_weights == WEIGHTS
    adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert adapter["training"]["class_weights"] == WEIGHTS


def test_equal_weights_train_as_none_do(uneven: Path, tmp_path: Path) -> None:
    weighed = train(settings(uneven, tmp_path / "ones", class_weights=dict.fromkeys(LABELS, 1.0)), quiet=True)
    plain = train(settings(uneven, tmp_path / "none"), quiet=True)
    losses = ([entry["train_loss"] for entry in one.history] for one in (weighed, plain))
    assert next(losses) == pytest.approx(next(losses), rel=1e-6)
    # Scores of clips that are not trained on have no weights.
    assert weighed.scores["test"]["loss"] == pytest.approx(plain.scores["test"]["loss"], rel=1e-5)


@forking
def test_two_processes_weigh_and_sample_as_one_does(uneven: Path, tmp_path: Path) -> None:
    wishes: list[dict[str, Any]] = [{"class_weights": "balanced"}, {"sampler": "balanced"}]
    many = [
        settings(uneven, tmp_path / f"many-{n}", method="lora", per_device_train_batch_size=3, **wish)
        for n, wish in enumerate(wishes)
    ]
    said = together(tmp_path / "said", *many)
    assert "Class weights, balanced over 17 training clips: high 2.83, low 0.515, mid 1.42" in said[0]
    for n, setting in enumerate(many):
        alone = setting.model_copy(update={"output_dir": tmp_path / f"one-{n}", "per_device_train_batch_size": 6})
        train(alone, quiet=True)
        assert_same_run(alone.output_dir, setting.output_dir)


def test_a_changed_file_is_another_run(uneven: Path, tmp_path: Path) -> None:
    """For a checkpoint, for a finished run, and for an experiment; a file of another name with the same content is not."""
    path = tmp_path / "w.csv"
    path.write_text("label,weight\nhigh,3\nlow,0.5\nmid,1.5\n")
    config = settings(uneven, tmp_path / "out", class_weights=path, save_steps=1)
    with pytest.raises(PowerCut):
        train(config, quiet=True, callbacks=[StopAfter(3)])
    path.write_text("label,weight\nhigh,4\nlow,0.5\nmid,1.5\n")
    with pytest.raises(CheckpointError, match=r"class_weights: \{'high': 3.0.*then, \{'high': 4.0.*now"):
        train(settings(uneven, tmp_path / "out", class_weights=path, save_steps=1, resume=True), quiet=True)
    path.unlink()
    same = tmp_path / "same.yaml"
    same.write_text("mid: 1.5\nlow: 0.5\nhigh: 3\n")
    again = settings(uneven, tmp_path / "out", class_weights=same, save_steps=1, resume=True)
    resumed = train(again, quiet=True)
    whole = train(settings(uneven, tmp_path / "whole", class_weights=WEIGHTS), quiet=True)
    assert resumed.scores == whole.scores
    with pytest.raises(CheckpointError, match="class_weights"):
        train(settings(uneven, tmp_path / "out", class_weights="balanced", save_steps=1, resume=True), quiet=True)


def test_an_experiment_names_its_runs_by_the_weights(uneven: Path, tmp_path: Path) -> None:
    path, file = tmp_path / "w.csv", tmp_path / "mine.yaml"
    file.write_text(
        f"title: Mine\nrows: [{{name: Linear, method: linear}}]\ndatasets: [{{name: tones, data: 'folder:{uneven}'}}]\n"
        f"settings: {{backbone: 'random:tiny', max_length: 32, class_weights: '{path}'}}\n"
    )

    def key(high: int) -> str:
        path.write_text(f"label,weight\nhigh,{high}\nlow,0.5\nmid,1.5\n")
        (run,) = plan(*load_table(str(file)), PlanOptions(data_root=Path("/")))
        assert run.config["class_weights"]["high"] == high  # whatever becomes of the file before it runs
        path.unlink()
        return run.key

    assert key(3) == key(3) != key(4)


def test_the_commands_say_it(uneven: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.csv").write_text("label,weight\nhigh,3\nlow,0.5\nmid,1.5\n")
    common = (
        "--method",
        "linear",
        "--backbone",
        "random:tiny",
        "--num-train-epochs",
        "1",
        "--max-length",
        "32",
        "--json",
    )
    out = ("--output-dir", tmp_path / "out")
    code, printed, err = run(capsys, monkeypatch, "train", uneven, *common, *out, "--class-weights", tmp_path / "w.csv")
    assert code == 0
    assert "Class weights: high 3, low 0.5, mid 1.5" in err
    record = json.loads(printed)
    assert record["class_weights"] == record["config"]["class_weights"] == WEIGHTS
    assert "Class weights: high 3, low 0.5, mid 1.5" in record["notices"]
    assert "class_weights" in (tmp_path / "out" / "README.md").read_text()
    code, _, err = run(capsys, monkeypatch, "train", uneven, *common, *out, "--class-weights", "balnced")
    assert code != 0
    assert "--class-weights balnced: expected 'balanced' or a file" in err
    with (tmp_path / "out" / "clips.csv").open() as file:
        assert sum(row["split"] == "train" for row in csv.DictReader(file)) == 17


def test_the_note_of_a_large_class_names_the_ways_out() -> None:
    data = data_of([("a",), *[("b",)] * 9], SINGLE_LABEL)
    (note,) = balance_notices(data, range(10))
    assert "class_weights=balanced or sampler=balanced" in note
    (note,) = balance_notices(data, range(10), balanced=True)
    assert note.endswith("Read macro F1 beside accuracy")


def test_weights_reach_a_tracker_as_text(uneven: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(settings(uneven, tmp_path / "out", class_weights=WEIGHTS, report_to="tensorboard"), quiet=True)
    assert list((tmp_path / "out" / "astune").rglob("*tfevents*"))
