"""One step and one scoring, by one process or many: the module that is trained, its optimiser and its augmentations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from accelerate.utils import broadcast

from astune.adapter_file import unsound
from astune.errors import NumericalError
from astune.features.augmentation import TrainingBatch
from astune.keyed import keyed_generator
from astune.training.processes import batches, logits_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from astune.features.augmentation import Augmentation
    from astune.tasks import Scores
    from astune.training.progress import Progress
    from astune.training.setup import Setup
    from astune.training.stage import Stage


@dataclass(frozen=True)
class Step:
    """A process's part of one step, on its device."""

    inputs: Tensor
    targets: Tensor
    kept_patches: Tensor | None
    counts: bool
    """Whether it has clips of this step; where not, it sends a gradient of zero."""
    clips: int
    """Of the step over all processes."""


class Engine:
    """Trains and scores.

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
        self.names = [clip.name for clip in setup.dataset.clips]
        self.targets = self.task.encode(setup.dataset.clips, setup.dataset.labels)
        self.optimizer = setup.arithmetic.optimizer(
            self.model.trained_parameters().values(),
            lr=recipe.learning_rate,
            betas=(recipe.adam_beta1, recipe.adam_beta2),
            eps=recipe.adam_epsilon,
            weight_decay=recipe.weight_decay,
        )
        self.prepared = setup.arithmetic.translated(self.accelerator.prepare_model(stage.module))
        whole_batch = recipe.per_device_train_batch_size * self.accelerator.num_processes
        self.steps_per_epoch: int = math.ceil(len(setup.split.train) / whole_batch)
        self.total_steps: int = recipe.num_train_epochs * self.steps_per_epoch

    def global_step(self, progress: Progress) -> int:
        """Optimiser steps taken since the beginning.

        Args:
            progress: of the run.
        """
        return progress.epoch * self.steps_per_epoch + progress.step

    def rate(self, step: int) -> float:
        """Learning rate: cosine annealing to zero, as a function of the step alone.

        Args:
            step: from 0, since the beginning.
        """
        return self.setup.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.total_steps))

    def steps(self, epoch: int, first: int = 0) -> Iterator[Step]:
        """This process's part of the steps of an epoch.

        Args:
            epoch: decides the order of the clips and what augmentations draw.
            first: of the steps that are wanted.

        Yields:
            The steps, each made and placed on the device when it is asked for.
        """
        setup, accelerator = self.setup, self.accelerator
        order = keyed_generator(setup.config.seed, "shuffle", epoch).permutation(np.asarray(setup.split.train))
        shares = batches(
            order.tolist(),
            setup.recipe.per_device_train_batch_size,
            accelerator.num_processes,
            accelerator.process_index,
        )
        self.prepared.train()
        for share, whole in list(shares)[first:]:
            yield self._placed(share, whole, epoch)

    def _placed(self, share: list[int], whole: int, epoch: int) -> Step:
        clips = share or [self.setup.split.train[0]]
        names = tuple(self.names[clip] for clip in clips)
        batch = TrainingBatch(self.stage.inputs.batch(clips), self.targets[clips], tuple(clips), names, epoch)
        for augmentation in self.augmentations:
            batch = augmentation.augment(batch)
        place = self.setup.arithmetic.place
        kept = None if batch.kept_patches is None else place(batch.kept_patches)
        return Step(place(batch.inputs), place(batch.targets), kept, bool(share), whole)

    def step(self, step: Step, number: int) -> Tensor:
        """Take one optimiser step.

        DistributedDataParallel averages gradients over processes, so each one's summed loss is scaled by processes / clips: the step
        is that of one process with the whole batch.

        Args:
            step: this process's part.
            number: of the step, from 0, since the beginning.

        Returns:
            The loss summed over the clips of all processes, a scalar that a GPU may still be computing.
        """
        rate = self.rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        more = {} if step.kept_patches is None else {"kept_patches": step.kept_patches}
        with self.setup.arithmetic.computing():
            logits = self.prepared(step.inputs, **more).logits
        loss = self.task.loss(logits.float(), step.targets, "sum") * (1.0 if step.counts else 0.0)
        self.accelerator.backward(loss * (self.accelerator.num_processes / step.clips))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        reduced: Tensor = self.accelerator.reduce(loss.detach(), "sum")
        return reduced

    def score(self, clips: Sequence[int], thresholds: Sequence[float] | None = None) -> Scores:
        """Score clips, all processes together.

        Args:
            clips: indices in the data set.
            thresholds: of the classes, see :meth:`astune.tasks.Task.score`.

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
        names = unsound(state)
        if names:
            what = f"{len(names)} of the {len(state)} trained tensors hold NaN or infinity"
            raise self._diverged(what, progress, self.global_step(progress))

    def _diverged(self, what: str, progress: Progress, step: int) -> NumericalError:
        rate = self.setup.recipe.learning_rate
        advice = ", or with --no-bf16" if self.setup.arithmetic.bf16 else ""
        if rate * self.setup.recipe.weight_decay > 1:  # each step multiplies the weights by 1 - rate * decay
            advice += f", or a weight decay below {1 / rate:g}"
        return NumericalError(
            f"{what} at step {step}, in epoch {progress.epoch + 1}; try a learning rate below {rate:g}{advice}, from the "
            f"beginning: the same command with --learning-rate {rate / 10:g} --overwrite-output-dir"
        )
