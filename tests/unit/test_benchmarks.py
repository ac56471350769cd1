"""The benchmarks' pure parts, and what each contestant computes, on tiny models; no duration is ever asserted."""

from __future__ import annotations

import inspect
import io
import json
import math
import pkgutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

import benchmarks
from astune import AudioClassifier, load_backbone
from astune.errors import AstuneError, ConfigError
from astune.inference.loaded_adapter import LoadedAdapter
from astune.inference.shells import Shells

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from benchmarks import (
        adapters,
        front_end,
        inference,
        linear_probe,
        one_clip,
        scale,
        search,
        serving,
        timeline,
        train_step,
    )
    from benchmarks.__main__ import measure
    from benchmarks.catalogue import BENCHMARKS
from benchmarks.measure import BenchmarkError, Contestant, Outcome, Plan, Subject, agreement, contest, ratio
from benchmarks.report import Finding, Options, Report, environment
from tests.serving_parts import running

# peft 0.21 reads a property that transformers 5.23 renamed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TINY = "random:tiny"
MACHINERY = {"__main__", "catalogue", "measure", "recipe_cells", "recipe_search", "report", "worker"}


def outcome(*wall: float, peak_mib: float = 1.0) -> Outcome:
    return Outcome(list(wall), [seconds / 2 for seconds in wall], peak_mib, {})


def after_one_step(subject: Subject, *, timed: bool = True) -> Outcome:
    """What a worker would send, without the worker."""
    subject.before()
    subject.step()
    rounds = [1.0] if timed else []
    return Outcome(rounds, rounds, 1.0, subject.evidence())


def test_seconds_are_medians_over_rounds() -> None:
    measured = outcome(3.0, 1.0, 2.0, 50.0, 2.0)
    assert measured.seconds == 2.0
    assert measured.cpu_seconds == 1.0


def test_ratios_are_taken_round_by_round() -> None:
    """The third round met other work; a ratio of medians would be 3 / 2."""
    found = ratio(outcome(2.0, 3.0, 40.0), outcome(1.0, 2.0, 20.0))
    assert found == (2.0, 1.5, 2.0)
    assert str(found) == "2.00 (1.50–2.00)"


