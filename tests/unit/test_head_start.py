"""The head's first weights: scikit-learn's own regression in the head's scale, and runs that begin with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from typing_extensions import override

from astune import AudioClassifier, load_data
from astune.errors import NumericalError
from astune.experiments.baseline import fit_regressions
from astune.features import build_cache
from astune.tasks import MULTI_LABEL, SINGLE_LABEL
from astune.training.callbacks import Callback
from astune.training.config import TrainConfig
from astune.training.frozen import Upper
from astune.training.head_start import STRENGTHS, Choice, choose_head, fit_heads, fit_mixture, put_head
from astune.training.inner_folds import inner_folds
from astune.training.loop import train
from astune.training.result import TrainResult
from astune.training.strength import Features
from tests.example_layouts import SEVERAL_FORMS
from tests.several_labels import write_several
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_class_weights import uneven
from tests.unit.test_loop import config
from tests.unit.test_processes import forking, together
from tests.unit.test_training_options import assert_same_bits, weights

__all__ = ["uneven"]

SINGLE, SEVERAL, SEVERAL_F1 = Choice(SINGLE_LABEL), Choice(MULTI_LABEL), Choice(MULTI_LABEL, "macro_f1")


def clouds(classes: int, each: int, seed: int = 0, width: int = 12) -> Features:
    """Clips around a centre for each class, at scales from 0.01 to 100, and one number that never changes."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    targets = np.repeat(np.arange(classes), each)
    pooled = (centres[targets] + random.normal(size=(len(targets), width)) * 1.5) * np.logspace(-2, 2, width) + 3
    pooled[:, 5] = 7.0
    return Features(pooled.astype(np.float32), targets)


def regression(strength: float, **fields: Any) -> Any:  # noqa: ANN401 - scikit-learn is not typed
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, **fields))


def shares(logits: torch.Tensor) -> np.ndarray[Any, Any]:
    return logits.double().softmax(dim=-1).numpy()


# The regression


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_head_gives_scikit_learns_own_answers(classes: int) -> None:
    clips, others = clouds(classes, 20), clouds(classes, 9, seed=1)
    layer = nn.Linear(12, classes)
    for strength, head in zip(STRENGTHS, fit_heads(clips, STRENGTHS, SINGLE, classes), strict=True):
        theirs = regression(strength).fit(clips.pooled.astype(np.float64), clips.targets)
        expected = theirs.predict_log_proba(others.pooled.astype(np.float64))
        put_head(layer, head)
        with torch.no_grad():
            found = layer.double()(torch.from_numpy(others.pooled).double()).log_softmax(dim=-1)
        layer.float()
        assert found.numpy() == pytest.approx(expected, abs=1e-5)
        assert (
            head.logits(others.pooled).argmax(1).tolist() == theirs.predict(others.pooled.astype(np.float64)).tolist()
        )


def test_one_clip_per_class_is_fitted_without_scikit_learns_doubts() -> None:
    """Of more than 20 clips it warns that the targets could be numbers, where most clips have a class of their own."""
    train = clouds(25, 1)
    (head,) = fit_heads(train, [1.0], SINGLE, 25)
    (baseline,) = fit_regressions(train, [1.0])
    layer = nn.Linear(12, 25)
    put_head(layer, head)
    with torch.no_grad():
        found = layer(torch.from_numpy(train.pooled))
    assert found.argmax(dim=-1).tolist() == list(range(25))
    assert shares(found) == pytest.approx(shares(baseline.logits(train.pooled)), abs=1e-4)


def test_class_weights_are_scikit_learns() -> None:
    clips = clouds(3, 20)
    weighing = Choice(SINGLE_LABEL, class_weights=torch.tensor([0.5, 4.0, 1.0]))
    [head] = fit_heads(clips, (0.1,), weighing, 3)
    theirs = regression(0.1, class_weight={0: 0.5, 1: 4.0, 2: 1.0}).fit(clips.pooled.astype(np.float64), clips.targets)
    assert shares(head.logits(clips.pooled)) == pytest.approx(
        theirs.predict_proba(clips.pooled.astype(np.float64)), abs=1e-5
    )
    [plain] = fit_heads(clips, (0.1,), SINGLE, 3)
    assert head.logits(clips.pooled).argmax(1).eq(1).sum() > plain.logits(clips.pooled).argmax(1).eq(1).sum()


