"""Every public constructor, found automatically, refuses what it cannot use with an error of ours."""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import importlib
import inspect
import json
import math
import pickle
import pkgutil
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import astune
from astune import AudioClassifier, load_backbone, parse_method
from astune.backbone import Backbone
from astune.data import AudioDataset, DataRecipe, load_data
from astune.data.audio import read_audio
from astune.data.generated import write_generated
from astune.errors import AstuneError, ConfigError
from astune.experiments.comparison import Comparison
from astune.experiments.plan import PlanOptions
from astune.experiments.table import DataEntry, Row, Table
from astune.features import FrontEnd, LongFeatures, Patchout, SpecAugment
from astune.inference.request import Request
from astune.methods import FAMILIES, PRESETS, Method
from astune.methods.base import Sum
from astune.tasks import SINGLE_LABEL
from astune.training.config import TrainConfig
from astune.validated import Validated
from tests.graphs import write_graph

# What attaches methods to a backbone is made by AudioClassifier alone; users and methods are given it.
NOT_CONSTRUCTED = {"Sites", "SubLayer"}
WRONG: tuple[object, ...] = (
    object(),
    "no such value",
    -1,
    0,
    10**12,
    math.nan,
    math.inf,
    True,
    None,
    b"x",
    [],
    {},
    (),
    {"a": 1},
    torch.zeros(2),
)


def exported() -> Iterator[type]:
    """Classes that a package of ours exports."""
    packages = [info.name for info in pkgutil.walk_packages(astune.__path__, "astune.") if info.ispkg]
    for name in ("astune", *packages):
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isclass(value) and value.__module__.startswith("astune.") and public not in NOT_CONSTRUCTED:
                yield value


def constructors() -> list[type]:
    found = {*exported(), *FAMILIES.values(), Sum, Table, Row, DataEntry, PlanOptions}
    return sorted(
        (cls for cls in found if not inspect.isabstract(cls) and not issubclass(cls, BaseException)),
        key=lambda cls: f"{cls.__module__}.{cls.__name__}",
    )


CONSTRUCTORS = constructors()


@functools.cache
def sounds() -> AudioDataset:
    """A small data set."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return load_data(write_generated(folder, clips_per_class=(1, 0, 0), seconds=0.2))


def graph() -> Path:
    """A small exported graph."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return write_graph(folder / "made.onnx")


NOISE = LongFeatures(np.zeros((1, 16, 128), np.float16), (0,), (16,), {})

LINEAR = AudioClassifier(load_backbone("random:tiny", 32), "linear", ["a", "b"])
EXAMPLES: dict[str, dict[str, object]] = {
    "AdapterDescription": {
        "adapter": "birds",
        "method": "linear",
        "task": "single-label",
        "labels": ("a", "b"),
        "negative_labels": (),
        "thresholds": {},
        "backbone": "bundled",
        "backbone_fingerprint": "0",
        "max_length": 32,
        "input_seconds": 0.3,
        "trainable_parameters": 386,
        "stored_parameters": 770,
        "file_bytes": 4000,
        "compute_dtype": "float32",
        "recipe": None,
        "training": {},
        "scores": {},
        "astune_version": None,
        "versions": {},
    },
    "AudioClassifier": {"backbone": load_backbone("random:tiny", 32), "method": "linear", "labels": ["a", "b"]},
    "AudioDataset": {"source": "folder:x", "clips": (), "labels": ("a", "b"), "recipe": DataRecipe()},
    "Backbone": {"model": load_backbone("random:tiny", 32).model, "origin": load_backbone("random:tiny", 32).origin},
    "BackgroundNoise": {"noise": NOISE, "min_snr_db": 3.0, "max_snr_db": 30.0, "front_end": FrontEnd(16), "seed": 0},
    "Clip": {"name": "a", "path": Path("a.wav"), "labels": ("a",)},
    "ClipFeatures": {"features": np.zeros((2, 3)), "seconds": 1.0, "heard_seconds": 1.0, "doubts": ()},
    "Comparison": {
        "task": "single-label",
        "methods": (),
        "test_clips": 0,
        "tested_share": 0.0,
        "name": "compare-x",
        "data": "x",
        "design": (),
    },
    "DataEntry": {"name": "esc50"},
    "Embeddings": {
        "values": np.zeros((1, 3), np.float32),
        "names": ("a",),
        "files": ("a.wav",),
        "starts": np.zeros(1),
        "ends": np.ones(1),
    },
    "Exported": {"format": "onnx", "path": Path("a.onnx"), "size": 1},
    "FeatureCache": {"features": np.zeros((1, 2, 3))},
    "FeatureDataset": {"dataset": sounds(), "split": "all", "front_end": FrontEnd(16), "quiet": True},
    "FrontEnd": {"max_length": 64},
    "Gain": {"largest": 6.0, "front_end": FrontEnd(16), "seed": 0},
    "LabelSmoothing": {"factor": 0.1, "task": SINGLE_LABEL, "classes": 3},
    "LongFeatures": {"features": np.zeros((1, 16, 128)), "first_rows": (0,), "frames": (16,), "broken": {}},
    "Mixup": {
        "alpha": 0.2,
        "partners": (0, 1),
        "hear": print,
        "front_end": FrontEnd(16),
        "task": SINGLE_LABEL,
        "classes": 3,
        "seed": 0,
    },
    "OnnxPredictor": {"path": graph()},
    "Origin": {"name": "mine", "fingerprint": "0", "position_embeddings": "fit"},
    "PassedOver": {"kind": "files", "count": 1, "examples": ("a",)},
    "Patchout": {"share": 0.5, "mode": "structured", "grid": (12, 3), "seed": 0},
    "Point": {
        "method": "lora",
        "parameters": 1,
        "accuracy": 0.5,
        "low": 0.4,
        "high": 0.6,
        "series": "test",
        "panel": "x",
    },
    "Predictor": {"adapter": LINEAR},
    "RandomCrop": {"longer": {0: 20}, "part": None, "max_length": 16, "seed": 0},
    "Row": {"name": "a", "method": "lora"},
    "SearchResult": {
        "name": "search-x-1000",
        "parameters": 1000,
        "rungs": (),
        "found": (),
        "single": (),
        "comparison": Comparison(
            task=None, methods=(), test_clips=0, tested_share=0.0, name="search-x-1000", data="x", design=()
        ),
    },
    "Source": {"name": "a", "adapter": LINEAR.to_adapter(), "model": LINEAR},
    "SpecAugment": {"freq_mask": 24, "time_mask": 80, "seed": 0},
    "Split": {"train": (0,), "validation": (), "test": (1,)},
    "Sum": {"parts": (parse_method("lora"),)},
    "Table": {"title": "x", "datasets": ["esc50"], "rows": [{"name": "a", "method": "lora"}]},
    "TimeShift": {"longest": 0.1, "max_length": 16, "seed": 0},
    "TrainConfig": {"data": "x", "output_dir": "y"},
    "WaveformAugmentation": {"function": print, "clips": (), "front_end": FrontEnd(16), "seed": 0},
}
"""Values that a constructor takes, where some of its fields have no default; each field is then made wrong by itself."""


