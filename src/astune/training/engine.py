"""One step and one scoring, by one process or many: the module that is trained, its optimiser, schedule, average and augmentations."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast
from torch.nn.utils import clip_grad_norm_

from astune.errors import NumericalError
from astune.tensor_file import not_finite
from astune.training.early_stopping import epochs_without_gain
from astune.training.parameter_groups import NAMES, RATE_FACTOR, parameter_groups
from astune.training.processes import batches, logits_of
from astune.training.schedule import Schedule, steps_per_epoch
from astune.training.training_clips import TrainingClips
from astune.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from astune.features.augmentation import Augmentation
    from astune.task import Scores
    from astune.training.progress import Progress
    from astune.training.sampler import Visit
    from astune.training.setup import Setup
    from astune.training.stage import Stage


_STEPS, _SQUARES = "step", "exp_avg_sq"  # of AdamW: how many it has taken, and a mean of squares


@dataclass(frozen=True)
class MicroBatch:
    """A process's part of one batch of a step, on its device."""

    inputs: Tensor
    targets: Tensor
    kept_patches: Tensor | None
    counts: bool
    """Whether it has clips of this batch; where not, it sends a gradient of zero."""
    clips: int
    """Of the batch over all processes."""
    clips_of_step: int
    """Of all batches of the step over all processes."""
    ends_step: bool
    """Whether it is the last one of its step."""