def test_agreement_compares_all_gradients_as_one_vector() -> None:
    reference = {"loss": torch.tensor([2.0]), "a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[4.0]])}
    assert agreement(reference, reference) == (0, 0, 0)
    turned = {"loss": torch.tensor([2.1]), "a": torch.tensor([0.0, 3.0]), "b": torch.tensor([[4.0]])}
    loss, angle, norm = agreement(turned, reference)
    assert loss == pytest.approx(0.05)
    assert angle == pytest.approx(1 - 16 / 25)
    assert norm == pytest.approx(18**0.5 / 5)
    with pytest.raises(BenchmarkError, match=r"\['a'\]"):
        agreement({"loss": torch.tensor([2.0]), "b": torch.tensor([[4.0]])}, reference)


def test_a_report_prints_markdown_claims_and_checks() -> None:
    findings = [Finding("fast", True), Finding("small", None)]
    report = Report(
        "title",
        ("who", "s"),
        [("ours", "1.0")],
        findings,
        [Finding("equal", False)],
        ["a note"],
        {"ours": outcome(1.0)},
    )
    stream = io.StringIO()
    report.show(Console(file=stream, width=80))
    printed = [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()]
    assert printed == [
        "## title", "| who  |   s |", "|------|-----|", "| ours | 1.0 |",
        "- claim: fast: yes", "- claim: small: cannot be told here", "- check: equal: NO", "- a note",
    ]  # fmt: skip
    record = json.loads(json.dumps(report.record()))
    assert record["table"] == [{"who": "ours", "s": "1.0"}]
    assert record["claims"] == {"fast": True, "small": None}
    assert record["outcomes"]["ours"]["wall_seconds"] == [1.0]


def test_every_file_is_a_benchmark_in_the_catalogue() -> None:
    files = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - MACHINERY
    assert {name.replace("-", "_") for name in BENCHMARKS} == files
    assert all(benchmark.name == name and benchmark.claim for name, benchmark in BENCHMARKS.items())


def test_options_complete_a_benchmarks_own_numbers() -> None:
    assert Options().plan(5, 2) == Plan(5, 2, 1, 1)
    assert Options(rounds=3, threads=2).plan(5, 2, warm_up=0) == Plan(3, 2, 0, 2)


def test_the_header_names_machine_and_versions() -> None:
    header = environment(2)
    assert list(header) == ["CPU", "arithmetic", "threads", "versions", "commit"]
    assert all(name in header["versions"] for name in ("astune", "torch", "transformers", "peft", "onnxruntime"))
    assert header["threads"] == "2 a contestant"


def test_first_steps_are_the_references() -> None:
    """All contestants of a table, and the table."""
    outcomes = {
        contestant.name: after_one_step(contestant.make(**contestant.settings), timed=contestant.timed)
        for contestant in train_step.contestants(TINY, 32, 2)
    }
    shape = train_step.Shape(32, 2, 1.3, 0.7, 0.73)
    report = train_step.report("tiny", shape, outcomes, promised=False)
    assert len(report.rows) == 5 == len(outcomes) - 4
    assert len(report.checks) == 5
    assert all(check.holds for check in report.checks), report.checks
    assert [claim.holds for claim in report.claims][:3] == [None] * 3


def test_a_wrong_gradient_is_found() -> None:
    """Large enough for bfloat16's tolerance too, where the machine computes in it: LoRA's part of the gradient is a thousandth."""
    right = after_one_step(train_step.ours(TINY, 32, 2, reference=True))
    other = after_one_step(train_step.ours(TINY, 32, 2, "lora:alpha=80000", reference=True))
    assert train_step.first_step("ours", right, right).holds
    assert train_step.first_step("ours", other, right).holds is False


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values:UserWarning")  # so has Kaldi's
@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_front_ends_agree(seconds: float) -> None:
    ours, theirs = (maker(seconds).evidence()["features"] for maker in (front_end.ours, front_end.transformers))
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-3


def test_cache_and_batches_of_files(tmp_path: Path) -> None:
    for number in range(3):
        samples = np.random.default_rng(number).normal(0, 0.1, 44_100)
        soundfile.write(tmp_path / f"{number}.wav", samples, 44_100)
    built = front_end.build(str(tmp_path))
    built.step()
    evidence = built.evidence()
    assert (evidence["cached"] - evidence["computed"]).abs().max() < 5e-3
    assert front_end.read_batch(str(tmp_path)).step().shape == (8, 500, 128)  # type: ignore[attr-defined]
    assert len(front_end.decode(str(tmp_path)).step()) == 3  # type: ignore[arg-type]


def test_a_probe_tells_clips_as_the_whole_model_does(tmp_path: Path) -> None:
    linear_probe.prepare(tmp_path, TINY, (2, 1, 1))
    linear_probe.one_pass(str(tmp_path), TINY).step()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTUNE_CACHE", "set so that it is put back")
        evidence = after_one_step(linear_probe.probe(str(tmp_path), TINY, epochs=2)).evidence
    assert evidence["counted"].sum() == 6
    assert torch.equal(evidence["counted"], evidence["whole"])


@pytest.mark.parametrize(("form", "most"), [("merged", 1e-4), ("merged, bfloat16", 0.05)])
def test_forms_of_a_classifier_agree(form: inference.Form, most: float) -> None:
    plain = inference.logits(TINY, 32, 2, "unmerged").evidence()["logits"]
    assert plain.std() > 1e-3
    assert (inference.logits(TINY, 32, 2, form).evidence()["logits"] - plain).abs().max() < most


def test_graphs_have_the_scores_of_their_classifier(tmp_path: Path) -> None:
    plain = inference.logits(TINY, 32, 2, "unmerged").evidence()["scores"]
    for form, path in inference._export(TINY, 32, tmp_path).items():
        apart = (inference.graph(path, 2, 32).evidence()["scores"] - plain).abs().max()
        assert apart < (1e-5 if form == "onnx, float32" else 0.01)


@pytest.mark.slow
def test_commands_that_label_one_clip_give_the_same_scores(tmp_path: Path) -> None:
    outcomes = {
        contestant.name: after_one_step(contestant.make(**contestant.settings))
        for contestant in one_clip.prepare(tmp_path, TINY, 32)
    }
    report = one_clip.report(TINY, outcomes, [])
    assert len(report.rows) == len(report.checks) + 1 == 4
    assert all(check.holds for check in report.checks), report.checks
    peaks = {name: float(outcome.evidence["peak_mib"]) for name, outcome in outcomes.items()}
    assert 30 < peaks["astune predict graph.onnx"] < peaks["astune predict ADAPTER"]


def test_stages_of_scale_do_what_they_say(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    clips, classes = 40, 4
    given = {
        "folder": str(tmp_path),
        "table": str(scale.prepare(tmp_path, clips, classes)),
        "clips": clips,
        "classes": classes,
    }
    outcomes = {}
    for name, make in scale.STAGES.items():
        settings = {key: given[key] for key in inspect.signature(make).parameters}
        for size, _ in scale._SIZES:
            outcomes[f"{name}, {size:,} clips"] = after_one_step(make(**settings))
    report = scale.report(outcomes)
    assert len(report.rows) == len(scale.STAGES)
    assert all(check.holds for check in report.checks), report.checks


@pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented the batching rule")
def test_adapters_are_loaded_and_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3
    assert adapters.write(tmp_path, TINY, count) > 30_000
    few, many = (after_one_step(adapters.loaded(str(tmp_path), number)).evidence for number in (1, count))
    assert torch.equal(few["scores"], many["scores"])
    assert 50 < few["loaded"] <= many["resident"] * 1.5
    stacked = []
    original = Shells.stacked_logits

    def counted(shells: Shells, rows: list[LoadedAdapter], features: torch.Tensor) -> list[torch.Tensor]:
        stacked.append(len(rows))
        return original(shells, rows, features)

    monkeypatch.setattr(Shells, "stacked_logits", counted)
    monkeypatch.setattr(adapters, "_MIXES", ((2, 1), (4, 4)))
    evidence = after_one_step(adapters.mixed(TINY, "lora", "cpu", 2)).evidence
    assert {key for key in evidence if "apart" not in key} == {"2 1", "4 4"}
    assert evidence["4 4"].shape == (3, 2)
    assert stacked == [4] * 3  # in one of the modes, where there are several adapters, with a turn that warms up
    assert max(float(value) for key, value in evidence.items() if "apart" in key) < 1e-5


def test_a_device_is_for_benchmarks_that_can_choose() -> None:
    with pytest.raises(ConfigError, match="--device cuda: timeline measures the CPU alone; name one of: adapters"):
        measure("timeline", device="cuda")


def test_contestants_run_in_processes_of_their_own() -> None:
    """A subject that does nothing, because its worker starts fast."""
    entries = [
        Contestant("idle", Subject, repeats=2),
        Contestant("once", front_end.ours, {"seconds": 0.1}, timed=False),
    ]
    outcomes = contest("nothing", entries, Plan(rounds=3, steps=1))
    assert {name: len(outcome.wall) for name, outcome in outcomes.items()} == {"idle": 3, "once": 0}
    assert torch.equal(outcomes["once"].evidence["features"], front_end.ours(0.1).evidence()["features"])
    assert all(outcome.peak_mib > 50 for outcome in outcomes.values())


def test_a_contestant_that_fails_says_why() -> None:
    broken = Contestant("broken", Subject, {"steps": 1})
    with pytest.raises(BenchmarkError, match=r"(?s)broken ended:.*unexpected keyword argument 'steps'"):
        contest("nothing", [broken], Plan(rounds=1, steps=1))


def test_the_command_names_the_benchmarks_it_has() -> None:
    with pytest.raises(ConfigError, match="train-step"):
        measure("train-steps")


def test_a_timeline_and_the_plain_loops_give_the_same_scores(tmp_path: Path) -> None:
    recording = str(timeline.write_recording(tmp_path / "a.flac", 1))
    ours = after_one_step(timeline.windows(TINY, recording)).evidence["scores"]
    assert ours.shape == (61, 3)  # of 0.995 s
    for batch in (1, 16):
        theirs = after_one_step(timeline.loop(TINY, recording, batch)).evidence["scores"]
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


def test_clients_of_services_are_answered_as_by_each_adapter_alone(tmp_path: Path) -> None:
    adapters = serving.write_adapters(tmp_path / "adapters", TINY, 2)
    recording = tmp_path / "a.wav"
    soundfile.write(recording, np.random.default_rng(0).normal(0, 0.1, 14_400), 16_000)
    with running(adapters=tuple(map(str, adapters.values()))) as client:
        address = str(client.base_url)
        assert serving._apart(address, adapters, recording) < 1e-5
        seen = serving.load([address, address], [["task0"], ["task1"]], recording.read_bytes(), clients=3, requests=20)
        assert len(seen.latencies) == 20
        assert seen.rate == 20 / seen.seconds
        counters = client.counters()
        assert counters["astune_requests_total,method=POST,route=/v1/classify,status=200"] == 22
        with pytest.raises(AstuneError, match="unknown adapter"):
            serving.load([address], [["task2"]], recording.read_bytes(), clients=1, requests=1)


def test_a_supernet_trains_the_slices_of_one_candidate_a_step() -> None:
    """Each candidate computes with its slices what it computes with tensors of that size, and no other weight gets a gradient."""
    torch.manual_seed(0)
    specs = [
        "lora:reduction_rate=96,layers=0",
        "lora:reduction_rate=32,layers=0-1",
        "dpt:tokens=2,layers=1+bottleneck:layers=3",
    ]
    models = [AudioClassifier(load_backbone(TINY, 32), spec, ["a", "b"]).eval() for spec in specs]
    net = search.Supernet(models)
    down, up = (f"added.layers.0.mhsa.q.lora.{name}.weight" for name in ("down", "up"))
    assert net.weights[down].shape == (6, 192)  # of the second, the larger one
    assert net.weights[up].shape == (192, 6)
    with torch.no_grad():
        for weight in net.weights.values():
            weight.normal_(std=0.1)
    features = torch.randn(3, 32, 128)
    for number, model in enumerate(models):
        found = net.logits(number, features)
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, part in net.slices(number).items():
                own[name].copy_(part)
        torch.testing.assert_close(found, model(features).logits)
    torch.autograd.backward(net.logits(0, features).sum())
    gradient = net.weights[down].grad
    assert gradient is not None
    assert gradient[:2].abs().sum() > 0
    assert gradient[2:].abs().sum() == 0
    assert {name for name, weight in net.weights.items() if weight.grad is not None} == net.slices(0).keys()


def test_candidates_are_ranked_by_accuracy_and_then_by_loss() -> None:
    assert search.ranks([(0.5, 0.1), (0.9, 0.4), (0.9, 0.3)]) == [2, 1, 0]
    accuracy, loss = search.figures(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    assert accuracy == 0.5  # of two equal logits the first is taken
    assert loss == pytest.approx((math.log(1 + math.exp(-2)) + math.log(2)) / 2)
