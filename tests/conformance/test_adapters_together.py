"""Every method beside every other in one Predictor: a row has the scores that its adapter gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from astune import AudioClassifier, Predictor, load_backbone
from astune.adapter import Adapter
from astune.features import rounded_features
from astune.inference import adapter_set
from astune.inference.loaded_adapter import LoadedAdapter
from astune.inference.shells import Shells
from astune.tasks import TASKS
from tests.conformance.methods_under_test import SPECS

RATE = 16_000  # Hz
LENGTHS = (48, 64, 72)  # frames
MOST_APART = 1e-5  # of scores, in float32
Scores = dict[str, float]


def adapter(number: int, spec: str, compute_dtype: str = "float32", classes: int = 0, **settings: Any) -> Adapter:
    """Trained somehow, of a task, a number of labels, an input length and a normalisation that its neighbours in the set do not have."""
    torch.manual_seed(number)
    task, length = list(TASKS.values())[number % len(TASKS)], LENGTHS[number % len(LENGTHS)]
    labels = [f"{number} {one}" for one in range(classes or 2 + number % 4)]
    settings = {"pooling": ("all", "cls")[number // 2 % 2], "task": task, **settings}
    model = AudioClassifier(load_backbone("random:tiny", length), spec, labels, **settings)
    with torch.no_grad():
        for name, tensor in model.adapter_state().items():
            if tensor.is_floating_point() and not name.endswith("running_var"):
                tensor.add_(torch.randn_like(tensor), alpha=0.05)
    whole = model.to_adapter(compute_dtype=compute_dtype)
    front_end = {**whole.config.front_end.__dict__, "mean": -4.0 - number % 5, "std": 4.0 + number % 3}
    front_end = {
        name: value for name, value in front_end.items() if name in {"max_length", "num_mel_bins", "mean", "std"}
    }
    config = whole.config.model_copy(update={"front_end": type(whole.config.front_end)(**front_end)})
    return Adapter(config, whole.tensors)


def sound(number: int) -> np.ndarray[Any, Any]:
    """Shorter and longer than the inputs, some of them in several windows."""
    samples = (6_000, 20_000, 12_000)[number % 3]
    return np.random.default_rng(number).normal(0, 0.1, samples).astype(np.float32)


def as_scores(labels: list[dict[str, Any]]) -> Scores:
    return {one["label"]: one["score"] for one in labels}


def refuse_apart(found: list[Scores], expected: list[Scores], most: float) -> None:
    for spec, one, other in zip(SPECS, found, expected, strict=True):
        assert one.keys() == other.keys(), spec
        assert max(abs(one[label] - other[label]) for label in one) <= most, spec


@pytest.fixture(scope="module")
def adapters() -> list[Adapter]:
    return [adapter(number, spec) for number, spec in enumerate(SPECS)]


@pytest.fixture(scope="module")
def together(adapters: list[Adapter]) -> Predictor:
    predictor = Predictor(adapters[0], adapter_name="0", threads=1, batch_size=5)
    for number, one in enumerate(adapters[1:], 1):
        predictor.load_adapter(one, str(number))
    return predictor


@pytest.fixture(scope="module")
def alone(adapters: list[Adapter]) -> list[Scores]:
    return [
        as_scores(Predictor(one, threads=1).predict(sound(number), sampling_rate=RATE, top_k=None))
        for number, one in enumerate(adapters)
    ]


def all_together(predictor: Predictor) -> list[Scores]:
    """One call with an input for each adapter."""
    sounds = [sound(number) for number in range(len(SPECS))]
    names = list(map(str, range(len(SPECS))))
    return list(map(as_scores, predictor.predict(sounds, sampling_rate=RATE, top_k=None, adapter_names=names)))


def test_every_method_is_there(together: Predictor) -> None:
    assert len(SPECS) >= 20
    assert len(together.adapters) == len(SPECS)
    assert {one.task for one in together.adapters.values()} == set(TASKS)
    assert {one.max_length for one in together.adapters.values()} == set(LENGTHS)


def test_a_mixed_call_gives_each_row_what_its_adapter_gives_alone(together: Predictor, alone: list[Scores]) -> None:
    assert len({tuple(one.values()) for one in alone}) == len(alone)  # else one adapter could stand for another
    refuse_apart(all_together(together), alone, MOST_APART)


def test_whichever_adapter_is_active_the_others_are_as_alone(together: Predictor, alone: list[Scores]) -> None:
    """Above all after one that trains the whole backbone, whose weights must not become the others'."""
    chosen = [
        str(number) for number, spec in enumerate(SPECS) if spec.startswith(("full-ft", "bitfit", "lora", "layermix"))
    ]
    for name in [*chosen, "0"]:
        together.set_adapter(name)
        active = as_scores(together.predict(sound(int(name)), sampling_rate=RATE, top_k=None))
        assert active == alone[int(name)], SPECS[int(name)]
        assert together.labels == tuple(sorted(alone[int(name)]))
    refuse_apart(all_together(together), alone, MOST_APART)


@pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented the batching rule")
@pytest.mark.parametrize("size", [5, 1_000])
def test_rows_of_one_method_may_be_one_batch(
    size: int, adapters: list[Adapter], together: Predictor, alone: list[Scores], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: with the tensors of the adapters stacked."""
    stacked = []

    def counted(shells: Shells, rows: Sequence[LoadedAdapter], features: Tensor) -> list[Tensor]:
        stacked.append(len(rows))
        return original(shells, rows, features)

    original = Shells.stacked_logits
    monkeypatch.setattr(Shells, "stacked_logits", counted)
    assert together.stacks_rows == (together.device.type == "cuda")  # a CPU gains nothing
    monkeypatch.setattr(together, "stacks_rows", True)
    monkeypatch.setattr(adapter_set, "_SMALL", 1)
    for number, spec in enumerate(SPECS):  # a second adapter of each kind, with more labels
        twin = adapter(number + 12 * len(SPECS), spec, classes=7, pooling=adapters[number].config.pooling)
        together.load_adapter(twin, f"{number} twin")
    try:
        names = [name for number in range(len(SPECS)) for name in (str(number), f"{number} twin", str(number))]
        features = [together.features(sound(int(name.split()[0]))[:6_000], name) for name in names]
        together.batch_size = size
        found = together.scores(features, names)
        assert sum(stacked) > len(SPECS)
        monkeypatch.setattr(together, "stacks_rows", False)
        expected = together.scores(features, names)
        for name, one, other in zip(names, found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=MOST_APART, rtol=0, err_msg=SPECS[int(name.split()[0])])
    finally:
        together.batch_size = 5
        for number in range(len(SPECS)):
            together.delete_adapter(f"{number} twin")


def test_features_are_those_of_the_command_line(together: Predictor) -> None:
    for name in together.adapters:
        given, held = sound(int(name)), together.adapter(name)
        assert np.array_equal(together.features(given, name), rounded_features(given, held.front_end))


def test_bfloat16_is_stored_once_and_what_is_trained_stays_float32() -> None:
    """Frozen matrices lie in bfloat16; biases that an adapter trains come with it in float32."""
    specs = ["lora", "bitfit", "full-ft", "prefix:tokens=4+bitfit", "lora"]
    adapters = [adapter(number, spec, "bfloat16") for number, spec in enumerate(specs)]
    for first in range(len(specs)):
        order = [*range(first, len(specs)), *range(first)]
        predictor = Predictor(adapters[order[0]], adapter_name=str(order[0]), threads=1)
        for number in order[1:]:
            predictor.load_adapter(adapters[number], str(number))
        assert predictor.precision == "bfloat16"
        names = list(map(str, range(len(specs))))
        sounds = [sound(3 * number) for number in range(len(specs))]
        predictor.stacks_rows = True  # as on a GPU, for which autocast is in the way
        mixed = predictor.predict(sounds, sampling_rate=RATE, top_k=None, adapter_names=names)
        for one, given, scores in zip(adapters, sounds, mixed, strict=True):
            alone = Predictor(one, threads=1).predict(given, sampling_rate=RATE, top_k=None)
            assert as_scores(alone) == as_scores(scores)