class Engine:
    """Takes optimiser steps and scores clips.

    Args:
        setup: of the run.
        stage: what of the model is trained, and what it is given.
        augmentations: of training clips, in the order in which a batch passes them.
    """

    def __init__(self, setup: Setup, stage: Stage, augmentations: Sequence[Augmentation]) -> None:
        recipe = setup.recipe
        self.setup, self.stage, self.augmentations = setup, stage, augmentations
        self.model, self.accelerator = setup.model, setup.accelerator
        self.task = setup.dataset.task
        self.targets = self.task.encode(setup.dataset.clips, setup.dataset.labels)
        self.training_clips = TrainingClips(stage.inputs, self.targets, setup.sampler.names, augmentations)
        weights = setup.class_weights
        self.class_weights = None if weights is None else setup.arithmetic.to_device(weights)
        groups = parameter_groups(self.model, recipe.weight_decay)
        self._optimised = [name for group in groups for name in group[NAMES]]
        self.optimizer = setup.arithmetic.optimizer(
            groups,
            lr=recipe.learning_rate,
            betas=(recipe.adam_beta1, recipe.adam_beta2),
            eps=recipe.adam_epsilon,
        )
        self.prepared = setup.arithmetic.compiled(self.accelerator.prepare_model(stage.module))
        self.steps_per_epoch = steps_per_epoch(
            len(setup.split.train), recipe, setup.config, self.accelerator.num_processes
        )
        self.total_steps: int = recipe.num_train_epochs * self.steps_per_epoch
        self.schedule = Schedule.of(recipe, self.total_steps)
        decay = setup.config.ema_decay
        self.average = WeightAverage(self.model.trained_parameters(), decay) if decay else None
        """Scored and kept in the place of the weights, where there is one."""

    def global_step(self, progress: Progress) -> int:
        """Optimiser steps taken since the beginning.

        Args:
            progress: of the run.
        """
        return progress.epoch * self.steps_per_epoch + progress.step

    def rate(self, step: int) -> float:
        """Learning rate, a function of the step alone.

        Args:
            step: from 0, since the beginning.
        """
        return self.schedule.rate(step)

    def steps(self, epoch: int, first: int = 0) -> Iterator[MicroBatch]:
        """This process's part of the steps of an epoch, each of ``gradient_accumulation_steps`` batches.

        Args:
            epoch: decides the order of the clips and what augmentations draw.
            first: of the steps that are wanted.

        Yields:
            The batches, each made and placed on the device when it is asked for. The last step may have fewer of them.
        """
        setup, accelerator = self.setup, self.accelerator
        order = setup.sampler.visits(epoch)
        size = setup.recipe.per_device_train_batch_size
        whole = size * accelerator.num_processes * setup.config.gradient_accumulation_steps
        self.prepared.train()
        for start in range(first * whole, len(order), whole):
            step = order[start : start + whole]
            shares = list(batches(step, size, accelerator.num_processes, accelerator.process_index))
            for number, (share, clips) in enumerate(shares, start=1):
                yield self._placed(share, clips, epoch, len(step), ends_step=number == len(shares))

    def _placed(self, share: list[Visit], whole: int, epoch: int, clips_of_step: int, *, ends_step: bool) -> MicroBatch:
        clips, keys = zip(*(share or [self.setup.sampler.first]), strict=True)
        batch = self.training_clips.batch(clips, epoch, keys)
        to_device = self.setup.arithmetic.to_device
        kept = None if batch.kept_patches is None else to_device(batch.kept_patches)
        return MicroBatch(
            to_device(batch.inputs), to_device(batch.targets), kept, bool(share), whole, clips_of_step, ends_step
        )

    def backward(self, batch: MicroBatch) -> Tensor:
        """Add the gradient of a batch to that of its step.

        DistributedDataParallel averages gradients over processes, so each one's summed loss is scaled by processes / clips: the step
        is that of one process with the whole batch. It averages them with the last batch of a step alone.

        Args:
            batch: this process's part.

        Returns:
            The loss summed over the clips of this process, a scalar that a GPU may still be computing.
        """
        more = {} if batch.kept_patches is None else {"kept_patches": batch.kept_patches}
        with nullcontext() if batch.ends_step else self.accelerator.no_sync(self.prepared):
            with self.setup.arithmetic.computing():
                logits = self.prepared(batch.inputs, **more).logits
            loss = self.task.loss(logits.float(), batch.targets, "sum", self.class_weights) * (
                1.0 if batch.counts else 0.0
            )
            self.accelerator.backward(loss * (self.accelerator.num_processes / batch.clips_of_step))
        return loss.detach()

    def step(self, losses: Sequence[Tensor], number: int) -> Tensor:
        """Take one optimiser step along the gradient of its batches.

        Args:
            losses: of the batches, as :meth:`backward` gave them.
            number: of the step, from 0, since the beginning.

        Returns:
            The loss summed over the clips of all batches and processes, a scalar that a GPU may still be computing.
        """
        rate = self.rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group[RATE_FACTOR]
        if self.setup.config.max_grad_norm:
            clip_grad_norm_(self.model.trained_parameters().values(), self.setup.config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update()
        reduced: Tensor = self.accelerator.reduce(sum(losses[1:], losses[0]), "sum")
        return reduced

    def kept_weights(self) -> AbstractContextManager[None]:
        """The context in which the model has the weights that are scored and kept: their average, where there is one."""
        return self.average.in_place() if self.average else nullcontext()

    def is_over(self, progress: Progress) -> bool:
        """Whether the run has no further epoch.

        Args:
            progress: of the run, between two epochs.
        """
        return progress.stopped or progress.epoch >= self.setup.recipe.num_train_epochs

    def has_lost_patience(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether early stopping ends the run.

        Args:
            history: one entry for each finished epoch.
        """
        config, patience = self.setup.config, self.setup.recipe.early_stopping_patience
        threshold = config.early_stopping_threshold
        return bool(patience) and (
            epochs_without_gain(history, self.task, config.metric_for_best_model, threshold) >= patience
        )

    @property
    def deciding_figures(self) -> tuple[str, ...]:
        """Figures of the validation clips that choose the epoch."""
        return self.setup.config.metric_for_best_model or self.task.headline, "loss"

    def states(self) -> dict[str, dict[str, Tensor]]:
        """What continues the run, for a checkpoint: by name what is trained, the optimiser's moments, and the average if there is one."""
        average = {"average": self.average.state()} if self.average else {}
        return {"trained": self.model.adapter_state(), "optimizer": self._moments(), **average}

    def load_states(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """The inverse of :meth:`states`.

        Args:
            states: as a checkpoint has them; where there is a best epoch, its weights are among them.

        Raises:
            AdapterError: the weights are of other tensors than those that are trained.
            ValueError: tensors of the optimiser or of the average are, or some have another type or numbers that are not finite.
        """
        own = self.states()
        for name in {"trained", "best"} & set(states):
            self.model.refuse_other_tensors(states[name])
            _refuse_other(name, states[name], own["trained"])
        moments_of = self.model.trained_parameters()
        stepped = {flat.rpartition(":")[0] for flat in states["optimizer"]}  # others have had no gradient
        like = {
            f"{name}:{key}": torch.zeros(()) if key == _STEPS else parameter
            for name, parameter in moments_of.items()
            if name in stepped
            for key in (_STEPS, "exp_avg", _SQUARES)
        }
        _refuse_other("optimizer", states["optimizer"], like)
        if self.average:
            _refuse_other("average", states["average"], own["average"])
        indices = {name: index for index, name in enumerate(self._optimised)}
        moments: dict[int, dict[str, Tensor]] = {}
        for flat, value in states["optimizer"].items():
            name, _, key = flat.rpartition(":")
            moments.setdefault(indices[name], {})[key] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if self.average:
            self.average.load_state(states["average"])
        self.model.load_adapter_state(states["trained"])

    def _moments(self) -> dict[str, Tensor]:
        state: dict[int, dict[str, Tensor]] = self.optimizer.state_dict()["state"]
        return {
            f"{self._optimised[index]}:{key}": value for index, entry in state.items() for key, value in entry.items()
        }

    def score(self, clips: Sequence[int], thresholds: Sequence[float] | None = None) -> Scores:
        """Score clips, all processes together.

        Args:
            clips: indices in the data set.
            thresholds: of the classes, see :meth:`astune.task.Task.score`.

        Returns:
            Their scores.

        Raises:
            NumericalError: logits are not finite.
        """
        return self.task.score(self._logits(clips), self.targets[list(clips)], thresholds)

    def validate(self) -> tuple[Scores, tuple[float, ...] | None]:
        """Score the validation clips, all processes together, at the thresholds that are best for them.

        Returns:
            Their scores and the thresholds; None for a task that has none.

        Raises:
            NumericalError: logits are not finite.
        """
        clips = self.setup.split.validation
        logits, targets = self._logits(clips), self.targets[list(clips)]
        thresholds = self.task.thresholds(logits, targets)
        return self.task.score(logits, targets, thresholds), thresholds

    def _logits(self, clips: Sequence[int]) -> Tensor:
        for buffer in self.model.added.buffers():  # each process's last step changed its own
            buffer.copy_(broadcast(buffer))
        size = self.setup.config.per_device_eval_batch_size
        return logits_of(self.stage.module, self.stage.inputs, clips, size, self.accelerator, self.setup.arithmetic)

    def finite(self, loss: Tensor, progress: Progress) -> float:
        """A step's loss as a number.

        Args:
            loss: as :meth:`step` gives it.
            progress: of the run, before the step is counted.

        Returns:
            The loss, summed over clips.

        Raises:
            NumericalError: it is not finite.
        """
        summed = float(loss)
        if not math.isfinite(summed):
            raise self._diverged(f"the training loss is {summed}", progress, self.global_step(progress) + 1)
        return summed

    def refuse_unsound(self, progress: Progress) -> None:
        """Look at the weights before they are scored or saved: the last step may have spoiled them after its loss was seen.

        Args:
            progress: of the run.

        Raises:
            NumericalError: some hold NaN or infinity.
        """
        state = self.model.adapter_state()
        names = not_finite(state)
        if names:
            what = f"{len(names)} of the {len(state)} trained tensors hold NaN or infinity"
            raise self._diverged(what, progress, self.global_step(progress))

    def _diverged(self, what: str, progress: Progress, step: int) -> NumericalError:
        rate = self.setup.recipe.learning_rate
        advice = ", or bf16=False" if self.setup.arithmetic.bf16 else ""
        if rate * self.setup.recipe.weight_decay > 1:  # each step multiplies the weights by 1 - rate * decay
            advice += f", or a weight decay below {1 / rate:g}"
        return NumericalError(
            f"{what} at step {step}, in epoch {progress.epoch + 1}; try a learning rate below {rate:g}{advice}, from the "
            f"beginning: the same command with learning_rate={rate / 10:g} overwrite_output_dir=True"
        )


def _refuse_other(name: str, state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """Look whether tensors of a checkpoint are such as a run has. AdamW and copies into an average take almost any.

    Raises:
        ValueError: some are missing or unknown, have another shape or type, or are not finite.
    """
    other = sorted(state.keys() ^ like.keys())
    if other:
        raise ValueError(f"{name} has other tensors than the run: {other[0]}")
    for key, tensor in state.items():
        if tensor.shape != like[key].shape or tensor.dtype != like[key].dtype:
            shown = f"{tuple(tensor.shape)} of {tensor.dtype}"
            raise ValueError(f"{name}: {key} is {shown}, not {tuple(like[key].shape)} of {like[key].dtype}")
    strange = not_finite(state) + [
        key for key, tensor in state.items() if key.endswith((_STEPS, _SQUARES)) and bool((tensor < 0).any())
    ]
    if strange:
        raise ValueError(f"{name}: {strange[0]} has numbers that training does not give")
