"""Many adapters in one Predictor: names, choices, thresholds, threads, and what is in memory once."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from astune import AudioClassifier, Predictor, load_backbone, load_data
from astune.adapter import Adapter
from astune.errors import AdapterError, AstuneError, ConfigError
from astune.inference.prediction import AdapterThresholds
from astune.tasks import MULTI_LABEL
from tests.conformance.methods_under_test import SPECS

RATE = 16_000  # Hz


def adapter(spec: str = "lora", labels: str = "abc", frames: int = 48, seed: int = 0, **settings: Any) -> Adapter:
    torch.manual_seed(seed)
    model = AudioClassifier(load_backbone("random:tiny", frames), spec, list(labels), **settings)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.to_adapter()


def sounds(count: int, seconds: float = 0.4) -> list[np.ndarray[Any, Any]]:
    return list(np.random.default_rng(0).normal(0, 0.1, (count, round(seconds * RATE))).astype(np.float32))


@pytest.fixture
def predictor() -> Predictor:
    """Three letters that compete; two more letters that do not; digits of a longer input."""
    predictor = Predictor(adapter(), threads=1, adapter_name="letters")
    tags = adapter("bitfit", "xyz", task=MULTI_LABEL, seed=1)
    predictor.load_adapter(
        Adapter(tags.config.model_copy(update={"thresholds": {"x": 0.1, "y": 0.9, "z": 0.5}}), tags.tensors), "tags"
    )
    predictor.load_adapter(adapter("convpass", "0123456", frames=96, seed=2), "digits")
    return predictor


def write(folder: Path, one: Adapter) -> Path:
    AudioClassifier.from_adapter(one).save_pretrained(folder)
    return folder


def test_names_are_those_of_folders_until_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    birds, frogs = write(tmp_path / "birds", adapter()), write(tmp_path / "frogs", adapter(seed=1))
    predictor = Predictor(birds)
    assert predictor.active_adapter == "birds"
    assert predictor.load_adapter(frogs) == "frogs"
    assert predictor.load_adapter(str(frogs) + "/", "again") == "again"
    monkeypatch.chdir(frogs)
    with pytest.raises(
        ConfigError, match=r"an adapter named 'frogs' is already loaded; .*, or call delete_adapter\('frogs'\) first"
    ):
        predictor.load_adapter(".")
    assert list(predictor.adapters) == ["birds", "frogs", "again"]
    assert predictor.adapters["frogs"].record()["labels"] == ["a", "b", "c"]
    memory = Predictor(adapter())
    assert memory.active_adapter == "default"
    with pytest.raises(ConfigError, match="an adapter named 'default' is already loaded"):
        memory.load_adapter(adapter())


@pytest.mark.parametrize("name", ["", " ", "a\nb", 3, b"x", "\u202eabc"])
def test_a_name_that_cannot_be_shown_is_refused(name: str, predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="give a name, text without control characters"):
        predictor.load_adapter(adapter(), name)
    with pytest.raises(ConfigError, match="give a name, text without control characters"):
        Predictor(adapter(), adapter_name=name)


def test_what_does_not_fit_is_refused_and_changes_nothing(predictor: Predictor, tmp_path: Path) -> None:
    good = adapter()
    foreign = adapter()
    reference = foreign.config.backbone.model_copy(update={"fingerprint": "0" * 64})
    wrong: list[tuple[Adapter | Path, str]] = [
        (
            Adapter(foreign.config.model_copy(update={"backbone": reference}), foreign.tensors),
            "and random:tiny is another",
        ),
        (Adapter(good.config, {**good.tensors, "head.bias": torch.full((3,), torch.nan)}), "not finite"),
        (
            Adapter(good.config, {**good.tensors, "head.bias": torch.zeros(4)}),
            r"head.bias has the shape \(4,\), not \(3,\)",
        ),
        (Adapter(good.config, {**good.tensors, "extra": torch.zeros(4)}), "extra is unknown to lora"),
        (Adapter(good.config, {k: v for k, v in good.tensors.items() if k != "norm.bias"}), "norm.bias is missing"),
        (Adapter(good.config.model_copy(update={"method": [{"family": "none"}]}), good.tensors), "method is not known"),
        (Adapter(good.config.model_copy(update={"compute_dtype": "int4"}), good.tensors), "compute_dtype is 'int4'"),
        (tmp_path / "nothing", "nothing"),
    ]
    before = dict(predictor.adapters)
    for one, fault in wrong:
        with pytest.raises(AdapterError, match=fault):
            predictor.load_adapter(one, "wrong")
    with pytest.raises(
        ConfigError, match=r"adapter is a AudioClassifier; give an adapter folder, a hub id, or classifier\.to_adapter"
    ):
        predictor.load_adapter(AudioClassifier.from_adapter(good), "wrong")  # type: ignore[arg-type]
    assert dict(predictor.adapters) == before


def test_unknown_names_and_the_active_adapter_are_refused_in_words(predictor: Predictor) -> None:
    for call in (predictor.set_adapter, predictor.delete_adapter, predictor.adapter):
        with pytest.raises(ConfigError, match=r"unknown adapter 'letter'; .* did you mean 'letters'"):
            call("letter")
    with pytest.raises(ConfigError, match="unknown adapter 'tag'"):
        predictor.predict(sounds(1), sampling_rate=RATE, adapter_names="tag")
    with pytest.raises(
        ConfigError, match=r"'letters' is the active one and cannot be deleted; set_adapter\('tags'\) first"
    ):
        predictor.delete_adapter("letters")
    predictor.set_adapter("tags")
    predictor.delete_adapter("letters")
    predictor.delete_adapter("digits")
    with pytest.raises(ConfigError, match="it is the only one; load another one first"):
        predictor.delete_adapter("tags")
    with pytest.raises(ConfigError, match="unknown adapter 'letters'"):
        predictor.set_adapter("letters")
    assert list(predictor.adapters) == ["tags"]


def test_a_predictor_of_a_classifier_has_that_one_alone() -> None:
    model = AudioClassifier.from_adapter(adapter())
    predictor = Predictor(model)
    assert list(predictor.adapters) == ["default"]
    predictor.set_adapter("default")
    assert predictor.model is model
    named = predictor.predict(sounds(2), sampling_rate=RATE, adapter_names=["default", "default"])
    assert named == predictor.predict(sounds(2), sampling_rate=RATE)
    with pytest.raises(ConfigError, match=r"was built from a classifier, .*; build it from classifier\.to_adapter\(\)"):
        predictor.load_adapter(adapter(), "other")


def test_the_active_adapter_is_what_calls_without_names_use(predictor: Predictor, tmp_path: Path) -> None:
    (given,) = sounds(1)
    for name, one in {
        "tags": adapter("bitfit", "xyz", task=MULTI_LABEL, seed=1),
        "digits": adapter("convpass", "0123456", 96, 2),
    }.items():
        alone = Predictor(one, threads=1)
        predictor.set_adapter(name)
        assert predictor.active_adapter == name
        assert (predictor.labels, predictor.task, predictor.front_end) == (alone.labels, alone.task, alone.front_end)
        assert torch.equal(predictor.logits(given, sampling_rate=RATE), alone.logits(given, sampling_rate=RATE))
        assert torch.equal(predictor.embed(given, sampling_rate=RATE), alone.embed(given, sampling_rate=RATE))
        assert np.array_equal(
            predictor.timeline(given, sampling_rate=RATE).scores, alone.timeline(given, sampling_rate=RATE).scores
        )
        assert predictor.timeline(given, sampling_rate=RATE, adapter_name="letters").labels == ("a", "b", "c")
    assert predictor.thresholds == {}
    predictor.set_adapter("tags")
    assert predictor.thresholds == {"x": 0.1, "y": 0.9, "z": 0.5}


def test_the_active_adapter_is_scored(generated: Path) -> None:
    dataset = load_data(str(generated))
    torch.manual_seed(0)
    one, other = (
        AudioClassifier(load_backbone("random:tiny", frames), "linear", dataset.labels).to_adapter()
        for frames in (32, 48)
    )
    predictor = Predictor(one, adapter_name="one", threads=1)
    predictor.load_adapter(other, "other")
    predictor.set_adapter("other")
    expected = Predictor(other, threads=1).evaluate(dataset, "all")
    assert predictor.evaluate(dataset, "all").scores == expected.scores


def test_names_and_inputs_must_be_as_many(predictor: Predictor) -> None:
    def drawn(count: int) -> Iterator[np.ndarray[Any, Any]]:
        yield from sounds(count)

    for inputs in (sounds(3), drawn(3)):
        with pytest.raises(
            ConfigError,
            match=r"adapter_names has 2 names (for 3 inputs|and there are more inputs); give one name for all",
        ):
            predictor.predict(inputs, sampling_rate=RATE, adapter_names=["letters", "tags"])
    for one in (sounds(1), drawn(1), sounds(1)[0]):
        with pytest.raises(ConfigError, match="adapter_names has 2 names for 1 input"):
            predictor.predict(one, sampling_rate=RATE, adapter_names=["letters", "tags"])
    for strange in (3, [["tags"]]):
        with pytest.raises(ConfigError, match=r"adapter_names(=3:| has \[).* give a name, or a list with one name"):
            predictor.predict(sounds(1), sampling_rate=RATE, adapter_names=strange)  # type: ignore[arg-type]
    assert predictor.predict([], adapter_names=[]) == []
    assert [row["label"] for row in predictor.predict(sounds(1)[0], sampling_rate=RATE, adapter_names=["tags"])] != []
    mixed = predictor.predictions(drawn(3), sampling_rate=RATE, adapter_names=iter(["tags", "letters", "tags"]))
    assert [one.adapter for one in mixed] == ["tags", "letters", "tags"]


def test_more_labels_than_one_adapter_has_are_all_it_has(predictor: Predictor) -> None:
    names = ["letters", "tags", "digits"]
    found = predictor.predict(sounds(3), sampling_rate=RATE, adapter_names=names, top_k=5)
    assert [len(one) for one in found] == [3, 3, 5]
    with pytest.raises(ConfigError, match="top_k=0"):
        predictor.predict(sounds(3), sampling_rate=RATE, adapter_names=names, top_k=0)


def test_thresholds_may_be_each_adapters_own(predictor: Predictor) -> None:
    names = ["letters", "tags", "digits"]

    def labels(threshold: AdapterThresholds | None) -> list[set[str]]:
        found = predictor.predict(sounds(3), sampling_rate=RATE, top_k=None, adapter_names=names, threshold=threshold)
        return [{one["label"] for one in row} for row in found]

    every = predictor.predict(sounds(3), sampling_rate=RATE, top_k=None, adapter_names=names)
    tags = {one["label"]: one["score"] for one in every[1]}
    own = {label for label, least in predictor.adapters["tags"].thresholds.items() if tags[label] >= least}
    assert labels({name: one.thresholds for name, one in predictor.adapters.items()}) == [
        set("abc"),
        own,
        set("0123456"),
    ]
    assert labels({"tags": {"x": 0.0}}) == [set("abc"), {"x"}, set("0123456")]
    assert labels({"a": 0.0, "5": 0.0}) == [{"a"}, set(), {"5"}]
    assert labels(0.0) == labels(None)
    assert labels(1.0) == [set(), set(), set()]
    with pytest.raises(ConfigError, match="unknown label 'q'"):
        labels({"a": 0.0, "q": 0.0})
    with pytest.raises(ConfigError, match="threshold: unknown adapter 'tag'"):
        labels({"tag": {"x": 0.0}})
    with pytest.raises(ConfigError, match="unknown label 'a'; choose one of: x, y, z"):
        labels({"tags": {"a": 0.0}})


def test_windows_are_each_adapters_own(predictor: Predictor) -> None:
    long = sounds(2, 2.0)
    short, wide = predictor.timelines(long, sampling_rate=RATE, adapter_names=["letters", "digits"])
    assert (short.adapter, len(short.starts), wide.adapter, len(wide.starts)) == ("letters", 4, "digits", 3)
    with pytest.raises(ConfigError, match=r"window=0.9 is longer than .* \(adapter 'letters'\)"):
        list(predictor.timelines(long, window=0.9, sampling_rate=RATE, adapter_names=["digits", "letters"]))
    notes = predictor.notices(
        list(predictor.predictions(long, sampling_rate=RATE, adapter_names=["letters", "digits"]))
    )
    assert [note.partition("input of ")[2][:3] for note in notes] == ["0.5", "1.0"]


def test_rows_for_a_server(predictor: Predictor) -> None:
    names = ["digits", "letters", "tags", "letters"]
    features = [predictor.features(one, name) for one, name in zip(sounds(4), names, strict=True)]
    assert [(one.shape, one.dtype.name) for one in features] == [((n, 128), "float16") for n in (96, 48, 48, 48)]
    rows = predictor.scores(features, names)
    expected = predictor.predict(sounds(4), sampling_rate=RATE, top_k=None, adapter_names=names)
    for row, name, one in zip(rows, names, expected, strict=True):
        scores = dict(zip(predictor.adapters[name].labels, row.tolist(), strict=True))
        assert scores == pytest.approx({entry["label"]: entry["score"] for entry in one}, abs=1e-6)
    assert predictor.scores([], []) == []
    with pytest.raises(
        ConfigError, match=r"features for the adapter 'tags' have the shape \(96, 128\), and it takes \(48, 128\)"
    ):
        predictor.scores(features, ["tags"] * 4)
    with pytest.raises(ConfigError, match="adapter_names has 1 entries for 4 rows of features"):
        predictor.scores(features, ["tags"])
    with pytest.raises(ConfigError, match=r"samples have the shape \(2, 5\) and the type float64"):
        predictor.features(np.zeros((2, 5)), "tags")  # type: ignore[arg-type]


def test_a_job_ends_with_the_adapter_that_it_began_with(predictor: Predictor) -> None:
    held = predictor.adapter("tags")
    features = [held.features(sounds(1)[0])]
    expected = predictor.scores(features, ["tags"])
    running = predictor.predictions(sounds(60), sampling_rate=RATE, adapter_names="tags")
    first = next(running)
    predictor.delete_adapter("tags")
    predictor.load_adapter(adapter("lora", "klmno", seed=7), "tags")
    assert np.array_equal(predictor.scores(features, [held])[0], expected[0])
    assert len(predictor.scores(features, ["tags"])[0]) == 5
    assert {tuple(sorted(one["label"] for one in found.labels)) for found in [first, *running]} == {("x", "y", "z")}


def test_adapters_come_and_go_while_threads_compute(predictor: Predictor) -> None:
    """Each answer is one that some adapter gives alone, and no call fails."""
    given, names, faults = sounds(1)[0], ["letters", "tags", "digits"], list[Exception]()
    features = {name: predictor.features(given, name) for name in names}
    expected = {name: predictor.scores([features[name]], [name])[0] for name in names}
    over, specs = threading.Event(), ("prefix:tokens=4", "convpass", "lora")
    coming = {spec: adapter(spec) for spec in specs}

    def ask(turn: int) -> None:
        try:
            for number in range(25):
                order = [names[(turn + number + one) % 3] for one in range(4)]
                for name, row in zip(order, predictor.scores([features[one] for one in order], order), strict=True):
                    np.testing.assert_allclose(row, expected[name], atol=1e-5, rtol=0)
        except (AstuneError, AssertionError, RuntimeError) as fault:
            faults.append(fault)

    def change() -> None:
        try:
            number = 0
            while not over.is_set():
                number += 1
                for spec, one in coming.items():
                    predictor.load_adapter(one, f"{spec} {number}")
                predictor.set_adapter(names[number % 3])
                for spec in specs:
                    predictor.delete_adapter(f"{spec} {number}")
        except (AstuneError, AssertionError, RuntimeError) as fault:
            faults.append(fault)

    askers = [threading.Thread(target=ask, args=(turn,)) for turn in range(3)]
    changer = threading.Thread(target=change)
    for thread in (*askers, changer):
        thread.start()
    for thread in askers:
        thread.join()
    over.set()
    changer.join()
    assert faults == []
    assert list(predictor.adapters) == names


def test_no_tensor_of_the_backbone_is_in_memory_twice() -> None:
    """Of every method, some adapters twice, with all shells and the classifier of the active one."""
    adapters = [adapter(spec, seed=number) for number, spec in enumerate(SPECS)]
    backbone = load_backbone("random:tiny", 48)
    predictor = Predictor(adapters[0], backbone, adapter_name="0", threads=1)
    for number, one in enumerate(adapters[1:], 1):
        predictor.load_adapter(one, str(number))
    predictor.predict(sounds(len(SPECS)), sampling_rate=RATE, adapter_names=list(map(str, range(len(SPECS)))))
    predictor.set_adapter(str(SPECS.index("lora")))
    shells: Any = predictor._shells
    modules = [predictor.model, *(shell.model for idle in shells._idle.values() for shell in idle)]
    assert len(modules) > len(SPECS) - 3  # two specs may be one method
    storages: dict[int, int] = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    held = sum(parameter.nbytes for parameter in backbone.parameters())
    active = predictor.active.bytes
    assert held <= sum(storages.values()) <= held + 1.05 * active + 64 * len(active_tensors(predictor))


def active_tensors(predictor: Predictor) -> list[torch.Tensor]:
    return list(predictor.active.tensors.values())


def test_adapters_of_one_method_have_one_shell_and_deleted_ones_leave_none(predictor: Predictor) -> None:
    for number in range(20):
        predictor.load_adapter(adapter("prefix:tokens=4", "ab" + "cdefgh"[: number % 5], seed=number), str(number))
    names = list(map(str, range(20)))
    predictor.predict(sounds(20), sampling_rate=RATE, adapter_names=names)
    shells: Any = predictor._shells
    assert {
        kind.method.count("prefix"): len(idle) for kind, idle in shells._idle.items() if "prefix" in kind.method
    } == {1: 1}
    for name in names:
        predictor.delete_adapter(name)
    assert not [kind for kind in shells._idle if "prefix" in kind.method]


def test_a_given_backbone_serves_several_predictors_and_is_not_changed() -> None:
    backbone = load_backbone("random:tiny", 48)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    full, biased = adapter("full-ft", seed=1), adapter("bitfit", seed=2)
    one, other = Predictor(full, backbone, threads=1), Predictor(biased, backbone, threads=1)
    for shared, alone in ((one, Predictor(full, threads=1)), (other, Predictor(biased, threads=1))):
        found, expected = (each.logits(sounds(2), sampling_rate=RATE) for each in (shared, alone))
        assert torch.equal(found, expected)
    assert all(torch.equal(tensor.cpu(), before[name]) for name, tensor in backbone.state_dict().items())
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    with pytest.raises(ConfigError, match="serves a Predictor, whose scores would change with its weights"):
        AudioClassifier(backbone, "lora", ["a", "b"])
    taken = load_backbone("random:tiny", 48)
    AudioClassifier(taken, "lora", ["a", "b"])
    with pytest.raises(ConfigError, match="belongs to another classifier"):
        Predictor(full, taken)


def test_training_a_predictors_model_changes_nothing_else(predictor: Predictor) -> None:
    given = adapter(seed=3)
    before = {name: tensor.clone() for name, tensor in given.tensors.items()}
    predictor.load_adapter(given, "given")
    expected = predictor.predict(sounds(1), sampling_rate=RATE, adapter_names="letters")
    predictor.set_adapter("given")
    optimizer = torch.optim.SGD(predictor.model.trained_parameters().values(), lr=0.1)
    inputs, targets = torch.randn(2, 48, 128), torch.tensor([0, 1])
    predictor.model(inputs.to(predictor.device), targets.to(predictor.device)).loss.backward()
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.tensors.items())
    assert predictor.predict(sounds(1), sampling_rate=RATE, adapter_names="letters") == expected


def test_another_precision_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    half = adapter(seed=1)
    half = Adapter(half.config.model_copy(update={"compute_dtype": "bfloat16"}), half.tensors, "half")
    predictor = Predictor(adapter(), threads=1)
    predictor.load_adapter(half, "half")
    assert "half was trained in bfloat16; this Predictor computes in float32" in capsys.readouterr().err
    assert predictor.precision == "float32"
    chosen = Predictor(adapter(), precision="float32", threads=1)
    chosen.load_adapter(half, "half")
    assert capsys.readouterr().err == ""


def test_it_says_what_it_has(predictor: Predictor) -> None:
    assert repr(predictor).endswith(f"{predictor.device}, float32, and 2 other adapters)")
    assert "3 adapters (letters, tags, digits)" in predictor._repr_html_()
    predictor.delete_adapter("tags")
    assert repr(predictor).endswith("and 1 other adapter)")


def test_a_copy_is_a_predictor_of_its_own(predictor: Predictor) -> None:
    names = list(predictor.adapters)
    wanted = predictor.predict(sounds(3), sampling_rate=RATE, adapter_names=names)
    for twin in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):  # noqa: S301 - our own
        assert twin.predict(sounds(3), sampling_rate=RATE, adapter_names=names) == wanted
        twin.delete_adapter("tags")
    assert list(predictor.adapters) == names
