"""How the bundled backbone is made: corpus, mixing, stages that go on, student equal to the model that is exported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from astune.backbone import load_backbone
from astune.errors import ConfigError
from astune.keyed import keyed_generator
from pretraining import sounds
from pretraining.corpus import SOUND_FRAMES, SPEECH_FRAMES, Corpus, CorpusConfig, Part, build, vocabulary
from pretraining.export import export
from pretraining.measure import TASKS, Score, probe
from pretraining.mixing import BINS, SILENCE, Batch, MixConfig, Mixer, normalised
from pretraining.stage import optimizer_for, rate_at, run_stage, soft_cross_entropy, trained_weights
from pretraining.student import Student, StudentConfig, StudentLearner, _column_means, _kept
from pretraining.teacher import Teacher

ROOT = Path(__file__).parents[2]
SMALL = StudentConfig(width=64, layers=2)


def part(clips: int, frames: int, labels: int) -> Part:
    draw = keyed_generator("part", clips, frames)
    features = draw.uniform(SILENCE, 5, (clips, frames, BINS)).astype(np.float16)
    lengths = draw.integers(12, frames + 1, clips) if frames == SPEECH_FRAMES else np.full(clips, frames)
    return Part(features, lengths, np.arange(clips) % labels, tuple(f"label {n}" for n in range(labels)))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(
        part(12, SPEECH_FRAMES, 3), part(6, SPEECH_FRAMES, 3), part(20, SPEECH_FRAMES, 5), part(8, SOUND_FRAMES, 4)
    )


@pytest.mark.parametrize("name", sounds.SOUNDS)
def test_every_sound_is_finite_audible_and_a_function_of_its_key(name: str) -> None:
    clip, label = sounds.make(name, keyed_generator(name), seconds=1.0)
    assert clip.shape == (16_000,)
    assert np.isfinite(clip).all()
    assert 0.05 < np.abs(clip).max() <= 1
    assert label in range(4)
    again, same = sounds.make(name, keyed_generator(name), seconds=1.0)
    assert (np.array_equal(clip, again), same) == (True, label)
    other, _ = sounds.make(name, keyed_generator(name, 1), seconds=1.0)
    assert not np.array_equal(clip, other)


def test_the_vocabulary_has_no_number_and_no_word_twice() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == 620
    spoken = {word.lower() for _, word in words}
    numbers = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
    assert not spoken & (numbers | {"won", "to", "too", "for", "ate"})


def test_a_step_is_a_function_of_its_number(corpus: Corpus) -> None:
    mixer = Mixer(corpus, MixConfig(), seed=3)
    forward = [mixer[step] for step in range(12)]
    backward = [Mixer(corpus, MixConfig(), seed=3)[step] for step in reversed(range(12))][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert torch.equal(one.features, other.features)
        assert torch.equal(one.targets, other.targets)
    assert len({tuple(batch.features.shape) for batch in forward}) > 1
    assert not torch.equal(forward[0].features[0], Mixer(corpus, MixConfig(), seed=4)[0].features[0])


def test_batches_are_what_the_front_end_could_have_made(corpus: Corpus) -> None:
    quietest = float(normalised(np.array([SILENCE], np.float32))[0])
    assert quietest == pytest.approx((np.log(2.0**-23) + 4.2677393) / (2 * 4.5689974), abs=1e-6)
    mixer = Mixer(corpus, MixConfig(), seed=0)
    seen = torch.zeros(corpus.classes)
    for step in range(40):
        batch = mixer[step]
        frames = batch.features.shape[1]
        assert batch.features.shape == ({98: 32, 198: 16, 498: 8}[frames], frames, BINS)
        assert torch.isfinite(batch.features).all()
        assert batch.features.min() >= quietest - 1e-5
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(len(batch.targets)))
        seen += batch.targets.sum(0)
    assert (seen > 0).all()
    assert len(seen) == 3 + 5 + 4


def test_a_view_keeps_distinct_patches() -> None:
    keep = _kept(torch.Generator().manual_seed(0), (6, 12, 9), 0.3)
    assert keep.shape == (6, 32)  # 0.3 of 108
    assert all(len(set(row)) == 32 for row in keep.tolist())
    assert keep.min() >= 0
    assert keep.max() < 108


def test_means_over_columns_equal_a_loop() -> None:
    draw = torch.Generator().manual_seed(0)
    tokens = torch.rand(2, 5, 3, generator=draw)
    column = torch.tensor([[0, 2, 2, 0, 0], [1, 1, 1, 1, 1]])
    means, seen = _column_means(tokens, column, 3)
    assert seen.tolist() == [[1, 0, 1], [0, 1, 0]]
    torch.testing.assert_close(means[0, 0], (tokens[0, 0] + tokens[0, 3] + tokens[0, 4]) / 3)
    torch.testing.assert_close(means[0, 2], (tokens[0, 1] + tokens[0, 2]) / 2)
    torch.testing.assert_close(means[1, 1], tokens[1].mean(0))


def test_the_rate_rises_stays_and_falls() -> None:
    assert rate_at(0, 1000, warm_up=100) == pytest.approx(0.01)
    assert rate_at(99, 1000, warm_up=100) == 1
    assert rate_at(300, 1000, warm_up=100) == 1
    assert rate_at(650, 1000, warm_up=100) == pytest.approx(0.5)
    assert rate_at(999, 1000, warm_up=100) == pytest.approx(1 / 700)


def test_soft_cross_entropy_is_torchs_on_one_label() -> None:
    logits, labels = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 5, 2, 2])
    targets = nn.functional.one_hot(labels, 6).float()
    torch.testing.assert_close(soft_cross_entropy(logits, targets), nn.functional.cross_entropy(logits, labels))


@pytest.mark.parametrize("frames", [500, 98])
def test_the_exported_model_is_the_student(frames: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = Student(SMALL, classes=4, channels=8).eval()
    features = torch.randn(2, frames, BINS)
    patches = student.patches(features)
    columns = patches.shape[1] // 12
    # position_embeddings="fit" cuts the middle of the time axis
    start = torch.full((2,), 49 // 2 - columns // 2)
    with torch.no_grad():
        ours = student(patches, torch.arange(patches.shape[1]).expand(2, -1), start)
        export(student.exported(), tmp_path)
        model = load_backbone(tmp_path, frames)
        theirs = model(features).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)  # the file holds float16
    assert ours.std() > 0.5


class _Regression:
    """A learner that a step's number decides: to find out whether a stage goes on where it stopped."""

    def __init__(self, fails_at: int | None = None, loss: float = 1.0) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(BINS, 4), nn.LayerNorm(4))
        self.fails_at, self.loss = fails_at, loss

    def losses(self, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        if batch.step == self.fails_at:
            raise KeyboardInterrupt
        logits = self.module(batch.features.mean(1))
        return {"loss": (self.loss, soft_cross_entropy(logits, batch.targets[:, :4]))}

    def check(self) -> dict[str, float]:
        return {"figure": 0.5}


def run(corpus: Corpus, folder: Path, learner: _Regression, steps: int = 7, **settings: object) -> dict[str, Tensor]:
    mixer = Mixer(corpus, MixConfig((98,), (1.0,), (4,)), seed=0)
    optimizer = optimizer_for(learner.module, 1e-2, 0.05)
    run_stage("test", folder, learner, optimizer, mixer, steps, {"seed": (0, 1), **settings}, save_every=3)
    return trained_weights(folder)


def test_a_stage_that_was_stopped_ends_with_the_same_weights(corpus: Corpus, tmp_path: Path) -> None:
    whole = run(corpus, tmp_path / "whole", _Regression())
    with pytest.raises(KeyboardInterrupt):
        run(corpus, tmp_path / "stopped", _Regression(fails_at=4))
    lines = (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3]
    resumed = run(corpus, tmp_path / "stopped", _Regression())
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    # And a finished one is left alone.
    assert run(corpus, tmp_path / "stopped", _Regression(fails_at=0)).keys() == whole.keys()


def test_a_finished_stage_can_be_made_longer_and_no_shorter(corpus: Corpus, tmp_path: Path) -> None:
    learner = _Regression()
    before = run(corpus, tmp_path, learner)
    after = run(corpus, tmp_path, learner, steps=9)
    assert not torch.equal(before["0.weight"], after["0.weight"])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["of"]) for line in lines] == [(3, 7), (6, 7), (7, 7), (9, 9)]
    with pytest.raises(ConfigError, match="9 steps of the test behind it, more than 8"):
        run(corpus, tmp_path, learner, steps=8)