def fields_of(cls: type) -> list[str]:
    return list(cls.model_fields) if issubclass(cls, Validated) else list(inspect.signature(cls).parameters)


@pytest.mark.parametrize("cls", CONSTRUCTORS, ids=lambda cls: cls.__name__)
def test_it_takes_its_example(cls: type) -> None:
    example = EXAMPLES.get(cls.__name__, {})
    fresh = {"backbone": load_backbone("random:tiny", 32)} if isinstance(example.get("backbone"), Backbone) else {}
    cls(**example | fresh)


def test_there_are_constructors() -> None:
    names = {cls.__name__ for cls in CONSTRUCTORS}
    assert {
        "AudioClassifier",
        "TrainConfig",
        "FrontEnd",
        "DataRecipe",
        "Clip",
        "Patchout",
        "SpecAugment",
        "LoRA",
        "Predictor",
    } <= names


@pytest.mark.parametrize("cls", CONSTRUCTORS, ids=lambda cls: cls.__name__)
def test_an_unknown_field_is_refused_by_name(cls: type) -> None:
    with pytest.raises(ConfigError, match="no_such_field"):
        cls(no_such_field=1)


@pytest.mark.parametrize("cls", CONSTRUCTORS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_a_wrong_value_is_taken_or_refused_by_us(cls: type, value: object) -> None:
    """For every field by itself and for all of them; a number may be right for one field and wrong for the next."""
    names = fields_of(cls)
    example = EXAMPLES.get(cls.__name__, {})
    for given in (*(example | {name: value} for name in names), dict.fromkeys(names, value)):
        with contextlib.suppress(AstuneError):
            cls(**given)


NUMPY: dict[type, type] = {int: np.int64, float: np.float32, bool: np.bool_, str: np.str_}


def scalars_of(cls: type) -> dict[str, object]:
    """Fields of a class that have a number, a text or a truth value, in its example or by default, as NumPy has them."""
    values = dict(EXAMPLES.get(cls.__name__, {}))
    if issubclass(cls, Validated):
        fields = {name: info.default for name, info in cls.model_fields.items()}
    else:
        fields = {name: one.default for name, one in inspect.signature(cls).parameters.items()}
    values = fields | values
    return {name: NUMPY[type(value)](value) for name, value in values.items() if type(value) in NUMPY}


def held(value: object) -> Iterator[object]:
    """What an object holds, at any depth."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for one in inner:
        yield from held(one)


@pytest.mark.parametrize("cls", CONSTRUCTORS, ids=lambda cls: cls.__name__)
def test_numpy_scalars_become_pythons_own(cls: type) -> None:
    """Records are JSON, and keys of caches and of random numbers are made of it."""
    example = EXAMPLES.get(cls.__name__, {})
    fresh = {"backbone": load_backbone("random:tiny", 32)} if isinstance(example.get("backbone"), Backbone) else {}
    made = cls(**example | scalars_of(cls) | fresh)
    assert not [one for one in held(dict(vars(made))) if isinstance(one, np.generic)]


def test_there_are_numpy_scalars_to_test() -> None:
    found = {cls.__name__: set(scalars_of(cls)) for cls in CONSTRUCTORS}
    assert {"max_length", "num_mel_bins", "mean", "std"} <= found["FrontEnd"]
    assert {"seed", "weight_decay", "resume", "method"} <= found["TrainConfig"]
    assert {"batch_size"} <= found["Predictor"]


def test_calls_take_numpy_scalars_too(tmp_path: Path) -> None:
    second: Any = np.float32(0.25)  # NumPy's stubs do not call it a float
    half: Any = np.float16(0.125)
    whole: Any = np.int64
    data = load_data(write_generated(tmp_path / "a", clips_per_class=(3, 0, 0), seconds=np.float64(0.5), seed=whole(1)))
    same = write_generated(tmp_path / "b", clips_per_class=(3, 0, 0), seconds=0.5, seed=1)
    assert [clip.path.read_bytes() for clip in data.clips] == [
        path.read_bytes() for path in sorted(same.rglob("*.wav"))
    ]
    assert data.split(seed=whole(3)) == data.split(seed=3)
    path, backbone = data.clips[0].path, load_backbone("random:tiny", whole(48)).fit(whole(50))
    assert (type(backbone.max_length), backbone.max_length) == (int, 50)
    np.testing.assert_array_equal(read_audio(path, second, half), read_audio(path, 0.25, 0.125))
    predictor = astune.Predictor(AudioClassifier(backbone, "linear", ["a", "b"]), threads=whole(1))
    timeline = predictor.timeline(path, window=second, hop=half)
    plain = predictor.timeline(path, window=0.25, hop=0.125)
    assert (timeline.window, timeline.hop, timeline.starts.tolist()) == (0.25, 0.125, plain.starts.tolist())
    assert timeline.events(half, half, half, second) == plain.events(0.125, 0.125, 0.125, 0.25) != []
    assert timeline.events({"a": half}) == plain.events({"a": 0.125})
    request = Request("events", second, half, whole(2), threshold={"a": half}, low=half, min_length=half)
    assert json.loads(json.dumps(request.record())) == {
        "kind": "events", "window": 0.25, "hop": 0.125, "top_k": 2, "pool": "mean", "threshold": {"a": 0.125},
        "low": 0.125, "min_length": 0.125, "merge_gap": 0.0,
    }  # fmt: skip
    assert predictor.predict(path, top_k=whole(1)) == predictor.predict(path, top_k=1)
    samples = read_audio(path)
    assert predictor.predict(samples, sampling_rate=whole(16000)) == predictor.predict(path)


def test_a_field_of_the_wrong_type_is_named_with_what_is_wanted() -> None:
    with pytest.raises(ConfigError, match="FrontEnd: max_length='64' is of type str; give a whole number"):
        FrontEnd("64")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"FrontEnd: unknown field 'max_lenght'.*did you mean 'max_length'"):
        FrontEnd(max_length=64, max_lenght=64)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="SpecAugment: 2 faults\n  - time_mask is missing\n  - seed is missing"):
        SpecAugment(1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"Patchout: unknown mode 'some'.*unstructured"):
        Patchout(0.5, "some", (2, 3), 0)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="Patchout: grid=3 is of type int; give a tuple of 2: a whole number, a whole number"
    ):
        Patchout(0.5, "structured", 3, 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="it takes 4 values at most"):
        FrontEnd(64, 128, 0.0, 1.0, 2)  # type: ignore[call-arg]


def test_faults_inside_of_a_part_are_named_with_their_place() -> None:
    with pytest.raises(
        ConfigError, match=r"rows\.1: 2 faults|rows\.1: method is missing\n  - rows\.1: unknown field 'metod'"
    ):
        Table(title="x", datasets=["esc50"], rows=[{"name": "a", "method": "lora"}, {"name": "b", "metod": "lora"}])


@pytest.mark.parametrize("method", PRESETS.values(), ids=PRESETS)
def test_methods_are_copied_and_pickled_as_before(method: Method) -> None:
    assert pickle.loads(pickle.dumps(method)) == method  # noqa: S301 - our own
    assert copy.deepcopy(method) == method.model_copy() == method


def test_other_values_are_copied_and_pickled_as_before() -> None:
    front_end = FrontEnd(64)
    assert pickle.loads(pickle.dumps(front_end)) == copy.deepcopy(front_end) == front_end  # noqa: S301 - our own
    config = TrainConfig(data="x", output_dir="y", seed=3)
    assert config.model_copy(update={"seed": 4}).seed == 4
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own
