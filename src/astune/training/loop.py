"""Train one adapter: set up, compute what is frozen, train, score the test clips, write the folder.

Each epoch visits the training clips in an order keyed by (seed, epoch), scores the validation clips, and leaves a checkpoint (every two
seconds where epochs from a cache of frozen layers are shorter). The adapter keeps the best validation epoch's weights, or the last; the
test clips are scored once, after that choice. One process or many, CPU or GPU, on Accelerate.
"""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator

from astune import adapter_file
from astune.console import LOG_SECONDS, announcer, is_log, is_terminal
from astune.console import progress as progress_bar
from astune.environment import device_name, peak_memory_mib, versions
from astune.errors import ConfigError, OutputError, interruptible
from astune.files import write_text
from astune.folder_lock import lock_folder
from astune.json_text import json_text
from astune.plurals import number_of
from astune.tasks import MULTI_LABEL
from astune.training import checkpoint
from astune.training.augmentation_settings import augmentation_facts, refuse_unusable_waveform
from astune.training.augmentations import augmentations_of
from astune.training.callbacks import Checkpoints, ConsoleBar, EpochLines, Tracker, refuse_other_callbacks
from astune.training.config import SETTINGS, TrainConfig, settings_where
from astune.training.engine import Engine
from astune.training.final_scores import final_scores
from astune.training.fit import fit
from astune.training.head_start import start_head
from astune.training.output_folder import writing
from astune.training.processes import computing_on, many_on_cpu
from astune.training.progress import Progress
from astune.training.result import RESULTS, TrainResult
from astune.training.resume import finished_result
from astune.training.score_picture import write_score_picture
from astune.training.setup import set_up
from astune.training.stage import stage_of
from astune.training.without_epochs import without_settings_of_epochs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.features.waveform_augmentation import WaveformFunction
    from astune.training.callbacks import Callback
    from astune.training.head_start import HeadStart
    from astune.training.setup import Setup


_LATER = {
    name
    for name in settings_where(kind="result")
    if SETTINGS[name].since > 1 and SETTINGS[name].panel != "Augmentation"
}
"""Settings that an adapter names where they are not as by default; it says more of augmentations."""


def train(
    config: TrainConfig,
    *,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
    checkpoint_seconds: float = 2.0,
    waveform_augmentation: WaveformFunction | None = None,
    picture: bool = True,
) -> TrainResult:
    """Train one adapter and write its folder.

    Args:
        config: what to train on what.
        quiet: no progress bars and no announcements.
        callbacks: called while it trains, see :class:`astune.training.callbacks.Callback`; before a checkpoint is saved, so that what
            they change is in it.
        checkpoint_seconds: at least, between checkpoints of epochs that train from a cache of frozen layers.
        waveform_augmentation: changes training clips before their features are made: a function of samples, (samples,) float32 in -1 to 1,
            and their rate, 16000 Hz, that gives such samples, of any length; or an object called alike, such as audiomentations'
            ``Compose``. Its random numbers are those of the global generators of Python, NumPy and torch, which are seeded for each clip.
        picture: write a picture of the scores beside the adapter, if matplotlib is installed.

    Returns:
        Scores and figures of the run; read from the folder where it was finished before and ``resume`` is set.

    Raises:
        ConfigError: ``config`` or a callback is of another type, or ``waveform_augmentation`` cannot be called so.
        AstuneError: whatever of the configuration, the data, the audio or the backbone cannot be used; training diverged; or the
            folder cannot be written.
        Interrupted: a KeyboardInterrupt that says what was kept.
    """
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"config is of type {type(config).__name__}; give TrainConfig(data=..., output_dir=...)")
    refuse_other_callbacks(callbacks)
    refuse_unusable_waveform(config, waveform_augmentation)
    began = time.perf_counter()
    log_with = None if config.report_to == "none" else config.report_to
    accelerator = Accelerator(cpu=many_on_cpu(), mixed_precision="no", log_with=log_with, project_dir=config.output_dir)
    quiet = quiet or not accelerator.is_main_process
    lock = lock_folder(config.output_dir) if accelerator.is_main_process else nullcontext()
    with computing_on(accelerator, config.device), interruptible(lambda: _how_to_go_on(config)), lock:
        if config.resume and not config.overwrite_output_dir and (config.output_dir / RESULTS).is_file():
            result = finished_result(config, announcer(quiet=quiet), waveform_augmentation)
            if accelerator.is_main_process:
                with suppress(OSError, OutputError):  # a finished run may be where nobody may write
                    checkpoint.remove_all(config.output_dir)  # of a run that was killed right after its results
            return result
        setup = set_up(config, accelerator, waveform_augmentation, quiet=quiet)
        with setup.arithmetic.products(), writing(config.output_dir):
            return _run(setup, callbacks, checkpoint_seconds, began, picture=picture)


