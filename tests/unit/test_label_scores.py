"""Figures of clips with several labels beside scikit-learn's, and thresholds beside a search through all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from astune.class_scores import score_classes
from astune.label_scores import best_thresholds, describe_unchosen, score_labels
from astune.tasks import MULTI_LABEL, SINGLE_LABEL

LABELS = ("a", "b", "c", "d")


def some(clips: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that know something, with ties, and targets: every clip has the third label, none the last."""
    draw = np.random.default_rng(seed)
    targets = (draw.random((clips, 4)) < (0.5, 0.2, 1.1, -1)).astype(np.float32)
    logits = np.round(2 * targets - 1 + draw.normal(0, 1.5, (clips, 4)), 1)
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(targets)


def test_figures_are_those_of_scikit_learn() -> None:
    logits, targets = some()
    cuts = (0.3, 0.6, 0.5, 0.1)
    found = score_labels(logits, targets, cuts)
    truth, scores = targets.numpy(), logits.sigmoid().numpy()
    said = (scores >= np.array(cuts, np.float32)).astype(int)
    assert found.clips_with_label == truth.sum(axis=0).tolist()
    assert found.average_precision[:3] == [
        pytest.approx(average_precision_score(truth[:, one], scores[:, one])) for one in range(3)
    ]
    assert found.average_precision[3] is found.f1[3] is None
    assert found.auc[:2] == [pytest.approx(roc_auc_score(truth[:, one], scores[:, one])) for one in range(2)]
    assert found.auc[2] is found.auc[3] is None  # every clip has the one and none the other
    assert found.map == pytest.approx(average_precision_score(truth[:, :3], scores[:, :3], average="macro"))
    assert found.micro_map == pytest.approx(average_precision_score(truth, scores, average="micro"))
    assert found.macro_auc == pytest.approx(roc_auc_score(truth[:, :2], scores[:, :2], average="macro"))
    assert found.f1[:3] == [pytest.approx(f1_score(truth[:, one], said[:, one])) for one in range(3)]
    assert found.macro_f1 == pytest.approx(f1_score(truth[:, :3], said[:, :3], average="macro"))
    assert found.micro_f1 == pytest.approx(f1_score(truth, said, average="micro"))
    assert found.thresholds == list(cuts)
    assert found.figures().items() <= found.record().items()


def test_without_thresholds_each_is_a_half() -> None:
    logits, targets = some()
    assert score_labels(logits, targets) == score_labels(logits, targets, (0.5,) * 4)


@pytest.mark.parametrize("classes", [3, 60])  # the confusion matrix of many classes has another form in records
def test_classes_that_no_clip_has_are_named(classes: int) -> None:
    labels = [str(number) for number in range(classes)]
    record = score_classes(torch.eye(classes), torch.arange(classes)).record()
    assert SINGLE_LABEL.left_out(record, labels, "test") == []
    few = score_classes(torch.eye(classes)[1:], torch.arange(1, classes)).record()
    named = f"Note: 1 of {classes} classes has no training clip, and no score says anything of it: 0"
    assert SINGLE_LABEL.left_out(few, labels, "train") == [named]
    del few["recall"]
    assert SINGLE_LABEL.left_out(few, labels, "train") == []


def test_what_no_clip_has_is_left_out_and_said() -> None:
    logits, targets = some()
    record = score_labels(logits, targets).record()
    (said,) = MULTI_LABEL.left_out(record, LABELS, "test")
    assert said == "Note: 1 of 4 labels has no test clip, and mAP, AUC and macro F1 leave it out: d"
    (threshold,) = describe_unchosen(record, LABELS)
    assert threshold == "Note: 1 of 4 labels has no validation clip that chooses its threshold, which is 0.5: d"
    assert "that of each label is 0.5" in describe_unchosen(None, LABELS)[0]
    assert MULTI_LABEL.left_out(record | {"clips_with_label": [1, 1, 1, 1]}, LABELS, "test") == []
    nothing = score_labels(logits, torch.zeros_like(targets))
    assert (nothing.map, nothing.macro_auc, nothing.macro_f1, nothing.micro_map) == (0, 0, 0, 0)


def test_thresholds_by_hand() -> None:
    """Scores 0.9 0.8 | 0.6 0.3: the middle of 0.8 and 0.6; a label that all have reaches below the lowest score."""
    logits = torch.logit(torch.tensor([[0.9, 0.9], [0.8, 0.8], [0.6, 0.6], [0.3, 0.4]]))
    targets = torch.tensor([[1.0, 1], [1, 1], [0, 1], [0, 1]])
    assert best_thresholds(logits, targets) == pytest.approx((0.7, 0.2))


def test_of_several_places_of_the_same_f1_the_highest_threshold_is_taken() -> None:
    """Wanted: the first and the fourth of eight. F1 is 2/3 after one clip and after four."""
    logits = torch.logit(torch.linspace(0.9, 0.2, 8))[:, None]
    targets = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0])[:, None]
    assert best_thresholds(logits, targets) == pytest.approx((0.85,))


@given(st.lists(st.tuples(st.floats(-30, 30, width=32), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_has_a_better_f1(pairs: list[tuple[float, bool]]) -> None:
    """Beside all cuts of scikit-learn's precision-recall curve, also where scores are rounded to 0 or 1 or to each other."""
    logits = torch.tensor([[logit] for logit, _ in pairs])
    targets = torch.tensor([[float(there)] for _, there in pairs])
    (threshold,) = best_thresholds(logits, targets)
    assert 0 <= threshold <= 1
    if not targets.any():
        assert threshold == 0.5
        return
    truth, scores = targets[:, 0].numpy(), logits.sigmoid()[:, 0].numpy()
    precision, recall, _ = precision_recall_curve(truth, scores)
    best = max(2 * p * r / (p + r) for p, r in zip(precision, recall, strict=True) if p + r)
    assert score_labels(logits, targets, (threshold,)).f1[0] == pytest.approx(best)


def test_the_task_passes_them_on() -> None:
    logits, targets = some()
    thresholds = MULTI_LABEL.thresholds(logits, targets)
    assert thresholds == best_thresholds(logits, targets)
    record = MULTI_LABEL.score(logits, targets, thresholds).record()
    assert record["thresholds"] == list(thresholds)
    assert record["macro_f1"] >= MULTI_LABEL.score(logits, targets).record()["macro_f1"]
    figures = set(MULTI_LABEL.score(logits, targets).figures())
    assert set(MULTI_LABEL.metrics) == figures - {"clips"}  # any of them can choose the epoch
    MULTI_LABEL.refuse_other_record(record, 4)
    with pytest.raises(ValueError, match="of 4 labels, not 5"):
        MULTI_LABEL.refuse_other_record(record, 5)
    with pytest.raises(ValueError, match="below 0"):
        MULTI_LABEL.refuse_other_record(record | {"auc": [0.5, -1, None, None]}, 4)


def test_the_loss_is_torchs() -> None:
    logits, targets = some()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert score_labels(logits, targets).loss == pytest.approx(float(expected), rel=1e-6)
