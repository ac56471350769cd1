"""The classifier as any PyTorch model: in a plain loop, in Accelerate's, in transformers' Trainer; copied, pickled, cast."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

import astune
from astune.data import AudioDataset, load_data
from astune.data.audio import read_audio
from astune.errors import ConfigError
from astune.features import FeatureCache, build_cache

LABELS = ("buzz", "hiss", "tick")
FRAMES = 32


def classifier(method: str = "lora", labels: tuple[str, ...] = LABELS) -> astune.AudioClassifier:
    torch.manual_seed(0)
    return astune.AudioClassifier(astune.load_backbone("random:tiny", max_length=FRAMES), method, labels)


@pytest.fixture(scope="module")
def sounds(generated: Path) -> tuple[AudioDataset, FeatureCache]:
    dataset = load_data(generated)
    front_end = classifier(labels=tuple(dataset.labels)).front_end
    return dataset, build_cache(dataset.paths, front_end, quiet=True)


def clips(sounds: tuple[AudioDataset, FeatureCache], split: Literal["train", "validation"]) -> astune.FeatureDataset:
    """Features and class indices under the names transformers expects."""
    return astune.FeatureDataset(sounds[0], split, front_end=classifier(labels=sounds[0].labels), quiet=True)


def untrained(model: astune.AudioClassifier) -> dict[str, Tensor]:
    """Copies of all that must not move."""
    trained = {id(parameter) for parameter in model.trained_parameters().values()}
    return {name: p.detach().clone() for name, p in model.named_parameters() if id(p) not in trained}


def trained(model: astune.AudioClassifier) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.trained_parameters().items()}


def assert_only_trained_moved(
    model: astune.AudioClassifier, frozen: dict[str, Tensor], before: dict[str, Tensor]
) -> None:
    after = dict(model.named_parameters())
    assert frozen
    assert all(torch.equal(tensor, after[name]) for name, tensor in frozen.items())
    still = [name for name, p in model.trained_parameters().items() if torch.equal(p, before[name])]
    assert not still


@pytest.mark.parametrize("method", ["lora", "bottleneck", "bitfit"])
def test_a_plain_loop(method: str, sounds: tuple[AudioDataset, FeatureCache]) -> None:
    model = classifier(method, tuple(sounds[0].labels)).train()
    frozen, before = untrained(model), trained(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    batch = next(iter(DataLoader(clips(sounds, "train"), batch_size=12, shuffle=True, generator=torch.Generator())))
    losses = []
    for _ in range(15):
        loss = model(**batch).loss
        assert loss is not None
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert_only_trained_moved(model, frozen, before)


def test_what_requires_a_gradient_is_what_is_trained() -> None:
    model = classifier("bitfit+lora")
    wanted = {id(parameter) for parameter in model.trained_parameters().values()}
    assert {id(parameter) for parameter in model.parameters() if parameter.requires_grad} == wanted


def test_loss_is_given_with_labels_alone_and_output_has_transformers_shape() -> None:
    model = classifier().eval()
    inputs, labels = torch.randn(2, FRAMES, 128), torch.tensor([0, 2])
    with torch.no_grad():
        bare, full = model(inputs), model(input_values=inputs, labels=labels)
    assert bare.loss is None
    assert full.logits.shape == (2, len(LABELS))
    assert torch.equal(bare.logits, full.logits)
    torch.testing.assert_close(full.loss, torch.nn.functional.cross_entropy(bare.logits, labels))
    assert list(full) == ["loss", "logits"]
    assert all(torch.equal(part, full[index]) for index, part in enumerate(full.to_tuple()))


def arguments(folder: Path, **more: Any) -> TrainingArguments:
    settings = {"num_train_epochs": 2, "learning_rate": 5e-3, "save_strategy": "no", "logging_strategy": "epoch"}
    fixed = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "per_device_train_batch_size": 12}
    return TrainingArguments(output_dir=str(folder), dataloader_pin_memory=False, **{**settings, **fixed, **more})


@pytest.fixture
def _accelerate_state() -> Iterator[None]:
    """Trainer asks for the CPU, which Accelerate then does for the whole process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def accuracy(prediction: Any) -> dict[str, float]:  # noqa: ANN401 - transformers' EvalPrediction
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