def several(each: int = 30) -> Features:
    """Three labels, each by itself; some clips have none."""
    clips = clouds(4, each)
    has = np.stack([clips.targets == 0, clips.targets != 2, clips.targets == 3], axis=1)
    return Features(clips.pooled, has.astype(np.float32))


def test_of_several_labels_each_has_scikit_learns_regression_of_its_own() -> None:
    clips = several()
    [head] = fit_heads(clips, (0.03,), SEVERAL, 3)
    theirs = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.03, max_iter=2000)))
    expected = theirs.fit(clips.pooled.astype(np.float64), clips.targets).decision_function(
        clips.pooled.astype(np.float64)
    )
    assert head.logits(clips.pooled).numpy() == pytest.approx(expected, abs=1e-5)


def test_weights_of_several_labels_count_for_clips_that_have_them() -> None:
    clips = several()
    [head] = fit_heads(clips, (0.03,), Choice(MULTI_LABEL, class_weights=torch.tensor([1.0, 1.0, 5.0])), 3)
    theirs = regression(0.03, class_weight={0: 1.0, 1: 5.0}).fit(clips.pooled.astype(np.float64), clips.targets[:, 2])
    expected = theirs.decision_function(clips.pooled.astype(np.float64))
    assert head.logits(clips.pooled)[:, 2].numpy() == pytest.approx(expected, abs=1e-5)


def test_a_label_that_every_clip_has_is_a_constant() -> None:
    clips = several()
    clips.targets[:, 1] = 1.0
    [head] = fit_heads(clips, (0.03,), SEVERAL, 3)
    assert not head.weight[1].any()
    assert 1 / (1 + np.exp(-head.bias[1])) == pytest.approx(120.5 / 121)


# The strength


def test_validation_clips_choose_the_strength_and_of_equal_ones_the_strongest() -> None:
    clips, held = clouds(5, 8), clouds(5, 40, seed=3)
    heads = fit_heads(clips, STRENGTHS, SINGLE, 5)
    right = [float((head.logits(held.pooled).argmax(1).numpy() == held.targets).mean()) for head in heads]
    head, strength, said = choose_head(clips, held, None, SINGLE, 5)
    assert len(set(right)) > 1
    assert strength == STRENGTHS[right.index(max(right))]
    assert np.array_equal(head.weight, heads[right.index(max(right))].weight)
    assert said == "200 validation clips"
    easy = clips.at(np.arange(0, 40, 8))  # five clips that train, right at every strength
    assert choose_head(clips, easy, None, SINGLE, 5)[1] == STRENGTHS[0]
    losses = [
        SINGLE_LABEL.score(head.logits(held.pooled), torch.from_numpy(held.targets)).figures()["loss"] for head in heads
    ]
    by_loss = choose_head(clips, held, None, Choice(SINGLE_LABEL, "loss"), 5)
    assert by_loss[1] == STRENGTHS[int(np.argmin(losses))]


def test_folds_of_the_training_clips_choose_where_there_is_no_validation_split() -> None:
    clips, nothing = clouds(3, 9), clouds(3, 9).at(np.array([], dtype=np.int64))
    groups = [str(number % 3) for number in range(27)]
    means = np.mean(
        [
            [
                float((head.logits(clips.pooled[held]).argmax(1).numpy() == clips.targets[held]).mean())
                for head in fit_heads(clips.at(fitted), STRENGTHS, SINGLE, 3)
            ]
            for fitted, held in inner_folds(clips.targets, groups)
        ],
        axis=0,
    )
    head, strength, said = choose_head(clips, nothing, groups, SINGLE, 3)
    assert strength == STRENGTHS[int(np.argmax(means))]
    assert said == "3 folds of the training clips by group"
    [whole] = fit_heads(clips, (strength,), SINGLE, 3)
    assert np.array_equal(head.weight, whole.weight)  # of all training clips
    assert choose_head(clips, nothing, None, SINGLE, 3)[2] == "3 folds of the training clips"
    few = clips.at(np.array([0, 1, 9, 10, 18, 19]))
    assert choose_head(few, nothing, None, SINGLE, 3)[1:] == (
        0.03, "nothing: there are too few training clips to hold some out",
    )  # fmt: skip


