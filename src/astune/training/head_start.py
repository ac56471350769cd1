"""The head's first weights: a logistic regression on what the model gives of the training clips before anything is trained.

The model's pooled output x (d numbers per clip) is standardised with the mean m and the deviation s of the training clips, scikit-learn's
``LogisticRegression`` finds weights W and biases b for it, and the head computes the same from x itself::

    W (x - m) / s + b  =  (W / s) x  +  (b - W m / s)

The strength of the regularisation is one of :data:`STRENGTHS`: the best on the validation clips, or over folds of the training clips where
there is no validation split. Of equal ones the strongest is taken: clips of speakers that train are soon all right at any strength, and
other speakers are not. Where a clip has several labels, each has a regression of its own. Class weights count in it as in the training
loss, and with balanced sampling each clip counts as often as an epoch visits it.

Where a method mixes levels, the mixture comes first: one fit of its weights together with a head, by L-BFGS (Liu and Nocedal, 1989).
Methods that are not the identity at their start have their features as they are attached.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import linear

from astune.errors import NumericalError
from astune.plurals import number_of
from astune.training.frozen import Upper
from astune.training.inner_folds import groups_of
from astune.training.processes import shared_outputs
from astune.training.strength import Features, choose_strength, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from astune.inference.batches import Inputs
    from astune.task import Task
    from astune.training.setup import Setup
    from astune.training.stage import Stage

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Inverse regularisation that is tried, the strongest first."""
_MIDDLE = 0.03  # of them; what a mixture is fitted with
_ITERATIONS = 2000
_MIX_CLIPS = 10_000  # that fit a mixture; its few weights need no more
_MIX_PENALTY = 10.0  # on half the squared weights, in nats; of 0, 1, 10 and 100 the best on validation clips


@dataclass(frozen=True)
class HeadStart:
    """The result of fitting the head's first weights."""

    strength: float
    """Inverse regularisation of the logistic regression, scikit-learn's C."""
    chosen_on: str
    """What chose the strength."""
    seconds: float
    """That it took, the pass of the model included."""

    def record(self) -> dict[str, Any]:
        """The head start as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """The data and the figure that choose the strength."""

    task: Task
    metric: str | None = None
    """Name of the figure; the task's headline where None."""
    class_weights: Tensor | None = None
    """(classes,), as the loss takes them."""

    def score(self, head: Head, clips: Features) -> float:
        """The figure of a head on clips that fitted nothing, at the thresholds that are best for them.

        Args:
            head: of the classes.
            clips: as the head sees them.

        Returns:
            The higher, the better: of the loss its negative.
        """
        logits, targets = head.logits(clips.pooled).float(), torch.from_numpy(clips.targets)
        figures = self.task.score(logits, targets, self.task.thresholds(logits, targets)).figures()
        metric = self.metric or self.task.headline
        return -figures[metric] if metric == "loss" else figures[metric]


def start_head(setup: Setup, stage: Stage) -> HeadStart | None:
    """Give the head its first weights, where the recipe says so; all processes together.

    Args:
        setup: of the run; its model is changed.
        stage: what is trained, and what it is given.

    Returns:
        What was chosen; None where the head stays as it was drawn.

    Raises:
        NumericalError: the model gives features that are not finite.
    """
    if setup.recipe.head_start != "probe":
        return None
    began = time.perf_counter()
    # An arithmetic places the model where it computes when training begins, which is after this.
    setup.model.to(setup.accelerator.device)
    dataset, split = setup.dataset, setup.split
    targets = dataset.task.encode(dataset.clips, dataset.labels)
    choice = Choice(dataset.task, setup.config.metric_for_best_model, setup.class_weights)
    train, validation = list(split.train), list(split.validation)
    if (mixer := setup.model.sites.mixer) is not None:
        _mix(mixer.get_parameter("weights"), setup, stage, targets, choice)
    module, inputs = stage.module, stage.inputs
    pooled = _outputs(setup, module, module.pooled, inputs, train + validation).numpy()
    found: list[Any] = [None]
    if setup.accelerator.is_main_process:
        often = setup.sampler.mean_visits
        visits = None if often is None else np.array([often[clip] for clip in train])
        known = Features(pooled[: len(train)], targets[train].numpy(), visits)
        held = Features(pooled[len(train) :], targets[validation].numpy())
        groups = None if validation else groups_of(dataset.clips, train)
        found = [choose_head(known, held, groups, choice, len(dataset.labels))]
    # Every process has the weights of the main one: rounding may differ between machines.
    head, strength, chosen_on = broadcast_object_list(found)[0]
    put_head(setup.model.head, head)
    return HeadStart(strength, chosen_on, round(time.perf_counter() - began, 3))


