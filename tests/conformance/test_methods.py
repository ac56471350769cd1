"""What every method keeps, by what it states of itself; no method is named here."""

from __future__ import annotations

import copy
import functools
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import ASTConfig

from astune import AudioClassifier, parse_method
from astune.adapter_file import file_bytes
from astune.budget import plan_methods
from astune.compute import Arithmetic
from astune.counting import Count, count, trained_by
from astune.errors import AdapterError, ConfigError
from astune.methods import FAMILIES, PRESETS, Method
from astune.methods.base import Sum
from astune.training.frozen import Upper
from astune.training.parameter_groups import parameter_groups
from tests.conformance.backbones_under_test import BACKBONES, FRAMES
from tests.conformance.methods_under_test import LABELS, SPECS, batch, classifier, fresh, train_steps

pytestmark = pytest.mark.parametrize("spec", SPECS)


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Each shape of backbone in turn, for what has to hold on all of them."""
    return BACKBONES[request.param](tmp_path_factory.mktemp("backbone"))


def logits(model: AudioClassifier, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model.eval()(inputs).logits
    return result


def test_the_suite_runs_over_something(spec: str) -> None:
    assert len(PRESETS) >= 8
    assert len(FAMILIES) >= 5
    assert parse_method(spec)


def test_the_spec_string_gives_the_same_method_back(spec: str) -> None:
    method = parse_method(spec)
    assert parse_method(method.spec) == method


def test_identity_at_start_is_as_stated(spec: str, backbone: str) -> None:
    model = classifier(spec, backbone=backbone)
    torch.manual_seed(0)
    frozen = fresh(backbone)
    inputs, _ = batch()
    with torch.no_grad():
        expected = frozen(inputs).last_hidden_state.mean(dim=1)
        expected = torch.nn.functional.linear(expected, model.head.weight, model.head.bias)
    same = torch.equal(logits(model, inputs), expected)
    assert same == model.method.identity_at_start


def test_weight_decay_alone_leaves_the_model_as_it_is(spec: str) -> None:
    """Where a method starts as the frozen model, decay pulls what it adds there: 100 steps that halve the numbers, and no gradient."""
    model = classifier(spec)
    if not model.method.identity_at_start:
        return
    before = logits(model, batch()[0])
    added = {id(parameter) for parameter in model.added.parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay=0.5), lr=1.0)
    for (
        parameter
    ) in model.trained_parameters().values():  # not of head and backbone, which decay as in the paper's code
        parameter.grad = torch.zeros_like(parameter) if id(parameter) in added else None
    for _ in range(100):
        optimizer.step()
    assert torch.equal(logits(model, batch()[0]), before)


def test_only_its_own_parameters_and_buffers_move(spec: str, backbone: str) -> None:
    model = classifier(spec, backbone=backbone)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_steps(model, 3)
    trained = {id(tensor) for tensor in model.trained_parameters().values()}
    allowed = {name for name, parameter in model.named_parameters() if id(parameter) in trained}
    allowed |= {f"added.{name}" for name, _ in model.added.named_buffers()}
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved <= allowed
    still = {name for name in allowed - moved if not _analytically_zero(model, name)}
    assert not still, "trained parameters that never moved"


def _analytically_zero(model: AudioClassifier, name: str) -> bool:
    by_id = {id(parameter): ours for ours, parameter in model.trained_parameters().items()}
    parameter = dict(model.named_parameters()).get(name)
    return parameter is not None and model.method.zero_gradient(by_id[id(parameter)])


def test_every_trained_parameter_gets_a_gradient_within_three_steps(spec: str) -> None:
    model = classifier(spec)
    for name, steps in train_steps(model, 3).items():
        largest = max(float(gradient.abs().max()) for gradient in steps)
        if model.method.zero_gradient(name):
            assert largest < 1e-6, f"{name} was said to have no gradient"
        else:
            assert largest > 1e-9, f"{name} never got a gradient"


def test_saving_and_loading_gives_the_same_bits(spec: str, backbone: str, tmp_path: Path) -> None:
    model = classifier(spec, backbone=backbone)
    train_steps(model, 2)
    inputs, _ = batch()
    expected = logits(model, inputs)
    model.save_pretrained(tmp_path)
    again = AudioClassifier.from_pretrained(tmp_path)
    assert again.method == model.method
    assert again.labels == LABELS
    assert torch.equal(logits(again, inputs), expected)


def test_an_adapter_is_a_copy_that_later_training_and_loading_leave_alone(spec: str) -> None:
    model, other = classifier(spec), classifier(spec, seed=5)
    train_steps(model, 2)
    inputs, _ = batch()
    expected, adapter = logits(model, inputs), model.to_adapter()
    assert set(adapter.tensors) == set(model.adapter_state())
    before = {name: tensor.clone() for name, tensor in adapter.tensors.items()}
    train_steps(model, 2)
    train_steps(other, 2)
    later = other.to_adapter()
    model.load_adapter_state(later.tensors)
    train_steps(model, 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapter.tensors.items())
    again = AudioClassifier.from_adapter(adapter, fresh())
    assert torch.equal(logits(again, inputs), expected)
    assert torch.equal(logits(AudioClassifier.from_adapter(later, fresh()), inputs), logits(other, inputs))


def test_an_adapters_tensors_enter_a_functional_call(spec: str) -> None:
    """One backbone serves many adapters: theirs take the place of a classifier's own, for one call."""
    model, other = classifier(spec), classifier(spec, seed=5)
    train_steps(other, 2)
    inputs, _ = batch()
    own, tensors = logits(model, inputs), other.to_adapter().tensors
    given = {model.module_names[name]: tensor for name, tensor in tensors.items()}
    with torch.no_grad():
        output = torch.func.functional_call(model.eval(), given, (inputs,)).logits
    assert torch.equal(output, logits(other, inputs))
    assert torch.equal(logits(model, inputs), own)