def test_folds_keep_several_labels_among_those_that_train() -> None:
    clips = several()
    folds = inner_folds(clips.targets, None)
    assert len(folds) == 3
    assert sorted(np.concatenate([held for _, held in folds]).tolist()) == list(range(120))
    assert all(clips.targets[fitted].any(axis=0).all() for fitted, _ in folds)
    groups = [str(number // 24) for number in range(120)]
    for fitted, held in inner_folds(clips.targets, groups):
        assert not {groups[clip] for clip in fitted} & {groups[clip] for clip in held}
    rare = clips.targets.copy()
    rare[:, 0] = 0
    rare[:2, 0] = 1
    assert inner_folds(rare, None) == []


# The mixture


def test_a_mixture_prefers_the_level_that_tells_and_is_a_minimum() -> None:
    targets = torch.arange(90) % 3
    drawn = torch.randn(3, 90, 6, generator=torch.Generator().manual_seed(0))
    drawn[1] += 2 * torch.nn.functional.one_hot(targets, 6)
    levels = torch.nn.functional.layer_norm(drawn, (6,)).transpose(0, 1)
    found = fit_mixture(levels, torch.ones(6), torch.zeros(6), targets, SINGLE, 3)
    assert found[1] == max(found)
    assert torch.tensor(found).softmax(0)[1] > 0.4

    def best(mixing: list[float]) -> float:
        """The objective at a mixture, its head fitted by scikit-learn, in the standardisation of the even mixture."""
        even = levels.double().mean(dim=1)
        mixed = torch.einsum("l,nld->nd", torch.tensor(mixing).double().softmax(0), levels.double())
        standard = ((mixed - even.mean(0)) / even.std(0, correction=0)).numpy()
        theirs = LogisticRegression(C=0.03, max_iter=5000, tol=1e-8).fit(standard, targets.numpy())
        summed = -theirs.predict_log_proba(standard)[np.arange(90), targets].sum()
        return float(summed + (theirs.coef_**2).sum() / 0.06 + 5 * sum(one**2 for one in mixing))

    least = best(found)
    for level in range(3):
        for step in (-0.1, 0.1):
            assert best([one + step * (number == level) for number, one in enumerate(found)]) > least


# Runs


def own(data: Path, folder: Path, **fields: object) -> TrainConfig:
    return config(data, folder, **{"max_length": 32, "bf16": False, "recipe": "own", **fields})


def pooled(settings: TrainConfig) -> tuple[Any, Any]:
    """The data set of a run, and what the frozen backbone gives of its clips."""
    from astune import load_backbone

    dataset = load_data(settings.data)
    model = AudioClassifier(load_backbone(settings.backbone, 32), "linear", dataset.labels).eval()
    features = build_cache(dataset.clips, model.front_end, quiet=True)
    with torch.inference_mode():
        return dataset, model.pooled(features.batch(range(len(dataset.clips)))).double().numpy()


def probe(settings: TrainConfig) -> dict[str, tuple[float, float]]:
    """What scikit-learn gives of the same clips: accuracy and loss by split, at the strength that its validation score chooses."""
    dataset, found = pooled(settings)
    split, targets = dataset.split(), np.array(dataset.targets)
    parts = {name: list(split.named(name)) for name in ("train", "validation", "test")}
    models = [regression(strength).fit(found[parts["train"]], targets[parts["train"]]) for strength in STRENGTHS]
    best = max(models, key=lambda one: one.score(found[parts["validation"]], targets[parts["validation"]]))
    return {
        name: (
            best.score(found[clips], targets[clips]),
            -float(best.predict_log_proba(found[clips])[np.arange(len(clips)), targets[clips]].mean()),
        )
        for name, clips in parts.items()
    }


class Spoil(Callback):
    """Forgets the head after each step."""

    @override
    def on_step_end(self, engine: Any, progress: Any) -> None:
        del progress
        with torch.no_grad():
            engine.model.head.weight.zero_()


class Begin(Callback):
    """Keeps the head before the first step."""

    @override
    def on_train_begin(self, engine: Any, progress: Any) -> None:
        del progress
        self.head = engine.model.head.weight.detach().clone()
        self.average = None if engine.average is None else engine.average.tensors()["head.weight"].clone()


def test_a_linear_run_is_scikit_learns_regression(generated: Path, tmp_path: Path) -> None:
    settings = own(generated, tmp_path / "out", method="linear", num_train_epochs=None)
    result = train(settings, quiet=True)
    expected = probe(settings)
    for split in ("validation", "test"):
        assert result.scores[split]["accuracy"] == pytest.approx(expected[split][0])
        assert result.scores[split]["loss"] == pytest.approx(expected[split][1], abs=1e-5)
    assert (result.history, result.best_epoch, result.kept, result.recipe["num_train_epochs"]) == ([], -1, "start", 0)
    assert result.head_start is not None
    assert result.head_start["strength"] in STRENGTHS
    assert result.head_start["chosen_on"] == "18 validation clips"
    assert result.head_start["validation"]["accuracy"] == result.scores["validation"]["accuracy"]
    adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["training"]
    assert (adapter["recipe"], adapter["head_start"]) == ("own", "probe")
    assert adapter["head_start_strength"] == result.head_start["strength"]


@pytest.mark.parametrize("method", ["linear", "lora"])
def test_the_start_is_scored_at_the_thresholds_that_its_adapter_gets(method: str, tmp_path: Path) -> None:
    data = SEVERAL_FORMS["semicolons"](tmp_path / "data")
    fields = {"method": method, "learning_rate": 1e-12, "num_train_epochs": None, "metric_for_best_model": "macro_f1"}
    result = train(own(Path(data), tmp_path / "out", **fields), quiet=True)
    assert (result.kept.partition(" ")[0], result.task) == ("start", "multi-label")
    assert result.head_start is not None
    for name, figure in result.head_start["validation"].items():
        assert result.scores["validation"][name] == pytest.approx(figure), name


def test_the_strength_is_chosen_at_the_thresholds_that_a_head_would_get() -> None:
    """Of a rare label no score reaches a half at the strongest regularisation, and the label is found as well at a lower threshold."""
    position = np.arange(40, dtype=np.float32)[:, None]
    rare = Features(position, (position > 29).astype(np.float32))
    strongest, *_, weakest = fit_heads(rare, STRENGTHS, SEVERAL, 1)
    assert strongest.logits(rare.pooled).max() < 0 < weakest.logits(rare.pooled).max()
    _, strength, _ = choose_head(rare, rare, None, Choice(MULTI_LABEL, "macro_f1"), 1)
    assert strength == STRENGTHS[0]


_OF_EPOCHS: dict[str, object] = {
    "learning_rate": 0.1, "gain": 6.0, "mixup_alpha": 0.2, "ema_decay": 0.9, "max_grad_norm": 1.0, "early_stopping_patience": 3,
    "freq_mask": 8, "random_crop": True, "adam_beta1": 0.5, "warmup_steps": 5, "per_device_train_batch_size": 4,
}  # fmt: skip


def _turned(samples: Any, sample_rate: int) -> Any:  # noqa: ANN401 - NumPy's, as the contract has it
    del sample_rate
    return -samples


@pytest.mark.parametrize("method", ["linear", "layermix"])
def test_without_epochs_what_only_they_would_use_is_named(method: str, generated: Path, tmp_path: Path) -> None:
    fields = {"method": method, "num_train_epochs": None}
    plain = train(own(generated, tmp_path / "plain", per_device_train_batch_size=None, **fields), quiet=True)
    assert not [notice for notice in plain.notices if "epoch" in notice]
    for name, value in _OF_EPOCHS.items():
        given = {"per_device_train_batch_size": None, name: value}
        result = train(own(generated, tmp_path / name, **fields, **given), quiet=True)
        [notice] = [notice for notice in result.notices if "epoch" in notice]
        assert f"without epochs, so {name} does nothing" in notice
        assert result.cached_layers == plain.cached_layers
        assert_same_bits(weights(tmp_path / name), weights(tmp_path / "plain"))
    every = own(generated, tmp_path / "every", **fields, **_OF_EPOCHS)
    [notice] = [
        notice for notice in train(every, quiet=True, waveform_augmentation=_turned).notices if "epoch" in notice
    ]
    assert all(name in notice for name in (*_OF_EPOCHS, "waveform_augmentation"))
    told = json.loads((tmp_path / "every" / "adapter_config.json").read_text())["training"]
    assert not told.keys() & {*_OF_EPOCHS, "waveform_augmentation", "weight_decay", "time_mask"}
    assert told["num_train_epochs"] == 0


@pytest.mark.parametrize("cached", [True, False])
def test_a_layermix_run_is_a_regression_on_the_mixture_that_was_fitted(
    cached: bool, generated: Path, tmp_path: Path
) -> None:
    settings = own(generated, tmp_path / "out", method="layermix", num_train_epochs=None, cache_frozen=cached)
    result = train(settings, quiet=True)
    model = AudioClassifier.from_pretrained(tmp_path / "out")
    dataset = load_data(settings.data)
    features = build_cache(dataset.clips, model.front_end, quiet=True)
    upper = Upper(model)
    with torch.inference_mode():
        levels = upper.lower(features.batch(range(len(dataset.clips))))
        given = model.pooled(features.batch(range(len(dataset.clips)))).double().numpy()
    split, targets = dataset.split(), np.array(dataset.targets)
    train_clips, test = list(split.train), list(split.test)
    norm = model.sites.norm
    mixing = fit_mixture(
        levels[train_clips].clone(),
        norm.weight.detach(),
        norm.bias.detach(),
        torch.tensor(targets[train_clips]),
        SINGLE,
        6,
    )
    assert mixing == pytest.approx(weights(tmp_path / "out")["levels.weights"].tolist(), abs=1e-3)
    assert result.head_start is not None
    theirs = regression(result.head_start["strength"]).fit(given[train_clips], targets[train_clips])
    assert result.scores["test"]["accuracy"] == theirs.score(given[test], targets[test])


@pytest.mark.parametrize("method", ["lora", "full-ft", "bitfit", "bottleneck-pf-par"])
def test_a_run_begins_at_the_probe_and_keeps_it_where_training_is_no_better(
    method: str, generated: Path, tmp_path: Path
) -> None:
    settings = own(generated, tmp_path / "out", method=method, learning_rate=1e-9)
    result = train(settings, quiet=True)
    expected = probe(settings)
    assert result.head_start is not None
    assert result.head_start["validation"]["accuracy"] == pytest.approx(expected["validation"][0])
    assert result.head_start["validation"]["loss"] == pytest.approx(expected["validation"][1], abs=1e-5)
    assert result.scores["validation"]["accuracy"] >= expected["validation"][0]
    assert result.scores["test"]["accuracy"] == pytest.approx(expected["test"][0])


def test_a_run_that_training_spoils_keeps_the_start_and_stops(generated: Path, tmp_path: Path) -> None:
    settings = own(generated, tmp_path / "out", num_train_epochs=8, early_stopping_patience=3)
    result = train(settings, quiet=True, callbacks=[Spoil()])
    expected = probe(settings)
    assert (result.best_epoch, result.kept, result.stopped_early) == (-1, "start of 3", True)
    assert result.scores["test"]["accuracy"] == pytest.approx(expected["test"][0])
    assert "3 of 8 epochs, stopped early (the best one: start)" in repr(result)


@pytest.mark.parametrize("method", ["pref-t-24", "spt-300", "bottleneck-pf-par:init=normal"])
def test_a_method_that_is_not_the_identity_starts_from_its_own_features(
    method: str, generated: Path, tmp_path: Path
) -> None:
    result = train(own(generated, tmp_path / "out", method=method, learning_rate=1e-9), quiet=True)
    model = AudioClassifier.from_pretrained(tmp_path / "out")
    dataset = load_data(str(generated))
    features = build_cache(dataset.clips, model.front_end, quiet=True)
    with torch.inference_mode():
        given = model.pooled(features.batch(range(len(dataset.clips)))).double().numpy()
    split, targets = dataset.split(), np.array(dataset.targets)
    assert result.head_start is not None
    theirs = regression(result.head_start["strength"]).fit(given[list(split.train)], targets[list(split.train)])
    assert result.head_start["validation"]["accuracy"] == theirs.score(
        given[list(split.validation)], targets[list(split.validation)]
    )


def test_a_head_start_can_be_asked_for_and_left_out(generated: Path, tmp_path: Path) -> None:
    begun: dict[str, Begin] = {}
    results: dict[str, TrainResult] = {}
    ways: dict[str, dict[str, object]] = {
        "paper": {"recipe": "paper"},
        "paper with probe": {"recipe": "paper", "head_start": "probe", "ema_decay": 0.5},
        "own": {},
        "own without": {"head_start": "random"},
    }
    for name, fields in ways.items():
        begun[name] = Begin()
        results[name] = train(own(generated, tmp_path / name, **fields), quiet=True, callbacks=[begun[name]])
    assert torch.equal(begun["paper"].head, begun["own without"].head)
    assert torch.equal(begun["own"].head, begun["paper with probe"].head)
    assert not torch.equal(begun["own"].head, begun["paper"].head)
    average = begun["paper with probe"].average
    assert average is not None
    assert torch.equal(average, begun["own"].head)
    assert results["paper"].head_start is None
    assert results["paper"].recipe["learning_rate"] == results["own without"].recipe["learning_rate"] == 5e-3
    assert_same_bits(weights(tmp_path / "paper"), weights(tmp_path / "own without"))
    assert "head_start" not in results["paper"].recipe


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_resumed_run_does_not_start_its_head_again(after: int, generated: Path, tmp_path: Path) -> None:
    fields = {"num_train_epochs": 3, "save_steps": 1, "early_stopping_patience": 0}
    train(own(generated, tmp_path / "whole", **fields), quiet=True)
    with pytest.raises(PowerCut):
        train(own(generated, tmp_path / "part", **fields), quiet=True, callbacks=[StopAfter(after)])
    result = train(own(generated, tmp_path / "part", resume=True, **fields), quiet=True)
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "part"))
    whole = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert result.head_start is not None
    assert {**result.head_start, "seconds": 0} == {**whole["head_start"], "seconds": 0}
    assert result.best_epoch == whole["best_epoch"]


