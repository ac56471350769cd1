"""What every registered task must do, and that a second task is one class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner
from typing_extensions import override

from astune import Predictor
from astune.cli import app
from astune.cli.train import show
from astune.data import LAYOUTS, AudioDataset, Clip, Layout, load_data
from astune.data.balance import balance_notices
from astune.data.dataset import DataRecipe
from astune.errors import ConfigError
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.results import Results
from astune.experiments.runner import execute
from astune.experiments.store import Store
from astune.experiments.table import load_table
from astune.reporting.report import write_report
from astune.task import Reduction, Task
from astune.tasks import SINGLE_LABEL, TASKS, task_named
from astune.training.config import TrainConfig
from astune.training.loop import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LABELS = ("dog", "rain", "siren")
CLIPS = tuple(Clip(f"{number}.wav", Path(f"{number}.wav"), (LABELS[number % 3],)) for number in range(9))

every_task = pytest.mark.parametrize("name", sorted(TASKS))


def logits_for(task: Task, certainty: float) -> tuple[Tensor, Tensor]:
    """Logits that are right about every clip, and its targets."""
    targets = task.encode(CLIPS, LABELS)
    right = torch.tensor([[label in clip.labels for label in LABELS] for clip in CLIPS])
    return certainty * (2.0 * right - 1), targets


@every_task
def test_is_found_by_its_name(name: str) -> None:
    assert task_named(name) is TASKS[name]
    assert TASKS[name].name == name
    assert next(iter(TASKS[name].shares)) == TASKS[name].headline


def test_an_unknown_task_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'single-lable'.*did you mean 'single-label'"):
        task_named("single-lable")


@every_task
def test_loss_falls_where_logits_are_right(name: str) -> None:
    task = TASKS[name]
    losses = []
    for certainty in (-2.0, 0.0, 2.0):
        logits, targets = logits_for(task, certainty)
        mean = task.loss(logits, targets)
        assert mean.shape == ()
        assert float(task.loss(logits, targets, "sum")) == pytest.approx(len(CLIPS) * float(mean), rel=1e-6)
        losses.append(float(mean))
    assert losses[0] > losses[1] > losses[2] > 0


@every_task
def test_scores_lie_between_0_and_1_and_rank_as_logits_do(name: str) -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    scores = TASKS[name].activate(logits)
    assert scores.shape == logits.shape
    assert bool(((scores >= 0) & (scores <= 1)).all())
    assert torch.equal(scores.argsort(dim=-1), logits.argsort(dim=-1))


@every_task
def test_right_logits_get_full_marks(name: str) -> None:
    task = TASKS[name]
    logits, targets = logits_for(task, 3.0)
    figures = task.score(logits, targets).figures()
    assert {"clips", "loss", *task.shares} <= set(figures)
    assert figures["clips"] == len(CLIPS)
    assert all(figures[share] == 1 for share in task.shares)
    assert figures["loss"] == pytest.approx(float(task.loss(logits.double(), targets)))
    wrong = task.score(-logits, targets).figures()
    assert task.better(figures, wrong)
    assert not task.better(wrong, figures)
    assert not task.better(figures, figures)  # the earlier one wins a tie
    assert task.better(wrong, None)
    with pytest.raises(ValueError, match="no clip"):
        task.score(logits[:0], targets[:0])


@every_task
def test_a_clip_counts_for_its_labels(name: str) -> None:
    assert all(TASKS[name].strata(clip) == clip.labels for clip in CLIPS)


@dataclass(frozen=True)
class Ranking:
    """Scores of the task below."""

    clips: int
    mean_average_precision: float
    loss: float

    def figures(self) -> dict[str, float]:
        return {"clips": self.clips, "map": self.mean_average_precision, "loss": self.loss}

    def record(self) -> dict[str, Any]:
        return dict(self.figures())


class AnyLabels(Task):
    """Each clip has any of the labels: a task of another kind, in one class."""

    name = "any-labels"
    headline = "map"
    shares: ClassVar[dict[str, str]] = {"map": "mAP"}

    @override
    def strata(self, clip: Clip) -> tuple[str, ...]:
        return clip.labels

    @override
    def encode(self, clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
        return torch.tensor([[float(label in clip.labels) for label in labels] for clip in clips])

    @override
    def shares_of(self, targets: Tensor, classes: int) -> Tensor:
        del classes
        return targets

    @override
    def smoothed(self, shares: Tensor, factor: float) -> Tensor:
        return shares * (1 - factor) + factor / 2

    @override
    def loss(
        self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
    ) -> Tensor:
        assert class_weights is None
        each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.to(logits), reduction="none")
        return each.mean(dim=-1).mean() if reduction == "mean" else each.mean(dim=-1).sum()

    @override
    def activate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    @override
    def score(self, logits: Tensor, targets: Tensor, thresholds: Sequence[float] | None = None) -> Ranking:
        assert thresholds is None
        precision = average_precision_score(targets.numpy(), logits.numpy(), average="macro")
        return Ranking(len(logits), float(precision), float(self.loss(logits.double(), targets)))


@pytest.fixture
def any_labels(generated: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set of that task: every clip of the generated one, with a second label by its number."""
    monkeypatch.setitem(TASKS, AnyLabels.name, AnyLabels())
    source = load_data(generated)
    clips = [
        replace(clip, labels=(*clip.labels, "even") if number % 2 == 0 else clip.labels)
        for number, clip in enumerate(source.clips)
    ]
    data = replace(source, clips=tuple(clips), labels=(*source.labels, "even"), task=AnyLabels())

    class AnyLabelsLayout(Layout):
        name = "any-labels"

        @override
        def recognises(self, path: Path) -> bool:
            del path
            return False

        @override
        def load(self, path: Path) -> AudioDataset:
            del path
            return data

        @override
        def write_example(self, folder: Path) -> Path:
            return folder

    monkeypatch.setitem(LAYOUTS, "any-labels", AnyLabelsLayout())
    return f"any-labels:{generated}"