def _how_to_go_on(config: TrainConfig) -> str:
    stopped = checkpoint.latest(config.output_dir)
    if stopped is None and (config.output_dir / RESULTS).is_file():
        return f"{config.output_dir} holds a finished run"
    if stopped is None:
        return "nothing was kept, because there was no checkpoint yet: the same command starts again"
    how = "the same command" if config.resume else "the same command with resume=True"
    if config.overwrite_output_dir:
        how = "the same command with resume=True instead of overwrite_output_dir=True"
    return f"{stopped} is kept: {how} continues from there"


def _run(
    setup: Setup, callbacks: Sequence[Callback], checkpoint_seconds: float, began: float, *, picture: bool
) -> TrainResult:
    config, recipe = setup.config, setup.recipe
    grid = setup.model.backbone.patch_grid
    augmentations = augmentations_of(config, recipe, grid, setup.materials) if recipe.num_train_epochs else ()
    stage = stage_of(setup, augmentations)
    stopped = checkpoint.latest(config.output_dir) if config.resume else None
    # Before the engine, which may keep an average of the weights. Those of a checkpoint take the place of a start.
    start = None if stopped else start_head(setup, stage)
    engine = Engine(setup, stage, augmentations)
    progress = _resumed(engine, stopped) if stopped else _begun(setup, start)
    if engine.accelerator.is_main_process:
        config.output_dir.mkdir(parents=True, exist_ok=True)
        setup.record.write(config.output_dir)
    tracker = [] if config.report_to == "none" else [Tracker()]
    log = is_log()
    lines = [] if is_terminal() else [EpochLines(within=LOG_SECONDS if log else None)]
    with progress_bar("Training", engine.total_steps, quiet=setup.quiet or log) as advance:
        every = [ConsoleBar(advance), *lines, *tracker, *callbacks, Checkpoints(checkpoint_seconds, callbacks)]
        fit(engine, progress, every)
    epochs = number_of(recipe.num_train_epochs, "epoch")
    early = progress.epoch < recipe.num_train_epochs
    trained = f"{progress.epoch} of {epochs}, stopped early," if early else epochs
    if recipe.num_train_epochs:
        setup.announce(f"Trained {trained} in {progress.seconds:.0f} s")
    result = _finish(engine, progress, began, picture=picture)
    for callback in every:
        callback.on_train_end(engine, result)
    engine.accelerator.wait_for_everyone()
    return result


def _begun(setup: Setup, start: HeadStart | None) -> Progress:
    """A new run."""
    if start is None:
        return Progress()
    setup.announce(
        f"Head start: logistic regression on the pooled features, strength {start.strength:g} chosen on {start.chosen_on}, "
        f"{start.seconds:.1f} s"
    )
    return Progress(seconds=start.seconds, head_start=start.record())


def _resumed(engine: Engine, stopped: Path) -> Progress:
    """Where the run was stopped, with weights, optimiser and generators as they were."""
    setup = engine.setup
    process = engine.accelerator
    progress = checkpoint.load(stopped, setup.settings, engine, process.process_index, process.device)
    setup.announce(f"Resumed from {stopped}: epoch {progress.epoch + 1}, step {progress.step}")
    return progress