@pytest.mark.usefixtures("_accelerate_state")
def test_transformers_trainer(sounds: tuple[AudioDataset, FeatureCache], tmp_path: Path) -> None:
    model = classifier("lora", tuple(sounds[0].labels))
    frozen, before = untrained(model), trained(model)
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, num_train_epochs=4),
        train_dataset=clips(sounds, "train"),
        eval_dataset=clips(sounds, "validation"),
        compute_metrics=accuracy,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert_only_trained_moved(model, frozen, before)
    metrics = trainer.evaluate()
    predicted = trainer.predict(clips(sounds, "validation"))
    assert isinstance(predicted.predictions, np.ndarray)
    assert predicted.predictions.shape == (18, 6)
    assert accuracy(predicted)["accuracy"] == metrics["eval_accuracy"]
    with torch.no_grad():
        own = model.eval()(sounds[1].batch(sounds[0].split().validation)).logits
    np.testing.assert_allclose(predicted.predictions, own.numpy(), atol=1e-5)


@pytest.mark.usefixtures("_accelerate_state")
def test_trainer_saves_resumes_and_our_own_folder_is_small(
    sounds: tuple[AudioDataset, FeatureCache], tmp_path: Path
) -> None:
    """Trainer saves a plain module whole, backbone included; save_pretrained keeps the adapter alone."""
    training = clips(sounds, "train")
    args = arguments(tmp_path / "trainer", save_strategy="epoch", save_total_limit=1)
    whole = classifier("lora", training.labels)
    Trainer(model=whole, args=args, train_dataset=training).train()
    (saved,) = (tmp_path / "trainer").glob("checkpoint-*/model.safetensors")
    assert set(load_file(saved)) == set(whole.state_dict())
    again = classifier("lora", training.labels)
    again.load_state_dict(load_file(saved))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in whole.state_dict().items())
    whole.save_pretrained(tmp_path / "adapter")
    size = sum(path.stat().st_size for path in (tmp_path / "adapter").iterdir())
    assert size < saved.stat().st_size / 20


def test_an_accelerate_loop(sounds: tuple[AudioDataset, FeatureCache]) -> None:
    accelerator = Accelerator()
    bare = classifier("lora", tuple(sounds[0].labels))
    frozen, before = untrained(bare), trained(bare)
    model, optimizer, loader = accelerator.prepare(
        bare,
        torch.optim.AdamW(bare.trained_parameters().values(), lr=5e-3),
        DataLoader(clips(sounds, "train"), batch_size=12, shuffle=True, generator=torch.Generator()),
    )
    model.train()
    means = []
    for _ in range(4):
        losses = []
        for batch in loader:
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        means.append(float(torch.stack(losses).mean()))
    assert means[-1] < means[0]
    assert_only_trained_moved(accelerator.unwrap_model(model), frozen, before)


def test_the_front_end_gives_what_the_cache_holds(
    sounds: tuple[AudioDataset, FeatureCache], real_audio: Path, tmp_path: Path
) -> None:
    dataset, features = sounds
    model = classifier(labels=tuple(dataset.labels))
    for clip in (0, 40, 71):
        samples = torch.from_numpy(read_audio(dataset.paths[clip]))
        given, held = model.front_end(samples), features.batch([clip])[0]
        assert given.shape == held.shape == (FRAMES, 128)
        assert given.dtype == torch.float32
        rounding = torch.finfo(torch.float16).eps / 2
        torch.testing.assert_close(given, held, rtol=rounding, atol=1e-7)


