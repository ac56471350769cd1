"""Spec strings: what they mean, and how a bad one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune import AudioClassifier, load_backbone, parse_method
from astune.errors import ConfigError
from astune.methods import PRESETS
from astune.methods.adapters import BottleneckAdapters
from astune.methods.base import Sum, default_learning_rate
from astune.methods.layers import layer_indices
from astune.methods.lora import LoRA
from astune.methods.registry import method_from_record, method_record


def faults_of(spec: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_method(spec)
    return str(caught.value)


def test_a_field_is_set() -> None:
    assert parse_method("lora:reduction_rate=64,targets=vq") == LoRA(reduction_rate=64, targets="qv")


def test_a_preset_can_be_changed() -> None:
    method = parse_method("bottleneck-hou-seq:reduction_rate=32")
    assert method == BottleneckAdapters(configuration="houlsby", insertion="sequential", reduction_rate=32)


def test_a_sum_keeps_its_order_and_takes_the_smallest_rate() -> None:
    method = parse_method("bottleneck:sublayer=ffn+lora:reduction_rate=256")
    assert [member.family for member in method.members] == ["bottleneck", "lora"]
    assert default_learning_rate(method) == 5e-3


@pytest.mark.parametrize("text", ["true", "on", "1", "yes", "True"])
def test_booleans_are_read_as_words(text: str) -> None:
    method = parse_method(f"bottleneck:sublayer=ffn,residual={text}")
    assert isinstance(method, BottleneckAdapters)
    assert method.residual is True


def test_false_means_false() -> None:
    method = parse_method("bottleneck:insertion=sequential,residual=False")
    assert isinstance(method, BottleneckAdapters)
    assert method.residual is False


def test_the_nearest_name_is_offered() -> None:
    assert "did you mean 'lora'" in faults_of("lara")
    assert "did you mean 'targets'" in faults_of("lora:target=q")
    assert "did you mean 'houlsby'" in faults_of("bottleneck:configuration=houlsbi")


def test_all_faults_come_at_once() -> None:
    message = faults_of("lora:alpha=-1,targets=qz+bottlneck+bitfit:x=1")
    assert "4 faults" in message
    for part in ("alpha=-1", "targets=qz", "'bottlneck'", "no fields"):
        assert part in message


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("full-ft+lora", "already trains every parameter"),
        ("linear+lora", "trains head and final LayerNorm already"),
        ("lora+lora:targets=q", "take the same place (layers.0.mhsa.q.lora"),
        ("bottleneck+bottleneck:sublayer=mhsa", "take the same place (layers.0.mhsa.adapter"),
        ("bottleneck:configuration=hydra,position=before", "hydra settles position"),
        ("bottleneck:configuration=mixed,insertion=parallel,residual=true", "mixed settles insertion"),
        ("bottleneck:configuration=houlsby,sublayer=ffn", "houlsby settles sublayer"),
        ("bottleneck:insertion=parallel,position=after,residual=true", "leave residual out"),
        ("lora:layers=3-", "0-based indices"),
        ("lora:targets=qq", "without repetition"),
        ("lora:targets=", "qkvo"),
        ("lora:reduction_rate=0", "greater than 0"),
        ("lora:", "nothing follows the colon"),
        ("lora:alpha", "not of the form field=value"),
        ("lora:alpha=1,alpha=2", "given twice"),
        ("", "unknown method ''"),
        ("lora+", "unknown method ''"),
    ],
)
def test_refused_with_the_reason(spec: str, reason: str) -> None:
    assert reason in faults_of(spec)


def test_an_unknown_name_is_said_once() -> None:
    assert faults_of("lorra").startswith("unknown method 'lorra'; choose one of: full-ft, ")
    assert faults_of("lorra:alpha=1").startswith("method 'lorra:alpha=1': unknown method 'lorra'")


def test_two_loras_on_different_projections_are_fine() -> None:
    method = parse_method("lora:targets=q,reduction_rate=64+lora:targets=v")
    assert len(method.places(12)) == 24


@pytest.mark.parametrize(
    ("layers", "expected"), [("all", [0, 1, 2, 3]), ("2", [2]), ("0-1|3", [0, 1, 3]), ("3|0-2|1", [0, 1, 2, 3])]
)
def test_layers(layers: str, expected: list[int]) -> None:
    assert layer_indices(layers, 4) == expected


def test_layers_beyond_the_backbone_are_refused_when_attached() -> None:
    with pytest.raises(ConfigError, match="has 4 layers, 0 to 3"):
        AudioClassifier(load_backbone("random:tiny", 64), "lora:layers=2-4", ["a", "b"])


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="write it as 1-3"):
        layer_indices("3-1", 4)


@pytest.mark.parametrize("spec", [*PRESETS, "bottleneck:sublayer=ffn+lora:reduction_rate=256"])
def test_a_record_gives_the_method_back(spec: str) -> None:
    method = parse_method(spec)
    assert method_from_record(method_record(method)) == method


def test_a_record_of_another_version_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="unknown method 'loha'"):
        method_from_record([{"family": "loha"}])
    with pytest.raises(ConfigError, match="unknown field 'rank'"):
        method_from_record([{"family": "lora", "rank": 3}])


_loras = st.builds(
    LoRA,
    reduction_rate=st.integers(1, 1024),
    targets=st.sets(st.sampled_from("qkvo"), min_size=1).map("".join),
    alpha=st.integers(1, 64).map(float),
    init=st.sampled_from(["identity", "normal"]),
    layers=st.sampled_from(["all", "0", "1-3|5"]),
)


@given(_loras)
def test_spec_and_parse_are_inverse(method: LoRA) -> None:
    assert parse_method(method.spec) == method
    assert parse_method(str(method)) == method


@pytest.mark.parametrize("spec", ["spt+dpt", "dpt+dpt:tokens=3"])
def test_two_prompts_are_refused(spec: str) -> None:
    assert "take the same place (layers.0.prompts" in faults_of(spec)


def test_what_means_nothing_to_a_method_is_no_field_of_it() -> None:
    assert "unknown field 'layers'" in faults_of("spt:layers=1")
    assert "a multiple of 2" in faults_of("prefix:tokens=3")
    assert "unknown configuration 'hydra'" in faults_of("convpass:configuration=hydra")


def test_a_spec_keeps_every_digit() -> None:
    method = parse_method("lora:alpha=0.12345678")
    assert parse_method(method.spec) == method


def test_a_rate_that_could_never_learn_is_refused() -> None:
    assert "finite" in faults_of("lora:reduction_rate=inf")


def test_a_sum_is_checked_again_on_the_backbone_itself() -> None:
    both = Sum(parts=(LoRA(layers="1"), LoRA(layers="1")))
    with pytest.raises(ConfigError, match="take the same place"):
        AudioClassifier(load_backbone("random:tiny", 64), both, ["a", "b"])


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("lora:layers=\u0663", "use 'all', or 0-based indices"),  # a digit to Python
        ("lora:layers=0-999999999", "use 'all', or 0-based indices"),
        (f"lora:layers={'1' * 5_000}", "use 'all', or 0-based indices"),
        ("lora:reduction_rate=1e-320", "more than 16 times the backbone's width; give 0.0625 or more"),
        ("bottleneck:reduction_rate=0.06", "give 0.0625 or more"),
        ("lora:alpha=1e308", "less than or equal to 1000000"),
        ("dpt:tokens=10001", "less than or equal to 10000"),
        ("prefix:tokens=99999999998", "less than or equal to 10000"),
        ("+".join(["bitfit"] * 3_000), "a sum has at most 50 methods"),
    ],
)
def test_sizes_that_no_backbone_has_are_refused(spec: str, sentence: str) -> None:
    assert sentence in faults_of(spec)


@pytest.mark.parametrize(
    "record", [None, 3, "lora", {"family": "lora"}, [3], ["lora"], [[]], [{"family": "lora"}] * 51]
)
def test_a_record_that_lists_no_methods_is_refused(record: object) -> None:
    with pytest.raises(ConfigError, match=r"method record: it (is not a list of methods|has 51 methods)"):
        method_from_record(record)  # type: ignore[arg-type]
