"""What ranks configurations better for the same cost: short trainings of each, as in ``astune search``, or a supernet, as in NOAH?

NOAH (Y. Zhang, K. Zhou and Z. Liu, Neural Prompt Search, 2022) trains one network with the largest sizes. Each step draws one configuration
and trains the slices of the weights that it uses; afterwards every configuration is scored with its slices. Here the candidates of one
search are ranked by short trainings and by such a supernet with as many clips in its steps together, and both are compared with the
validation scores of the whole recipe. No test clip is used.

``ASTUNE_STUDY_DATA`` names the folder with the spoken digits (``../shared/data`` where it is not set); generated sounds take their place
where they are missing. ``--rounds`` are seeds, and ``--steps`` are candidates.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.func import functional_call

from astune import AudioClassifier, TrainConfig, load_backbone, train
from astune.console import notify
from astune.data.generated import write_generated
from astune.experiments.search_plan import plan_search
from astune.features import build_cache
from astune.keyed import keyed_generator
from astune.names import BUNDLED_BACKBONE
from astune.training.check import check
from astune.training.recipe import Recipe, resolve
from astune.training.schedule import Schedule
from benchmarks.report import Benchmark, Finding, Options, Report

SHOTS, BUDGET = 8, 50_000
SEEDS, CANDIDATES = 2, 8
SHARES = (9, 3)
"""Short trainings have a ninth of the recipe's epochs, as the first of three rungs, and a third, as the second."""
_WORDS = {9: "ninth", 3: "third"}
_BATCH = 32
_PLAIN: dict[str, Any] = {"freq_mask": 0, "time_mask": 0, "bf16": False}
"""The supernet's loop has neither augmentations nor bfloat16, so no training has them."""

Figures = tuple[float, float]
"""Accuracy and loss of the validation clips, by which a search ranks."""


@dataclass(frozen=True)
class Clips:
    """Features of the clips of one split, (clips, frames, bins), and their classes, (clips,)."""

    features: Tensor
    classes: Tensor


class Supernet:
    """Weights of the largest sizes, of which each candidate has slices.

    Args:
        candidates: classifiers of the same backbone and labels, each with a backbone of its own; their first weights are those of the
            supernet, the largest tensor of each name.
    """

    def __init__(self, candidates: Sequence[AudioClassifier]) -> None:
        self.candidates = candidates
        first: dict[str, Tensor] = {}
        for model in candidates:
            for name, weight in _trained(model).items():
                had = first.get(name, weight)
                shape = [max(sizes) for sizes in zip(had.shape, weight.shape, strict=True)]
                first[name] = next((one for one in (had, weight) if list(one.shape) == shape), weight)
        self.weights = {name: nn.Parameter(weight.detach().clone()) for name, weight in first.items()}

    def slices(self, number: int) -> dict[str, Tensor]:
        """The weights of a candidate: the first rows and columns of those of the supernet, as it has so many.

        Args:
            number: of the candidate.

        Returns:
            Views, by name in its classifier.
        """
        own = _trained(self.candidates[number])
        return {name: self.weights[name][tuple(slice(size) for size in own[name].shape)] for name in own}

    def logits(self, number: int, features: Tensor) -> Tensor:
        """What a candidate computes with the supernet's weights.

        Args:
            number: of the candidate.
            features: (clips, frames, bins).

        Returns:
            (clips, classes).
        """
        found = functional_call(self.candidates[number], self.slices(number), (features,))
        return found.logits  # type: ignore[no-any-return]

    def train(self, clips: Clips, recipe: Recipe, epochs: int, seed: int) -> None:
        """Train it: each step draws a candidate.

        Args:
            clips: to train on.
            recipe: of the trainings that it replaces.
            epochs: passes over the clips.
            seed: of all draws.
        """
        batch = recipe.per_device_train_batch_size
        schedule = Schedule.of(recipe, epochs * math.ceil(len(clips.classes) / batch))
        optimiser = torch.optim.AdamW(
            self.weights.values(), betas=(recipe.adam_beta1, recipe.adam_beta2), eps=recipe.adam_epsilon,
            weight_decay=recipe.weight_decay,
        )  # fmt: skip
        step = 0
        for epoch in range(epochs):
            order = torch.from_numpy(keyed_generator(seed, "supernet", epoch).permutation(len(clips.classes)))
            for part in torch.split(order, batch):
                drawn = int(keyed_generator(seed, "supernet candidate", step).integers(len(self.candidates)))
                for group in optimiser.param_groups:
                    group["lr"] = schedule.rate(step)
                loss = nn.functional.cross_entropy(self.logits(drawn, clips.features[part]), clips.classes[part])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1

    @torch.no_grad()
    def scores(self, clips: Clips) -> list[Figures]:
        """Score every candidate with its slices.

        Args:
            clips: of the validation split.
        """
        return [
            figures(
                torch.cat([self.logits(number, part) for part in torch.split(clips.features, _BATCH)]), clips.classes
            )
            for number in range(len(self.candidates))
        ]