def test_the_folded_teacher_is_the_teacher() -> None:
    torch.manual_seed(0)
    teacher = Teacher(5, 8)
    x = torch.randn(4, 98, BINS)
    for _ in range(3):
        teacher(x)  # statistics of its BatchNorms
    teacher.eval()
    folded = teacher.folded()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in teacher.modules())
    for ours, theirs in zip(folded(x), teacher(x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_stage_refuses_a_checkpoint_of_other_settings(corpus: Corpus, tmp_path: Path) -> None:
    run(corpus, tmp_path, _Regression())
    with pytest.raises(ConfigError, match="width: None then, 3 now"):
        run(corpus, tmp_path, _Regression(), width=3)


def test_a_stage_stops_when_its_loss_is_no_number(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="loss is nan at step 0"):
        run(corpus, tmp_path, _Regression(loss=float("nan")))
    assert not (tmp_path / "state.safetensors").exists()


def test_the_student_learns_from_every_term_of_its_loss(corpus: Corpus) -> None:
    torch.manual_seed(0)
    teacher = Teacher(corpus.classes, 8)
    student = Student(SMALL, corpus.classes, 8)
    learner = StudentLearner(student, teacher, SMALL, corpus.monitor, seed=0)
    batch = Mixer(corpus, MixConfig((98,), (1.0,), (4,)), seed=0)[0]
    terms = learner.losses(batch)
    assert {name: weight for name, (weight, _) in terms.items()} == {
        "labels_special": 0.5, "labels_mean": 0.5, "teacher_time": 2.0, "teacher_pooled": 1.0, "energies": 5.0, "statistics": 0.5,
    }  # fmt: skip
    for name, (_, term) in terms.items():
        reached = [student.heads.get_parameter(f"{name}.weight"), student.frequency, student.time]
        assert all(gradient.abs().max() > 0 for gradient in torch.autograd.grad(term, reached, retain_graph=True))
    assert not any(parameter.requires_grad for parameter in learner.teacher.parameters())
    assert 0 <= learner.check()["monitor"] <= 1


def test_a_probe_finds_what_is_there_and_nothing_else(real_audio: Path) -> None:
    dataset = TASKS[1].data(real_audio)
    targets = np.array(dataset.targets)
    told = np.eye(10, dtype=np.float32)[targets] + keyed_generator("noise").normal(0, 0.1, (len(targets), 10))
    score = probe(dataset, told.astype(np.float32))
    assert score == Score(1, 1, 1, (1, 1, 1, 1))
    untold = keyed_generator("untold").normal(0, 1, (len(targets), 10)).astype(np.float32)
    score = probe(dataset, untold)
    assert score.low < 0.1 < score.high


def keywords(folder: Path) -> Path:
    """Six speakers, two words, in Google Speech Commands' layout; two of the speakers train."""
    draw = keyed_generator("keywords")
    for speaker in range(6):
        for word in ("up", "down"):
            target = folder / word / f"{speaker:08d}_nohash_0.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, draw.normal(0, 0.1, 16_000), 16_000)
    for name, speakers in (("validation_list.txt", (1, 3)), ("testing_list.txt", (4, 5))):
        (folder / name).write_text("".join(f"{w}/{s:08d}_nohash_0.wav\n" for s in speakers for w in ("up", "down")))
    return folder


def needs_synthesisers() -> None:
    missing = [tool for tool in ("espeak-ng", "flite") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (apt-get install {' '.join(missing)})")


def test_the_corpus_holds_training_speakers_alone(tmp_path: Path) -> None:
    needs_synthesisers()
    config = CorpusConfig(
        str(keywords(tmp_path / "keywords")), takes_per_word=2, takes_per_sound=2, words=3, sound_kinds=2
    )
    corpus = build(tmp_path / "corpus", config)
    assert [len(one.labels) for one in (corpus.keywords, corpus.monitor, corpus.words, corpus.sounds)] == [2, 2, 6, 4]
    assert corpus.keywords.names == ("down", "up")
    assert corpus.words.names == ("de:Abend", "de:Apfel", "de:Blume")
    assert corpus.classes == 2 + 3 + 8
    assert corpus.keywords.features.shape == (2, SPEECH_FRAMES, BINS)
    assert corpus.sounds.features.shape == (4, SOUND_FRAMES, BINS)
    assert (corpus.words.lengths > 10).all()
    # What lies behind a clip's sound is zero, and the last frame of it is not.
    for row, length in enumerate(corpus.words.lengths):
        assert not corpus.words.features[row, length:].any()
        assert corpus.words.features[row, length - 1].any()
    before = (tmp_path / "corpus" / "words.npy").stat().st_mtime_ns
    build(tmp_path / "corpus", config)
    assert (tmp_path / "corpus" / "words.npy").stat().st_mtime_ns == before


@pytest.mark.slow
def test_the_command_pretrains_and_goes_on(tmp_path: Path) -> None:
    needs_synthesisers()
    keywords(tmp_path / "data" / "arabic_speech_commands")
    sizes = "--takes-per-word 2 --takes-per-sound 2 --words 3 --sound-kinds 2 --teacher-steps 3 --student-steps 4 --save-every 2"
    command = [
        sys.executable,
        "-m",
        "pretraining",
        "--data-root",
        str(tmp_path / "data"),
        "--work-dir",
        str(tmp_path / "work"),
    ]
    for _ in range(2):
        done = subprocess.run([*command, *sizes.split()], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "student" not in done.stderr.replace("backbone", "")  # nothing was trained again
    model = load_backbone(tmp_path / "work" / "backbone", 98).model
    assert model.config.hidden_size == 192
    assert (tmp_path / "work" / "backbone" / "model.safetensors").stat().st_size < 12e6


@pytest.mark.slow
def test_the_command_says_where_the_keywords_should_be(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pretraining", "--data-root", str(tmp_path), "--work-dir", str(tmp_path / "work")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no keywords to pretrain on" in done.stderr
    assert "Traceback" not in done.stderr
