"""One model, several users: threads, predictors, training that goes on, and a backbone after a classifier that came to nothing."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from astune import AudioClassifier, Predictor, load_backbone
from astune.adapter import Adapter
from astune.compute import Arithmetic
from astune.errors import AdapterError, AstuneError, ConfigError
from astune.inference.batches import outputs

RATE = 16_000  # Hz
LABELS = ("a", "b", "c")


def sounds(count: int) -> list[np.ndarray[Any, Any]]:
    return list(np.random.default_rng(0).normal(0, 0.1, (count, 8_000)).astype(np.float32))


def classifier(method: str = "convpass") -> AudioClassifier:
    """With dropout, which would show that it is not in evaluation mode."""
    torch.manual_seed(0)
    model = AudioClassifier(load_backbone("random:tiny", 48), method, LABELS)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def test_every_part_of_a_classifier_gets_its_own_mode_back() -> None:
    model = classifier().train()
    model.backbone.eval()
    before = {name: module.training for name, module in model.named_modules()}
    Predictor(model).logits(sounds(2), sampling_rate=RATE)
    assert {name: module.training for name, module in model.named_modules()} == before


def test_threads_that_compute_at_a_time_leave_one_another_in_evaluation_mode() -> None:
    """The first to end must not put the model back into training mode under the other, nor the last leave it as it found it."""
    model = classifier().train()
    inside, first_left = threading.Barrier(2, timeout=60), threading.Event()
    seen: dict[str, tuple[bool, str]] = {}
    torch.set_float32_matmul_precision("high")

    def run(name: str) -> None:
        def compute(batch: Tensor) -> Tensor:
            inside.wait()  # both are in evaluation mode now
            if name == "second":
                first_left.wait(60)
            seen[name] = (model.training, torch.get_float32_matmul_precision())
            return batch

        list(outputs(model, compute, [(0, torch.zeros(1, 1))], Arithmetic.of(torch.device("cpu"), bf16=False)))
        if name == "first":
            first_left.set()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second")]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == dict.fromkeys(("first", "second"), (False, "highest"))
        assert (model.training, torch.get_float32_matmul_precision()) == (True, "high")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_threads_end_while_the_models_exception_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a notebook keeps the last one."""
    model = classifier()
    predictor = Predictor(model, threads=3, batch_size=2)

    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "forward", fails)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory") as kept:
        predictor.predict(sounds(40), sampling_rate=RATE)
    assert threading.active_count() == before
    assert kept.value.__traceback__ is not None


def test_a_backbone_is_free_after_a_classifier_that_could_not_be_made() -> None:
    good = classifier("lora").to_adapter()
    short = Adapter(good.config, {name: tensor for name, tensor in good.tensors.items() if name != "head.bias"})
    damaged = replace(good, config=good.config.model_copy(update={"compute_dtype": "int4"}))
    backbone = load_backbone("random:tiny", 48)
    failing: tuple[tuple[type[AstuneError], Callable[[], object]], ...] = (
        (AdapterError, lambda: Predictor(short, backbone)),
        (AdapterError, lambda: Predictor(damaged, backbone)),
        (ConfigError, lambda: AudioClassifier(backbone, "bottleneck:layers=0-9", LABELS)),
    )
    for kind, make in failing:
        with pytest.raises(kind):
            make()
    assert torch.equal(
        Predictor(good, backbone).logits(sounds(2), sampling_rate=RATE),
        Predictor(good).logits(sounds(2), sampling_rate=RATE),
    )


def test_a_backbone_that_the_user_loaded_stays_in_float32() -> None:
    trained = classifier("lora").to_adapter(compute_dtype="bfloat16")
    backbone = load_backbone("random:tiny", 48)
    given, own = Predictor(trained, backbone), Predictor(trained)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    given_logits, own_logits = (one.logits(sounds(3), sampling_rate=RATE) for one in (given, own))
    assert torch.equal(given_logits, own_logits)
    assert torch.equal(Predictor(own.model, precision="bfloat16").logits(sounds(3), sampling_rate=RATE), own_logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_classifier_that_was_cast_is_refused_in_words(dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(ConfigError, match=rf"parameters in {name}; give it in float32 \(classifier\.float\(\)\)"):
        Predictor(classifier("lora").to(dtype))


def test_an_iterable_may_fill_one_array_again_and_again() -> None:
    """Whatever it is: a generator, or an object that makes one."""

    class Stream:
        def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
            held = np.zeros(8_000, np.float32)
            for sound in sounds(40):
                held[:] = sound
                yield held

    predictor = Predictor(classifier("lora"), threads=2)
    expected = predictor.logits(sounds(40), sampling_rate=RATE)
    assert torch.equal(predictor.logits(Stream(), sampling_rate=RATE), expected)


def test_long_arrays_from_a_generator_are_held_as_far_as_they_are_heard() -> None:
    predictor = Predictor(classifier("lora"), threads=1)
    long = np.tile(sounds(1)[0], 300)  # 150 s, 9.6 MB

    tracemalloc.start()
    try:
        predictions = list(predictor.predictions((long.copy() for _ in range(40)), sampling_rate=RATE))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {one.seconds for one in predictions} == {150.0}
    assert peak < 6 * long.nbytes  # 33 are drawn ahead
    expected = next(predictor.predictions([long] * 40, sampling_rate=RATE))
    assert predictions[0].labels == expected.labels
