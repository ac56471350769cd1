"""The predictor: what it takes, what it gives, what it refuses, and the loop under it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import astune
from astune import AudioClassifier, Predictor, load_backbone
from astune.compute import Arithmetic
from astune.errors import AdapterError, AudioError, AudioWarning, ConfigError, DataError, NumericalError
from astune.features import FeatureCache
from astune.inference.batches import ahead, fetch_ahead, outputs, slices

RATE = 16_000  # Hz
LABELS = ("a", "b", "c", "d", "e", "f")


def classifier() -> AudioClassifier:
    torch.manual_seed(0)
    return AudioClassifier(load_backbone("random:tiny", 48), "lora", LABELS)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    classifier().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def predictor(adapter: Path) -> Predictor:
    return Predictor(adapter, device="cpu")


def noise(samples: int = 9_000, channels: int | None = None) -> np.ndarray[Any, Any]:
    return np.random.default_rng(samples).normal(0, 0.1, samples if channels is None else (channels, samples))


def written(path: Path, sound: np.ndarray[Any, Any], rate: int = RATE, **how: Any) -> Path:
    soundfile.write(path, sound.T, rate, **how)
    return path


def test_one_input_gives_a_list_and_several_give_a_list_of_lists(predictor: Predictor, tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", noise())
    one = predictor.predict(path)
    assert [list(entry) for entry in one] == [["label", "score"]] * 5
    scores = [entry["score"] for entry in one]
    assert scores == sorted(scores, reverse=True)
    assert predictor.predict([path]) == [one]
    assert predictor.predict(str(path)) == one
    assert predictor.predict([]) == []
    everything = predictor.predict(path, top_k=None)
    assert sum(entry["score"] for entry in everything) == pytest.approx(1, abs=1e-6)
    assert predictor.predict(path, top_k=99) == everything  # as transformers' pipeline does
    assert len(predictor.predict(path, top_k=1)) == 1
    assert predictor.predict(path, top_k=np.int64(2)) == everything[:2]  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [16_000, 8_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [None, 2, 8])
def test_an_array_scores_as_the_file_that_holds_it(
    rate: int, channels: int | None, predictor: Predictor, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.wav", noise(3 * rate, channels), rate, subtype="FLOAT")  # longer than the input
    held, _ = soundfile.read(path, dtype="float32")
    expected = predictor.logits(path)
    forms = [
        held,
        held.T,
        held.astype(np.float64),
        torch.from_numpy(held.T.copy()),
        torch.from_numpy(held).requires_grad_(),
        {"array": held, "sampling_rate": rate},
        {"raw": held.T, "sampling_rate": float(rate), "path": "x"},
        np.ma.masked_array(held),
        torch.complex(torch.from_numpy(held), torch.from_numpy(-held)).conj().imag,
    ]
    for form in forms:
        assert torch.equal(predictor.logits(form, sampling_rate=rate), expected)
    told = [next(predictor.predictions(one, sampling_rate=rate)).record() for one in (path, held)]
    assert told[0].pop("file") == str(path)
    assert told[1].pop("file") == "inputs"
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("subtype", "kind"), [("PCM_16", "int16"), ("PCM_32", "int32"), ("PCM_U8", "uint8"), ("PCM_S8", "int8")]
)
def test_integers_are_scaled_as_in_files(subtype: str, kind: str, predictor: Predictor, tmp_path: Path) -> None:
    path = written(tmp_path / f"a.{'aiff' if kind == 'int8' else 'wav'}", noise(), subtype=subtype)
    wide, _ = soundfile.read(path, dtype="int32" if kind == "int32" else "int16")
    given = {"int8": wide >> 8, "uint8": (wide >> 8) + 128}.get(kind, wide).astype(kind)
    assert torch.equal(predictor.logits(given, sampling_rate=RATE), predictor.logits(path))


def test_inputs_may_be_mixed_and_drawn_from_a_generator(predictor: Predictor, tmp_path: Path) -> None:
    sounds = [noise(5_000 + 100 * number).astype(np.float32) for number in range(40)]  # more than two batches
    paths = [written(tmp_path / f"{number}.wav", sound, subtype="FLOAT") for number, sound in enumerate(sounds)]
    expected = predictor.predict(paths)
    mixed = [sound if number % 2 else path for number, (path, sound) in enumerate(zip(paths, sounds, strict=True))]
    assert predictor.predict(mixed, sampling_rate=RATE) == expected
    assert predictor.predict(tuple({"array": sound, "sampling_rate": RATE} for sound in sounds)) == expected

    def one_array_again_and_again() -> Iterator[np.ndarray[Any, Any]]:
        held = np.zeros(10_000, np.float32)
        for sound in sounds:
            held[: len(sound)] = sound
            yield held[: len(sound)]

    assert predictor.predict(one_array_again_and_again(), sampling_rate=RATE) == expected


@pytest.mark.parametrize(
    ("given", "rate", "fault"),
    [
        (noise(), None, r"inputs is an array, which does not say its rate; give sampling_rate="),
        ({"array": noise()}, None, r"inputs\['array'\] is an array, which does not say its rate"),
        ([noise()], 0, r"sampling_rate=0 of inputs\[0\]: give a whole number of Hz"),
        (noise(), 44_100.5, "sampling_rate=44100.5"),
        (noise(), "16k", "sampling_rate='16k'"),
        (noise(), True, "sampling_rate=True"),
        (noise(), "16000", "sampling_rate='16000'"),
        (
            torch.zeros(900).to_sparse(),
            RATE,
            r"inputs is a torch\.sparse_coo tensor on cpu that cannot be read; give a dense one",
        ),
        (torch.zeros(900, device="meta"), RATE, "tensor on meta that cannot be read"),
        (noise(500, 9), RATE, r"the shape \(9, 500\), and recordings have 8 channels at most; .* a list of arrays"),
        (np.zeros((2, 3)), RATE, r"the shape \(2, 3\), too short to tell channels from samples"),
        (np.zeros((4, 1, 900)), RATE, r"the shape \(4, 1, 900\); give \(samples,\) or \(channels, samples\)"),
        (np.zeros(900, np.int64), RATE, "an array of int64; give float samples"),
        (np.zeros(900, complex), RATE, "an array of complex128"),
        (np.array(["a.wav"]), RATE, "an array of <U5"),
        ([0.1, 0.2], RATE, r"inputs\[0\] is of type float; give a path, an array"),
        ([[noise()]], RATE, r"inputs\[0\] is of type list"),
        (None, None, "inputs is of type NoneType"),
        (b"RIFF", None, "inputs is of type bytes"),
        ({"bytes": b"", "path": "a.wav"}, None, r"inputs holds 'bytes', 'path', but no 'array' \(or 'raw'\)"),
        (["a.wav", ""], None, r"inputs\[1\] is ''; give the path"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(
    given: object, rate: object, fault: str, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=fault):
        predictor.logits(given, sampling_rate=rate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "rate", "fault"),
    [
        (np.zeros(0), RATE, "inputs: it holds no samples"),
        (np.zeros((1, 0)), RATE, "no samples|too short"),
        (np.zeros((0, 900)), RATE, "no samples"),
        (np.zeros((900, 0)), RATE, "no samples"),
        (
            noise(),
            10**15,
            r"sampling_rate is 1000000000000000 samples a second; a recording may have from 40 to 10,000,000",
        ),
        (np.full(900, np.nan), RATE, "samples that are not finite numbers"),
        (np.full(900, np.inf), RATE, "samples that are not finite numbers"),
        (np.full(900, 1e300), RATE, "samples that are not finite numbers"),
        (noise(), 20, "sampling_rate is 20 samples a second; a rate below 40"),
    ],
)
def test_broken_arrays_are_refused_as_broken_files_are(
    given: np.ndarray[Any, Any], rate: int, fault: str, predictor: Predictor
) -> None:
    with pytest.raises((AudioError, ConfigError), match=fault):
        predictor.predict(given, sampling_rate=rate)


def test_a_broken_file_among_many_is_raised_or_returned(predictor: Predictor, tmp_path: Path) -> None:
    good, bad = written(tmp_path / "a.wav", noise()), tmp_path / "b.wav"
    bad.write_bytes(b"no sound")
    for one in (bad, [good, bad]):
        with pytest.raises(AudioError, match=r"b\.wav"):
            predictor.predict(one)
    with pytest.raises(AudioError, match=r"b\.wav"):
        predictor.logits([good, bad])
    found = predictor.predict([bad, good, bad], errors="return")
    assert [isinstance(one, AudioError) for one in found] == [True, False, True]
    assert found[1] == predictor.predict(good)
    assert isinstance(predictor.predict(bad, errors="return"), AudioError)
    assert all(isinstance(one, AudioError) for one in predictor.predict([bad] * 40, errors="return"))
    with pytest.raises(ConfigError, match="unknown errors 'ignore'; choose one of: raise, return"):
        predictor.predict(good, errors="ignore")  # type: ignore[arg-type]
    for count in (0, True, 2.0):
        with pytest.raises(ConfigError, match=f"top_k={count}: give 1 or more"):
            predictor.predict(good, top_k=count)  # type: ignore[arg-type]


def test_what_was_heard_is_told(predictor: Predictor) -> None:
    sounds = [np.zeros(900), noise(RATE * 3)]
    silent, long = predictions = list(predictor.predictions(sounds, sampling_rate=RATE))
    assert silent.doubts == ("digital silence: every sample is 0",)
    assert (silent.windows, silent.used_part) == (1, "")
    assert (long.seconds, long.heard_seconds, long.windows) == (3.0, 3.0, 7)  # six of 0.495 s and the rest
    assert long.used_part == "mean of 7 windows over 3.0 s"
    told = predictor.notices(predictions)
    assert told[0] == (
        "Note: 1 of 2 files is longer than the input of 0.5 s and heard in consecutive windows; scores are the mean over them"
    )
    assert told[1].startswith("Warning: digital silence: 1 of 2 files: inputs[0]")


def test_the_beginning_alone_is_heard_where_that_is_asked_for(predictor: Predictor) -> None:
    sounds = [np.zeros(900), noise(RATE * 3)]
    _, long = predictions = list(predictor.predictions(sounds, sampling_rate=RATE, pool="first"))
    assert (long.seconds, long.heard_seconds, long.windows) == (3.0, 0.495, 1)  # 48 frames
    assert long.used_part == "its first 0.5 of 3.0 s"
    told = predictor.notices(predictions)
    assert told[0].startswith("Note: 1 of 2 files is longer than the input: only the first 0.5 s are used")
    assert told[1].startswith("Warning: digital silence: 1 of 2 files: inputs[0]")
    with pytest.warns(AudioWarning, match="digital silence"):
        expected = predictor.logits(sounds, sampling_rate=RATE).softmax(dim=-1)
    for prediction, row in zip(predictions, expected, strict=True):
        assert [entry["score"] for entry in prediction.labels] == row.sort(descending=True).values[:5].tolist()
    with pytest.raises(ConfigError, match="unknown pool 'median'; choose one of: mean, max, first"):
        predictor.predict(sounds, sampling_rate=RATE, pool="median")  # type: ignore[arg-type]


def test_embeddings_are_what_the_head_sees_and_can_be_trained_on(predictor: Predictor) -> None:
    sounds = [noise(9_000 + number) for number in range(20)]
    embedded = predictor.embed(sounds, sampling_rate=RATE)
    assert embedded.shape == (20, predictor.model.sites.width)
    logits = predictor.logits(sounds, sampling_rate=RATE)
    assert logits.shape == (20, len(LABELS))
    torch.testing.assert_close(predictor.model.head(embedded), logits, atol=1e-6, rtol=1e-5)
    head = torch.nn.Linear(embedded.shape[1], 2)
    head(embedded).sum().backward()  # values computed for inference alone would refuse
    assert head.weight.grad is not None
    assert predictor.logits([]).shape == (0, len(LABELS))


def test_numbers_that_are_not_finite_are_refused() -> None:
    model = classifier()
    with torch.no_grad():
        model.head.weight.fill_(3e38)
    predictor = Predictor(model)
    with pytest.raises(NumericalError, match="1 of 1 clips scores that are not finite"):
        predictor.logits(noise(), sampling_rate=RATE)
    with pytest.raises(NumericalError, match="its scores are not numbers"):
        predictor.predict(noise(), sampling_rate=RATE)


def test_a_classifier_is_used_as_it_is() -> None:
    model = classifier().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    half = Predictor(model, precision="bfloat16").logits(noise(), sampling_rate=RATE)
    whole = Predictor(model).logits(noise(), sampling_rate=RATE)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, atol=0.05, rtol=0.05)  # bfloat16 holds three digits
    with pytest.raises(ConfigError, match="backbone cannot be given together with a classifier"):
        Predictor(model, "bundled")


def test_the_precision_is_the_one_of_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    classifier().save_pretrained(tmp_path, compute_dtype="bfloat16")
    predictor = Predictor(tmp_path, device="cpu")
    assert predictor.precision == "bfloat16"
    slow = not Arithmetic.of(torch.device("cpu")).bf16
    assert (
        "was trained in bfloat16 and computes in it, which is slow on this device" in capsys.readouterr().err
    ) == slow
    chosen = Predictor(tmp_path, device="cpu", precision="float32")
    assert (chosen.precision, capsys.readouterr().err) == ("float32", "")
    assert torch.equal(
        predictor.logits(noise(), sampling_rate=RATE),
        Predictor(classifier(), precision="bfloat16").logits(noise(), sampling_rate=RATE),
    )
    file = tmp_path / "adapter_config.json"
    file.write_text(file.read_text().replace('"bfloat16"', '"int4"'))
    with pytest.raises(AdapterError, match="compute_dtype is 'int4', neither float32 nor bfloat16"):
        Predictor(tmp_path)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"device": "gpu"}, r"device='gpu' cannot be used; here there is cpu"),
        ({"device": "cuda:99"}, r"device='cuda:99' cannot be used"),
        ({"device": "meta"}, r"device='meta' cannot be used"),
        ({"precision": "float16"}, "unknown precision 'float16'; choose one of: float32, bfloat16"),
        ({"threads": 0}, "threads=0: give a whole number of 1 or more"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"threads": True}, "threads=True: give a whole number"),
    ],
)
def test_settings_are_refused_in_words(settings: dict[str, Any], fault: str, adapter: Path) -> None:
    with pytest.raises(ConfigError, match=fault):
        Predictor(adapter, **settings)


def test_it_says_what_it_is(predictor: Predictor, adapter: Path) -> None:
    assert repr(predictor) == (
        f"Predictor({str(adapter)!r}: lora on random:tiny, 6,144 trained parameters, 6 classes (a, b, c, ...), "
        "input of 48 frames (0.5 s), cpu, float32)"
    )


def test_one_line_calls(adapter: Path, predictor: Predictor, generated: Path, tmp_path: Path) -> None:
    expected = predictor.predict(noise(), sampling_rate=RATE, top_k=2)
    assert astune.predict(adapter, noise(), sampling_rate=RATE, top_k=2, device="cpu", threads=1) == expected
    model = AudioClassifier(load_backbone("random:tiny", 48), "linear", astune.load_data(str(generated)).labels)
    model.save_pretrained(tmp_path)
    scored = astune.evaluate(tmp_path, str(generated), split="all", device="cpu")
    assert (scores := scored.record())["clips"] == 72
    assert json.dumps(scores)
    again = astune.evaluate(model, astune.load_data(str(generated)), split="all", device="cpu")
    assert again.scores == scored.scores
    assert (scored.adapter, scored.skipped, scored.trained_on, scored.warning) == (str(tmp_path), 0, (), None)
    with pytest.raises(ConfigError, match=r"unknown split 'tset'; .* did you mean 'test'"):
        astune.evaluate(model, str(generated), split="tset")
    with pytest.raises(DataError, match="classes the adapter does not know"):
        predictor.evaluate(str(generated))


def test_standard_input_goes_to_the_first_who_asks(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that read it at a time would each get a part."""
    clip = written(tmp_path / "a.wav", noise())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(clip.read_bytes())))
    first, file, second = predictor.predict(["-", clip, "-"], errors="return")
    assert first == file
    assert "nothing came through it" in str(second)


