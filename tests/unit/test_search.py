"""Sizes for each layer at a budget: what is drawn, how it is halved, and that test clips choose nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import astune
from astune import AudioClassifier, load_backbone, parse_method
from astune.architecture import Architecture
from astune.backbone import load_config
from astune.cli import app
from astune.data import LAYOUTS
from astune.errors import ConfigError, DataError
from astune.experiments.compared import BEST_SINGLE, SEARCHED, ComparedMethod
from astune.experiments.comparison import Comparison
from astune.experiments.halving import Rung, Score, best, rungs
from astune.experiments.paired import Pair, difference_variance, estimate
from astune.experiments.plan_names import claim_name, name_in_store
from astune.experiments.search import search
from astune.experiments.search_plan import plan_search
from astune.experiments.search_space import search_space, sized_methods
from astune.experiments.searched import SearchResult
from astune.experiments.store import Store
from astune.folder_lock import hold
from astune.names import SEARCHED_METHODS
from astune.reporting.report import write_report
from astune.tasks import SINGLE_LABEL
from tests.example_layouts import write_tone

QUICK: dict[str, Any] = {
    "backbone": "random:tiny",
    "num_train_epochs": 3,
    "max_length": 32,
    "candidates": 4,
    "seeds": 1,
}
QUICK_OPTIONS = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]
TINY = Architecture.of(load_config("random:tiny"))


@pytest.fixture(scope="module")
def store(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search."""
    folder = tmp_path_factory.mktemp("searched")
    search(generated, "20k", store=folder, **QUICK)
    return folder


def shared(generated: Path, store: Path, **settings: Any) -> SearchResult:
    return search(generated, "20k", store=store, **{**QUICK, **settings})


@pytest.mark.parametrize("budget", [2_000, 20_000, 90_000])
def test_every_candidate_has_at_most_the_budget_and_most_of_it(budget: int) -> None:
    space = search_space(sized_methods(SEARCHED_METHODS), budget, 3, TINY)
    drawn = space.draw(12, 0)
    assert len({one.spec for one in drawn}) == 12
    for one in drawn:
        model = AudioClassifier(load_backbone("random:tiny", 32), one.spec, ["a", "b", "c"])
        names = {"norm.weight", "norm.bias"}  # the final LayerNorm, which the paper does not count, nor the head
        counted = {
            name: p for name, p in model.adapter_state().items() if not name.startswith("head.") and name not in names
        }
        assert sum(tensor.numel() for tensor in counted.values()) == one.parameters
        assert 0.8 * budget <= one.parameters <= budget
        assert parse_method(one.spec).spec == one.spec
    assert not {one.spec for one in drawn} & {one.spec for one in space.singles}


def test_sizes_are_shares_of_the_size_that_spends_the_budget() -> None:
    """LoRA at q and v of a layer of width 192: 4 * 192 * r; four layers at 20,000 take 3,072 r, so r is 6."""
    lora, prompts = search_space(sized_methods(["lora", "dpt"]), 20_000, 3, TINY).kinds
    assert lora.single
    assert (lora.single.spec, lora.single.parameters) == ("lora:reduction_rate=32", 18_432)
    assert list(lora.values) == [96, 64, 32, 16, 8]  # ranks 2 (a quarter of 6, rounded), 3, 6, 12, 24
    assert lora.costs == ((4 * 192 * 2, 4 * 192 * 3, 4 * 192 * 6, 4 * 192 * 12, 4 * 192 * 24),) * 4
    assert prompts.single
    assert prompts.single.parameters == 4 * 192 * 26
    assert list(prompts.values) == [6, 13, 26, 52, 104]


def test_draws_depend_on_the_seed_alone() -> None:
    space = search_space(sized_methods(SEARCHED_METHODS), 20_000, 3, TINY)
    assert space.draw(8, 3) == space.draw(8, 3)
    assert space.draw(4, 3) == space.draw(8, 3)[:4]
    assert not set(space.draw(8, 3)) & set(space.draw(8, 4))


def test_candidates_differ_in_their_kinds() -> None:
    space = search_space(sized_methods(SEARCHED_METHODS), 20_000, 3, TINY)
    kinds = Counter(frozenset(part.family for part in parse_method(one.spec).members) for one in space.draw(60, 0))
    assert len(kinds) == 7  # every set of three kinds that is not empty


