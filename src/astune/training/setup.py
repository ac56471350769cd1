"""What a run is, settled before anything is trained: settings, numbers, clips, model, features and how the machine computes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list, set_seed

from astune import keyed
from astune.backbone import load_backbone
from astune.classifier import AudioClassifier
from astune.compute import Arithmetic, bf16_is_faster
from astune.console import announcer
from astune.names import BUNDLED_BACKBONE, PUBLISHED_BACKBONE
from astune.plurals import number_of
from astune.training.check import check
from astune.training.class_weights import Weighing, weigh
from astune.training.config import TrainConfig
from astune.training.data_record import DataRecord
from astune.training.listening import listen_to
from astune.training.materials import materials_of
from astune.training.output_folder import clear, writing
from astune.training.recipe import resolve
from astune.training.resume import refuse_other_run
from astune.training.without_epochs import unused_without_epochs

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator

    from astune.data import AudioDataset, Split
    from astune.features import FeatureCache
    from astune.features.waveform_augmentation import WaveformFunction
    from astune.training.materials import Materials
    from astune.training.recipe import Recipe
    from astune.training.sampler import Sampler


@dataclass(frozen=True)
class Setup:
    """A run that has been checked and can be trained."""

    config: TrainConfig
    recipe: Recipe
    dataset: AudioDataset
    split: Split
    """Without the clips that cannot be read."""
    record: DataRecord
    """Of the data, as it is written beside the adapter."""
    features: FeatureCache
    materials: Materials
    """What augmentations draw from."""
    notices: tuple[str, ...]
    """Notes that the user saw about the data, about augmentations, and about settings that do less than they say."""
    weighing: Weighing
    """How the training loss weighs the classes."""
    model: AudioClassifier
    arithmetic: Arithmetic
    accelerator: Accelerator
    quiet: bool
    """Whether nothing is announced: asked for, or in every process but the main one."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the result; a checkpoint continues no run with other ones."""
        settled = {field.name for field in fields(self.recipe)}
        return {
            **{name: value for name, value in self.config.settings_key().items() if name not in settled},
            **self.materials.beside_settings,
            **self.recipe.record(),
            "backbone_fingerprint": self.model.origin.fingerprint,
            "processes": self.accelerator.num_processes,
            "compute_dtype": self.arithmetic.compute_dtype,
            "randomness_format": keyed.FORMAT,
        }

    @property
    def class_weights(self) -> torch.Tensor | None:
        """How much each class counts in the training loss, (classes,); None where all count alike."""
        return torch.tensor(list(self.weighing.weights.values())) if self.weighing.weights else None

    @property
    def sampler(self) -> Sampler:
        """Which training clips each epoch visits."""
        return self.materials.sampler

    def announce(self, message: str) -> None:
        """Show a line to the user.

        Args:
            message: a line.
        """
        announcer(quiet=self.quiet)(message)


def set_up(
    config: TrainConfig, accelerator: Accelerator, waveform: WaveformFunction | None = None, *, quiet: bool = False
) -> Setup:
    """Check a run, compute its features and make its model; all processes together.

    Args:
        config: of the run.
        accelerator: its processes.
        waveform: the user's function that changes the samples of training clips.
        quiet: no progress bars and no announcements.

    Returns:
        The run, with an output folder that it may write to.

    Raises:
        AstuneError: whatever of the configuration, the data, the audio or the backbone cannot be used.
    """
    announce = announcer(quiet=quiet)
    accelerator.wait_for_everyone()
    checked = check(config)
    dataset = checked.dataset
    record = DataRecord.of(dataset, checked.split, quiet=quiet)
    refuse_other_run(config, record, announce, waveform)
    recipe = resolve(config, checked.method, dataset, checked.split, accelerator.num_processes, quiet=quiet)
    if config.backbone == BUNDLED_BACKBONE:
        announce(
            f"Training on the bundled backbone, small and for small tasks; for real work: backbone={PUBLISHED_BACKBONE}"
        )
    backbone = load_backbone(config.backbone, recipe.max_length, config.position_embeddings)
    set_seed(config.seed)
    model = AudioClassifier(
        backbone, checked.method, dataset.labels, config.pooling, dataset.task, negatives=dataset.negatives
    )
    if accelerator.process_index:  # else dropout would drop the same units in every process
        torch.manual_seed(config.seed + accelerator.process_index)
    # Every process calls it: its lock lets one compute while the others wait.
    listened = listen_to(
        dataset, checked.split, model.front_end, skip_broken=config.skip_broken, balanced=config.balances_classes, quiet=quiet
    )  # fmt: skip
    materials = materials_of(config, dataset, listened.split, listened.features, model.front_end, waveform, quiet=quiet)
    weighing = weigh(config.class_weights, dataset, listened.split.train)
    of_epochs = [*materials.notices, *filter(None, [materials.sampler.notice])]
    if not recipe.num_train_epochs:
        of_epochs = unused_without_epochs(config, model.method.spec, waveform)
    notices = [*listened.notices, *of_epochs, *weighing.notices, *_notices(config, recipe, listened.split, model)]
    if not listened.split.validation:
        recipe = replace(recipe, early_stopping_patience=0)
    for notice in notices:
        announce(notice)
    announce(_plan(model, config, recipe, listened.split))
    with writing(config.output_dir):
        _clear_folder(config, accelerator)
    arithmetic = _arithmetic(config, accelerator.device, announce)
    arithmetic.prepare(model.sites)
    return Setup(
        config=config,
        recipe=recipe,
        dataset=dataset,
        split=listened.split,
        record=record,
        features=listened.features,
        materials=materials,
        notices=tuple(notices),
        weighing=weighing,
        model=model,
        arithmetic=arithmetic,
        accelerator=accelerator,
        quiet=quiet,
    )