def test_work_is_done_ahead_in_order_and_not_without_end() -> None:
    drawn: list[int] = []
    usual = torch.get_num_threads()

    def endless() -> Iterator[int]:
        while True:
            drawn.append(len(drawn))
            yield drawn[-1]

    numbers = ahead(lambda item: (item, torch.get_num_threads()), endless(), threads=3, waiting=5)
    assert [next(numbers) for _ in range(4)] == [(item, 1) for item in range(4)]
    assert len(drawn) == 9
    numbers.close()
    seen: list[int] = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [torch.get_num_threads()] == [usual]


def test_what_fails_in_a_thread_is_raised_where_it_is_asked_for() -> None:
    numbers = ahead(lambda item: 1 // item, [1, 0], threads=2, waiting=4)
    assert next(numbers) == 1
    with pytest.raises(ZeroDivisionError):
        next(numbers)


def test_the_loop_leaves_the_caller_as_it_was() -> None:
    model = classifier().train()
    features = FeatureCache(np.zeros((5, 48, 128), np.float16))
    arithmetic = Arithmetic.of(torch.device("cpu"), bf16=True)
    modes = []

    def compute(batch: torch.Tensor) -> torch.Tensor:
        modes.append((model.training, torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")))
        logits: torch.Tensor = model(batch).logits
        return logits

    loop = outputs(model, compute, fetch_ahead(features, [*slices(range(5), 2), []]), arithmetic)
    for clips, rows in loop:
        assert model.training
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert (len(rows), rows.dtype) == (len(clips), torch.float32)
    assert modes == [(False, True, True)] * 3


@pytest.mark.parametrize("name", ["predict", "logits", "embed"])
def test_python_is_warned_of_suspicious_recordings(name: str) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 48), "linear", ["a", "b"])
    call = getattr(Predictor(model), name)
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    with pytest.warns(AudioWarning) as caught:
        call([noise, 0 * noise, 3e5 * noise], sampling_rate=16_000)
    assert [str(one.message)[:45] for one in caught] == [
        "digital silence: 1 of 3 recordings: inputs[1]",
        "far outside of -1 to 1: 1 of 3 recordings: in",
    ]
    assert {Path(one.filename).name for one in caught} == {"test_predictor.py"}
