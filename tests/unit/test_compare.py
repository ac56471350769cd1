"""Which method for my data: how runs are planned, what is said of them, and that they go on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import astune
from astune.cli import app
from astune.data import LAYOUTS, load_data
from astune.errors import ConfigError, DataError
from astune.experiments.compare import compare, method_specs, plan_comparison
from astune.experiments.compared import Compared, ComparedMethod
from astune.experiments.comparison import Comparison
from astune.experiments.live_table import live_table
from astune.experiments.paired import difference_variance, estimate
from astune.experiments.plan import BASELINE_ROW, PlanOptions, plan
from astune.experiments.recommendation import recommend, simplest_best
from astune.experiments.records import SavedPlan
from astune.experiments.results import Results
from astune.experiments.sources import own_entry
from astune.experiments.store import Store
from astune.experiments.table import Table
from astune.names import COMPARED_METHODS
from astune.reporting.report import write_report
from astune.training.config import TrainConfig
from tests.example_layouts import write_text, write_tone
from tests.unit.test_paired import FOLDS, row

QUICK: dict[str, Any] = {"backbone": "random:tiny", "num_train_epochs": 1, "max_length": 32}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 clips of two classes, without splits."""
    folder = tmp_path_factory.mktemp("clips")
    for label, pitch in (("low", 300), ("high", 900)):
        for number in range(8):
            write_tone(folder / label / f"{'ab'[number % 2]}{number}.wav", pitch=pitch + 10 * number)
    return folder