@pytest.mark.parametrize("method", ["lora", "bottleneck-hou-seq", "dpt:tokens=4", "pref-t-24", "bitfit", "conformer"])
def test_copies_are_whole_and_independent(method: str) -> None:
    model = classifier(method).eval()
    for parameter in model.trained_parameters().values():  # away from an identity start
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    inputs = torch.randn(2, FRAMES, 128, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(inputs).logits
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301 - our own bytes
            assert torch.equal(twin(inputs).logits, expected)
            assert twin.labels == model.labels
            assert twin.method == model.method
            for parameter in twin.trained_parameters().values():
                parameter.zero_()
            assert not torch.equal(twin(inputs).logits, expected)
            assert torch.equal(model(inputs).logits, expected)


@pytest.mark.parametrize("method", ["lora", "bottleneck", "convpass-pf-par", "dpt:tokens=4", "pref-t-24", "full-ft"])
def test_bfloat16_in_evaluation(method: str) -> None:
    """Within bfloat16's 8 bits of the float32 logits, at logits of about 1."""
    model = classifier(method).eval()
    inputs = torch.randn(3, FRAMES, 128, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(inputs).logits
        cast = model.to(torch.bfloat16)
        found = cast(inputs.to(torch.bfloat16)).logits
    assert {p.dtype for p in cast.parameters()} == {torch.bfloat16}
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


# transformers 5.9 has this name alone, later ones rename it
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", ["lora", "bottleneck-hou-seq", "pref-t-24", "bitfit"])
def test_gradient_checkpointing_changes_no_gradient(method: str) -> None:
    inputs, labels = torch.randn(2, FRAMES, 128), torch.tensor([0, 1])
    gradients, passes = [], []
    for checkpointing in (False, True):
        model = classifier(method).train()
        if checkpointing:
            model.backbone.model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
        calls: list[None] = []
        inner = next(module for module in model.backbone.modules() if isinstance(module, torch.nn.LayerNorm))
        inner.register_forward_pre_hook(lambda *_, calls=calls: calls.append(None))
        model(inputs, labels).loss.backward()
        passes.append(len(calls))
        gradients.append({name: p.grad for name, p in model.trained_parameters().items()})
    assert passes == [1, 2]  # the second computes again what the first kept
    for name, gradient in gradients[0].items():
        assert gradient is not None
        torch.testing.assert_close(gradients[1][name], gradient)


def test_faulty_inputs_are_refused_by_torch_or_transformers() -> None:
    model = classifier()
    with pytest.raises(TypeError, match="unexpected keyword"):
        model(torch.randn(1, FRAMES, 128), attention_mask=None)
    with pytest.raises((ValueError, RuntimeError)):
        model(torch.randn(1, FRAMES + 10, 128))


def test_what_is_of_another_type_is_named() -> None:
    """Each of these is a slip that others make; all of them ended in an AttributeError or, with a set and stereo, in silence."""
    model = astune.AudioClassifier(astune.load_backbone("random:tiny", 98), "linear", list(np.array(["a", "b"])))
    assert [type(label) for label in model.labels] == [str, str]
    slips: dict[str, Callable[[], object]] = {
        "labels is a set, which has no order": lambda: _classifier(labels={"a", "b"}),
        "method=None is of type NoneType; give a spec": lambda: _classifier(method=None),
        r"backbone='bundled' is not a loaded backbone; give load_backbone\('bundled'\)": lambda: _classifier(
            backbone="bundled"
        ),
        "max_length='98' is of type str": lambda: astune.load_backbone("random:tiny", "98"),  # type: ignore[arg-type]
        "data is of type list; give a path": lambda: astune.load_data(["a.wav"]),  # type: ignore[arg-type]
        "config is of type dict; give TrainConfig": lambda: astune.train({"data": "recordings"}),  # type: ignore[arg-type]
        "samples is a ndarray; give a torch.Tensor": lambda: model.front_end(np.zeros(16_000)),  # type: ignore[arg-type]
        r"the shape \(16000, 2\); give \(..., samples\), one channel": lambda: model.front_end(torch.zeros(16_000, 2)),
    }
    for sentence, slip in slips.items():
        with pytest.raises(ConfigError, match=sentence):
            slip()
    assert model.front_end(torch.zeros(2, 16_000)).shape == (2, 98, 128)


def _classifier(**other: Any) -> astune.AudioClassifier:
    given = {"backbone": None, "method": "linear", "labels": ["a", "b"]} | other
    backbone = given["backbone"] or astune.load_backbone("random:tiny", 98)
    return astune.AudioClassifier(backbone, given["method"], given["labels"])
