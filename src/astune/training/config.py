"""All settings of a training run, under Hugging Face's argument names; the command line is made from these fields.

None means that the recipe decides, by method and data set (``astune.training.recipe``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from typing_extensions import override

from astune.data.options import DataOptions, given_path, path_as_text
from astune.errors import ConfigError, format_faults
from astune.names import (
    BUNDLED_BACKBONE,
    LONGEST_INPUT,
    AttentionKernel,
    HeadStart,
    MatmulPrecision,
    Pooling,
    RecipeName,
    Sampling,
    Scheduler,
    Selection,
    current_kernel,
)
from astune.printable import UNPRINTABLE, printable
from astune.setting import Setting
from astune.training.class_weights import ClassWeights, read_class_weights
from astune.validated import SettingsError
from astune.yaml_text import yaml_file

_MOST_EPOCHS = 1_000_000


class TrainConfig(DataOptions):
    """Settings of one training run; invalid values raise :class:`SettingsError`, a ``ConfigError``."""

    data: Annotated[str, Setting("data", "Data", placed=True)] = Field(
        description="a folder or CSV file of recordings, or layout:PATH, such as esc50:PATH"
    )
    method: Annotated[str, Setting("result", "Model", placed=True)] = Field(
        "lora", description="preset or spec, such as bottleneck:configuration=houlsby; see `astune methods`"
    )
    backbone: Annotated[str, Setting("result", "Model")] = Field(
        BUNDLED_BACKBONE, description="bundled (small, in the package), hub id, local folder, or random:base|small|tiny"
    )
    output_dir: Annotated[Path, Setting("running", "Output", placed=True)] = Field(
        description="folder of the adapter; checkpoints are kept in it while training"
    )
    fold: Annotated[int | None, Setting("data", "Data", placed=True)] = Field(
        None, description="test fold, if the data have folds; by default the first one"
    )
    shots: Annotated[int | None, Setting("data", "Data")] = Field(
        None, ge=1, description="number of training clips per class, drawn with the seed"
    )
    limit_clips: Annotated[int | None, Setting("data", "Data")] = Field(
        None, ge=1, description="trial run: number of clips per split, drawn with the seed"
    )
    seed: Annotated[int, Setting("data", "Training", placed=True)] = Field(
        0, ge=0, lt=2**32, description="seed of everything random: initial weights, order, masks, held-out clips"
    )
    max_length: Annotated[int | None, Setting("data", "Data")] = Field(
        None, ge=16, le=LONGEST_INPUT, description="input length in frames of 10 ms; at most an hour"
    )
    position_embeddings: Annotated[Literal["fit", "zero"], Setting("result", "Model")] = Field(
        "fit", description="pretrained positions, or none as in the paper's code"
    )
    pooling: Annotated[Pooling, Setting("result", "Model")] = Field(
        "all",
        description="mean of all output tokens, [CLS] alone, or [CLS] and distillation as ASTForAudioClassification",
    )
    selection: Annotated[Selection | None, Setting("data", "Training")] = Field(
        None, description="epoch whose weights are kept: best-validation, or last"
    )
    recipe: Annotated[RecipeName | None, Setting("result", "Training", since=2)] = Field(
        None,
        description="defaults for settings that are not given: paper (the paper's values) or own (values found for other data); by default "
        "paper for the paper's data sets and own for all others",
    )
    head_start: Annotated[HeadStart | None, Setting("result", "Training", since=2)] = Field(
        None, description="first weights of the head: random, or a logistic regression on the frozen backbone's output"
    )
    learning_rate: Annotated[float | None, Setting("result", "Training")] = Field(
        None, gt=0, description="highest learning rate; the scheduler lowers it"
    )
    lr_scheduler_type: Annotated[Scheduler | None, Setting("result", "Training", since=2)] = Field(
        None,
        description="how the learning rate falls to 0 after the warm-up: cosine (the default) or linear; constant keeps it",
    )
    warmup_steps: Annotated[float | None, Setting("result", "Training", since=2)] = Field(
        None,
        ge=0,
        description="number of steps in which the learning rate rises from 0; a value below 1 is a share of all steps",
    )
    num_train_epochs: Annotated[int | None, Setting("result", "Training")] = Field(
        None, ge=1, le=_MOST_EPOCHS, description="number of passes over the training clips"
    )
    per_device_train_batch_size: Annotated[int | None, Setting("result", "Training")] = Field(
        None, ge=1, description="clips per step and process"
    )
    gradient_accumulation_steps: Annotated[int, Setting("result", "Training", since=2)] = Field(
        1, ge=1, description="number of batches whose gradients are added before each optimiser step"
    )
    max_grad_norm: Annotated[float, Setting("result", "Training", since=2)] = Field(
        0.0, ge=0, description="largest gradient norm; larger gradients are scaled down to it; 0 for no limit"
    )
    ema_decay: Annotated[float, Setting("result", "Training", since=2)] = Field(
        0.0,
        ge=0,
        lt=1,
        description="score and keep a moving average of the weights, with this decay at each step; 0 for none",
    )
    early_stopping_patience: Annotated[int | None, Setting("result", "Training", since=2)] = Field(
        None, ge=0, description="stop after this many epochs without a better validation score; 0 to train all epochs"
    )
    early_stopping_threshold: Annotated[float, Setting("result", "Training", since=2)] = Field(
        0.0,
        ge=0,
        description="smallest gain of the validation score that early stopping counts as better, such as 0.01",
    )
    metric_for_best_model: Annotated[str | None, Setting("result", "Training", since=2)] = Field(
        None, description="validation score that chooses the epoch, such as macro_f1; by default the task's headline"
    )
    eval_strategy: Annotated[Literal["epoch", "no"], Setting("running", "Training", since=2)] = Field(
        "epoch",
        description="when validation clips are scored: epoch (after each one), or no (once, at the end), which is faster and needs "
        "selection=last without early stopping",
    )
    class_weights: Annotated[ClassWeights | None, Setting("result", "Training", since=2)] = Field(
        None,
        description="weights of the classes in the training loss: balanced, or a file with the columns label and weight; by default all "
        "classes weigh the same",
    )
    sampler: Annotated[Sampling, Setting("result", "Training", since=2)] = Field(
        "random",
        description="clips of an epoch: random takes each clip once; balanced takes equally many of each class and repeats rare ones",
    )
    per_device_eval_batch_size: Annotated[int, Setting("rounding", "Machine")] = Field(
        32, ge=1, description="clips per step and process when scoring"
    )
    weight_decay: Annotated[float, Setting("result", "Training")] = Field(
        0.1, ge=0, description="weight decay of AdamW"
    )
    adam_beta1: Annotated[float, Setting("result", "Training")] = Field(0.9, ge=0, lt=1, description="beta1 of AdamW")
    adam_beta2: Annotated[float, Setting("result", "Training")] = Field(0.98, ge=0, lt=1, description="beta2 of AdamW")
    adam_epsilon: Annotated[float, Setting("result", "Training")] = Field(1e-6, gt=0, description="epsilon of AdamW")
    freq_mask: Annotated[int | None, Setting("result", "Augmentation")] = Field(
        None, ge=0, description="SpecAugment: widest band masked, in mel bins; 0 for none"
    )
    time_mask: Annotated[int | None, Setting("result", "Augmentation")] = Field(
        None, ge=0, description="SpecAugment: longest stretch masked, in frames; 0 for none"
    )
    patchout: Annotated[float, Setting("result", "Augmentation", since=2)] = Field(
        0.0, ge=0, lt=1, description="share of the patches dropped from each training clip"
    )
    patchout_mode: Annotated[Literal["unstructured", "structured"], Setting("result", "Augmentation", since=2)] = Field(
        "unstructured", description="drop single patches, or whole rows and columns of them"
    )
    label_smoothing_factor: Annotated[float | None, Setting("result", "Augmentation", since=2)] = Field(
        None, ge=0, lt=1, description="label smoothing: share of each target that is spread over all classes"
    )
    mixup_alpha: Annotated[float | None, Setting("result", "Augmentation", since=2)] = Field(
        None, ge=0, description="mixup: the share of a second clip is drawn from Beta(alpha, alpha); 0 for none"
    )
    gain: Annotated[float, Setting("result", "Augmentation", since=2)] = Field(
        0.0, ge=0, le=120, description="change the loudness of each training clip by up to this many dB; 0 for none"
    )
    time_shift: Annotated[float, Setting("result", "Augmentation", since=2)] = Field(
        0.0, ge=0, description="move each training clip by up to this many seconds; 0 for none"
    )
    random_crop: Annotated[bool, Setting("result", "Augmentation", since=2)] = Field(
        False, description="take another part of a longer training clip in each epoch, instead of its beginning"
    )
    background_noise: Annotated[str | None, Setting("result", "Augmentation", since=2)] = Field(
        None, description="folder of recordings that are added to training clips as noise"
    )
    min_snr_db: Annotated[float, Setting("result", "Augmentation", since=2)] = Field(
        3.0, ge=-60, le=120, description="loudest background_noise: signal-to-noise ratio in dB"
    )
    max_snr_db: Annotated[float, Setting("result", "Augmentation", since=2)] = Field(
        30.0, ge=-60, le=120, description="softest background_noise: signal-to-noise ratio in dB"
    )
    cache_frozen: Annotated[bool, Setting("running", "Machine")] = Field(
        True, description="compute frozen layers once for all epochs, if nothing before them is random"
    )
    device: Annotated[str | None, Setting("rounding", "Machine", since=2)] = Field(
        None, description="where to compute, such as cpu or cuda:1; by default the GPU if there is one"
    )
    bf16: Annotated[bool | None, Setting("rounding", "Machine")] = Field(
        None, description="compute in bfloat16; by default if this is faster on the machine"
    )
    store_bf16: Annotated[bool | None, Setting("rounding", "Machine", since=2)] = Field(
        None, description="store frozen matrices in bfloat16; by default if training computes in bfloat16"
    )
    attention_kernel: Annotated[AttentionKernel, Setting("rounding", "Machine", since=2)] = Field(
        "auto",
        description="attention by torch's scaled_dot_product_attention (sdpa) or by plain products (eager); auto: the faster one by device "
        "and shape",
    )
    matmul_precision: Annotated[MatmulPrecision, Setting("rounding", "Machine", since=2)] = Field(
        "highest", description="precision of float32 products, as torch names it"
    )
    compile: Annotated[bool, Setting("rounding", "Machine", since=2)] = Field(
        False, description="compile the training step with torch.compile; needs a C++ compiler on a CPU"
    )
    report_to: Annotated[Literal["none", "tensorboard", "wandb"], Setting("running", "Output", placed=True)] = Field(
        "none", description="tracker that receives the metrics"
    )
    save_steps: Annotated[int | None, Setting("running", "Output")] = Field(
        None, ge=1, description="also write a checkpoint every this many steps; one is always written after each epoch"
    )
    skip_broken: Annotated[bool, Setting("data", "Data")] = Field(
        False, description="leave out audio files that cannot be read, instead of stopping"
    )
    resume: Annotated[bool, Setting("running", "Output", placed=True)] = Field(
        False, description="continue from the last checkpoint in the output folder"
    )
    overwrite_output_dir: Annotated[bool, Setting("running", "Output", placed=True)] = Field(
        False, description="delete what an earlier run left in the output folder"
    )

    @classmethod
    @override
    def _headline(cls) -> str:
        return "settings"

    @field_validator("data", "output_dir", "background_noise", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        return given_path(value)

    @field_validator("data", "backbone", "background_noise", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return path_as_text(value)

    @field_validator("warmup_steps")
    @classmethod
    def _whole_steps(cls, value: float | None) -> float | None:
        """Refuse a fraction above 1, because values from 1 count steps.

        Raises:
            ValueError: the value is above 1 and not a whole number.
        """
        if value is not None and value >= 1 and not value.is_integer():
            raise ValueError("give a whole number of steps, or a share of all steps below 1")
        return value

    @field_validator("class_weights", mode="before")
    @classmethod
    def _weights_of_a_file(cls, value: object) -> object:
        return read_class_weights(value)

    @field_validator("attention_kernel", mode="before")
    @classmethod
    def _current_kernel(cls, value: object) -> object:
        return current_kernel(value)

    @field_validator("eval_strategy", mode="before")
    @classmethod
    def _bare_no(cls, value: object) -> object:
        return "no" if value is False else value  # as YAML 1.1 reads it

    @field_validator("data", "method", "backbone", "output_dir")
    @classmethod
    def _can_be_shown(cls, value: str | Path) -> str | Path:
        """Refuse names that files and terminals cannot show.

        Raises:
            ValueError: a name has characters that cannot be printed.
        """
        if printable(value) != str(value):
            raise ValueError(f"it holds {UNPRINTABLE}; rename it, or give another one")
        return value

    @property
    def balances_classes(self) -> bool:
        """Whether the run makes up for classes of different sizes."""
        return self.class_weights is not None or self.sampler == "balanced"

    @classmethod
    def from_yaml(cls, path: Path, **overrides: object) -> Self:
        """Read a configuration file.

        Args:
            path: YAML, a mapping of these fields.
            overrides: fields that replace or complete the file's.

        Returns:
            The configuration.

        Raises:
            ConfigError: the file cannot be read, or its fields are invalid; the message lists all faults.
        """
        return cls.build({**read_yaml(path), **overrides}, str(path))

    @classmethod
    def build(cls, fields: Mapping[str, Any], source: str = "settings") -> Self:
        """Make a configuration from values by name.

        Args:
            fields: values by field name.
            source: where the values come from, for messages.

        Returns:
            The configuration.

        Raises:
            ConfigError: a value is invalid; the message lists all faults.
        """
        try:
            return cls(**fields)
        except SettingsError as error:
            raise ConfigError(format_faults(error.faults, source)) from error

    @classmethod
    def build_sound(cls, fields: Mapping[str, Any]) -> tuple[Self, dict[str, str]]:
        """Make a configuration from the valid values, so that they can be checked further in spite of a fault.

        Args:
            fields: values by field name.

        Returns:
            The configuration, with defaults for all other fields, and the message of each fault by field name.
        """
        try:
            return cls(**fields), {}
        except SettingsError as error:
            faults = dict(zip(error.names, error.faults, strict=True))
        required = {name: "unknown" for name, info in cls.model_fields.items() if info.is_required()}
        sound = {name: value for name, value in fields.items() if name not in faults}
        return cls(**{**required, **sound}), faults

    def settings_key(self) -> dict[str, object]:
        """The settings that decide the result: all fields but those that only say where and how to run.

        Of the fields that came after the first results, those that have their default are left out, so that old runs keep their name.
        """
        decided = self.model_dump(mode="json", exclude=set(settings_where(kind="running")))
        later = {name for name in decided if SETTINGS[name].since > 1}
        return {
            name: value
            for name, value in decided.items()
            if name not in later or value != type(self).model_fields[name].default
        }


def _tag(name: str, info: FieldInfo) -> Setting:
    tags = [one for one in info.metadata if isinstance(one, Setting)]
    if len(tags) != 1:
        raise TypeError(f"TrainConfig.{name} has {len(tags)} tags; give it one, as in Annotated[int, Setting(...)]")
    return tags[0]


SETTINGS: dict[str, Setting] = {name: _tag(name, info) for name, info in TrainConfig.model_fields.items()}
"""The tag of each field, in the order of the fields; every list of settings is derived from it."""


def settings_where(**tags: object) -> list[str]:
    """Names of the settings with a tag.

    Args:
        tags: fields of :class:`Setting` and the values wanted, such as ``kind="data"``.

    Returns:
        Names of settings, in the order of the fields.
    """
    return [
        name for name, setting in SETTINGS.items() if all(getattr(setting, key) == value for key, value in tags.items())
    ]


def read_yaml(path: Path) -> dict[str, object]:
    """Settings of a configuration file, unchecked.

    Args:
        path: YAML, a mapping.

    Returns:
        Values by name.

    Raises:
        ConfigError: the file cannot be read, or is not a mapping.
    """
    try:
        content = yaml_file(path)
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path} cannot be read: {getattr(fault, 'strerror', None) or fault}") from fault
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping of settings, such as 'data: recordings'")
    return {str(key): value for key, value in content.items()}
