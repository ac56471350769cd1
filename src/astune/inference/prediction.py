"""What is said of one recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from astune.errors import AudioError, NumericalError


class LabelScore(TypedDict):
    """One label of a recording, as transformers' pipeline gives it."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """What is said of one recording."""

    name: str
    """Its path as it was given, or its place among the inputs, such as ``inputs[2]``."""
    labels: tuple[LabelScore, ...] = ()
    """The likeliest first; none where there is an error."""
    seconds: float | None = None
    """Of the whole recording; None where it cannot be read."""
    heard_seconds: float | None = None
    """Of its beginning, which the labels are of."""
    doubts: tuple[str, ...] = ()
    """What is suspicious of it, as :attr:`astune.data.audio.Facts.doubts`."""
    error: AudioError | NumericalError | None = None
    """Why it has no labels."""

    def record(self) -> dict[str, Any]:
        """As JSON, under ``file`` what it is of."""
        record: dict[str, Any] = {"file": self.name}
        if self.seconds is not None and self.heard_seconds is not None:
            record |= {"seconds": round(self.seconds, 3), "heard_seconds": round(self.heard_seconds, 3)}
        if self.doubts:
            record["doubts"] = list(self.doubts)
        return record | ({"error": str(self.error)} if self.error else {"labels": list(self.labels)})