def figures(logits: Tensor, classes: Tensor) -> Figures:
    """Accuracy and loss.

    Args:
        logits: (clips, classes).
        classes: (clips,).
    """
    accuracy = (logits.argmax(dim=1) == classes).float().mean()
    return float(accuracy), float(nn.functional.cross_entropy(logits, classes))


def ranks(scores: Sequence[Figures]) -> list[int]:
    """The place of each candidate, 0 for the best: by accuracy, where that is equal by loss.

    Args:
        scores: of the candidates.
    """
    order = sorted(range(len(scores)), key=lambda number: (-scores[number][0], scores[number][1]))
    return [order.index(number) for number in range(len(scores))]


def _trained(model: AudioClassifier) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@dataclass(frozen=True)
class Predicted:
    """How well one way of ranking predicts the ranking of the whole recipe."""

    way: str
    clip_epochs: int
    """Clips in training steps, for all candidates together."""
    correlation: float
    """Spearman's, of the ranks."""
    chosen: float
    """Accuracy that the candidate it would choose has with the whole recipe."""
    best: float
    """The same of the best candidate."""


class Trainings:
    """Trainings of the candidates of one search, and what a supernet needs to replace them.

    Args:
        data: as for :func:`astune.load_data`.
        folder: for adapters.
        backbone: as for :func:`astune.load_backbone`.
        candidates: how many are drawn.
        seed: of the search.
    """

    def __init__(self, data: str, folder: Path, backbone: str, candidates: int, seed: int) -> None:
        settings = {"shots": SHOTS, "backbone": backbone, **_PLAIN}
        planned = plan_search(data, BUDGET, candidates=candidates, seeds=seed + 1, **settings)
        self.specs = [one.spec for one in planned.candidates[seed]]
        fold = planned.pairs[0][0]
        self.fields = settings | planned.entry.options.given_data_options
        self.fields |= {
            "data": data,
            "fold": fold,
            "seed": seed,
            "output_dir": folder / "run",
            "overwrite_output_dir": True,
        }
        config = TrainConfig(**self.fields, method=self.specs[0])
        checked = check(config)
        self.labels = checked.dataset.labels
        self.recipe = resolve(config, checked.method, checked.dataset, checked.split, quiet=True)
        front_end = load_backbone(backbone, self.recipe.max_length).front_end
        self.clips = {}
        for name in ("train", "validation"):
            numbers = checked.split.named(name)
            cache = build_cache([checked.dataset.clips[number] for number in numbers], front_end, quiet=True)
            classes = torch.tensor([checked.dataset.targets[number] for number in numbers])
            self.clips[name] = Clips(cache.batch(range(len(numbers))), classes)

    def run(self, spec: str, epochs: int) -> Figures:
        """Train one method as ``astune train`` does.

        Args:
            spec: of the method.
            epochs: of the training.

        Returns:
            Its validation figures.
        """
        notify(f"seed {self.fields['seed']}: {spec}, {epochs} epochs")
        config = TrainConfig(**self.fields, method=spec, num_train_epochs=epochs)
        found = train(config, quiet=True, picture=False).scores["validation"]
        notify(f"  accuracy {found['accuracy']:.3f}, loss {found['loss']:.4f}")
        return found["accuracy"], found["loss"]

    def supernet(self) -> Supernet:
        """A supernet of all candidates; its head is that from which the recipe starts every training."""
        train(TrainConfig(**self.fields, method="linear"), quiet=True, picture=False)
        head = AudioClassifier.from_pretrained(self.fields["output_dir"]).head.state_dict()
        models = []
        for spec in self.specs:
            model = AudioClassifier(load_backbone(self.fields["backbone"], self.recipe.max_length), spec, self.labels)
            model.head.load_state_dict(head)
            models.append(model.eval())
        return Supernet(models)