def test_merging_gives_the_same_logits_or_says_why_not(spec: str, backbone: str) -> None:
    model = classifier(spec, backbone=backbone)
    train_steps(model, 2)
    inputs, _ = batch()
    before = logits(model, inputs)
    if not model.method.mergeable:
        with pytest.raises(AdapterError, match="cannot be merged"):
            model.merge_and_unload()
        assert torch.equal(logits(model, inputs), before)
        return
    merged = model.merge_and_unload()
    assert list(merged.added.parameters()) == []
    torch.testing.assert_close(logits(merged, inputs), before, atol=1e-5, rtol=0)
    assert torch.equal(logits(model, inputs), before), "merging changed the original"


def test_a_deep_copy_stands_on_its_own(spec: str) -> None:
    model = classifier(spec)
    train_steps(model, 1)
    inputs, _ = batch()
    expected = logits(model, inputs)
    twin = copy.deepcopy(model)
    train_steps(model, 2)
    assert torch.equal(logits(twin, inputs), expected)


def test_detaching_restores_the_frozen_model(spec: str) -> None:
    model = classifier(spec)
    inputs, _ = batch()
    frozen = fresh()
    model.sites.detach()
    with torch.no_grad():
        assert torch.equal(model.eval().backbone(inputs).last_hidden_state, frozen(inputs).last_hidden_state)


def test_bfloat16_gives_finite_losses_and_gradients(spec: str) -> None:
    model = classifier(spec).train()
    inputs, targets = batch(2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(inputs, targets).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.trained_parameters().values())


def test_the_first_gradient_in_bfloat16_is_float32s(spec: str) -> None:
    """With frozen matrices stored in bfloat16, as training has them where the hardware computes in it; eight bits a product."""
    inputs, targets = batch(4)
    gradients = []
    for bf16 in (False, True):
        model, arithmetic = classifier(spec).eval(), Arithmetic.of(torch.device("cpu"), bf16)
        arithmetic.prepare(model.sites)
        with arithmetic.computing():
            model(inputs, targets).loss.backward()
        found = {name: p.grad for name, p in model.trained_parameters().items() if not model.method.zero_gradient(name)}
        gradients.append(torch.cat([grad.flatten() for grad in found.values() if grad is not None]))
    assert float(torch.cosine_similarity(gradients[0], gradients[1], dim=0)) > 0.999
    assert float(gradients[1].norm() / gradients[0].norm()) == pytest.approx(1, abs=0.02)


def test_what_is_counted_without_weights_is_what_the_real_model_trains(spec: str, backbone: str) -> None:
    model = classifier(spec, backbone=backbone)
    sizes = model.backbone.model.config
    found, counted = trained_by(spec, len(LABELS), sizes), count(spec, len(LABELS), sizes)
    assert counted.parameters == model.parameter_count()
    assert counted.adapter_bytes == file_bytes(model.adapter_state())
    assert found.backbone == sum(parameter.numel() for parameter in model.backbone.parameters())
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in found.tensors.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in model.adapter_state().items()
    }


def test_an_adapter_file_has_the_bytes_that_were_counted(spec: str, tmp_path: Path) -> None:
    model = classifier(spec)
    train_steps(model, 1)
    model.save_pretrained(tmp_path)
    counted = count(spec, len(LABELS), model.backbone.model.config)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size == counted.file_bytes
    assert counted.with_head == sum(parameter.numel() for parameter in model.trained_parameters().values())


NARROW = ASTConfig(hidden_size=48, num_attention_heads=3, num_hidden_layers=4, intermediate_size=96, max_length=FRAMES)
WIDTH = 48  # of it, and steps that are looked at where there is no last one