@forking
@pytest.mark.parametrize("method", ["lora", "layermix"])
def test_two_processes_start_with_the_head_of_one(method: str, generated: Path, tmp_path: Path) -> None:
    begun = Begin()
    fields = {"method": method, "learning_rate": 1e-9, "num_train_epochs": 1}
    train(own(generated, tmp_path / "one", **fields), quiet=True, callbacks=[begun])
    together(tmp_path / "said", own(generated, tmp_path / "two", **fields))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert two["head.weight"].numpy() == pytest.approx(one["head.weight"].numpy(), abs=1e-4)
    assert json.loads((tmp_path / "two" / "results.json").read_text())["head_start"]["strength"] in STRENGTHS


def test_features_that_are_not_finite_are_refused(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AudioClassifier, "pool", lambda _, tokens: tokens.mean(dim=1) * torch.nan)
    with pytest.raises(NumericalError, match=r"the backbone gives 54 of 54 clips features that are not finite"):
        train(own(generated, tmp_path / "out"), quiet=True)


# With other settings


def test_clips_count_as_often_as_they_are_visited() -> None:
    clips = clouds(3, 20)
    visits = np.where(clips.targets == 1, 4.0, 0.5)
    [head] = fit_heads(Features(clips.pooled, clips.targets, visits), (0.1,), SINGLE, 3)
    [weighed] = fit_heads(clips, (0.1,), Choice(SINGLE_LABEL, class_weights=torch.tensor([0.5, 4.0, 0.5])), 3)
    assert head.weight == pytest.approx(weighed.weight, abs=1e-6)
    labels = several()
    often = np.where(labels.targets[:, 2] > 0, 3.0, 1.0)
    [head] = fit_heads(Features(labels.pooled, labels.targets, often), (0.03,), SEVERAL, 3)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=2000))
    theirs.fit(labels.pooled.astype(np.float64), labels.targets[:, 0], logisticregression__sample_weight=often)
    expected = theirs.decision_function(labels.pooled.astype(np.float64))
    assert head.logits(labels.pooled)[:, 0].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", ["linear", "layermix"])