def test_a_third_goes_on_with_three_times_the_epochs() -> None:
    assert rungs(9, 9) == [Rung(9, 1), Rung(3, 3), Rung(1, None)]
    assert rungs(12, 25) == [Rung(12, 2), Rung(4, 8), Rung(1, None)]
    assert rungs(27, 54) == [Rung(27, 2), Rung(9, 6), Rung(3, 18), Rung(1, None)]
    assert rungs(2, 30) == [Rung(2, 10), Rung(1, None)]
    assert rungs(9, 2) == [Rung(9, 1), Rung(3, 1), Rung(1, None)]


def test_the_best_are_those_of_the_figure_then_the_loss_then_the_smaller() -> None:
    def score(name: str, accuracy: float, loss: float, parameters: int = 10) -> Score:
        return Score(name, parameters, {"accuracy": accuracy, "macro_f1": 1 - accuracy, "loss": loss})

    some = [
        score("a", 0.5, 0.2),
        score("b", 0.7, 0.9),
        score("c", 0.7, 0.8, 12),
        score("d", 0.7, 0.8),
        score("e", 0.7, 0.8),
    ]
    assert [one.spec for one in best(some, 3, SINGLE_LABEL)] == ["d", "e", "c"]
    assert [one.spec for one in best(some, 1, SINGLE_LABEL, "macro_f1")] == ["a"]
    assert [one.spec for one in best(some, 1, SINGLE_LABEL, "loss")] == ["a"]


def test_the_winners_are_those_of_the_validation_scores(generated: Path, store: Path) -> None:
    found = shared(generated, store)
    assert (len(found.rungs), found.failures, found.comparison.missing) == (1, (), 0)
    first = found.rungs[0]
    assert (first.epochs, [one.epochs for one in first.trained]) == (1, [1] * 4)
    assert [one.spec for one in first.trained] == [
        one.spec for one in plan_search(generated, "20k", **QUICK).candidates[0]
    ]
    order = sorted(first.trained, key=lambda one: (-one.validation["accuracy"], one.validation["loss"]))
    assert [one.spec for one in order if one.kept] == [order[0].spec] == [found.found[0].spec]
    single = sorted(found.single, key=lambda one: (-one.validation["accuracy"], one.validation["loss"]))
    assert [one.kept for one in single] == [True, False, False]
    for one in (*first.trained, *found.found, *found.single):
        record = Store(store).read(one.key)
        assert record.result.spec == one.spec
        assert record.result.trainable_parameters == one.parameters <= 20_000
        assert record.result.scores["validation"]["loss"] == one.validation["loss"]
        assert record.result.recipe["num_train_epochs"] == (1 if one in first.trained else 3)


def test_what_was_found_is_compared_as_methods_are(generated: Path, store: Path, tmp_path: Path) -> None:
    found = shared(generated, store)
    best_single = next(one for one in found.single if one.kept)
    ours, theirs = (Store(store).read(one.key).headline for one in (found.found[0], best_single))
    expected = estimate([ours - theirs], 0.0, difference_variance(ours, theirs, 18))
    assert found.difference
    assert found.difference.estimate == expected
    assert [row.name for row in found.comparison.methods][-1] == BEST_SINGLE
    assert found.comparison.methods[0].name == SEARCHED
    assert expected.interval
    shown = "Not shown to be better or worse" if expected.interval[0] <= 0 <= expected.interval[1] else "is shown to be"
    assert shown in found.verdict
    from astune.experiments.results import Results

    write_report(Results.load(Store(store), found.name), tmp_path)
    page = (tmp_path / f"{found.name}.md").read_text()
    assert SEARCHED in page
    assert BEST_SINGLE in page
    assert found.comparison.recommendation == found.verdict  # not a method that test scores choose
    assert found.verdict in page
    assert found.comparison.record()["recommended"] is None
    chosen = f"Chosen by validation clips, seed 0: {found.found[0].spec}; best single method: {best_single.spec}"
    assert chosen in found.comparison.design
    assert chosen.replace("|", "\\|") in page
    assert repr(found).startswith("SearchResult(")
    assert found.verdict[:30] in found._repr_html_()


