"""SpecAugment: which cells are masked, how wide, how often, and that nothing but the key decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from astune.errors import ConfigError
from astune.features import SpecAugment

if TYPE_CHECKING:
    from collections.abc import Iterable

FRAMES, BINS = 100, 128


def names(clips: Iterable[int]) -> list[str]:
    """Clips by name, as augmentations know them."""
    return [f"{clip}.wav" for clip in clips]


def masks(
    freq_mask: int,
    time_mask: int,
    clips: list[int],
    *,
    epoch: int = 0,
    seed: int = 0,
    shape: tuple[int, int] = (FRAMES, BINS),
) -> Tensor:
    """Where zero was put, (clips, frames, bins)."""
    masked = SpecAugment(freq_mask, time_mask, seed)(torch.ones(len(clips), *shape), epoch, names(clips))
    mask: Tensor = masked == 0
    assert torch.equal(masked[~mask], torch.ones(int((~mask).sum())))
    return mask


def widths(mask: Tensor) -> tuple[int, int]:
    """Bins and frames that are masked throughout, of one clip; fails where they are not one block each."""
    spans = []
    for lines in (mask.all(dim=0), mask.all(dim=1)):
        edges = torch.diff(lines.int(), prepend=torch.zeros(1), append=torch.zeros(1)).abs().sum().item()
        assert edges in {0, 2}
        spans.append(lines)
    assert torch.equal(mask, spans[0][None, :] | spans[1][:, None])
    return int(spans[0].sum()), int(spans[1].sum())


def test_evaluation_returns_its_input() -> None:
    augment, features = SpecAugment(48, 48, 0).eval(), torch.randn(2, FRAMES, BINS)
    assert augment(features, 0, names([0, 1])) is features
    assert not torch.equal(augment.train()(features, 0, names([0, 1])), features)


def test_without_masks_nothing_changes() -> None:
    features = torch.randn(2, FRAMES, BINS)
    assert torch.equal(SpecAugment(0, 0, 0)(features, 0, names([0, 1])), features)
    assert not masks(1, 1, list(range(50))).any()  # widths below 1


def test_input_is_not_changed_and_the_rest_is_copied() -> None:
    features = 1 + torch.rand(8, FRAMES, BINS, generator=torch.Generator().manual_seed(0))
    before = features.clone()
    masked = SpecAugment(48, 48, 0)(features, 0, names(range(8)))
    assert torch.equal(features, before)
    assert (masked == 0).any()
    assert torch.equal(masked[masked != 0], before[masked != 0])


def test_precision_is_kept() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert SpecAugment(48, 48, 0)(torch.ones(1, FRAMES, BINS, dtype=dtype), 0, names([3])).dtype == dtype


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    freq_mask=st.integers(0, 200),
    time_mask=st.integers(0, 200),
    frames=st.integers(1, 150),
    bins=st.integers(1, 150),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
    clip=st.integers(0, 10**9),
)
def test_at_most_one_band_and_one_stretch_below_their_bounds(
    freq_mask: int, time_mask: int, frames: int, bins: int, seed: int, epoch: int, clip: int
) -> None:
    mask = masks(freq_mask, time_mask, [clip], epoch=epoch, seed=seed, shape=(frames, bins))[0]
    if mask.all():  # a mask wider than the spectrogram
        assert freq_mask > bins or time_mask > frames
        return
    band, stretch = widths(mask)
    assert band <= min(max(freq_mask - 1, 0), bins)
    assert stretch <= min(max(time_mask - 1, 0), frames)


def test_masks_wider_than_the_spectrogram_end_at_its_edge() -> None:
    """Widths below 10, of a spectrogram of 4: 0 to 3 with a tenth each, else all 4."""
    clips = list(range(2000))
    counts = np.bincount(masks(10, 0, clips, shape=(3, 4))[:, 0].sum(dim=1).numpy(), minlength=5)
    expected = np.array([200, 200, 200, 200, 1200])
    assert counts.sum() == len(clips)
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected * (1 - expected / 2000))).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    clips=st.lists(st.integers(0, 10_000), min_size=1, max_size=12, unique=True),
    data=st.data(),
    epoch=st.integers(0, 50),
)
def test_a_clips_mask_depends_on_nothing_around_it(clips: list[int], data: st.DataObject, epoch: int) -> None:
    shuffled = data.draw(st.permutations(clips))
    chosen = shuffled[: data.draw(st.integers(1, len(clips)))]
    together = dict(zip(clips, masks(40, 40, clips, epoch=epoch), strict=True))
    for clip, mask in zip(chosen, masks(40, 40, chosen, epoch=epoch), strict=True):
        assert torch.equal(mask, together[clip])


def test_torchs_generator_has_no_say_and_is_not_drawn_from() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = masks(40, 40, [1, 2, 3])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(masks(40, 40, [1, 2, 3]), one)


def test_seed_epoch_and_clip_each_give_other_masks() -> None:
    clips = list(range(20))
    base = masks(40, 40, clips)
    for other in (masks(40, 40, clips, seed=1), masks(40, 40, clips, epoch=1), masks(40, 40, [c + 20 for c in clips])):
        same = (base == other).all(dim=2).all(dim=1)
        assert same.sum() <= 1  # both masks alike by chance: below one in a thousand clips
    assert (base[0] != base[1]).any()


def test_one_mask_does_not_hang_on_the_other_ones_bound() -> None:
    clips = list(range(30))
    both, band, stretch = masks(40, 40, clips), masks(40, 0, clips), masks(0, 40, clips)
    assert torch.equal(both, band | stretch)


@pytest.mark.parametrize(("freq_mask", "time_mask"), [(24, 0), (0, 35), (48, 0)])
def test_widths_are_uniform_and_places_cover_all(freq_mask: int, time_mask: int) -> None:
    """Widths 0 to bound - 1, mean (bound - 1) / 2, variance (bound² - 1) / 12; the block lies anywhere it fits."""
    bound, clips, size = max(freq_mask, time_mask), list(range(4000)), 60
    shape = (2, size) if freq_mask else (size, 2)
    lines = masks(freq_mask, time_mask, clips, shape=shape).all(dim=1 if freq_mask else 2).numpy()
    width = lines.sum(axis=1)
    variance = (bound**2 - 1) / 12
    assert set(width) == set(range(bound))
    assert width.mean() == pytest.approx((bound - 1) / 2, abs=4 * np.sqrt(variance / len(clips)))
    counts = np.bincount(width, minlength=bound)
    statistic = ((counts - len(clips) / bound) ** 2 / (len(clips) / bound)).sum()
    assert statistic < (bound - 1) + 4 * np.sqrt(2 * (bound - 1))  # chi-square: mean and variance by degrees of freedom
    start = lines.argmax(axis=1)[width > 0]
    room = (size - width)[width > 0]
    assert (start <= room).all()
    assert (start == 0).any()
    assert (start == room).any()
    relative = (start + 0.5) / (room + 1)
    assert relative.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * len(start)))


def test_band_and_stretch_are_independent() -> None:
    clips = list(range(2000))
    band = masks(40, 0, clips, shape=(2, 45)).all(dim=1).sum(dim=1).numpy()
    stretch = masks(0, 40, clips, shape=(45, 2)).all(dim=2).sum(dim=1).numpy()
    assert abs(np.corrcoef(band, stretch)[0, 1]) < 4 / np.sqrt(len(clips))


@pytest.mark.parametrize(("freq_mask", "time_mask"), [(-1, 0), (0, -5)])
def test_negative_bounds_are_refused(freq_mask: int, time_mask: int) -> None:
    with pytest.raises(ConfigError, match=f"freq_mask={freq_mask}, time_mask={time_mask}"):
        SpecAugment(freq_mask, time_mask, 0)


@pytest.mark.parametrize("clips", [[0], [0, 1, 2]])
def test_a_key_for_each_clip_is_required(clips: list[int]) -> None:
    with pytest.raises(ValueError, match="zip"):
        SpecAugment(10, 10, 0)(torch.ones(2, FRAMES, BINS), 0, names(clips))


def test_masks_never_change() -> None:
    """A resumed or repeated run masks what it masked, on every machine: 48 times PCG64's first and third draw of the key's SHA-256."""
    assert [widths(mask) for mask in masks(48, 48, [0, 1, 2, 3], epoch=2, seed=7)] == [
        (8, 22),
        (20, 2),
        (6, 16),
        (46, 32),
    ]