def _outputs(
    setup: Setup, module: nn.Module, compute: Callable[[Tensor], Tensor], inputs: Inputs, clips: Sequence[int]
) -> Tensor:
    """What a part of the model gives of clips, (clips, ...).

    Raises:
        NumericalError: some of it is not finite.
    """
    size = setup.config.per_device_eval_batch_size
    given = shared_outputs(module, compute, inputs, clips, size, setup.accelerator, setup.arithmetic)
    sound = given.flatten(1).isfinite().all(dim=1)
    if not sound.all():
        raise NumericalError(
            f"the backbone gives {int((~sound).sum())} of {number_of(len(given), 'clip')} features that are not finite (NaN or infinity); "
            "use another backbone, or bf16=False"
        )
    return given


@dataclass(frozen=True)
class Head:
    """Weights and biases, in the scale of the features."""

    weight: NDArray[np.float64]
    """(classes, d)."""
    bias: NDArray[np.float64]
    """(classes,)."""

    def logits(self, pooled: NDArray[np.float32]) -> Tensor:
        """Compute the logits of the head.

        Args:
            pooled: (clips, d).

        Returns:
            (clips, classes).
        """
        return torch.from_numpy(pooled @ self.weight.T + self.bias)


def put_head(layer: nn.Linear, head: Head) -> None:
    """Give a layer weights, in place.

    Args:
        layer: of as many classes and features.
        head: its new weights.
    """
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))


def choose_head(
    train: Features, held: Features, groups: Sequence[str] | None, choice: Choice, classes: int
) -> tuple[Head, float, str]:
    """Fit a head at the strength that does best.

    Args:
        train: training clips.
        held: validation clips; none where there is no validation split.
        groups: of the training clips, as for :func:`astune.training.inner_folds.inner_folds`; used where there are no validation clips.
        choice: what counts.
        classes: how many there are.

    Returns:
        The head, its strength, and what chose it.
    """

    def fit(clips: Features, strengths: Sequence[float]) -> list[Head]:
        return fit_heads(clips, strengths, choice, classes)

    chosen = choose_strength(train, held, groups, STRENGTHS, fit, choice.score)
    return chosen.model, chosen.strength, chosen.by


def fit_heads(train: Features, strengths: Sequence[float], choice: Choice, classes: int) -> list[Head]:
    """A head at each strength.

    Args:
        train: clips of every class.
        strengths: inverse regularisation.
        choice: of the task and the class weights.
        classes: how many there are.

    Returns:
        As many heads as strengths.
    """
    mean = train.pooled.mean(axis=0, dtype=np.float64)
    deviation = train.pooled.std(axis=0, dtype=np.float64)
    deviation[deviation == 0] = 1.0  # the same number in every clip tells nothing
    standard = (train.pooled - mean) / deviation
    heads = []
    for strength in strengths:
        if train.targets.ndim == 1:
            weight, bias = _softmax(standard, train.targets, strength, choice.class_weights, train.visits)
        else:
            weights = [None] * classes if choice.class_weights is None else choice.class_weights.tolist()
            rows = [
                _sigmoid(standard, has, strength, weight, train.visits)
                for has, weight in zip(train.targets.T, weights, strict=True)
            ]
            weight, bias = np.stack([row for row, _ in rows]), np.array([one for _, one in rows])
        scaled = weight / deviation
        heads.append(Head(scaled, bias - scaled @ mean))
    return heads


