"""What labels recordings, whatever computes: a predictor with torch, or an exported graph without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from astune.inference.events import Thresholds
    from astune.inference.inputs import Input
    from astune.inference.prediction import Prediction, Told
    from astune.inference.timeline import OnWindow, Timeline
    from astune.names import Pool


class Labels(Protocol):
    """What of an adapter decides how its scores become labels; the description of one has it too."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""

    @property
    def negatives(self) -> tuple[str, ...]:
        """Labels that mean none of the others."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The score from which on each label counts; empty where the labels compete."""


class Labeller(Labels, Protocol):
    """What a request, the command line and workers need of it; :class:`astune.Predictor` says what each does."""

    @property
    def seconds(self) -> float:
        """Seconds of audio that fill the input."""

    @property
    def batch_size(self) -> int:
        """Windows that it takes at a time."""

    @property
    def precision(self) -> str:
        """The precision of the matrix products."""

    @property
    def scores_key(self) -> Mapping[str, str]:
        """What decides its scores, except the precision; for the settings of a folder of tables."""

    def predict(
        self,
        inputs: Input | Iterable[Input],
        *,
        sampling_rate: float | None = None,
        top_k: int | None = None,
        errors: Literal["raise", "return"] = "raise",
        pool: Pool = "mean",
        threshold: Thresholds | None = None,
    ) -> Any:  # noqa: ANN401 - it follows the input, as in transformers' pipeline
        """Label recordings."""

    def predictions(
        self,
        inputs: Input | Iterable[Input],
        *,
        sampling_rate: float | None = None,
        top_k: int | None = None,
        pool: Pool = "mean",
        threshold: Thresholds | None = None,
        on_window: OnWindow | None = None,
    ) -> Iterator[Prediction]:
        """Label recordings one after the other."""

    def timelines(
        self,
        inputs: Input | Iterable[Input],
        *,
        window: float | None = None,
        hop: float | None = None,
        sampling_rate: float | None = None,
        on_window: OnWindow | None = None,
    ) -> Iterator[Timeline]:
        """Label recordings window by window, one after the other."""

    def notices(self, predictions: Sequence[Told]) -> list[str]:
        """Remarks for the user about recordings."""