def test_a_stopped_search_goes_on_and_no_training_runs_twice(
    generated: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    whole = shared(generated, copy)
    assert " done: " not in capsys.readouterr().err
    for one in (
        whole.rungs[0].trained[2],
        whole.found[0],
    ):  # as if the last rung, and a run of the first, were still to come
        Store(copy).path(one.key).unlink()
    before = {file.name: file.stat().st_mtime_ns for file in (copy / "runs").iterdir()}
    again = shared(generated, copy)
    said = [line for line in capsys.readouterr().err.splitlines() if " done: " in line]
    first, found = again.rungs[0].trained[2], again.found[0]
    shown = {f"{first.spec[:80]}... ({first.key})": first, SEARCHED: found}
    assert [line.partition(" in ")[0] for line in said] == [
        f"1 of 1 done: {row}, {generated.name}, seed 0: {one.figure:.1%} on validation clips"
        for row, one in shown.items()
    ]
    assert all((copy / "runs" / name).stat().st_mtime_ns == time for name, time in before.items())
    chosen = [
        [(one.spec, one.validation, one.kept) for one in part]
        for part in (again.rungs[0].trained, again.found, again.single)
    ]
    assert chosen == [
        [(one.spec, one.validation, one.kept) for one in part]
        for part in (whole.rungs[0].trained, whole.found, whole.single)
    ]


def test_labels_of_test_clips_choose_nothing(generated: Path, store: Path, tmp_path: Path) -> None:
    """The sounds of the test clips change places, so that each has another's label: all that was chosen stays to the bit."""
    copy = tmp_path / generated.name
    shutil.copytree(generated, copy)
    classes = sorted(folder.name for folder in (copy / "test").iterdir())
    (copy / "test" / classes[0]).rename(copy / "test" / "aside")
    for name, other in pairwise(classes):
        (copy / "test" / other).rename(copy / "test" / name)
    (copy / "test" / "aside").rename(copy / "test" / classes[-1])
    ours, theirs = shared(generated, store), shared(copy, tmp_path / "store")
    for first, second in (
        (ours.rungs[0].trained, theirs.rungs[0].trained), (ours.found, theirs.found), (ours.single, theirs.single),
    ):  # fmt: skip
        assert [(one.spec, one.validation, one.kept) for one in first] == [
            (one.spec, one.validation, one.kept) for one in second
        ]
        assert not {one.key for one in first} & {one.key for one in second}
    assert [ours.score(one) for one in ours.single] != [theirs.score(one) for one in theirs.single]


def test_the_command_gives_what_python_gives(generated: Path, store: Path) -> None:
    found = shared(generated, store)
    command = ["search", str(generated), "--parameters", "20k", "--store", str(store), *QUICK_OPTIONS]
    printed = CliRunner().invoke(app, [*command, "--json"])
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout) == json.loads(json.dumps(found.record()))
    shown = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
    assert found.verdict[:40] in shown.stdout
    assert found.found[0].spec in shown.stdout
    planned = json.loads(CliRunner().invoke(app, [*command, "--dry-run", "--json"]).stdout)
    assert planned["rungs"] == [{"candidates": 4, "num_train_epochs": 1}, {"candidates": 1, "num_train_epochs": 3}]
    assert (planned["parameters"], planned["trainings"], planned["epochs"]) == (20_000, 4 + 1 + 3, 4 * 1 + 4 * 3)
    dry = CliRunner().invoke(app, [*command, "--dry-run"], env={"COLUMNS": "300"})
    assert "Budget: 20,000 trained parameters; 1 search, 8 trainings, at most 16 epochs together" in dry.stdout


