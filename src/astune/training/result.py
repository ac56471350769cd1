"""The result of a run: ``results.json`` in its folder, and its one reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field
from typing_extensions import override

from astune.errors import DataError
from astune.files import read_text
from astune.json_record import RECORD, Count, Seconds, number_in, read_record
from astune.json_text import LONGEST
from astune.plurals import number_of
from astune.summary import Summarised, Summary, here, numbers_among, some
from astune.tasks import SINGLE_LABEL, TASKS

RESULTS, METRICS = "results.json", "metrics.jsonl"


@dataclass(frozen=True, repr=False)
class TrainResult(Summarised):
    """The result of a run: the content of ``results.json`` in its folder."""

    __pydantic_config__ = RECORD

    output_dir: str
    spec: str
    trainable_parameters: Count
    """As the paper counts them."""
    adapter_bytes: Count
    backbone_fingerprint: str
    """Of the weights adapted; see :func:`astune.backbone.backbone.fingerprint_of`."""
    labels: list[str]
    fold: int | None
    recipe: dict[str, Any]
    config: dict[str, Any]
    compute_dtype: str
    device: str
    best_epoch: Annotated[int, Field(ge=-1, le=2**53)]
    """From 0; the epoch whose weights are kept. -1 where they are those of the start: no epoch was better, or there was none."""
    scores: dict[str, dict[str, Any]]
    """By split: validation where there is one, test where there is one; :func:`astune.confusion.whole` reads the matrices."""
    history: list[dict[str, Any]]
    skipped_clips: Count
    train_seconds: Seconds
    """Of the head start and the epochs alone."""
    wall_seconds: Seconds
    """Of everything since the command began or was resumed."""
    peak_memory_mib: Annotated[float, Field(ge=0, le=1e12)]
    versions: dict[str, str]
    cached_layers: Count = 0
    """Of the backbone, from the first; they ran once, and training took their output from a cache."""
    frozen_seconds: Seconds = 0.0
    """What that took, or finding it in the cache."""
    data_digest: str | None = None
    """Of labels, clips, split and files; ``clips.csv`` beside it lists them. See :mod:`astune.training.data_record`."""
    notices: list[str] = field(default_factory=list)
    """Notes about the data and the scores that the user saw: passed over, cut, suspicious, left out."""
    class_weights: dict[str, float] = field(default_factory=dict)
    """By label, in the training loss; empty where all classes count alike."""
    task: str = SINGLE_LABEL.name
    """What was learned, a name that :func:`astune.tasks.task_named` knows; it decides which scores there are."""
    stopped_early: bool = False
    """Whether it ended before the last of ``recipe["num_train_epochs"]``: ``history`` has the epochs that were trained."""
    head_start: dict[str, Any] | None = None
    """How the head got its first weights, see :class:`astune.training.head_start.HeadStart`, and their figures on validation clips."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a result.

        Args:
            text: as ``results.json`` has it.

        Raises:
            ValueError: it is not JSON, or something is not as every run writes it.
        """
        result = read_record(cls, text)
        result.refuse_impossible()
        return result

    def refuse_impossible(self) -> None:
        """Refuse a result that no run can have given.

        Raises:
            ValueError: it cannot.
        """
        for number, entry in enumerate(self.history):
            number_in(entry, "train_loss", f"history.{number}")
        if self.stopped_early:
            number_in(self.recipe, "num_train_epochs", "recipe", low=0)

    @property
    def kept(self) -> str:
        """Which epoch's weights are kept, in words: ``3 of 12``, or ``start`` where they are those of the head start."""
        best = "start" if self.best_epoch < 0 else str(self.best_epoch + 1)
        return f"{best} of {len(self.history)}" if self.history else best

    beside_settings: dict[str, Any] = field(default_factory=dict)
    """What decided the result and is not in ``config``: a digest of the background noise, and the function that changed waveforms."""

    @property
    def epochs(self) -> str:
        """The epochs that were trained, in words: ``3 epochs``, or ``3 of 40 epochs, stopped early``."""
        if not self.stopped_early:
            return number_of(len(self.history), "epoch")
        return f"{len(self.history)} of {number_of(self.recipe['num_train_epochs'], 'epoch')}, stopped early"

    @override
    def _summary(self) -> Summary:
        figures = {split: numbers_among(scores) for split, scores in self.scores.items()}
        shown = list(dict.fromkeys(name for numbers in figures.values() for name in numbers))
        headline = TASKS[self.task].headline if self.task in TASKS else ""
        reached = [
            f"{split} {headline} {numbers[headline]}" for split, numbers in figures.items() if headline in numbers
        ]
        epochs = f"{self.epochs} (the best one: {self.kept.partition(' ')[0]})"
        size = f"{self.adapter_bytes / 1e6:.2f} MB"
        rows = (
            ("method", self.spec), ("trained parameters", f"{self.trainable_parameters:,}"), ("adapter", size),
            ("classes", some(self.labels, "class")), ("epochs", epochs), ("training time", f"{self.train_seconds:.1f} s"),
            ("device", f"{self.device}, {self.compute_dtype}"),
        )  # fmt: skip
        table = tuple((split, *(numbers.get(name, "") for name in shown)) for split, numbers in figures.items())
        return Summary(
            "TrainResult",
            here(self.output_dir),
            (self.spec, *reached, epochs, size),
            rows,
            ("split", *shown),
            table,
            tuple(self.notices),
        )


def read_result(folder: Path) -> TrainResult:
    """Read a finished run.

    Args:
        folder: its output folder.

    Returns:
        What :func:`train` returned.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        return TrainResult.from_json(read_text(folder / RESULTS, LONGEST))
    except (OSError, ValueError) as fault:
        raise DataError(
            f"{folder / RESULTS} cannot be read: {fault}. Train again, into another output folder"
        ) from fault
