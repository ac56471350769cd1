"""The output folder of a run: whether it can take one, and what in it is ours to replace."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from astune import adapter_file
from astune.errors import NO_ROOM, ConfigError, OutputError, explain_write_errors
from astune.files import hidden_sibling, new_folder, sync_folder
from astune.json_text import json_value
from astune.training import checkpoint
from astune.training.data_record import CLIPS, foreign_record
from astune.training.result import METRICS, RESULTS
from astune.training.score_picture import PICTURES, foreign_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astune.training.config import TrainConfig

TRACKED = "astune"  # the project's name for trackers; TensorBoard's folder in the output folder
_SLACK = 1 << 20  # bytes beside the weights: configuration, card, metrics
_COPIES = 9  # of what is trained: the adapter, and twice weights, two moments and the best epoch, as one checkpoint replaces another
_AVERAGES = 2  # more, where an average is kept too


def refuse_unusable(config: TrainConfig, trained_bytes: int) -> None:
    """Refuse an output folder that could not take the run, before anything is computed.

    Args:
        config: of the run.
        trained_bytes: size of what is trained.

    Raises:
        ConfigError: it is a file or a dangling link, cannot be made or written, has no room, holds files of somebody else's under
            the names of ours, or holds a run and the configuration does not say what shall become of that.
    """
    folder = config.output_dir
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"the output folder {folder} is a file; give another one")
        if folder.is_symlink() and not folder.exists():
            raise ConfigError(f"the output folder {folder} is a link to {folder.readlink()}, which is not there")
        copies = _COPIES + (_AVERAGES if config.ema_decay else 0)
        _try_to_write(folder, copies * trained_bytes + _SLACK)
    except OSError as fault:
        raise ConfigError(
            f"the output folder {folder} cannot be written: {fault.strerror or fault}; give another one"
        ) from fault
    strange = foreign_files(folder)
    if strange:
        raise ConfigError(
            f"{folder} holds a {strange[0]} that is not ours to replace; move it away, or give another folder"
        )
    if config.overwrite_output_dir or (config.resume and (folder / RESULTS).exists()):
        return
    stopped = checkpoint.latest(folder)
    if stopped and config.resume:
        return
    if (folder / adapter_file.CONFIG).exists() or (folder / RESULTS).exists():
        raise ConfigError(f"{folder} holds an adapter already; give another folder, or set overwrite_output_dir=True")
    if stopped:
        raise ConfigError(
            f"{folder} holds a run that was stopped; continue with resume=True, or start again with overwrite_output_dir=True"
        )


def _try_to_write(folder: Path, size: int) -> None:
    """Make the folders that are missing in a trial folder beside them, so that a check leaves nothing behind.

    Raises:
        ConfigError: there is not enough room.
        OSError: nothing can be written.
    """
    existing = folder.absolute()
    while not existing.exists():  # raises where a name is too long
        existing = existing.parent
    missing = folder.absolute().relative_to(existing)
    # Always the same name for the same folder, so that the next run deletes what a killed one left; each process of a launcher has its own.
    name = missing.parts[0] if missing.parts else "astune"
    with new_folder(hidden_sibling(existing / name, f"trial{os.environ.get('RANK', '')}")) as trial:
        inner = trial / missing
        inner.mkdir(parents=True, exist_ok=True)
        (inner / "probe").write_bytes(b"astune")
    free = shutil.disk_usage(existing).free
    if free < size:
        raise ConfigError(
            f"the output folder {folder} has {free / 1e6:,.1f} MB of free disk; the run needs {size / 1e6:,.1f} MB for "
            "checkpoints and adapter; free some, or give another folder"
        )


def foreign_files(folder: Path) -> list[str]:
    """Files under the names of ours that something else wrote: a README of the user's, PEFT's ``adapter_config.json``.

    Args:
        folder: which need not exist.

    Returns:
        Their names.
    """
    records = [name for name, keys in _OURS.items() if _foreign(folder / name, keys)]
    pictures = [name for name in PICTURES if foreign_picture(folder / name)]
    return [
        *adapter_file.foreign_files(folder),
        *records,
        *pictures,
        *foreign_record(folder),
        *checkpoint.foreign(folder),
    ]


_OURS = {
    RESULTS: {"spec", "trainable_parameters"},
    METRICS: {"epoch", "train_loss"},
}  # keys of the first JSON object


def _foreign(path: Path, keys: set[str]) -> bool:
    if not path.exists():
        return False
    try:
        text = path.read_text(encoding="utf-8")
        record = json_value(text.partition("\n")[0] if path.suffix == ".jsonl" else text)
        return not keys <= set(record)
    except (OSError, ValueError, TypeError):
        return True


def clear(folder: Path) -> None:
    """Delete what an earlier run left.

    Args:
        folder: of the run; see :func:`refuse_unusable`.
    """
    checkpoint.remove_all(folder)
    # First what says that a run or an adapter is there: if this is cut short, nothing is left that seems to be one.
    for name in (RESULTS, adapter_file.CONFIG, adapter_file.WEIGHTS, adapter_file.CARD, METRICS, CLIPS, *PICTURES):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir():
        sync_folder(folder)
    for pattern in ("*tfevents*", "hparams.yml"):
        for tracked in (folder / TRACKED).rglob(pattern):
            tracked.unlink()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the system refuses within a block into a sentence.

    Args:
        folder: that is written.

    Raises:
        OutputError: the system refused.
        OSError: one that no system gave, or about a file elsewhere.
    """
    try:
        yield
    except (OSError, OutputError) as fault:
        # no system's refusal, or a callback's own file
        if isinstance(fault, OSError) and (fault.errno is None or _is_elsewhere(fault.filename, folder)):
            raise
        number = fault.number if isinstance(fault, OutputError) else fault.errno
        room = "free some disk" if number in NO_ROOM else "fix it"
        kept = checkpoint.latest(folder) is not None
        with explain_write_errors(folder, f"{room}, then {'continue with resume=True' if kept else 'start again'}"):
            raise


def _is_elsewhere(name: object, folder: Path) -> bool:
    if not isinstance(name, str | bytes):  # the system often names no file
        return False
    return not Path(os.path.abspath(os.fsdecode(name))).is_relative_to(Path(os.path.abspath(folder)))  # noqa: PTH100 - of links too
