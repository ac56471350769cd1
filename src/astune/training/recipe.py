"""Every number of a training run: the user's, else the method's, else the data set's, else by the data.

``paper``: AdamW, cosine annealing to zero stepped every batch, no warm-up, and the loss of the task (paper, section III, "Setup details";
the rest from its published configuration).

``own``, for data that the paper does not cover: the head starts from a logistic regression, the rate is lower and warms up, and a third of
the steps is enough. What follows frozen layers alone is fitted to the end by the head start, without epochs.
``docs/explanations/own-recipe.md`` has the measurements.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from astune.methods.base import default_learning_rate

if TYPE_CHECKING:
    from astune.data.dataset import AudioDataset, DataRecipe, Split
    from astune.methods import Method
    from astune.names import HeadStart, RecipeName, Scheduler, Selection
    from astune.training.config import TrainConfig

OWN_DATA_STEPS = 1500  # of optimisation, about, for data the paper does not cover
OWN_DATA_EPOCHS = (10, 75)  # bounds of the epochs that gives
OWN_DATA_TIME_MASK = 0.16  # of the frames, as 80 is of ESC-50's 500
SHORT_STEPS, SHORT_EPOCHS = 500, (4, 25)  # the same of the recipe ``own``
HIGHEST_RATE = 1e-3  # of the recipe ``own``: from a head that is fitted, higher rates first lose what it knows
WARMUP = 0.1  # of the steps
PATIENCE, LEAST_PATIENCE = 0.4, 3  # of the epochs, and at least so many


@dataclass(frozen=True)
class Recipe:
    """Resolved numbers of one run."""

    max_length: int
    num_train_epochs: int
    per_device_train_batch_size: int
    learning_rate: float
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    freq_mask: int
    time_mask: int
    selection: Selection
    recipe: RecipeName = "paper"
    """Whose numbers these are where the user gave none."""
    head_start: HeadStart = "random"
    lr_scheduler_type: Scheduler = "cosine"
    warmup_steps: float = 0.0
    """Below 1 a share of all steps."""
    early_stopping_patience: int = 0
    """In epochs; 0 trains them all."""
    label_smoothing_factor: float = 0.0
    mixup_alpha: float = 0.0

    def record(self) -> dict[str, Any]:
        """The recipe as JSON; what came after the first results is left out where it is as the paper has it."""
        return without_defaults(asdict(self))


LATER: dict[str, Any] = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}
"""Numbers that came after the first results, with what the paper has; a record that is so leaves them out, and runs keep their names."""


def without_defaults(numbers: dict[str, Any]) -> dict[str, Any]:
    """Leave out the numbers of :data:`LATER` that are as the paper has them.

    Args:
        numbers: by name.

    Returns:
        The others.
    """
    return {name: value for name, value in numbers.items() if name not in LATER or value != LATER[name]}


@dataclass(frozen=True)
class Facts:
    """What the data and the machine decide where nobody states it."""

    training_clips: int
    max_length: int
    """Frames of 10 ms: the length that :func:`input_length` finds."""
    batches: int = 1
    """Of each step: one of every process, times those whose gradients are added."""


def settle(config: TrainConfig, method: Method | None, stated: DataRecipe) -> dict[str, Any]:
    """The one place where it is decided whose number counts: the user's, then the method's, then the data set's.

    A method has a say in its learning rate, and in the masks where they do not belong to its recipe. The recipe ``own`` has its say after
    both; with a head that starts from random numbers it has the paper's numbers, because its own were found for a fitted head.

    Args:
        config: what the user asked for.
        method: the method trained; None where there is none, as for a baseline.
        stated: the data set's recipe.

    Returns:
        Each field of :class:`Recipe`; None where the data decide, see :func:`complete`.
    """
    numbers = {key: value for key, value in vars(stated).items() if value is not None}
    recipe = config.recipe or ("paper" if stated.published else "own")
    if method:
        unmasked = {} if any(member.augmented for member in method.members) else {"freq_mask": 0, "time_mask": 0}
        numbers |= {"learning_rate": default_learning_rate(method), **unmasked}
    if recipe == "own":
        numbers |= {"recipe": "own", **(_own(method) if method and config.head_start != "random" else {})}
    asked = {field.name: getattr(config, field.name) for field in fields(Recipe)}
    return {name: numbers.get(name, LATER.get(name)) if value is None else value for name, value in asked.items()}


def _own(method: Method) -> dict[str, Any]:
    """What the recipe ``own`` says of a method; None where the data decide."""
    if all(member.on_frozen_layers for member in method.members):
        return {"head_start": "probe", "num_train_epochs": 0, "freq_mask": 0, "time_mask": 0}
    return {
        "head_start": "probe",
        "learning_rate": min(default_learning_rate(method), HIGHEST_RATE),
        "warmup_steps": WARMUP,
        "num_train_epochs": None,
        "early_stopping_patience": None,
    }


def complete(settled: dict[str, Any], facts: Facts) -> Recipe:
    """Fill in what the data decide.

    Args:
        settled: by :func:`settle`.
        facts: of the data and the machine.

    Returns:
        The recipe.
    """
    length = settled["max_length"] or facts.max_length
    short = settled["recipe"] == "own" and settled["head_start"] == "probe"
    steps, (low, high) = (SHORT_STEPS, SHORT_EPOCHS) if short else (OWN_DATA_STEPS, OWN_DATA_EPOCHS)
    epochs = math.ceil(steps * settled["per_device_train_batch_size"] * facts.batches / facts.training_clips)
    trained = settled["num_train_epochs"]
    trained = min(max(epochs, low), high) if trained is None else trained
    waits = settled["selection"] == "best-validation"
    decided = {
        "max_length": length,
        "num_train_epochs": trained,
        "time_mask": int(OWN_DATA_TIME_MASK * length),
        "early_stopping_patience": max(math.ceil(PATIENCE * trained), LEAST_PATIENCE) if waits else 0,
    }
    return Recipe(**{name: decided[name] if value is None else value for name, value in settled.items()})


def resolve(
    config: TrainConfig, method: Method, dataset: AudioDataset, split: Split, processes: int = 1, *, quiet: bool = False
) -> Recipe:
    """Settle every number.

    Args:
        config: what the user asked for.
        method: the method trained.
        dataset: the data.
        split: of the data.
        processes: that share each step.
        quiet: no progress bar.

    Returns:
        The recipe.
    """
    batches = processes * config.gradient_accumulation_steps
    facts = Facts(len(split.train), input_length(config, dataset, split, quiet=quiet), batches)
    return complete(settle(config, method, dataset.recipe), facts)


def input_length(config: TrainConfig, dataset: AudioDataset, split: Split, *, quiet: bool = False) -> int:
    """Frames of 10 ms: the user's, the paper's for the data set, or what holds most clips whole.

    Args:
        config: what the user asked for.
        dataset: the data.
        split: of the data, as for :meth:`astune.data.AudioDataset.input_length`.
        quiet: no progress bar.

    Returns:
        The input length.
    """
    return config.max_length or dataset.input_length(split, quiet=quiet)