def test_balanced_sampling_and_balanced_weights_start_one_head_alike(method: str, uneven: Path, tmp_path: Path) -> None:
    """With one label per clip, the mean visits of balanced sampling are scikit-learn's balanced weights."""
    common = {"method": method, "num_train_epochs": None}
    sampled, weighed, plain = (
        weights(Path(train(own(uneven, tmp_path / name, **common, **fields), quiet=True).output_dir))
        for name, fields in (("a", {"sampler": "balanced"}), ("b", {"class_weights": "balanced"}), ("c", {}))
    )
    for name, tensor in sampled.items():
        torch.testing.assert_close(tensor, weighed[name], atol=2e-3, rtol=2e-3)
    assert any(not torch.allclose(sampled[name], tensor, atol=2e-3, rtol=2e-3) for name, tensor in plain.items())


def test_several_labels_choose_and_start_at_their_best_thresholds(tmp_path: Path) -> None:
    """As every epoch is scored: else macro F1 at 0.5 would be compared with macro F1 at the best thresholds."""
    data = write_several(tmp_path / "data")
    run = train(
        config(data, tmp_path / "run", recipe="own", metric_for_best_model="macro_f1", num_train_epochs=1, learning_rate=1e-12),
        quiet=True,
    )  # fmt: skip
    assert run.head_start is not None
    assert run.head_start["validation"]["macro_f1"] == pytest.approx(run.history[0]["validation"]["macro_f1"])
    clips, held = several(8), several(3)
    scores = [SEVERAL_F1.score(head, held) for head in fit_heads(clips, STRENGTHS, SEVERAL_F1, 3)]
    assert choose_head(clips, held, None, SEVERAL_F1, 3)[1] == STRENGTHS[int(np.argmax(scores))]
    [head] = fit_heads(clips, (0.003,), SEVERAL_F1, 3)
    logits, targets = head.logits(held.pooled).float(), torch.from_numpy(held.targets)
    best = MULTI_LABEL.score(logits, targets, MULTI_LABEL.thresholds(logits, targets)).figures()["macro_f1"]
    assert SEVERAL_F1.score(head, held) == best > MULTI_LABEL.score(logits, targets).figures()["macro_f1"]


def test_what_only_epochs_follow_changes_nothing_without_them(generated: Path, tmp_path: Path) -> None:
    fitted = {
        "method": "linear", "class_weights": "balanced", "num_train_epochs": None, "per_device_train_batch_size": None,
    }  # fmt: skip
    idle = {"learning_rate": 0.01, "ema_decay": 0.9, "mixup_alpha": 0.3, "freq_mask": 8}
    run = train(own(generated, tmp_path / "idle", **fitted, **idle), quiet=True)
    plain = train(own(generated, tmp_path / "plain", **fitted), quiet=True)
    assert_same_bits(weights(tmp_path / "idle"), weights(tmp_path / "plain"))
    assert run.cached_layers == plain.cached_layers > 0