def every_size(method: Method, index: int) -> list[Count]:
    """Sizes of a method on the narrow backbone, step by step of the field of one of its members."""
    members = list(method.members)
    kind, field, fields = type(members[index]), members[index].size_field, members[index].model_dump(exclude_unset=True)
    assert field is not None
    found = []
    for step in range(1, 1 + (field.last(WIDTH) if field.last else WIDTH)):
        members[index] = kind(**fields | {field.name: field.value(step, WIDTH)})
        found.append(count(members[0] if len(members) == 1 else Sum(parts=tuple(members)), len(LABELS), NARROW))
    return found


def test_a_plan_finds_the_largest_size_that_fits(spec: str, tmp_path: Path) -> None:
    NARROW.save_pretrained(tmp_path)
    plan = functools.partial(plan_methods, backbone=tmp_path, labels=len(LABELS), methods=[spec])
    method = parse_method(spec)
    parts = zip(spec.split("+"), method.members, strict=True)
    unstated = [one.size_field is not None and f"{one.size_field.name}=" not in part for part, one in parts]
    if sum(unstated) > 1:
        with pytest.raises(ConfigError, match="several sizes to choose"):
            plan("1M")
        return
    if not any(unstated):
        size = count(spec, len(LABELS), NARROW)
        (whole,), (less,) = (plan(budget).methods for budget in (size.parameters, size.parameters - 1))
        assert (whole.field, whole.next_larger, less.largest) == (None, None, None)
        assert whole.largest == less.next_larger
        assert whole.largest is not None
        assert (whole.largest.spec, whole.largest.parameters) == (method.spec, size.parameters)
        return
    sizes = every_size(method, unstated.index(True))
    assert all(low.parameters < high.parameters and low.file_bytes < high.file_bytes for low, high in pairwise(sizes))
    (first, second), (some, more), (narrower, widest) = sizes[:2], sizes[WIDTH // 2 : WIDTH // 2 + 2], sizes[-2:]
    for planned, ends in (
        (plan(first.parameters), [first, second]),
        (plan(more.parameters - 1), [some, more]),
        (plan(None, narrower.file_bytes), [narrower, widest]),
    ):
        found = planned.methods[0]
        assert found.largest is not None
        assert found.next_larger is not None
        assert [count(one.spec, len(LABELS), NARROW) for one in (found.largest, found.next_larger)] == ends
        assert (found.largest.parameters, found.largest.file_bytes) == (ends[0].parameters, ends[0].file_bytes)


def test_places_are_those_it_fills(spec: str) -> None:
    model = classifier(spec)
    assert model.method.places(len(model.sites.layers)) == set(model.modules_by_place)


def test_pooling_of_the_first_token_trains_too(spec: str) -> None:
    model = classifier(spec, pooling="cls")
    inputs, _ = batch()
    before = logits(model, inputs)
    train_steps(model, 3)
    assert not torch.equal(logits(model, inputs), before)


def test_attaching_leaves_the_weights_loaded_before_alone(spec: str) -> None:
    backbone = fresh()
    before = {name: p.clone() for name, p in backbone.sites.parameters().items()}
    model = AudioClassifier(backbone, spec, LABELS)
    assert all(torch.equal(p, before[name]) for name, p in model.sites.parameters().items())


def test_weights_are_functional(spec: str) -> None:
    """Serving gathers an adapter's tensors per row: a functional call must use the tensors given, not those it holds."""
    model = classifier(spec)
    other = classifier(spec, seed=5)
    train_steps(other, 2)
    inputs, _ = batch()
    given = dict(other.named_parameters()) | dict(other.named_buffers())
    with torch.no_grad():
        output = torch.func.functional_call(model.eval(), given, (inputs,)).logits
    assert torch.equal(output, logits(other, inputs))


def test_the_frozen_stretch_and_the_rest_are_the_whole(spec: str) -> None:
    """Training from a cache rests on it, for every method, whether anything of it is frozen or not."""
    model = classifier(spec)
    train_steps(model, 2)
    upper, (inputs, _) = Upper(model).eval(), batch()
    with torch.no_grad():
        found = upper(upper.lower(inputs)).logits
    torch.testing.assert_close(found, logits(model, inputs), atol=1e-5, rtol=1e-5)


def test_nothing_below_the_frozen_depth_moves(spec: str) -> None:
    model = classifier(spec)
    below = [f"layers.{index}." for index in range(model.frozen_depth)]
    inputs, _ = batch()
    before = Upper(model).eval().lower(inputs)
    assert not [name for name in model.trained_parameters() if name.startswith(tuple(below))]
    train_steps(model, 2)
    if below:
        assert torch.equal(Upper(model).eval().lower(inputs), before)
    else:
        first = [name for name in model.trained_parameters() if name.startswith(("layers.0.", "embeddings."))]
        assert first