def test_a_second_task_trains_is_kept_and_predicts(any_labels: str, generated: Path, tmp_path: Path) -> None:
    """From the data set to the adapter and back, no other file knows it."""
    settings = TrainConfig(
        data=any_labels, output_dir=tmp_path / "out", backbone="random:tiny", method="bitfit", max_length=32,
        num_train_epochs=3, learning_rate=5e-3, per_device_train_batch_size=8, shots=4,
    )  # fmt: skip
    result = train(settings, quiet=True)
    assert result.task == "any-labels"
    assert result.scores["test"].keys() == {"clips", "map", "loss"}
    best = max(range(3), key=lambda epoch: result.history[epoch]["validation"]["map"])
    assert result.best_epoch == best
    show([result])
    predictor = Predictor(tmp_path / "out")
    assert predictor.task.name == "any-labels"
    found = predictor.evaluate(any_labels)
    assert found.scores.figures()["map"] == pytest.approx(result.scores["test"]["map"], abs=1e-6)
    file = load_data(generated).clips[0].path
    logits = predictor.logits(str(file))[0]
    scores = {one["label"]: one["score"] for one in predictor.predict(str(file), top_k=None, pool="first")}
    for label, logit in zip(predictor.labels, logits, strict=True):
        assert scores[label] == pytest.approx(float(logit.sigmoid()), abs=1e-6)  # independent, with no sum of 1


def quick(data: str, folder: Path) -> TrainConfig:
    return TrainConfig(
        data=data, output_dir=folder, backbone="random:tiny", method="linear", max_length=32, num_train_epochs=2
    )


def test_a_second_task_is_shown_by_its_own_figures(any_labels: str, tmp_path: Path) -> None:
    """The commands and the model card name no accuracy, and show no confusion matrix."""
    result = train(quick(any_labels, tmp_path / "out"), quiet=True)
    shown = CliRunner().invoke(app, ["evaluate", str(tmp_path / "out"), any_labels])
    assert shown.exit_code == 0
    assert f"mAP {result.scores['test']['map']:.2%}   loss" in shown.output
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| split | clips | mAP |\n| --- | --- | --- |\n" in card
    assert f"| test | 18 | {result.scores['test']['map']:.2%} |" in card
    assert "accuracy" not in shown.output + card


def test_a_class_that_most_clips_have_is_no_answer_where_clips_have_several_labels() -> None:
    clips = tuple(
        Clip(f"{number}.wav", Path(f"{number}.wav"), ("speech", "music")[: 1 + (number == 0)], split="train")
        for number in range(20)
    )
    several = AudioDataset("many", clips, ("music", "speech"), DataRecipe(), task=AnyLabels())
    assert balance_notices(several) == []
    single = replace(several, clips=tuple(replace(clip, labels=clip.labels[-1:]) for clip in clips), task=SINGLE_LABEL)
    assert len(balance_notices(single)) == 1


def test_experiments_run_a_second_task(any_labels: str, tmp_path: Path) -> None:
    """Runs, tokens, tables and pictures, and the baseline beside them."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "title: Mine\nkind: tsne\nrows: [{name: Linear, method: linear}]\n"
        f"datasets: [{{name: sounds, data: '{any_labels}'}}]\n"
        "settings: {backbone: 'random:tiny', max_length: 32, num_train_epochs: 2}\n"
    )
    name, table = load_table(str(file))
    run, baseline = runs = plan(name, table, PlanOptions(with_baseline=True))
    store = Store(tmp_path / "store")
    store.write_plan(to_saved_plan(name, table, runs))
    record = execute(run, store)
    assert record.headline == record.test["map"]
    assert 0 < execute(baseline, store).test["map"] <= 1
    classes = store.read_tokens(run.key)["classes"]
    assert len(classes) == 9  # every second of the 18 test clips has two labels
    written = write_report(Results.load(store, name), tmp_path / "reports")
    assert not [path for path in written if "confusion" in path.name]
    shown = (tmp_path / "reports" / "mine.md").read_text()
    assert "Test mAP in percent" in shown
    assert "accuracy" not in shown
