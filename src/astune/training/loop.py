"""One training loop for every method and data set, on Accelerate: one process or many, CPU or GPU.

Each epoch visits the training clips in an order keyed by (seed, epoch), scores the validation clips, and leaves a checkpoint (every two
seconds where epochs from a cache of frozen layers are shorter). The adapter keeps the best validation epoch's weights, or the last; the
test clips are scored once, after that choice.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list, gather_object, set_seed

from astune import adapter_file
from astune.backbone import load_backbone
from astune.backbone.positions import patch_grid
from astune.classifier import AudioClassifier
from astune.compute import Arithmetic, gains_from_bf16
from astune.console import progress, say
from astune.data.dataset import SPLITS
from astune.environment import device_name, peak_memory_mib, versions
from astune.errors import ConfigError, DataError, Interrupted, NumericalError
from astune.features import Patchout, SpecAugment
from astune.files import write_text
from astune.json_text import json_text
from astune.keyed import keyed_generator
from astune.names import BUNDLED_BACKBONE, PUBLISHED_BACKBONE
from astune.plurals import number_of
from astune.tasks import SINGLE_LABEL
from astune.training import checkpoint
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.data_record import DataRecord
from astune.training.frozen import Upper, frozen_states, randomness
from astune.training.listening import listen_to
from astune.training.output_folder import TRACKED, clear, held, writing
from astune.training.processes import batches, logits_of, many_on_cpu
from astune.training.recipe import resolve
from astune.training.result import METRICS, RESULTS, TrainResult
from astune.training.resume import finished, refuse_other_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data import AudioDataset, Split
    from astune.inference.batches import Inputs
    from astune.tasks import Scores

_RECORD_EVERY = 2.0  # seconds, at least, between checkpoints of epochs that train from a cache


def train(config: TrainConfig, *, quiet: bool = False) -> TrainResult:
    """Train one adapter and write its folder.

    Args:
        config: what to train on what.
        quiet: no progress bars and no announcements.

    Returns:
        Scores and figures of the run; read from the folder where it was finished before and ``resume`` is set.

    Raises:
        ConfigError: it is no configuration.
        AstuneError: whatever of the configuration, the data, the audio or the backbone cannot be used; training diverged; or the
            folder cannot be written.
        Interrupted: a KeyboardInterrupt that says what was kept.
    """
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"config is of type {type(config).__name__}; give TrainConfig(data=..., output_dir=...)")
    run = _Run(config, quiet=quiet)
    with held(config.output_dir) if run.accelerator.is_main_process else nullcontext():
        try:
            return run.execute()
        except KeyboardInterrupt as stop:
            raise Interrupted(_how_to_go_on(config)) from stop


def _how_to_go_on(config: TrainConfig) -> str:
    stopped = checkpoint.latest(config.output_dir)
    if stopped is None:
        return "interrupted before the first checkpoint; nothing was kept"
    how = "the same command" if config.resume else "the same command with --resume"
    if config.overwrite_output_dir:
        how = "the same command with --resume in the place of --overwrite-output-dir"
    return f"interrupted; {stopped} is kept: {how} goes on from there"


class _Run:
    """The state of one training run; :meth:`execute` reads from top to bottom."""

    def __init__(self, config: TrainConfig, *, quiet: bool) -> None:
        self.config = config
        self.began = time.perf_counter()
        log_with = None if config.report_to == "none" else config.report_to
        self.accelerator = Accelerator(
            cpu=many_on_cpu(), mixed_precision="no", log_with=log_with, project_dir=config.output_dir
        )
        self.quiet = quiet or not self.accelerator.is_main_process

    def execute(self) -> TrainResult:
        config = self.config
        if config.resume and not config.overwrite_output_dir and (config.output_dir / RESULTS).is_file():
            return finished(config, self._announce)
        self.accelerator.wait_for_everyone()
        checked = check(config)
        dataset, split = checked.dataset, checked.split
        self.record = DataRecord.of(dataset, split, quiet=self.quiet)
        refuse_other_run(config, self.record, self._announce)
        self.recipe = recipe = resolve(
            config, checked.method, dataset, split, self.accelerator.num_processes, quiet=self.quiet
        )
        if config.backbone == BUNDLED_BACKBONE:
            self._announce(
                f"Training on the bundled backbone, small and for small tasks; for real work: --backbone {PUBLISHED_BACKBONE}"
            )
        backbone = load_backbone(config.backbone, recipe.max_length, config.position_embeddings)
        set_seed(config.seed)
        self.model = AudioClassifier(backbone, checked.method, dataset.labels, config.pooling)
        if self.accelerator.process_index:  # else dropout would drop the same units in every process
            torch.manual_seed(config.seed + self.accelerator.process_index)
        # Every process calls it: its lock lets one compute while the others wait.
        listened = listen_to(dataset, split, self.model.front_end, skip_broken=config.skip_broken, quiet=self.quiet)
        self.features, split, self.notices = listened.features, listened.split, listened.notices
        self._announce_plan(dataset, split)
        with writing(config.output_dir):
            self._clear_folder()
        self.arithmetic = Arithmetic.of(
            self.accelerator.device, self._bf16(), config.store_bf16, attention_kernel=config.attention_kernel,
            matmul_precision=config.matmul_precision, compile=config.compile,
        )  # fmt: skip
        with self.arithmetic.products(), writing(config.output_dir):
            self._prepare(dataset, split)
            self._fit()
            return self._finish(dataset, split)

    def _announce(self, message: str) -> None:
        if not self.quiet:
            say(message)

    def _bf16(self) -> bool:
        """Whether to compute in bfloat16: the user's wish, or what the main process found faster, for all processes alike."""
        if self.config.bf16 is not None:
            return self.config.bf16
        found = [gains_from_bf16(self.accelerator.device)]
        return bool(broadcast_object_list(found)[0])

    def _clear_folder(self) -> None:
        """Delete what an earlier run left, if that was asked for, once all processes have checked."""
        folder = self.config.output_dir
        self.accelerator.wait_for_everyone()
        if self.config.overwrite_output_dir and self.accelerator.is_main_process:
            clear(folder)
        self.accelerator.wait_for_everyone()

    def _announce_plan(self, dataset: AudioDataset, split: Split) -> None:
        for notice in self.notices:
            self._announce(notice)
        share = self.model.parameter_count()
        recipe = self.recipe
        self._announce(
            f"{self.model.method.spec} ({share:,} parameters) on {self.model.origin.name}: {len(dataset.labels)} classes, "
            f"{len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test clips of "
            f"{recipe.max_length} frames; "
            f"{number_of(recipe.num_train_epochs, 'epoch')} of batch {recipe.per_device_train_batch_size}, "
            f"learning rate {recipe.learning_rate:g}"
        )

    def _prepare(self, dataset: AudioDataset, split: Split) -> None:
        config, recipe, accelerator = self.config, self.recipe, self.accelerator
        if config.bf16 and not gains_from_bf16(accelerator.device):
            self._announce("Note: this device is faster in float32; --bf16 will be slow")
        if config.store_bf16 and not self.arithmetic.bf16:
            self._announce("Note: --store-bf16 does nothing where float32 computes; --bf16 would compute in bfloat16")
        self.arithmetic.prepare(self.model.sites)
        self.targets = dataset.targets
        self.split = split
        self.parameters = self.model.trained_parameters()
        self.optimizer = self.arithmetic.optimizer(
            self.parameters.values(),
            lr=recipe.learning_rate,
            betas=(recipe.adam_beta1, recipe.adam_beta2),
            eps=recipe.adam_epsilon,
            weight_decay=recipe.weight_decay,
        )
        self.trained, self.inputs = self._frozen_once(dataset, split)
        self.prepared = self.arithmetic.translated(accelerator.prepare_model(self.trained))
        self.augment = SpecAugment(recipe.freq_mask, recipe.time_mask, config.seed)
        self.patchout = Patchout(
            config.patchout, config.patchout_mode, patch_grid(self.model.backbone.config), config.seed
        )
        self.identity = {
            **config.identity(),
            **recipe.record(),
            "backbone_fingerprint": self.model.origin.fingerprint,
            "processes": accelerator.num_processes,
            "compute_dtype": self.arithmetic.compute_dtype,
        }
        whole_batch = recipe.per_device_train_batch_size * accelerator.num_processes
        self.steps_an_epoch = math.ceil(len(split.train) / whole_batch)
        self.state, self.best = checkpoint.Progress(), None
        stopped = checkpoint.latest(config.output_dir) if config.resume else None
        if stopped:
            self.state, self.best = checkpoint.load(
                stopped, self.identity, self.model, self.optimizer, accelerator.process_index, self.steps_an_epoch
            )
            self._announce(f"Resumed from {stopped}: epoch {self.state.epoch + 1}, step {self.state.step}")
        if accelerator.is_main_process:
            config.output_dir.mkdir(parents=True, exist_ok=True)
            self.record.write(config.output_dir)
        if config.report_to != "none":
            self._start_tracker()

    def _frozen_once(self, dataset: AudioDataset, split: Split) -> tuple[AudioClassifier | Upper, Inputs]:
        """What is trained and what it is given: the classifier and features, or what lies behind its frozen layers and their output."""
        depth, mark = self.model.frozen_depth, time.perf_counter()
        self.frozen_seconds = 0.0
        if not depth or not self.config.cache_frozen:
            return self.model, self.features
        many = f"{depth} frozen layers" if depth > 1 else "frozen first layer"
        found = randomness(self.model, self.recipe, self.config.patchout)
        if found:
            self._announce(f"The {many} run in every epoch: {found}")
            return self.model, self.features
        upper = Upper(self.model.to(self.accelerator.device))
        states, fault = None, None
        try:
            states = frozen_states(
                upper,
                self.features,
                dataset.paths,
                [clip for name in SPLITS for clip in split.named(name)],
                arithmetic=self.arithmetic,
                batch_size=self.config.per_device_eval_batch_size,
                quiet=self.quiet,
            )
        except DataError as error:
            fault = str(error)
        # Processes that disagreed would wait for each other for ever: each has a disk, or a moment, of its own.
        faults = [one for one in gather_object([fault]) if one]
        if states is None or faults:
            self._announce(f"The {many} run in every epoch: {faults[0]}")
            return self.model, self.features
        self.frozen_seconds = time.perf_counter() - mark
        size = states.states.nbytes / 1e6
        self._announce(
            f"The {many} run once, not in every epoch: {number_of(len(states.rows), 'clip')}, {size:.1f} MB, {self.frozen_seconds:.1f} s"
        )
        return upper, states

    def _start_tracker(self) -> None:
        settings = {key: value for key, value in self.identity.items() if value is not None}
        try:
            self.accelerator.init_trackers(TRACKED, config=settings)
        except Exception as fault:
            name = self.config.report_to
            hint = "; log in with `wandb login`, or set WANDB_MODE=offline" if name == "wandb" else ""
            raise ConfigError(f"report_to={name} cannot start: {fault}{hint}") from fault

    def _fit(self) -> None:
        total = self.recipe.num_train_epochs * self.steps_an_epoch
        self.saved = time.perf_counter()
        with progress("Training", total, quiet=self.quiet) as advance:
            advance(self._global_step, "")
            while self.state.epoch < self.recipe.num_train_epochs:
                entry = self._epoch(advance, total)
                shown = entry.get("validation", {}).get("accuracy")
                note = f"loss {entry['train_loss']:.3f}" + (f", validation {shown:.1%}" if shown is not None else "")
                advance(0, note)
        self._announce(f"Trained {number_of(self.recipe.num_train_epochs, 'epoch')} in {self.state.seconds:.0f} s")

    @property
    def _global_step(self) -> int:
        return int(self.state.epoch * self.steps_an_epoch + self.state.step)

    def _epoch(self, advance: Any, total: int) -> dict[str, Any]:  # noqa: ANN401 - rich's own callback
        state, config = self.state, self.config
        mark = time.perf_counter()
        shuffled = keyed_generator(config.seed, "shuffle", state.epoch).permutation(np.asarray(self.split.train))
        accelerator = self.accelerator
        shares = batches(
            shuffled.tolist(),
            self.recipe.per_device_train_batch_size,
            accelerator.num_processes,
            accelerator.process_index,
        )
        self.prepared.train()
        steps = list(shares)[state.step :]
        batches_ahead = (self._placed(share) for share, _ in steps)
        placed = next(batches_ahead)
        for share, whole in steps:
            loss = self._step(placed, bool(share), whole, total)
            placed = next(batches_ahead, placed)  # on its way to a GPU before reading the loss waits for it
            state.loss_sum += self._finite(loss)
            state.clips += whole
            state.step += 1
            advance(1, f"loss {state.loss_sum / state.clips:.3f}")
            if config.save_steps and self._global_step % config.save_steps == 0 and state.step < self.steps_an_epoch:
                state.seconds += time.perf_counter() - mark
                mark = time.perf_counter()
                self._refuse_unsound()
                self._save()
        self._refuse_unsound()
        entry: dict[str, Any] = {"epoch": state.epoch, "train_loss": state.loss_sum / state.clips}
        if self.split.validation:
            scores = self._score(self.split.validation)
            entry["validation"] = scores.figures()
            self._keep_if_best(scores)
        state.seconds += time.perf_counter() - mark
        entry |= {"learning_rate": self._rate(self._global_step - 1, total), "seconds": round(state.seconds, 3)}
        state.history.append(entry)
        accelerator.log(_flat(entry), step=self._global_step)
        state.epoch, state.step, state.loss_sum, state.clips = state.epoch + 1, 0, 0.0, 0
        # Epochs from a cache take less time than a checkpoint; only the main process's clock may decide for all.
        due = self.trained is self.model or state.epoch == self.recipe.num_train_epochs
        due |= config.save_steps is not None and self._global_step % config.save_steps == 0
        if due or broadcast_object_list([time.perf_counter() - self.saved > _RECORD_EVERY])[0]:
            if accelerator.is_main_process:
                lines = "".join(json_text(line) + "\n" for line in state.history)
                write_text(config.output_dir / METRICS, lines)
            self._save()
        return entry

    def _rate(self, step: int, total: int) -> float:
        """Cosine annealing to zero, as a function of the step alone."""
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))

    def _placed(self, share: list[int]) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """A process's part of a step on its device: inputs, targets, and with Patchout the patches that stay."""
        clips = share or [self.split.train[0]]
        place = self.arithmetic.place
        inputs = place(self.augment(self.inputs.batch(clips), self.state.epoch, clips))
        targets = place(torch.tensor([self.targets[clip] for clip in clips]))
        kept = self.patchout(self.state.epoch, clips)
        return inputs, targets, {} if kept is None else {"kept_patches": place(kept)}

    def _step(
        self, placed: tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]], counts: bool, whole: int, total: int
    ) -> torch.Tensor:
        """One optimiser step; returns the loss summed over the clips of all processes, which a GPU may still be computing.

        DistributedDataParallel averages gradients over processes, so each one's summed loss is scaled by processes / whole: the step
        is that of one process with the whole batch. A process with no clip of a short last batch (whose part does not
        count) sends a gradient of zero.
        """
        rate = self._rate(self._global_step, total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        inputs, targets, more = placed
        with self.arithmetic.computing():
            logits = self.prepared(inputs, **more).logits
        loss = SINGLE_LABEL.loss(logits.float(), targets, "sum") * (1.0 if counts else 0.0)
        self.accelerator.backward(loss * (self.accelerator.num_processes / whole))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        reduced: torch.Tensor = self.accelerator.reduce(loss.detach(), "sum")
        return reduced

    def _finite(self, loss: torch.Tensor) -> float:
        """A step's loss as a number.

        Raises:
            NumericalError: it is no finite one.
        """
        summed = float(loss)
        if not math.isfinite(summed):
            raise self._diverged(f"the training loss is {summed}", self._global_step + 1)
        return summed

    def _refuse_unsound(self) -> None:
        """Look at the weights before they are scored or saved: the last step may have spoiled them after its loss was seen.

        Raises:
            NumericalError: some hold NaN or infinity.
        """
        names = adapter_file.unsound(self.model.adapter_state())
        if names:
            raise self._diverged(
                f"{len(names)} of the {len(self.model.adapter_state())} trained tensors hold NaN or infinity",
                self._global_step,
            )

    def _diverged(self, what: str, step: int) -> NumericalError:
        rate = self.recipe.learning_rate
        precision = ", or with --no-bf16" if self.arithmetic.bf16 else ""
        if rate * self.recipe.weight_decay > 1:  # each step multiplies the weights by 1 - rate * decay
            precision += f", or a weight decay below {1 / rate:g}"
        return NumericalError(
            f"{what} at step {step}, in epoch {self.state.epoch + 1}; try a learning rate below {rate:g}{precision}, from the "
            f"beginning: the same command with --learning-rate {rate / 10:g} --overwrite-output-dir"
        )

    def _score(self, clips: Sequence[int]) -> Scores:
        for buffer in self.model.adapter.buffers():  # each process's last step changed its own
            buffer.copy_(broadcast(buffer))
        size = self.config.per_device_eval_batch_size
        logits = logits_of(self.trained, self.inputs, clips, size, self.accelerator, self.arithmetic)
        return SINGLE_LABEL.score(logits, torch.tensor([self.targets[clip] for clip in clips]))

    def _keep_if_best(self, scores: Scores) -> None:
        """Copy the weights: what a state dict holds changes with the next step."""
        if self.recipe.selection != "best-validation":
            return
        state = self.state
        standing = None if state.best_epoch is None else state.history[state.best_epoch]["validation"]
        if SINGLE_LABEL.better(scores.figures(), standing):
            state.best_epoch = state.epoch
            self.best = {name: tensor.cpu().clone() for name, tensor in self.model.adapter_state().items()}

    def _save(self) -> None:
        states = gather_object([checkpoint.random_states()])
        if self.accelerator.is_main_process:
            checkpoint.save(
                self.config.output_dir,
                self._global_step,
                self.state,
                self.identity,
                {"digest": self.record.digest, "labels": list(self.record.labels)},
                self.model,
                self.optimizer,
                self.best,
                states,
            )
        self.accelerator.wait_for_everyone()
        self.saved = time.perf_counter()

    def _finish(self, dataset: AudioDataset, split: Split) -> TrainResult:
        if self.best is not None:
            self.model.load_adapter_state(self.best)
        parts = {"validation": split.validation, "test": split.test}
        scores = {name: self._score(clips).record() for name, clips in parts.items() if clips}
        folder = self.config.output_dir
        best_epoch = self.state.best_epoch if self.state.best_epoch is not None else self.recipe.num_train_epochs - 1
        if self.accelerator.is_main_process:
            config = self.config
            named = {
                "data": config.data, "fold": split.fold, "seed": config.seed, "shots": config.shots, "limit_clips": config.limit_clips,
                **({"patchout": config.patchout, "patchout_mode": config.patchout_mode} if config.patchout else {}),
            }  # fmt: skip
            training = {key: value for key, value in named.items() if value is not None} | self.recipe.record()
            training["data_digest"] = self.record.digest
            self.model.save_pretrained(
                folder, compute_dtype=self.arithmetic.compute_dtype, training=training, metrics=scores
            )
        result = TrainResult(
            output_dir=str(folder),
            spec=self.model.method.spec,
            trainable_parameters=self.model.parameter_count(),
            adapter_bytes=adapter_file.file_bytes(self.model),
            backbone_fingerprint=self.model.origin.fingerprint,
            labels=list(dataset.labels),
            fold=split.fold,
            recipe=self.recipe.record(),
            config=self.config.model_dump(mode="json"),
            compute_dtype=self.arithmetic.compute_dtype,
            device=device_name(self.accelerator.device),
            best_epoch=best_epoch,
            scores=scores,
            history=self.state.history,
            skipped_clips=len(self.features.broken),
            train_seconds=round(self.state.seconds, 3),
            wall_seconds=round(time.perf_counter() - self.began, 3),
            peak_memory_mib=round(peak_memory_mib(self.accelerator.device), 1),
            versions=versions(),
            cached_layers=self.model.frozen_depth if self.trained is not self.model else 0,
            frozen_seconds=round(self.frozen_seconds, 3),
            data_digest=self.record.digest,
            notices=self.notices,
        )
        if self.accelerator.is_main_process:
            write_text(folder / RESULTS, json_text(asdict(result), indent=1) + "\n")
            checkpoint.remove_all(folder)
        self.accelerator.log(_flat({"test": scores.get("test", {})}), step=self._global_step)
        for tracker in self.accelerator.trackers:  # end_training would part the processes, and the next fold needs them
            tracker.finish()
        self.accelerator.wait_for_everyone()
        return result


def _flat(entry: dict[str, Any]) -> dict[str, float]:
    """Numbers of a nested record under ``outer/inner`` names, as trackers want them."""
    flat: dict[str, float] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            flat |= {f"{key}/{inner}": number for inner, number in _flat(value).items()}
        elif isinstance(value, int | float):
            flat[key] = value
    return flat
