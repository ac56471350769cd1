"""Mixup and label smoothing: what becomes of targets and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from astune.errors import ConfigError
from astune.features import LabelSmoothing, Mixup
from astune.features.augmentation import TrainingBatch
from astune.keyed import keyed_generator
from astune.task import Task
from astune.tasks import MULTI_LABEL, SINGLE_LABEL
from tests.unit.augmentations.batches import FRONT_END, ROUNDING, batch_of, features, noise

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 3, 1, 1, 2, 0])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0])


@pytest.mark.parametrize("factor", [0.1, 0.5])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_smoothing_is_torchs(factor: float, weights: torch.Tensor | None) -> None:
    batch = LabelSmoothing(factor, SINGLE_LABEL, 4).augment(batch_of(torch.zeros(6, 1, 1), TARGETS))
    expected = cross_entropy(LOGITS, TARGETS, weight=weights, label_smoothing=factor, reduction="sum")
    torch.testing.assert_close(SINGLE_LABEL.loss(LOGITS, batch.targets, "sum", weights), expected)
    assert batch.targets.sum(dim=1).tolist() == pytest.approx([1] * 6)


def test_smoothing_of_several_labels() -> None:
    """Each label has two answers: 1 becomes 1 - factor / 2, and 0 becomes factor / 2."""
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    batch = LabelSmoothing(0.2, MULTI_LABEL, 4).augment(batch_of(torch.zeros(1, 1, 1), targets))
    torch.testing.assert_close(batch.targets, torch.tensor([[0.9, 0.1, 0.9, 0.1]]))
    expected = binary_cross_entropy_with_logits(LOGITS[:1], torch.tensor([[0.9, 0.1, 0.9, 0.1]]))
    torch.testing.assert_close(MULTI_LABEL.loss(LOGITS[:1], batch.targets), expected)


SOUNDS = [noise(0, 1.0), noise(1, 0.5), noise(2, 0.8, 0.01), np.zeros(8000, np.float32)]


def mixup(alpha: float, task: Task = SINGLE_LABEL, seed: int = 0, targets: torch.Tensor | None = None) -> Mixup:
    given = torch.tensor([0, 1, 2, 3]) if targets is None else targets

    def hear(clips: Sequence[int], epoch: int) -> TrainingBatch:
        return batch_of(features(*(SOUNDS[clip] for clip in clips)), given[list(clips)], epoch)

    return Mixup(alpha, (0, 1, 2, 3), hear, FRONT_END, task, 4, seed)


def test_targets_are_mixed_by_a_share_from_the_beta_distribution() -> None:
    batch = batch_of(features(*SOUNDS), [0, 1, 2, 3], epoch=2)
    augmentation = mixup(0.4)
    mixed = augmentation.augment(batch)
    for clip, name in enumerate(batch.names):
        generator = keyed_generator(0, "mixup", 2, name)
        partner, share = int(generator.integers(4)), float(generator.beta(0.4, 0.4))
        assert augmentation.drawn(name, 2) == (partner, share)
        expected = torch.zeros(4)
        expected[clip] += share
        expected[partner] += 1 - share
        torch.testing.assert_close(mixed.targets[clip], expected)


def test_several_labels_are_mixed_alike() -> None:
    """Convex, as for one label: what a clip has at a third of its loudness counts a third."""
    targets = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    batch = batch_of(features(*SOUNDS), targets)
    augmentation = mixup(1.0, MULTI_LABEL, targets=targets)
    for row, own, name in zip(augmentation.augment(batch).targets, targets, batch.names, strict=True):
        partner, share = augmentation.drawn(name, 0)
        torch.testing.assert_close(row, share * own + (1 - share) * targets[partner])


def test_shares_follow_the_beta_distribution() -> None:
    """Of Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)); over 4000 draws within five standard errors."""
    augmentation = mixup(0.5)
    drawn = [augmentation.drawn(f"{number}.wav", 0) for number in range(4000)]
    shares = np.array([share for _, share in drawn])
    assert shares.mean() == pytest.approx(0.5, abs=5 * np.sqrt(0.125 / 4000))
    assert shares.var() == pytest.approx(0.125, abs=5 * np.sqrt(shares.var() ** 2 * 2 / 4000))
    partners = np.bincount([partner for partner, _ in drawn], minlength=4) / 4000
    assert np.abs(partners - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_sounds_that_do_not_meet_are_mixed_as_waveforms() -> None:
    """One in the first half, the other in the second: no frame hears both, so no cross term."""
    one, other = noise(5), noise(6)
    one[7000:], other[:9000] = 0, 0
    sounds = [one, other]

    def hear(clips: Sequence[int], epoch: int) -> TrainingBatch:
        return batch_of(features(*(sounds[clip] for clip in clips)), [1] * len(clips), epoch)

    augmentation = Mixup(1.0, (1,), hear, FRONT_END, SINGLE_LABEL, 4, 0)
    batch = batch_of(features(one), [0])
    _, share = augmentation.drawn(batch.names[0], 0)
    assert 0.05 < share < 0.95
    expected = features(np.float32(share) * one + np.float32(1 - share) * other)
    torch.testing.assert_close(augmentation.augment(batch).inputs, expected, atol=ROUNDING, rtol=0)


def test_padding_stays_where_neither_is_heard_and_numbers_are_finite() -> None:
    batch = batch_of(features(*SOUNDS), [0, 1, 2, 3])
    frames = [98, 48, 78, 48]
    for alpha in (1e-300, 1e-3, 0.2, 1e6):  # shares of exactly 0 and 1 among them
        augmentation = mixup(alpha)
        mixed = augmentation.augment(batch).inputs
        assert mixed.isfinite().all()
        for row, own, name in zip(mixed, batch.inputs, batch.names, strict=True):
            clip = int(name.removesuffix(".wav"))
            partner, share = augmentation.drawn(name, 0)
            last = max(frames[clip], frames[partner])
            assert (row[last:] == batch.inputs[1, -1, -1]).all()
            assert not (row[:last] == batch.inputs[1, -1, -1]).all(dim=-1).any()
            if share == 1:
                torch.testing.assert_close(row[: frames[clip]], own[: frames[clip]], atol=1e-6, rtol=0)


def test_mixed_targets_are_smoothed_too() -> None:
    batch = mixup(1.0).augment(batch_of(features(*SOUNDS), [0, 1, 2, 3]))
    smoothed = LabelSmoothing(0.1, SINGLE_LABEL, 4).augment(batch)
    torch.testing.assert_close(smoothed.targets, 0.9 * batch.targets + 0.1 / 4)
    loss = SINGLE_LABEL.loss(LOGITS[:4], smoothed.targets, "sum")
    by_hand = -(smoothed.targets * LOGITS[:4].log_softmax(dim=1)).sum()
    torch.testing.assert_close(loss, by_hand)


def test_a_clips_mixture_is_its_own() -> None:
    whole = mixup(0.5).augment(batch_of(features(*SOUNDS), [0, 1, 2, 3]))
    alone = mixup(0.5).augment(batch_of(features(SOUNDS[2]), [2], first=2))
    torch.testing.assert_close(whole.inputs[2:3], alone.inputs, atol=0, rtol=0)
    assert torch.equal(whole.targets[2:3], alone.targets)
    later = mixup(0.5).augment(replace(batch_of(features(*SOUNDS), [0, 1, 2, 3]), epoch=1))
    assert not torch.equal(later.targets, whole.targets)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="mixup_alpha=-1"):
        mixup(-1.0)
    with pytest.raises(ConfigError, match="label_smoothing_factor=1"):
        LabelSmoothing(1.0, SINGLE_LABEL, 4)


def test_partners_are_drawn_as_often_as_they_are_visited() -> None:
    augmentation = replace(mixup(0.5), visits=(0.5, 0.5, 2.0, 1.0))
    drawn = [augmentation.drawn(f"{number}.wav", 0)[0] for number in range(4000)]
    shares = np.bincount(drawn, minlength=4) / 4000
    expected = np.array([0.125, 0.125, 0.5, 0.25])
    assert np.all(np.abs(shares - expected) < 5 * np.sqrt(expected * (1 - expected) / 4000))
