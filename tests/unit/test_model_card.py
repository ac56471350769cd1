"""Model cards: what the hub's client reads of them, and what they say of every method and task."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from astune.adapter import FORMAT_VERSION, AdapterConfig, BackboneReference
from astune.adapter_file import foreign_files
from astune.card_data import BEGIN, END, card_data, merged_card, own_text
from astune.card_front import body_of, front_of, with_front
from astune.features.log_mel import FrontEnd
from astune.methods import parse_method
from astune.methods.registry import method_record
from astune.model_card import model_card
from astune.tasks import TASKS
from tests.conformance.methods_under_test import SPECS

LABELS = ("robin", "wren", "crow")
TASK_NAMES = sorted(TASKS)


def config(spec: str = "lora", task: str = "single-label", **fields: Any) -> AdapterConfig:
    method = parse_method(spec)
    several = TASKS[task].default_thresholds(len(LABELS))
    return AdapterConfig(
        format_version=FORMAT_VERSION, spec=method.spec, method=method_record(method),
        backbone=BackboneReference(name_or_path=fields.pop("backbone", "lab/ast"), fingerprint="0" * 64), task=task, labels=LABELS,
        pooling="all", position_embeddings="fit", front_end=FrontEnd(64), compute_dtype="float32", trainable_parameters=1000,
        thresholds=dict(zip(LABELS, several or (), strict=False)), **fields,
    )  # fmt: skip


def read(card: str) -> Any:  # noqa: ANN401 - its data have the keys of the card
    return ModelCard(card)


@pytest.mark.parametrize("spec", SPECS)
def test_the_card_of_every_method(spec: str) -> None:
    card = read(model_card(config(spec)))
    members = parse_method(spec).members
    whole = any(member.family == "full-ft" for member in members)
    assert (card.data.base_model, card.data.base_model_relation) == ("lab/ast", "finetune" if whole else "adapter")
    assert {member.family for member in members} <= set(card.data.tags)
    with_head = any(member.counts_head for member in members)
    assert ("(counted with head and final LayerNorm" in card.text) == with_head
    assert ("(counted without head and final LayerNorm" in card.text) != with_head


@pytest.mark.parametrize("task", TASK_NAMES)
def test_the_figures_of_every_task(task: str) -> None:
    shares = TASKS[task].shares
    scores = {name: (number + 1) / 10 for number, name in enumerate(shares)}
    card = read(model_card(config(task=task, training={"data": "hf:lab/calls"}, metrics={"test": scores})))
    assert {one.metric_name: one.metric_value for one in card.data.eval_results} == {
        shares[name]: value for name, value in scores.items()
    }
    assert {one.dataset_type for one in card.data.eval_results} == {"lab/calls"}
    assert len(set(card.data.metrics)) == len(card.data.metrics) == len(shares)
    assert card.data.datasets == ["lab/calls"]
    assert ("Every recording gets one of the labels" in card.text) == TASKS[task].counts_clips


def test_scores_that_training_did_not_measure_have_no_account_of_it() -> None:
    scores = {"validation": {"accuracy": 0.5}, "test": {"accuracy": 0.25}}
    assert "Validation clips chose" not in model_card(config(metrics=scores))
    chosen = model_card(config(metrics=scores, training={"selection": "best-validation", "head_start_strength": 0.1}))
    assert "Validation clips chose the epoch and the strength of the head start, so" in chosen
    assert "The test clips were scored once, after training." in chosen
    last = model_card(config(metrics=scores, training={"selection": "last"}))
    assert "Validation clips chose" not in last


def test_no_data_set_no_results_for_the_hub() -> None:
    assert "model-index" not in card_data(config(metrics={"test": {"accuracy": 0.5}}), "name")


@pytest.mark.parametrize(
    ("backbone", "base", "words"),
    [
        ("bundled", "apache-2.0", r"the backbone's weights \(`bundled`\): `apache-2.0`"),
        ("lab/ast", None, r"the backbone's weights \(`lab/ast`\): unknown; see where they come from"),
        ("random:tiny", None, "Its backbone has random weights, which need none"),
    ],
)
def test_the_licences(backbone: str, base: str | None, words: str) -> None:
    card = model_card(config(backbone=backbone), license_id="mit", base_license=base)
    assert re.search(rf"This adapter: `mit`\. .*{words}", card)
    assert front_of(card)["license"] == "mit"
    bare = model_card(config(backbone=backbone), base_license=base)
    assert "license" not in front_of(bare)
    assert "This adapter: not stated; ask its author." in bare


def test_a_revision_is_no_part_of_the_base_model() -> None:
    assert card_data(config(backbone="lab/ast@v2"), "name")["base_model"] == "lab/ast"


def test_parts_of_a_card() -> None:
    assert front_of("# no front\n") == {}
    assert front_of("---\n: [\n---\n# broken\n") == {}
    assert front_of("---\n- a list\n---\n") == {}
    assert front_of("---\n---\ntext") == {}
    assert body_of("---\n---\ntext") == "text"
    assert front_of("---\r\nlicense: mit\r\n---\r\ntext") == {"license": "mit"}
    assert body_of("---\r\nlicense: mit\r\n---\r\ntext") == "text"
    assert front_of(with_front({"title": "Vögel"}, "text")) == {"title": "Vögel"}


def test_text_of_people() -> None:
    ours = model_card(config())
    assert own_text(ours) == ""
    assert own_text("---\nlibrary_name: astune\n---\n# older, all ours") == ""
    assert own_text("# theirs\n") == "# theirs"
    assert own_text(ours.replace(END, f"{END}\nmore")) == "more"
    assert merged_card(ours, None) == ours
    assert merged_card(ours, ours) == ours
    both = merged_card(ours, "---\nlanguage: en\n---\n# theirs\n")
    assert merged_card(ours, both) == both
    assert body_of(both).startswith(f"# theirs\n\n{BEGIN}\n")
    changed = merged_card(model_card(config("bitfit")), both)
    assert front_of(changed)["language"] == "en"
    assert "bitfit on ast, 3 classes" in changed
    assert "lora" not in body_of(changed)


def test_text_that_yaml_of_another_version_reads_otherwise_is_quoted() -> None:
    front = {"a": "1e3", "b": "0o17", "c": 1.5, "d": 3, "e": "on", "f": "a\x85b: c", "g": "12:30"}
    card = with_front(front, "")
    assert front_of(card) == front
    for line in ("a: '1e3'", "b: '0o17'", "c: 1.5", "d: 3", r'f: "a\Nb: c"'):
        assert f"\n{line}\n" in card


def test_a_name_cannot_end_our_part_of_a_card() -> None:
    ours = model_card(config(backbone=END, training={"data": f"folder:{END}"}))
    assert own_text(ours) == ""
    assert merged_card(model_card(config()), ours) == merged_card(model_card(config()), model_card(config()))


def test_cards_of_every_version_are_known_as_ours(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlibrary_name: astune\npipeline_tag: audio-classification\n---\n# old\n")
    assert foreign_files(tmp_path) == []
    (tmp_path / "README.md").write_text(model_card(config()))
    assert foreign_files(tmp_path) == []
    (tmp_path / "README.md").write_text("# My notes\n")
    assert foreign_files(tmp_path) == ["README.md"]