@pytest.fixture(scope="module")
def store(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the runs of a comparison, as the first of two machines leaves them."""
    folder = tmp_path_factory.mktemp("compared")
    first = compare(clips, "baseline,linear,bitfit", store=folder, shard="1/2", group_by="^.*/([ab])", **QUICK)
    assert first.missing == 3
    assert "3 runs are missing, and this may change with them." in first.recommendation
    return folder


def shared(clips: Path, store: Path, **settings: object) -> Comparison:
    return compare(clips, "baseline,linear,bitfit", store=store, group_by="^.*/([ab])", **{**QUICK, **settings})


def test_what_one_machine_has_left_another_finishes(
    clips: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in (store / "runs").iterdir()}
    found = shared(clips, store)
    said = capsys.readouterr().err
    assert said.count(" done: ") == 3
    assert all((store / "runs" / name).stat().st_mtime_ns == time for name, time in before.items())
    assert (found.missing, found.failures, found.test_clips, found.tested_share) == (0, (), 8, 1.0)
    assert [(one.name, len(one.scores)) for one in found.methods] == [
        ("log-Mel statistics", 2),
        ("linear", 2),
        ("bitfit", 2),
    ]
    for one in found.methods:
        records = [Store(store).read(file.stem) for file in (store / "runs").iterdir()]
        scores = {
            (r.identity["fold"], r.identity["seed"]): r.headline for r in records if r.identity["method"] == one.method
        }
        assert one.scores == scores
        assert found.estimate(one.name).mean == pytest.approx(sum(scores.values()) / 2)
    again = shared(clips, store)
    assert again == found
    assert " done: " not in capsys.readouterr().err
    assert repr(found).startswith(f"Comparison('{clips.name}': 3 methods, accuracy, best ")
    assert "<th" in found._repr_html_()
    assert json.loads(json.dumps(found.record()))["recommendation"] == found.recommendation


def test_a_report_says_what_the_comparison_said(clips: Path, store: Path, tmp_path: Path) -> None:
    found = shared(clips, store)
    write_report(Results.load(Store(store), found.name), tmp_path)
    page = (tmp_path / f"{found.name}.md").read_text()
    assert found.design[0].replace("_", "\\_") in page.replace("_", "\\_")
    assert found.recommendation.split(". ")[0] in page
    assert "not the paper" not in page.lower()
    assert (
        "100.00** ± 0.00 |" in page
    )  # linear and bitfit, in both folds: no interval, because nothing is known of its spread
    low, high = found.estimate(BASELINE_ROW).within(0, 1).interval or (0, 0)
    assert 0 <= low < high
    assert f"[{100 * low:.1f}, {100 * high:.1f}]" in page
    lines = (tmp_path / f"{found.name}-comparisons.csv").read_text().splitlines()
    one = found.difference("linear", BASELINE_ROW)
    assert one
    assert one.estimate.interval
    start = f",linear,{BASELINE_ROW},{100 * one.estimate.mean:.4f},{100 * one.estimate.interval[0]:.4f},"
    assert any(start in line for line in lines)
    assert any(",linear,bitfit,0.0000,,," in line for line in lines)


def test_the_table_is_drawn_while_runs_go_on(
    clips: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shared(clips, store)
    saved = Store(store).read_plan(found.name)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()
    with live_table(saved, Store(store))("Runs", 6) as advance:
        advance(2, "bitfit is running")
    drawn = capsys.readouterr().err
    for text in ("against the best", "log-Mel statistics", "2/6", "bitfit is running", "2 of 2"):
        assert text in drawn


def test_the_command_prints_the_same(clips: Path, store: Path) -> None:
    found = shared(clips, store)
    options = ["--backbone", "random:tiny", "--num-train-epochs", "1", "--max-length", "32", "--group-by", "^.*/([ab])"]
    command = ["compare", str(clips), "--method", "baseline,linear,bitfit", "--store", str(store), *options]
    shown = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert found.recommendation[:40] in shown.stdout
    assert "2 of 2" in shown.stdout
    printed = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(printed.stdout) == json.loads(json.dumps(found.record()))
    planned = CliRunner().invoke(app, [*command, "--dry-run", "--json"])
    runs = json.loads(planned.stdout)["runs"]
    assert [run["status"] for run in runs] == ["done"] * 6


def test_a_run_that_fails_is_named_and_the_command_ends_with_1(clips: Path, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    found = shared(clips, copy)
    planned = plan_comparison(clips, "baseline,linear,bitfit", group_by="^.*/([ab])", **QUICK)
    broken = next(run for run in planned.runs if run.row == "log-Mel statistics")
    Store(copy).path(broken.key).unlink()
    Store(copy).work(broken.key).with_suffix(".lock").unlink(missing_ok=True)
    Store(copy).work(broken.key).with_suffix(".lock").mkdir()  # nothing can be locked there, so the run fails
    options = ["--backbone", "random:tiny", "--num-train-epochs", "1", "--max-length", "32", "--group-by", "^.*/([ab])"]
    done = CliRunner().invoke(
        app, ["compare", str(clips), "--method", "baseline,linear,bitfit", "--store", str(copy), *options, "--json"]
    )
    assert done.exit_code == 1
    record = json.loads(done.stdout)
    assert record["missing"] == 1
    assert record["failures"][0].startswith(f"log-Mel statistics, {clips.name}, fold {broken.fold}, seed 0: ")
    assert record["recommended"] == found.recommended


def test_python_offers_it() -> None:
    assert astune.compare is compare
    assert astune.Comparison is Comparison


def test_data_without_splits_are_divided_by_group(clips: Path) -> None:
    planned = plan_comparison(clips, group_by="^.*/([ab])", **QUICK)
    assert planned.plan.notes == (
        "Folds: the data have neither folds nor a test split, so 2 test folds are made of 2 groups, each class spread over them",
        "Each of the folds 1, 2 tests once per seed",
        "Seeds: 1 run of each method and fold",
        "Test clips choose nothing: not the epoch, no setting, no fold",
        "Intervals: 95 %, Student's over 2 folds, the seeds of a fold averaged first, and widened because folds share training clips "
        "(Nadeau and Bengio, 2003)",
    )  # fmt: skip
    assert len(planned.runs) == 2 * len(COMPARED_METHODS)
    ungrouped = plan_comparison(clips, seeds=2, **QUICK)
    assert "5 test folds are made of 16 clips" in ungrouped.plan.notes[0]
    assert ungrouped.plan.notes[1].startswith("Warning: nothing says which clips share a speaker, session or device")
    assert len(ungrouped.runs) == 2 * 5 * len(COMPARED_METHODS)


@pytest.mark.parametrize(
    ("settings", "rate"),
    [  # the paper's recipe starts from a random head, for which 5e-5 is too low on a narrow backbone
        ({}, None), ({"recipe": "paper"}, 5e-4), ({"head_start": "random"}, 5e-4),
        ({"recipe": "paper", "head_start": "probe"}, None), ({"recipe": "paper", "learning_rate": 1e-3}, 1e-3),
    ],
)  # fmt: skip
def test_full_fine_tuning_has_the_rate_of_a_training_unless_its_head_is_random(
    settings: dict[str, Any], rate: float | None, clips: Path
) -> None:
    planned = plan_comparison(clips, "full-ft,lora", **QUICK, **settings)
    rates = {run.row: run.config.get("learning_rate") for run in planned.runs}
    assert rates == {"full-ft": rate, "lora": settings.get("learning_rate")}
    said = [note for note in planned.plan.notes if note.startswith("full-ft")]
    assert said == [
        "full-ft: learning rate 0.0005, ten times that of the paper and of a training by itself: random:tiny is narrower than AST-base, "
        "and validation clips of other data preferred it"
    ] * (rate == 5e-4)  # fmt: skip


def test_data_with_splits_or_folds_are_tested_as_they_say(generated: Path, tmp_path: Path) -> None:
    planned = plan_comparison(generated, "linear,lora", **QUICK)
    assert planned.plan.notes == (
        "Test clips: the test split of the data, in every run",
        "Seeds: 3 runs of each method",
        "Test clips choose nothing: not the epoch, no setting, no fold",
        "Intervals: 95 %, for other seeds (Student's over 3) and for other test clips (18 here), but not for other training clips",
    )
    assert [(run.row, run.fold, run.seed) for run in planned.runs] == [
        (name, None, seed) for name in ("linear", "lora") for seed in range(3)
    ]
    table = tmp_path / "table"
    for number in range(8):
        write_tone(table / f"{number}.wav", pitch=300 + 100 * number)
    write_text(table / "clips.csv", "file_name,label,fold", *(f"{n}.wav,{'ab'[n % 2]},{1 + n // 4}" for n in range(8)))
    folded = plan_comparison(f"csv:{table / 'clips.csv'}", "linear,lora", seeds=2, **QUICK)
    assert folded.plan.notes[:3] == (
        "Folds: those of the data (1, 2)",
        "Each of the folds 1, 2 tests once per seed",
        "Seeds: 2 runs of each method and fold",
    )
    one = plan_comparison(f"csv:{table / 'clips.csv'}", "linear,lora", folds=[2], **QUICK)
    assert one.plan.notes[1:3] == ("Fold 2 tests in every run", "Seeds: 3 runs of each method")
    assert {run.fold for run in one.runs} == {2}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_data_in_every_layout_can_be_compared(name: str, tmp_path: Path) -> None:
    try:
        path = LAYOUTS[name].write_example(tmp_path / "data")
    except ConfigError as absent:
        pytest.skip(str(absent))
    planned = plan_comparison(f"{name}:{path}", "linear,lora", **QUICK)
    runs = {(run.fold, run.seed) for run in planned.runs}
    assert len(planned.runs) == 2 * len(runs) >= 2 * 3
    made = "make_folds" in planned.runs[0].settings_key
    assert made is not bool(load_data(f"{name}:{path}").folds or load_data(f"{name}:{path}").split().test)


def test_runs_are_those_of_any_other_experiment(clips: Path) -> None:
    planned = plan_comparison(f"folder:{clips}", "linear,lora", seeds=2, shots=2, **QUICK)
    table = Table.model_validate(
        {
            "title": "mine",
            "datasets": [{"name": clips.name, "data": f"folder:{clips}", "options": {"make_folds": 5}}],
            "rows": [{"name": "LoRA", "method": "lora"}],
        }
    )
    settings = {"num_train_epochs": 1, "max_length": 32, "shots": 2}
    theirs = plan("mine", table, PlanOptions(Path(), "random:tiny", 2, settings))
    assert {run.key for run in theirs} == {run.key for run in planned.runs if run.row == "lora"}


def test_a_rate_of_the_users_holds_for_full_fine_tuning_too(clips: Path) -> None:
    planned = plan_comparison(clips, "linear,full-ft", learning_rate=1e-3, **QUICK)
    assert {run.config["learning_rate"] for run in planned.runs} == {1e-3}
    assert not any("full-ft" in note for note in planned.plan.notes)


def test_methods_are_taken_apart_at_commas_between_specs() -> None:
    assert method_specs("lora:reduction_rate=64,targets=qv, linear,bottleneck-pf-par") == [
        "lora:reduction_rate=64,targets=qv", "linear", "bottleneck-pf-par",
    ]  # fmt: skip
    assert method_specs(["lora", "lora", "dpt:tokens=2"]) == ["lora", "dpt:tokens=2"]


def test_what_cannot_be_compared_is_refused_with_the_reason(clips: Path, tmp_path: Path) -> None:
    for methods in ("lora", "baseline", "", ["linear", "linear"]):
        with pytest.raises(ConfigError, match="a comparison takes two or more, one of them with a network"):
            plan_comparison(clips, methods)
    with pytest.raises(ConfigError, match=r"methods: 2 faults\n.*lara.*\n.*linaer"):
        plan_comparison(clips, "lara,linaer,lora")
    for name in ("seed", "fold", "output_dir", "learning_rat"):
        with pytest.raises(ConfigError, match=f"unknown setting '{name}'"):
            plan_comparison(clips, "linear,lora", **{name: 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seeds=0; give a whole number, 1 or more"):
        plan_comparison(clips, "linear,lora", seeds=0)
    with pytest.raises(ConfigError, match="unknown fold '9'"):
        plan_comparison(clips, "linear,lora", folds=[9])
    with pytest.raises(ConfigError, match="give it without workers and shard"):
        compare(clips, "linear,lora", store=tmp_path, ray="local", shard="1/2", **QUICK)
    for number in range(3):
        write_tone(tmp_path / "few" / "ab"[number % 2] / f"{number}.wav")
    with pytest.raises(DataError, match="too few of 1 class: b"):
        plan_comparison(tmp_path / "few", "linear,lora")


def test_what_is_wrong_with_recordings_is_said_before_anything_is_trained(clips: Path, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "data")
    (tmp_path / "data" / "low" / "a0.wav").write_bytes(b"RIFF, but no more")
    arguments: dict[str, Any] = {"store": tmp_path / "store", "group_by": "^.*/([ab])", **QUICK}
    with pytest.raises(ConfigError, match=r"(?s)the methods cannot be compared: data: 1 of 16 .*a0\.wav"):
        compare(tmp_path / "data", "linear,bitfit", **arguments)
    assert not (tmp_path / "store" / "runs").exists()


def test_a_split_of_which_nothing_can_be_read_tests_nothing(generated: Path, tmp_path: Path) -> None:
    shutil.copytree(generated, tmp_path / "data")
    for file in (tmp_path / "data" / "test").rglob("*.wav"):
        file.write_bytes(b"RIFF, but no more")
    with pytest.raises(ConfigError, match="data: no test clip of the test split can be read; repair or remove them"):
        compare(tmp_path / "data", "linear,bitfit", store=tmp_path / "store", skip_broken=True, **QUICK)
    assert not (tmp_path / "store" / "runs").exists()


def test_a_colon_may_be_a_part_of_a_path(clips: Path, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "take: 2")
    assert plan_comparison(tmp_path / "take: 2", "linear,lora", **QUICK).runs[0].dataset == "take: 2"


def test_the_name_of_a_data_set_is_that_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {
        source: own_entry(source).name for source in (".", "folder:.", "a/b", "csv:birds/metadata.csv", "metadata.csv")
    }
    assert names == {
        ".": tmp_path.name, "folder:.": tmp_path.name, "a/b": "b", "csv:birds/metadata.csv": "birds", "metadata.csv": tmp_path.name,
    }  # fmt: skip


def test_a_comparison_in_a_file_has_one_data_set() -> None:
    rows = [{"name": "a", "method": "lora"}]
    with pytest.raises(ConfigError, match="a comparison has one data set, and nothing that varies"):
        Table(title="x", kind="comparison", datasets=["esc50", "urbansound8k"], rows=rows)
    alone = Table(title="x", kind="comparison", datasets=["esc50"], rows=rows)
    with pytest.raises(
        ConfigError, match="x: a comparison has one data set, and nothing that varies; plan one for each"
    ):
        plan("x", alone, PlanOptions(vary={"selection": ["last", "best-validation"]}))
    plain = SavedPlan("x", "x", "table", None, ())
    assert SavedPlan.from_json(plain.to_json()) == plain
    assert SavedPlan.from_json(replace(plain, notes=("one",)).to_json()).notes == ("one",)


def test_what_tests_by_what_does_not(store: Path, clips: Path) -> None:
    found = shared(clips, store)
    saved = Store(store).read_plan(found.name)
    runs_store = Store(store)

    def share(**changes: Any) -> float:
        entries = [replace(entry, **changes) for entry in saved.entries]
        return Comparison.of(Results.of(replace(saved, entries=tuple(entries)), runs_store)).tested_share

    assert share() == 8 / 8
    assert share(dataset_clips=40) == 8 / 32
    assert (
        share(dataset_clips=40, settings={**saved.entries[0].settings, "limit_clips": 4}) == 1
    )  # two folds: one by one
    assert share(fold=1) == 0


BETTER = dict(zip(FOLDS, [0.92, 0.95, 0.93, 0.94], strict=True))
WORSE = {pair: score - 0.10 - 0.001 * fold for pair, score in BETTER.items() for fold, _ in [pair]}
ALIKE = {(1, 0): 0.93, (2, 0): 0.94, (3, 0): 0.94, (4, 0): 0.922}
BASELINE = "log-mel-statistics"


def of(*methods: ComparedMethod) -> Compared:
    return Compared("single-label", methods, 25, 1 / 3)


def test_a_larger_method_is_recommended_where_it_is_shown_to_be_better() -> None:
    compared = of(row("linear", WORSE), replace(row("lora", BETTER, size=1_100_000), train_seconds=240.0))
    found = compared.difference("lora", "linear")
    assert found
    assert found.estimate.interval
    low, high = (100 * end for end in found.estimate.interval)
    ends = estimate(list(BETTER.values()), 1 / 3).interval
    assert ends
    assert recommend(compared) == (
        f"Use lora: accuracy 93.5 % ({100 * ends[0]:.1f} to {100 * ends[1]:.1f}), 10.2 points above linear ({low:.1f} to {high:.1f}). "
        "Training takes 4 min, and the adapter has 1.10 MB. linear is 240 times faster and 10.2 points lower."
    )  # fmt: skip


def test_the_simplest_is_recommended_where_nothing_differs() -> None:
    compared = of(row("lora", BETTER, size=2000), row("linear", ALIKE))
    chosen = simplest_best(compared)
    assert chosen
    assert chosen.name == "linear"
    words = recommend(compared)
    assert words.startswith("Use linear: accuracy 93.3 % (")
    assert "lora has 93.5 %, 0.2 points more (" in words
    assert "No network is shown to differ from the best one, and linear is the simplest." in words


def test_the_simplest_of_the_best_is_recommended() -> None:
    compared = of(row("linear", WORSE), row("bitfit", ALIKE, size=1500), row("lora", BETTER, size=2000))
    words = recommend(compared)
    assert words.startswith("Use bitfit: ")
    assert "not shown to be better" in words
    assert "No network is shown to differ" not in words


def test_a_baseline_that_wins_is_said_first() -> None:
    words = recommend(
        of(replace(row("no network", BETTER), method=BASELINE), row("linear", WORSE), row("lora", WORSE, size=2000))
    )
    assert words.startswith("Logistic regression on log-Mel statistics, without a network, wins: accuracy 93.5 % (")
    assert "10.2 points more than linear (" in words
    assert "these runs do not show that a network is needed" in words
    assert "Of the networks use linear: accuracy 83.2 %" in words
    alike = recommend(
        of(replace(row("no network", ALIKE), method=BASELINE), row("linear", BETTER), row("lora", WORSE, size=2000))
    )
    assert alike.startswith("Logistic regression on log-Mel statistics, without a network, is not shown to be worse: ")
    few = {(1, 0): 0.9, (2, 0): 0.5}
    other = {(1, 0): 0.8, (2, 0): 0.5}
    unproven = recommend(
        of(replace(row("no network", few), method=BASELINE), row("linear", other), row("lora", other, size=2000))
    )
    assert unproven.startswith(
        "Logistic regression on log-Mel statistics, without a network, has a higher mean: accuracy 70.0 % "
    )
    assert ", but is not shown to be better. So these runs do not show that a network is needed" in unproven
    behind = recommend(
        of(replace(row("no network", WORSE), method=BASELINE), row("linear", BETTER), row("lora", WORSE, size=2000))
    )
    assert "It is 10.2 points above logistic regression on log-Mel statistics, without a network (" in behind


def test_few_and_missing_runs_are_doubted() -> None:
    once = {(None, 0): 0.9}
    words = recommend(Compared("single-label", (row("a", once), row("b", once, planned=3)), 25, 0.0))
    assert "Each method ran once, so nothing is known of other seeds and folds; give more seeds." in words
    assert "2 runs are missing, and this may change with them." in words
    seeds = {(None, seed): 0.9 for seed in range(3)}
    few = recommend(Compared("multi-label", (row("a", seeds), row("b", seeds)), 25, 0.0))
    assert few.startswith(
        "Use a: mAP 90.0 %, as much as b. It is the simplest network and has no lower mean than the others."
    )
    assert "3 seeds are few: intervals are wide, and more seeds would narrow them." in few
    assert "There is one test split, and nothing is known of what other test clips would give." in few
    nothing = Compared(None, (row("a", {}, planned=2),), 0, 0.0)
    assert recommend(nothing) == "No run of a network is finished, so no method can be recommended."
    assert nothing.measure == "score"


def test_one_fold_is_judged_by_its_clips_and_one_score_by_itself() -> None:
    """After the first fold there is no spread over folds yet: 41 and 18 of 60 clips differ all the same, 20 and 18 do not."""
    methods = (row("linear", {(1, 0): 0.3}, planned=4), row("lora", {(1, 0): 41 / 60}, size=2000, planned=4))
    compared = Compared("single-label", methods, 60, 1 / 3)
    found = compared.difference("lora", "linear")
    assert found
    assert found.estimate == estimate([41 / 60 - 0.3], variance=difference_variance(41 / 60, 0.3, 60))
    chosen = simplest_best(compared)
    assert chosen
    assert chosen.name == "lora"
    near = Compared("single-label", (methods[0], replace(methods[1], scores={(1, 0): 20 / 60})), 60, 1 / 3)
    assert recommend(near).startswith("Use linear: ")
    words = recommend(Compared("multi-label", methods, 60, 0.0))  # of which no interval is known
    assert words.startswith("Use lora: mAP 68.3 %, 38.3 points above linear.")
    assert "Each method ran once" in words


def test_a_clear_lead_over_two_folds_decides_and_is_not_called_proven() -> None:
    """30 and 36 points over two folds: error sqrt(18 (1/2 + 1/3)) = 3.9 points; Student's reach is 12.7 times that."""
    methods = (row("linear", {(1, 0): 0.4, (2, 0): 0.3}), row("lora", {(1, 0): 0.7, (2, 0): 0.66}, size=2000))
    compared = Compared("single-label", methods, 60, 1 / 3)
    found = compared.difference("lora", "linear")
    assert found
    assert found.estimate.error == pytest.approx(0.0387298, abs=1e-6)
    assert found.estimate.interval == pytest.approx((0.33 - 12.7062 * 0.0387298, 0.33 + 12.7062 * 0.0387298), abs=1e-5)
    words = recommend(compared)
    assert words.startswith("Use lora: accuracy 68.0 %")
    assert "That is more than two standard errors, but 2 folds cannot prove it." in words
    same = (methods[0], replace(methods[1], scores={(1, 0): 0.7, (2, 0): 0.6}))
    words = recommend(Compared("single-label", same, 60, 1 / 3))
    assert (
        "30.0 points above linear. It is ahead by the same in all 2 folds, so nothing is known of the spread, and the lead is not proven."
        in words
    )


def test_folds_can_be_made_for_cross_validation_too(clips: Path, tmp_path: Path) -> None:
    from astune.training.cross_validation import cross_validate

    config = TrainConfig(
        data=str(clips), method="linear", output_dir=tmp_path / "out", make_folds=2, group_by="^.*/([ab])", **QUICK
    )
    results = cross_validate(config, quiet=True)
    assert [result.fold for result in results] == [1, 2]
    evaluation = astune.Predictor(tmp_path / "out" / "fold-2").evaluate(str(clips), split="test")
    assert evaluation.scores.figures()["accuracy"] == pytest.approx(results[1].scores["test"]["accuracy"])
    assert not evaluation.trained_on
    data = load_data(clips, make_folds=2, group_by="^.*/([ab])")
    assert evaluation.scores.clips == len(data.split(2).test) == 8
    without = config.model_copy(update={"make_folds": None})
    with pytest.raises(ConfigError, match="give a table with a column fold, or make_folds, such as 5"):
        cross_validate(without, quiet=True)


def test_another_comparison_of_the_same_data_has_its_own_name(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = f"compare-{clips.name}"
    first = compare(clips, "baseline,linear", store=tmp_path, make_folds=2, **QUICK)
    other = compare(clips, "baseline,bitfit", store=tmp_path, make_folds=2, **QUICK)
    assert first.name == usual != other.name
    assert f"this one is named {other.name}" in " ".join(capsys.readouterr().err.split())
    assert Store(tmp_path).planned() == [usual, other.name]
    assert Store(tmp_path).read_plan(usual).rows == ("linear", "log-Mel statistics")
    assert Store(tmp_path).read_plan(other.name).rows == ("bitfit", "log-Mel statistics")
    command = ["compare", str(clips), "--store", str(tmp_path), "--make-folds", "2", "--dry-run", "--json"]
    command += ["--backbone", "random:tiny", "--num-train-epochs", "1", "--max-length", "32"]
    for methods, name in (("linear,baseline", usual), ("baseline,bitfit", other.name)):  # in any order
        assert json.loads(CliRunner().invoke(app, [*command, "--method", methods]).stdout)["name"] == name
    assert compare(clips, "baseline,linear", store=tmp_path, make_folds=2, **QUICK).name == usual
    (tmp_path / "plans" / f"{usual}.json").write_text("{")  # a damaged plan is nobody's
    assert compare(clips, "baseline,bitfit", store=tmp_path, make_folds=2, **QUICK).name == other.name
    assert compare(clips, "baseline,linear", store=tmp_path, make_folds=2, **QUICK).name == usual


@pytest.mark.parametrize("verb", [["compare", "--method", "linear,lora"], ["search", "--parameters", "2000"]])
def test_a_plan_names_options_as_the_run_does(verb: list[str], clips: Path, tmp_path: Path) -> None:
    command = [
        verb[0],
        str(clips),
        *verb[1:],
        "--backbone",
        "random:tiny",
        "--max-length",
        "32",
        "--store",
        str(tmp_path),
        "--dry-run",
    ]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "(column group of a table, or --group-by)" in done.stdout
    assert "group_by" not in done.stdout


def test_an_unknown_name_lists_what_is_there(store: Path) -> None:
    (name,) = Store(store).planned()
    for asked, said in (
        ("compare-x", f"unknown plan 'compare-x'; choose one of: {name}"),
        ("comp", f"begins with it: {name}"),
        ("nosuch", f"choose one of: {name}; `astune reproduce`, `compare` and `search` make one"),
    ):
        result = CliRunner().invoke(app, ["report", asked, "--store", str(store)], env={"COLUMNS": "300"})
        assert said in str(result.exception)
        assert "run `astune reproduce" not in str(result.exception)