def compare(trainings: Trainings) -> list[Predicted]:
    """Rank the candidates of one search in all ways.

    Args:
        trainings: of the search.

    Returns:
        Each way of ranking.
    """
    whole, number = trainings.recipe.num_train_epochs, len(trainings.specs)
    truth = [trainings.run(spec, whole) for spec in trainings.specs]
    found = []
    for share in SHARES:
        epochs = max(1, whole // share)
        short = [trainings.run(spec, epochs) for spec in trainings.specs]
        net = trainings.supernet()
        net.train(trainings.clips["train"], trainings.recipe, number * epochs, trainings.fields["seed"])
        cost = number * epochs * len(trainings.clips["train"].classes)
        ways = {
            f"trainings of a {_WORDS[share]} of the epochs": short,
            f"supernet for the cost of a {_WORDS[share]}": net.scores(trainings.clips["validation"]),
        }
        for way, scores in ways.items():
            correlation = float(spearmanr(ranks(scores), ranks(truth)).statistic)
            notify(f"{way}: " + ", ".join(f"{accuracy:.3f}/{loss:.4f}" for accuracy, loss in scores))
            found.append(Predicted(way, cost, correlation, truth[ranks(scores).index(0)][0], max(truth)[0]))
    return found


def run(options: Options) -> Iterator[Report]:
    """Rank the candidates of some searches, and say which way predicts better.

    Args:
        options: of the command line.

    Yields:
        One table.
    """
    seeds, candidates = options.rounds or SEEDS, options.steps or CANDIDATES
    backbone = options.backbone or BUNDLED_BACKBONE
    digits = Path(os.environ.get("ASTUNE_STUDY_DATA", "../shared/data")) / "spoken_digits" / "metadata.csv"
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        made = not digits.exists()
        data = str(write_generated(Path(folder) / "data", "words", (10, 5, 2))) if made else f"csv:{digits}"
        searches = [compare(Trainings(data, Path(folder), backbone, candidates, seed)) for seed in range(seeds)]
    ways = {ways[0].way: ways for ways in zip(*searches, strict=True)}
    rows = [
        (
            way, f"{mean(one.clip_epochs for one in some):,.0f}", " ".join(f"{one.correlation:+.2f}" for one in some),
            f"{mean(one.correlation for one in some):+.2f}", f"{100 * mean(one.best - one.chosen for one in some):.1f}",
        )
        for way, some in ways.items()
    ]  # fmt: skip
    means = [mean(one.correlation for one in some) for some in ways.values()]
    claims = [
        Finding(f"{short} rank at least as well as a {supernet}", means[2 * number] >= means[2 * number + 1])
        for number, (short, supernet) in enumerate(zip([*ways][::2], [*ways][1::2], strict=True))
    ]
    name = "generated sounds" if made else "spoken digits"
    yield Report(
        f"search: {candidates} candidates of {BUDGET:,} parameters, {SHOTS} clips a class of {name}, {backbone}",
        ("ranked by", "clips in steps", "Spearman, by seed", "mean", "points lost"),
        rows,
        claims,
        notes=[
            "Spearman: with the validation scores of the whole recipe; points lost: validation accuracy of the best candidate minus that "
            "of the chosen one, both with the whole recipe",
            "no augmentation in any training; the supernet has the recipe's rates, from the same head",
        ],
    )


BENCHMARK = Benchmark(
    "search",
    "short trainings predict the ranking of configurations as well as a supernet of the same cost",
    run,
    slow=True,
)
