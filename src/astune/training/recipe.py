"""Every number of a training run, from the paper's recipe for the method and the data set, and the user's overrides.

AdamW, cosine annealing to zero stepped every batch, cross-entropy, no warm-up (paper, section III, "Setup details"; the rest from its
published configuration).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from astune.methods.base import default_learning_rate

if TYPE_CHECKING:
    from astune.data import AudioDataset, Split
    from astune.methods import Method
    from astune.names import Selection
    from astune.training.config import TrainConfig

OWN_DATA_STEPS = 1500  # of optimisation, about, for data the paper does not cover
OWN_DATA_EPOCHS = (10, 75)  # bounds of the epochs that gives
OWN_DATA_TIME_MASK = 0.16  # of the frames, as 80 is of ESC-50's 500


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

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


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
    stated = dataset.recipe
    settled = settled_by(method)
    batch = config.per_device_train_batch_size or stated.per_device_train_batch_size
    max_length = input_length(config, dataset, split, quiet=quiet)
    epochs = config.num_train_epochs or stated.num_train_epochs
    if epochs is None:
        low, high = OWN_DATA_EPOCHS
        epochs = min(max(math.ceil(OWN_DATA_STEPS * batch * processes / len(split.train)), low), high)
    time_mask = stated.time_mask if stated.time_mask is not None else int(OWN_DATA_TIME_MASK * max_length)
    masks = {"freq_mask": stated.freq_mask, "time_mask": time_mask} | settled
    return Recipe(
        max_length=max_length,
        num_train_epochs=epochs,
        per_device_train_batch_size=batch,
        learning_rate=config.learning_rate or settled["learning_rate"],
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        freq_mask=masks["freq_mask"] if config.freq_mask is None else config.freq_mask,
        time_mask=masks["time_mask"] if config.time_mask is None else config.time_mask,
        selection=config.selection or stated.selection,
    )


def settled_by(method: Method) -> dict[str, Any]:
    """The defaults that a method has a say in, whatever the data set's recipe says.

    Args:
        method: the method trained.

    Returns:
        Fields of :class:`Recipe`.
    """
    unmasked = {} if any(member.augmented for member in method.members) else {"freq_mask": 0, "time_mask": 0}
    return {"learning_rate": default_learning_rate(method), **unmasked}


def input_length(config: TrainConfig, dataset: AudioDataset, split: Split, *, quiet: bool = False) -> int:
    """Frames of 10 ms: the user's, the paper's for the data set, or what holds most clips whole.

    Args:
        config: what the user asked for.
        dataset: the data.
        split: of the data; the test clips decide nothing where splits are given. Where folds rotate, durations of all clips count,
            so that folds share one length.
        quiet: no progress bar.

    Returns:
        The input length.
    """
    stated = config.max_length or dataset.recipe.max_length
    if stated is not None:
        return stated
    tested = set() if dataset.folds else set(split.test)
    deciding = [clip for clip in range(len(dataset.clips)) if clip not in tested]  # whatever few-shot drew
    return dataset.length_percentile(deciding, quiet=quiet)