def _finish(engine: Engine, progress: Progress, began: float, *, picture: bool) -> TrainResult:
    """Score the test clips with the weights that are kept, and write adapter and results."""
    setup, model = engine.setup, engine.model
    if progress.best is not None:
        model.load_adapter_state(progress.best)
    elif engine.average:
        model.load_adapter_state({**model.adapter_state(), **engine.average.tensors()})
    final = final_scores(engine)
    for notice in final.notices:
        setup.announce(notice)
    folder, device = setup.config.output_dir, engine.accelerator.device
    notices = list(setup.notices)
    if engine.accelerator.is_main_process:
        model.save_pretrained(
            folder,
            compute_dtype=setup.arithmetic.compute_dtype,
            training=_how_trained(setup, progress),
            metrics=final.scores,
        )
        if picture:
            notices += _draw(setup, final.scores)
    result = TrainResult(
        output_dir=str(folder),
        spec=model.method.spec,
        trainable_parameters=model.parameter_count(),
        adapter_bytes=adapter_file.file_bytes(model.adapter_state()),
        backbone_fingerprint=model.origin.fingerprint,
        labels=list(setup.dataset.labels),
        fold=setup.split.fold,
        recipe=setup.recipe.record(),
        config=setup.config.model_dump(mode="json"),
        compute_dtype=setup.arithmetic.compute_dtype,
        device=device_name(device),
        best_epoch=progress.best_epoch if progress.best_epoch is not None else progress.epoch - 1,
        scores=final.scores,
        history=progress.history,
        skipped_clips=len(setup.features.broken),
        train_seconds=round(progress.seconds, 3),
        wall_seconds=round(time.perf_counter() - began, 3),
        peak_memory_mib=round(peak_memory_mib(device), 1),
        versions=versions(),
        cached_layers=engine.stage.cached_layers,
        frozen_seconds=round(engine.stage.seconds, 3),
        data_digest=setup.record.digest,
        notices=[*notices, *filter(None, [engine.stage.notice]), *final.notices],
        class_weights=setup.weighing.weights,
        task=engine.task.name,
        stopped_early=progress.epoch < setup.recipe.num_train_epochs,
        beside_settings=setup.materials.beside_settings,
        head_start=progress.started,
    )
    if engine.accelerator.is_main_process:
        write_text(folder / RESULTS, json_text(asdict(result), indent=1) + "\n")
        checkpoint.remove_all(folder)
    return result


def _draw(setup: Setup, scores: dict[str, dict[str, Any]]) -> list[str]:
    """Write the picture of the scores; what to say where there can be none."""
    source = Path(setup.dataset.source.partition(":")[2])
    about = f"{setup.model.method.spec} on {source.parent.name if source.stem == 'metadata' else source.name}"
    folder, labels, task = setup.config.output_dir, setup.dataset.labels, setup.dataset.task.name
    notice = write_score_picture(folder, scores, labels, task, about, quiet=setup.quiet)
    if notice:
        setup.announce(notice)
    return [notice] if notice else []


def _how_trained(setup: Setup, progress: Progress) -> dict[str, Any]:
    """What the adapter says of its training."""
    config = setup.config
    task = setup.dataset.task
    named = {
        **({"task": task.name} if task is MULTI_LABEL else {}),  # as the data were read, so that others are read so too
        "data": config.data, "fold": setup.split.fold, "seed": config.seed, "shots": config.shots,
        "limit_clips": config.limit_clips, "window": setup.dataset.window, **config.given_data_options,
        **augmentation_facts(config, setup.materials.beside_settings),
        **{name: value for name, value in config.settings_key().items() if name in _LATER},
        "class_weights": setup.weighing.weights or None,
    }  # fmt: skip
    told = {key: value for key, value in named.items() if value is not None}
    stopped = {"epochs_trained": progress.epoch} if progress.epoch < setup.recipe.num_train_epochs else {}
    start = {} if progress.head_start is None else {"head_start_strength": progress.head_start["strength"]}
    everything = {**told, **setup.recipe.record(), **stopped, **start, "data_digest": setup.record.digest}
    return everything if setup.recipe.num_train_epochs else without_settings_of_epochs(everything)