def _softmax(
    standard: NDArray[np.float64],
    targets: NDArray[np.int64],
    strength: float,
    class_weights: Tensor | None,
    visits: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (classes, d) and biases (classes,) of clips with one label each."""
    weights = None if class_weights is None else dict(enumerate(class_weights.tolist()))
    regression = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight=weights)
    with fitting():
        fitted = regression.fit(standard, targets, visits)
    if len(fitted.classes_) > 2:
        return fitted.coef_, fitted.intercept_
    # Of two classes scikit-learn has the difference alone.
    half, bias = fitted.coef_[0] / 2, fitted.intercept_[0] / 2
    return np.stack([-half, half]), np.array([-bias, bias])


def _sigmoid(
    standard: NDArray[np.float64],
    has: NDArray[np.float32],
    strength: float,
    weight: float | None,
    visits: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], float]:
    """Weights (d,) and bias of one label among several."""
    clips, having = len(has), float(has.sum())
    if having in (0, clips):  # nothing to tell apart: a constant, at the share that so many clips speak for
        share = (having + 0.5) / (clips + 1)
        return np.zeros(standard.shape[1]), math.log(share / (1 - share))
    weights = None if weight is None else {0: 1.0, 1: weight}
    fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight=weights)
    fitted.fit(standard, has.astype(int), visits)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _mix(weights: Tensor, setup: Setup, stage: Stage, targets: Tensor, choice: Choice) -> None:
    """Fit the weights of the model's mixture of levels, (levels,), in place."""
    model = setup.model
    visits = Counter(visit.clip for visit in setup.sampler.visits(0))
    train = [clip for clip in setup.split.train for _ in range(visits[clip])]  # as often as the first epoch visits them
    some = train[:: math.ceil(len(train) / _MIX_CLIPS)]
    module: nn.Module = stage.module
    if isinstance(module, Upper):
        levels = _outputs(setup, module, lambda states: states, stage.inputs, some)
    else:
        upper = Upper(model)
        levels = _outputs(setup, upper, upper.lower, stage.inputs, some)
    found: list[Any] = [None]
    if setup.accelerator.is_main_process:
        norm = model.sites.norm
        scale, shift = norm.weight.detach().cpu(), norm.bias.detach().cpu()
        found = [fit_mixture(levels, scale, shift, targets[some], choice, len(model.labels), model.normalised)]
    with torch.no_grad():
        weights.copy_(torch.as_tensor(broadcast_object_list(found)[0]))


def fit_mixture(
    levels: Tensor,
    scale: Tensor,
    shift: Tensor,
    targets: Tensor,
    choice: Choice,
    classes: int,
    normalised: Callable[[Tensor], Tensor] = lambda pooled: pooled,
) -> list[float]:
    """Weights of a mixture of levels, before softmax, fitted together with a head that is then forgotten.

    What is lowered is the loss summed over clips, half the squared weights of the head on standardised features over the middle strength,
    and half the squared weights of the mixture, times ten: unrestrained, a few clips put everything on one level.

    Args:
        levels: normalised and pooled, (clips, levels, d).
        scale: weight of the final LayerNorm, (d,).
        shift: its bias, (d,).
        targets: (clips, ...), as the task encodes them.
        choice: of the task and the class weights.
        classes: how many there are.
        normalised: what the head is given of a mixture, (clips, d) both.

    Returns:
        One number for each level.
    """
    every, factor, offset = levels.double(), scale.double(), shift.double()
    head = torch.zeros(classes, every.shape[2] + 1, dtype=torch.float64, requires_grad=True)
    mixing = torch.zeros(every.shape[1], dtype=torch.float64, requires_grad=True)
    weights = None if choice.class_weights is None else choice.class_weights.cpu().double()

    def mixed() -> Tensor:
        return normalised(torch.einsum("l,nld->nd", mixing.softmax(0), every) * factor + offset)

    with torch.no_grad():
        deviation, mean = torch.std_mean(mixed(), dim=0, correction=0)
        deviation[deviation == 0] = 1.0

    def objective() -> Tensor:
        optimizer.zero_grad()
        logits = linear((mixed() - mean) / deviation, head[:, :-1], head[:, -1])
        summed = choice.task.loss(logits, targets, "sum", weights)
        held = head[:, :-1].square().sum() / (2 * _MIDDLE) + _MIX_PENALTY * mixing.square().sum() / 2
        (summed + held).backward()  # type: ignore[no-untyped-call]
        return summed + held

    optimizer = torch.optim.LBFGS(
        [mixing, head], max_iter=200, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-4
    )
    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return [float(weight) for weight in mixing.detach()]