def in_bf16(
    wish: bool | None,
    device: torch.device,
    *,
    faster: Callable[[torch.device], bool] = bf16_is_faster,
    from_main: Callable[[list[bool]], list[bool]] = broadcast_object_list,
) -> bool:
    """Whether to compute in bfloat16: the user's wish, or what the main process found faster, for all processes alike.

    Args:
        wish: the user's; None where there is none.
        device: of this process.
        faster: finds out.
        from_main: gives every process the main one's answer.

    Returns:
        True for bfloat16.
    """
    return wish if wish is not None else bool(from_main([faster(device)])[0])


def _plan(model: AudioClassifier, config: TrainConfig, recipe: Recipe, split: Split) -> str:
    accumulated = config.gradient_accumulation_steps
    batch = f"{recipe.per_device_train_batch_size}{f' x {accumulated}' if accumulated > 1 else ''}"
    warmup = f" after a warm-up of {recipe.warmup_steps:g}" if recipe.warmup_steps else ""
    schedule = f", {recipe.lr_scheduler_type}{warmup}" if warmup or recipe.lr_scheduler_type != "cosine" else ""
    patience = recipe.early_stopping_patience
    stops = f", or until {number_of(patience, 'epoch')} bring no higher validation score" if patience else ""
    scored = ", validation clips scored at the end alone" if config.eval_strategy == "no" and split.validation else ""
    rate = f"learning rate {recipe.learning_rate:g}{schedule}{stops}{scored}"
    trained = f"{number_of(recipe.num_train_epochs, 'epoch')} of batch {batch}, {rate}"
    if not recipe.num_train_epochs:
        trained = "a head fitted to the end, no epochs"
    return (
        f"{model.method.spec} ({model.parameter_count():,} parameters) on {model.origin.name}: {len(model.labels)} classes, "
        f"{len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test clips of "
        f"{recipe.max_length} frames; {trained}"
    )


def _notices(config: TrainConfig, recipe: Recipe, split: Split, model: AudioClassifier) -> list[str]:
    """Settings that do less than they say."""
    notices = []
    if recipe.early_stopping_patience and not split.validation:
        notices.append("Note: there are no validation clips, so all epochs are trained, without early stopping")
    buffers = {name.rpartition(".")[2] for name, _ in model.added.named_buffers()}
    if config.ema_decay and buffers and recipe.num_train_epochs:
        notices.append(
            f"Note: ema_decay averages weights; {', '.join(sorted(buffers))} of {model.method.spec} are as the last step left them"
        )
    return notices


def _clear_folder(config: TrainConfig, accelerator: Accelerator) -> None:
    """Delete what an earlier run left, if that was asked for, once all processes have checked."""
    accelerator.wait_for_everyone()
    if config.overwrite_output_dir and accelerator.is_main_process:
        clear(config.output_dir)
    accelerator.wait_for_everyone()


def _arithmetic(config: TrainConfig, device: torch.device, announce: Callable[[str], None]) -> Arithmetic:
    """How the run computes; what of it is slow is said."""
    arithmetic = Arithmetic.of(
        device, in_bf16(config.bf16, device), config.store_bf16,
        attention_kernel=config.attention_kernel, matmul_precision=config.matmul_precision, compile=config.compile,
    )  # fmt: skip
    for notice in _slow_choices(config, arithmetic):
        announce(notice)
    return arithmetic


def _slow_choices(config: TrainConfig, arithmetic: Arithmetic) -> list[str]:
    notices = []
    if config.bf16 and not bf16_is_faster(arithmetic.device):
        notices.append("Note: this device is faster in float32; bf16=True will be slow")
    if config.store_bf16 and not arithmetic.bf16:
        notices.append("Note: store_bf16=True does nothing in float32; set bf16=True to compute in bfloat16")
    return notices
