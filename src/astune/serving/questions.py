"""What a client asks of a recording, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field
from typing_extensions import override

from astune.errors import ConfigError
from astune.inference.findings import of_events, of_windows, thresholds_of
from astune.inference.prediction import LabelChoice, prediction_of
from astune.inference.request import Request
from astune.inference.windows import Windows
from astune.names import Pool
from astune.validated import Validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.adapter_info import AdapterInfo
    from astune.inference.events import Thresholds
    from astune.inference.findings import Row
    from astune.inference.timeline import Timeline


class FormFields(Validated):
    """The fields of a form, apart from its files."""

    adapter: tuple[str, ...] = Field(
        (), description="Name of an adapter; may be repeated. Optional if the service has only one adapter."
    )
    top_k: int | None = Field(
        None,
        ge=1,
        description="Largest number of labels, the highest score first; by default 1, or all that reach the adapter's thresholds.",
    )
    pool: Pool = Field(
        "mean", description="How the scores of the windows are combined into the scores of the recording."
    )
    window: float | None = Field(
        None,
        gt=0,
        description="Length of each window in seconds, to label every window; by default the length of the adapter's input.",
    )
    hop: float | None = Field(
        None,
        gt=0,
        description="Seconds from the start of one window to the start of the next; by default the length of a window.",
    )
    threshold: tuple[str, ...] = Field(
        (),
        description="Lowest score of a label, such as 0.5 or robin=0.8; may be repeated. By default the adapter's own thresholds, or "
        "0.5 for events.",
    )
    events: bool = Field(False, description="Whether to find events, which are labels with their start and end.")
    low: tuple[str, ...] = Field(
        (), description="Lowest score with which an event continues, such as 0.3 or robin=0.6; may be repeated."
    )
    min_length: float = Field(0.0, ge=0, description="Shortest event in seconds; shorter ones are left out.")
    merge_gap: float = Field(
        0.0, ge=0, description="Longest gap in seconds between two events of a label that are merged."
    )

    @classmethod
    @override
    def _headline(cls) -> str:
        return "the form"

    def of(self, infos: Sequence[AdapterInfo]) -> list[Asked]:
        """What it means for each adapter.

        Args:
            infos: descriptions of the adapters.

        Returns:
            One for each.

        Raises:
            ConfigError: something that cannot be asked of them.
        """
        if not self.events:
            given = [name for name in ("low", "min_length", "merge_gap") if getattr(self, name)]
            if given:
                raise ConfigError(f"{given[0]} applies only to events; add events=true, or leave it out")
        levels = {
            name: _levels(getattr(self, name), infos, negatives=name == "threshold") for name in ("threshold", "low")
        }
        return [
            self._asked(info, threshold, low)
            for info, threshold, low in zip(infos, levels["threshold"], levels["low"], strict=True)
        ]

    def _asked(self, info: AdapterInfo, threshold: Thresholds | None, low: Thresholds | None) -> Asked:
        given: dict[str, Any] = {"window": self.window, "hop": self.hop, "top_k": self.top_k, "threshold": threshold}
        asked = [Request("recordings", pool=self.pool, **given)]
        by_window = self.window is not None or self.hop is not None
        if by_window:
            asked.append(Request("windows", **given))
        if self.events:
            about: dict[str, Any] = {"low": low, "min_length": self.min_length, "merge_gap": self.merge_gap}
            asked.append(Request("events", **given, **about))
        recording, *others = settled = [one.settled(info) for one in asked]
        for one in settled:
            one.finder.levels(info.labels, info.negatives)
        return Asked(
            info, Windows.of(info, self.window, self.hop), tuple(asked), recording, others[0] if by_window else None,
            others[-1] if self.events else None,
        )  # fmt: skip


def _levels(texts: Sequence[str], infos: Sequence[AdapterInfo], *, negatives: bool) -> list[Thresholds | None]:
    """Thresholds for each adapter; one of a label counts for the adapters that have the label.

    Raises:
        ConfigError: a text is not a threshold, or no adapter has its label.
    """
    known = list(dict.fromkeys(label for info in infos for label in info.labels))
    thresholds_of(texts, known)
    found: list[Thresholds | None] = []
    for info in infos:
        others = {f"{label}=" for label in known if label not in info.labels}
        mine = [text for text in texts if text[: text.rfind("=") + 1] not in others]
        if texts and not mine:
            found.append({})  # only labels of other adapters are looked for
        else:
            found.append(thresholds_of(mine, info.labels, info.negatives if negatives else ()))
    return found


@dataclass(frozen=True)
class Asked:
    """What is asked of one adapter."""

    info: AdapterInfo
    windows: Windows
    given: tuple[Request, ...]
    """Requests as the client wrote them; the others have all values filled in."""
    recording: Request
    by_window: Request | None
    events: Request | None

    @property
    def notes(self) -> list[str]:
        """What a client should know of the answer: of windows, and of thresholds that are not its own."""
        requests = [one for one in (self.recording, self.by_window, self.events) if one]
        told = [*(one.note(self.info) for one in requests), *(one.threshold_note(self.info) for one in self.given)]
        return list(dict.fromkeys(note for note in told if note))

    def answer(self, timeline: Timeline) -> dict[str, Any]:
        """The answer, as JSON.

        Args:
            timeline: the timeline of the recording.

        Returns:
            What :class:`astune.serving.answers.Result` describes.
        """
        one = self.recording
        choice = LabelChoice.of(timeline.labels, timeline.negatives, one.top_k, one.threshold)
        prediction = prediction_of(timeline, choice, one.pool)
        found: dict[str, Any] = {"labels": list(prediction.labels)}
        if self.by_window:
            rows = of_windows(timeline, self.by_window.top_k, self.by_window.threshold).rows
            found["windows"] = _by_window(timeline, rows)
        if self.events:
            found["events"] = [
                {"onset": row.start, "offset": row.end, "label": row.label, "score": row.score}
                for row in of_events(timeline, self.events.finder).rows
            ]
        used = {
            "heard_seconds": timeline.heard_seconds, "window_count": len(timeline.starts), "window": timeline.window,
            "hop": timeline.hop, "pool": one.pool,
        }  # fmt: skip
        return found | used | {"notes": self.notes}


def _by_window(timeline: Timeline, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every window, also one without a label."""
    labels: dict[float, list[dict[str, Any]]] = {float(start): [] for start in timeline.starts}
    for row in rows:
        labels[row.start].append({"label": row.label, "score": row.score})
    ends = dict(zip(map(float, timeline.starts), map(float, timeline.ends), strict=True))
    return [{"start": start, "end": ends[start], "labels": found} for start, found in labels.items()]