def test_a_failed_training_is_named_and_the_search_goes_on(generated: Path, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    lost = next(one for one in shared(generated, copy).rungs[0].trained if not one.kept)
    Store(copy).path(lost.key).unlink()
    Store(copy).work(lost.key).with_suffix(".lock").unlink(missing_ok=True)
    Store(copy).work(lost.key).with_suffix(".lock").mkdir()  # nothing can be locked there, so the run fails
    done = CliRunner().invoke(
        app, ["search", str(generated), "--parameters", "20k", "--store", str(copy), *QUICK_OPTIONS, "--json"]
    )
    assert done.exit_code == 1
    record = json.loads(done.stdout)
    assert record["failures"][0].startswith(f"{lost.spec} ({lost.key}), {generated.name}, seed 0: ")
    assert f"failed: {lost.spec[:80]}... ({lost.key})" in done.stderr
    assert done.stderr.count(lost.spec) == 1  # in the line of the failure at the end
    assert len(record["rungs"][0]["trained"]) == 3


def test_a_failed_training_of_what_was_found_is_named_with_its_method(
    generated: Path, store: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    found = shared(generated, copy).found[0]
    Store(copy).path(found.key).unlink()
    Store(copy).work(found.key).with_suffix(".lock").unlink(missing_ok=True)
    Store(copy).work(found.key).with_suffix(".lock").mkdir()
    (failure,) = shared(generated, copy).failures
    assert failure.startswith(f"{SEARCHED}, {found.spec} ({found.key}), {generated.name}, seed 0: ")


def test_where_no_candidate_can_be_trained_each_is_named(generated: Path, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    candidates = shared(generated, copy).rungs[0].trained
    for one in candidates:
        Store(copy).path(one.key).unlink()
        Store(copy).work(one.key).with_suffix(".lock").unlink(missing_ok=True)
        Store(copy).work(one.key).with_suffix(".lock").mkdir()
    with pytest.raises(ConfigError, match="no candidate of seed 0 could be trained") as fault:
        shared(generated, copy)
    assert all(f"  {one.spec} ({one.key}), " in str(fault.value) for one in candidates)


def test_a_training_of_another_process_is_waited_for(generated: Path, store: Path, tmp_path: Path) -> None:
    """Without the candidate that the other process trains, another one would win."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    winner = next(one for one in shared(generated, copy).rungs[0].trained if one.kept)
    Store(copy).path(winner.key).unlink()
    plan = (copy / "plans" / f"{shared_name(copy)}.json").read_bytes()
    who = re.escape(f"(process {os.getpid()} on {socket.gethostname()})")
    with (
        hold(Store(copy).work(winner.key).with_suffix(".lock")),
        pytest.raises(
            ConfigError,
            match=f"another process runs 1 training of this search {who}; when it has ended, the same command goes on",
        ),
    ):
        shared(generated, copy)
    assert (copy / "plans" / f"{shared_name(copy)}.json").read_bytes() == plan
    assert shared(generated, copy).found[0].spec == winner.spec


def test_another_search_of_the_same_data_and_budget_has_its_own_name(
    generated: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    first = (copy / "plans" / f"{shared_name(copy)}.json").read_bytes()
    usual = f"search-{generated.name}-20000"
    command = [
        "search",
        str(generated),
        "--parameters",
        "20k",
        "--store",
        str(copy),
        *QUICK_OPTIONS,
        "--candidates",
        "2",
    ]
    dry = json.loads(CliRunner().invoke(app, [*command, "--dry-run", "--json"]).stdout)
    assert Store(copy).planned() == [usual]  # a look claims nothing
    said = " ".join(CliRunner().invoke(app, [*command, "--dry-run"]).stdout.split())
    assert f"{usual} in {copy} was asked for with other methods, settings or clips" in said
    found = shared(generated, copy, candidates=2)
    assert found.name == found.comparison.name == dry["name"] != usual
    assert f"this one is named {found.name}" in " ".join(capsys.readouterr().err.split())
    assert Store(copy).planned() == [usual, found.name]
    assert (copy / "plans" / f"{usual}.json").read_bytes() == first
    assert shared(generated, copy, candidates=2).name == found.name
    assert shared(generated, copy).name == usual
    assert Store(copy).planned() == [usual, found.name]
    reported = CliRunner().invoke(app, ["report", usual, "--store", str(copy)])
    assert reported.exit_code == 0, reported.output
    assert found.name in reported.stderr
    assert CliRunner().invoke(app, ["report", found.name, "--store", str(copy)]).exit_code == 0
    vague = CliRunner().invoke(app, ["report", "search", "--store", str(copy)])
    assert f"begins with it: {usual}, {found.name}" in str(vague.exception)


def test_a_search_that_has_begun_can_be_reported(generated: Path, store: Path, tmp_path: Path) -> None:
    """Its name is taken, and what is known of it before anything is trained are its single methods."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    draft = plan_search(generated, "20k", **QUICK).draft
    Store(copy).write_plan(draft)
    assert claim_name(draft, Store(copy)) == draft
    reported = CliRunner().invoke(app, ["report", draft.name, "--store", str(copy)])
    assert reported.exit_code == 0, reported.output
    (copy / "plans" / f"{draft.name}.json").unlink()
    assert claim_name(draft, Store(copy)) == Store(copy).read_plan(draft.name) == draft


def test_a_search_of_an_older_version_keeps_its_name(generated: Path, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    name = shared_name(copy)
    path = copy / "plans" / f"{name}.json"
    plan = json.loads(path.read_text())
    assert plan.pop("asked")
    path.write_text(json.dumps(plan))
    other = plan_search(generated, "20k", **{**QUICK, "num_train_epochs": 4}).draft
    assert name_in_store(other, Store(copy)) == f"{name}-{str(other.asked)[:8]}"
    assert shared(generated, copy).name == name
    assert json.loads(path.read_text())["asked"]


def shared_name(store: Path) -> str:
    (name,) = Store(store).planned()
    return name


def test_a_record_without_validation_scores_is_named(generated: Path, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    path = Store(copy).path(shared(generated, copy).rungs[0].trained[0].key)
    record = json.loads(path.read_text())
    del record["result"]["scores"]["validation"]
    path.write_text(json.dumps(record))
    with pytest.raises(
        DataError, match=rf"{path} has no scores of validation clips, by which a search chooses; delete it"
    ):
        shared(generated, copy)


def judged(ours: dict[Pair, float], theirs: dict[Pair, float]) -> Comparison:
    rows = [
        ComparedMethod(name, name, scores, planned=3, parameters=1, adapter_bytes=1, train_seconds=1, frozen_seconds=0)
        for name, scores in ((SEARCHED, ours), (BEST_SINGLE, theirs))
    ]
    return Comparison(
        SINGLE_LABEL.name, tuple(rows), test_clips=30, tested_share=0.5, name="search", data="sounds", design=()
    )


def test_the_figures_of_a_verdict_are_of_the_same_searches() -> None:
    """0.5 and 0.6 against 0.55 and 0.7: means 55 and 62.5, difference -7.5; a third search that failed counts in none of them."""
    whole = judged({(1, 0): 0.5, (2, 0): 0.6}, {(1, 0): 0.55, (2, 0): 0.7, (3, 0): 0.1})
    said = whole.recommendation
    assert said.startswith("Searched sizes: accuracy 55.0 [")
    assert "with at most as many parameters: 62.5 [" in said
    assert "; difference -7.5 [" in said
    assert " Only 2 of 3 searches have both, and all figures are of these. " in said
    assert whole.recommended is None
    assert "nothing can be said" in judged({}, {(1, 0): 0.5}).recommendation


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (["--pooling", "special", "--method", "lora", "--metric-for-best-model", "nonsense"], "nonsense"),
        (["--method", "look-aside", "--patchout", "0.3"], "look-aside"),
        (["--method", "lora", "--warmup-steps", "1000"], "--warmup-steps 1000 never ends"),
    ],
)
@pytest.mark.parametrize("command", ["search", "compare"])
def test_a_dry_run_refuses_what_a_run_refuses(
    command: str, given: list[str], fault: str, generated: Path, tmp_path: Path
) -> None:
    asked = [command, str(generated), "--backbone", "random:tiny", "--store", str(tmp_path), "--dry-run", *given]
    done = CliRunner().invoke(app, asked + (["--parameters", "20k"] if command == "search" else ["--method", "linear"]))
    assert isinstance(done.exception, ConfigError | SystemExit)
    assert fault in f"{done.exception} {done.stderr}"
    assert list(tmp_path.iterdir()) == []


def test_each_fold_is_searched_by_itself(tmp_path: Path) -> None:
    for label, pitch in (("low", 300), ("high", 900)):
        for number in range(8):
            write_tone(tmp_path / label / f"{number}.wav", pitch=pitch + 10 * number)
    planned = plan_search(
        tmp_path, "20k", make_folds=2, **{**QUICK, "num_train_epochs": 9, "seeds": 2, "candidates": 9}
    )
    assert planned.pairs == ((1, 0), (1, 1), (2, 0), (2, 1))
    assert [(rung.candidates, rung.epochs) for rung in planned.rungs] == [(9, 1), (3, 3), (1, None)]
    assert planned.trainings == 4 * (9 + 3 + 1 + 3)
    assert planned.epochs == 4 * (9 * 1 + 3 * 3 + 4 * 9)
    specs: dict[tuple[int | None, int], list[str]] = {(1, 0): ["lora"], (2, 1): ["lora", "dpt"]}
    runs = planned.runs(specs, 3)
    assert [(run.row, run.fold, run.seed, run.config["num_train_epochs"]) for run in runs] == [
        ("lora", 1, 0, 3), ("lora", 2, 1, 3), ("dpt", 2, 1, 3),
    ]  # fmt: skip
    assert "Test clips choose nothing: not the epoch, not the sizes, not the best single method" in planned.notes


def test_three_rungs_and_trainings_of_equal_epochs_are_shared(generated: Path, tmp_path: Path) -> None:
    """A recipe of 2 epochs: both short rungs have 1 epoch, so the second one finds its 3 trainings in the store."""
    found = search(generated, "20k", store=tmp_path, **{**QUICK, "candidates": 9, "num_train_epochs": 2})
    assert [(rung.epochs, len(rung.trained), sum(one.kept for one in rung.trained)) for rung in found.rungs] == [
        (1, 9, 3), (1, 3, 1),
    ]  # fmt: skip
    assert [one.spec for one in found.rungs[0].trained if one.kept] == [one.spec for one in sorted(
        found.rungs[1].trained, key=lambda one: [first.spec for first in found.rungs[0].trained].index(one.spec)
    )]  # fmt: skip
    assert len(list((tmp_path / "runs").iterdir())) == 9 + 1 + 3
    assert found.comparison.data == generated.name


def test_where_a_recipe_keeps_the_last_epoch_clips_are_held_out(tmp_path: Path) -> None:
    data = LAYOUTS["urbansound8k"].write_example(tmp_path / "data")
    planned = plan_search(f"urbansound8k:{data}", "20k", folds=[1], **QUICK)
    assert planned.settings["selection"] == "best-validation"
    assert any(note.startswith("Validation clips: the data set's recipe has none") for note in planned.notes)


def test_whole_recipes_are_the_runs_of_a_comparison(generated: Path) -> None:
    from astune.experiments.compare import plan_comparison

    settings = {name: value for name, value in QUICK.items() if name != "candidates"}
    ours = plan_search(generated, "20k", **QUICK).runs({(None, 0): ["lora:reduction_rate=32"]}, None)
    theirs = plan_comparison(generated, "lora:reduction_rate=32,linear", **settings).runs
    assert ours[0].key in {run.key for run in theirs}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": 500}, r"parameters=500 is too small for all methods of the search; the smallest is dpt:tokens=1 with 768"),
        ({"parameters": "many"}, "parameters='many': give a whole number"),
        ({"candidates": 1}, "candidates=1; give a whole number, 2 or more"),
        ({"candidates": 2.5}, "candidates=2.5; give a whole number"),
        ({"parameters": "3M", "methods": "lora"}, "100% of that, and the largest single method has "),
        ({"methods": "lora,linear"}, "linear: it has no size that may differ from layer to layer"),
        ({"methods": "lora:reduction_rate=4"}, "the search chooses reduction_rate and layers; leave them out"),
        ({"methods": "bottleneck-pf-par,convpass-pf-par"}, "two of its methods take the same place"),
        ({"methods": ""}, "no method is given"),
        ({"learning_rat": 1}, "unknown setting 'learning_rat'"),
        ({"method": "lora"}, "unknown setting 'method'"),
        ({"selection": "last"}, "selection=last keeps the last epoch"),
        ({"seeds": 0}, "seeds=0; give a whole number, 1 or more"),
        ({"seeds": 1.5}, "seeds=1.5; give a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(arguments: dict[str, Any], message: str, generated: Path) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        plan_search(generated, **{"parameters": "20k", **QUICK, **arguments})


def test_ray_and_workers_exclude_each_other(generated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give it without workers"):
        search(generated, "20k", store=tmp_path, ray="local", workers=2)


def test_python_offers_it() -> None:
    assert astune.search is search
    assert astune.SearchResult is SearchResult
