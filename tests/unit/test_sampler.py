"""Which clips an epoch visits: each once, or each class equally often."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from typing_extensions import override

from astune.data import AudioDataset
from astune.features import SpecAugment
from astune.features.augmentation import TrainingBatch
from astune.keyed import keyed_generator
from astune.task import Reduction
from astune.tasks import MULTI_LABEL, SINGLE_LABEL, SingleLabel
from astune.training.callbacks import Callback
from astune.training.engine import Engine
from astune.training.loop import train
from astune.training.progress import Progress
from astune.training.sampler import Sampler
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_class_weights import data_of, settings, uneven

__all__ = ["uneven"]


def tones(**sizes: int) -> AudioDataset:
    return data_of([(label,) for label, size in sizes.items() for _ in range(size)], SINGLE_LABEL)


def visited(sampler: Sampler, dataset: AudioDataset, epoch: int) -> Counter[str]:
    return Counter(dataset.clips[visit.clip].label_text for visit in sampler.visits(epoch))


def test_random_visits_each_clip_once_in_the_order_of_earlier_versions() -> None:
    data, train_clips = tones(a=9, b=2), [1, 3, 4, 9, 10]
    sampler = Sampler("random", data, train_clips, seed=7)
    for epoch in range(3):
        order = keyed_generator(7, "shuffle", epoch).permutation(np.array(train_clips)).tolist()
        assert [visit.clip for visit in sampler.visits(epoch)] == order
        assert [visit.key for visit in sampler.visits(epoch)] == [data.clips[clip].name for clip in order]
    assert sampler.notice is None


def test_each_class_gets_its_share_of_the_visits() -> None:
    """60 clips of 3 classes: 20 visits each. Of the 54 of one class 20 come once, the 2 of another 10 times each."""
    data = tones(a=54, b=2, c=4)
    sampler = Sampler("balanced", data, range(60), seed=0)
    for epoch in range(5):
        assert visited(sampler, data, epoch) == {"a": 20, "b": 20, "c": 20}
        times = Counter(visit.clip for visit in sampler.visits(epoch))
        by_class = {label: sorted(n for clip, n in times.items() if data.clips[clip].label == label) for label in "abc"}
        assert by_class == {"a": [1] * 20, "b": [10, 10], "c": [5] * 4}
    orders = [[visit.clip for visit in sampler.visits(epoch)] for epoch in range(2)]
    assert orders[0] != orders[1]
    assert sampler.notice == (
        "Balanced sampling: an epoch visits 60 clips; on average one of 'b' comes 10 times, and one of 'a' 0.37 times"
    )


@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=6), seed=st.integers(0, 3), epoch=st.integers(0, 50))
def test_shares_are_rounded_up_or_down_and_all_clips_of_a_class_come_alike(
    sizes: list[int], seed: int, epoch: int
) -> None:
    data = tones(**{f"c{n}": size for n, size in enumerate(sizes)})
    sampler = Sampler("balanced", data, range(sum(sizes)), seed)
    visits = sampler.visits(epoch)
    assert len(visits) == sum(sizes)
    share = sum(sizes) / len(sizes)
    times = Counter(visit.clip for visit in visits)
    for label, clips in sampler.groups.items():
        of = [times[clip] for clip in clips]
        assert int(share) <= sum(of) <= -(-sum(sizes) // len(sizes)), label
        assert max(of) - min(of) <= 1
    assert len({visit.key for visit in visits}) == len(visits)  # no two visits draw the same
    assert visits == Sampler("balanced", data, range(sum(sizes)), seed).visits(epoch)


def test_rounding_is_fair_over_epochs_and_so_is_what_is_left_out() -> None:
    """17 visits of 3 classes are 5 2/3 each; each of the 11 clips of the large class comes in 5.67 of 11 epochs."""
    data = tones(a=11, b=2, c=4)
    sampler = Sampler("balanced", data, range(17), seed=1)
    epochs = 600
    totals: Counter[str] = Counter()
    clips: Counter[int] = Counter()
    for epoch in range(epochs):
        totals += visited(sampler, data, epoch)
        clips.update(visit.clip for visit in sampler.visits(epoch))
    for label in "abc":
        assert totals[label] / epochs == pytest.approx(
            17 / 3, abs=0.08
        )  # 4 deviations of a mean of 600 draws of 5 or 6
    for clip in range(11):
        assert clips[clip] / epochs == pytest.approx(17 / 33, abs=0.085)  # likewise


def test_with_several_labels_a_clip_counts_for_its_rarest_one() -> None:
    """Labels a, b, c occur 12, 4 and 2 times. A clip of a alone weighs 1/12, with b 1/4, with c 1/2; the 2 clips without any 1/2."""
    labels = [*[("a",)] * 8, *[("a", "b")] * 3, ("a", "b", "c"), ("c",), (), ()]
    data = data_of([tuple(of) for of in labels], MULTI_LABEL)
    sampler = Sampler("balanced", data, range(15), seed=0)
    assert {label: len(clips) for label, clips in sampler.groups.items()} == {"a": 8, "b": 3, "c": 2, "": 2}
    weights = np.array([8 / 12, 3 / 4, 1, 1])
    assert [float(share) for share in sampler.shares.values()] == pytest.approx(weights / weights.sum())
    clip_weights = np.array([1 / 12] * 8 + [1 / 4] * 3 + [1 / 2] * 4)
    times: Counter[int] = Counter()
    for epoch in range(400):
        times.update(visit.clip for visit in sampler.visits(epoch))
    found = np.array([times[clip] for clip in range(15)]) / 400
    assert found == pytest.approx(15 * clip_weights / clip_weights.sum(), abs=0.12)
    assert sampler.notice is not None
    assert "one of no label comes" in sampler.notice or "one of 'c' comes" in sampler.notice


def test_the_second_visit_of_a_clip_has_other_masks_and_the_first_those_of_its_name() -> None:
    data = tones(a=30, b=1)
    visits = [visit for visit in Sampler("balanced", data, range(31), seed=0).visits(0) if visit.clip == 30]
    assert len(visits) in {15, 16}
    assert visits[0].key == data.clips[30].name
    batch = TrainingBatch(
        torch.ones(len(visits), 64, 128), torch.zeros(len(visits)), tuple(v.clip for v in visits),
        tuple(v.key for v in visits), 0,
    )  # fmt: skip
    masked = SpecAugment(24, 16, seed=0).augment(batch).inputs
    assert len({tuple(row.flatten().tolist()) for row in masked}) == len(visits)
    alone = SpecAugment(24, 16, seed=0)(torch.ones(1, 64, 128), 0, [data.clips[30].name])
    assert torch.equal(masked[:1], alone)


class Seen(Callback):
    """Counts the classes of the clips of each epoch, as the loss is given them."""

    def __init__(self) -> None:
        self.epochs: list[Counter[int]] = []

    @override
    def on_train_begin(self, engine: Engine, progress: Progress) -> None:
        del progress
        seen = self

        class Listening(SingleLabel):
            @override
            def loss(
                self,
                logits: Tensor,
                targets: Tensor,
                reduction: Reduction = "mean",
                class_weights: Tensor | None = None,
            ) -> Tensor:
                seen.epochs[-1].update(targets.tolist())
                return super().loss(logits, targets, reduction, class_weights)

        engine.task = Listening()
        self.epochs.append(Counter())

    @override
    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        del engine, progress
        self.epochs.append(Counter())


@pytest.mark.parametrize("cached", [True, False])
def test_training_sees_the_classes_equally_often(uneven: Path, tmp_path: Path, cached: bool) -> None:
    """17 visits an epoch, 5 or 6 of each class, from the cache of frozen layers and without it."""
    seen = Seen()
    config = settings(
        uneven, tmp_path / "out", sampler="balanced", num_train_epochs=3, freq_mask=0, time_mask=0, cache_frozen=cached
    )
    result = train(config, quiet=True, callbacks=[seen])
    assert (result.cached_layers > 0) == cached
    assert [sum(epoch.values()) for epoch in seen.epochs] == [17, 17, 17, 0]
    assert all(sorted(epoch.values()) == [5, 6, 6] for epoch in seen.epochs[:3])
    assert any("Balanced sampling: an epoch visits 17 clips" in notice for notice in result.notices)


def test_the_adapter_says_how_clips_were_drawn(uneven: Path, tmp_path: Path) -> None:
    train(settings(uneven, tmp_path / "out", sampler="balanced", num_train_epochs=1), quiet=True)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| sampler | balanced |" in card


@pytest.mark.parametrize("steps", [1, 4])
def test_resumed_it_is_as_never_stopped(steps: int, uneven: Path, tmp_path: Path) -> None:
    config = settings(uneven, tmp_path / "out", sampler="balanced", method="lora", save_steps=1)
    whole = train(config.model_copy(update={"output_dir": tmp_path / "whole"}), quiet=True)
    with pytest.raises(PowerCut):
        train(config, quiet=True, callbacks=[StopAfter(steps)])
    resumed = train(config.model_copy(update={"resume": True}), quiet=True)
    assert resumed.scores == whole.scores
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "out"))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_epochs_follow_from_the_seed() -> None:
    data = tones(a=20, b=3)
    epochs = [tuple(Sampler("balanced", data, range(23), seed).visits(0)) for seed in range(3)]
    assert all(one != other for one, other in pairwise(epochs))


def test_mean_visits_are_what_epochs_visit_on_average() -> None:
    data = tones(a=9, b=2, c=4)
    assert Sampler("random", data, range(15), seed=0).mean_visits is None
    sampler = Sampler("balanced", data, range(15), seed=0)
    assert sampler.mean_visits == pytest.approx(
        {clip: 5 / size for clip, size in enumerate([9] * 9 + [2] * 2 + [4] * 4)}
    )
