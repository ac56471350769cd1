"""What a client asks of a recording, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from astune.errors import ConfigError
from astune.inference.findings import of_events, of_windows, thresholds_of
from astune.inference.prediction import label_count, prediction_of
from astune.inference.request import Request
from astune.inference.timeline import Pool
from astune.inference.windows import Windows
from astune.validated import Validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.adapter_info import AdapterInfo
    from astune.inference.events import Thresholds
    from astune.inference.findings import Findings, Row
    from astune.inference.timeline import Timeline


class Question(Validated):
    """The fields of a form beside its files."""

    adapter: tuple[str, ...] = Field((), description="Name of an adapter; may be repeated. May be left out where there is one.")
    top_k: int | None = Field(
        None, ge=1, description="Labels at most, the likeliest first; by default 1, or all that reach the adapter's thresholds."
    )
    pool: Pool = Field("mean", description="How scores of windows become those of the recording.")
    window: float | None = Field(None, gt=0, description="Label every window of so many seconds; by default the adapter's input.")
    hop: float | None = Field(None, gt=0, description="Seconds from one window to the next; by default those of a window.")
    threshold: tuple[str, ...] = Field(
        (),
        description="Least score of a label, such as 0.5 or robin=0.8; may be repeated. By default the adapter's thresholds, or 0.5 for events.",
    )
    events: bool = Field(False, description="Find events: what sounds from when to when.")
    low: tuple[str, ...] = Field((), description="Score down to which an event goes on, such as 0.3 or robin=0.6; may be repeated.")
    min_length: float = Field(0.0, ge=0, description="Seconds that an event lasts at least.")
    merge_gap: float = Field(0.0, ge=0, description="Seconds between two events of a label that are made one.")

    @classmethod
    def _headline(cls) -> str:
        return "the form"

    def of(self, infos: Sequence[AdapterInfo]) -> list[Asked]:
        """What it means for each adapter.

        Args:
            infos: of the adapters.

        Raises:
            ConfigError: something that cannot be asked of them.
        """
        if not self.events:
            given = [name for name in ("low", "min_length", "merge_gap") if getattr(self, name)]
            if given:
                raise ConfigError(f"{given[0]} says what an event is; add events=true, or leave it out")
        levels = {
            name: _levels(getattr(self, name), infos, negatives=name == "threshold") for name in ("threshold", "low")
        }
        return [
            self._asked(info, threshold, low)
            for info, threshold, low in zip(infos, levels["threshold"], levels["low"], strict=True)
        ]

    def _asked(self, info: AdapterInfo, threshold: Thresholds | None, low: Thresholds | None) -> Asked:
        windows: Any = info
        fields: dict[str, Any] = {"window": self.window, "hop": self.hop, "top_k": self.top_k, "threshold": threshold}
        recordings = Request("recordings", pool=self.pool, **fields).settled(windows)
        by_window = Request("windows", **fields).settled(windows) if self.window or self.hop else None
        about = {"low": low, "min_length": self.min_length, "merge_gap": self.merge_gap}
        events = Request("events", **fields, **about).settled(windows) if self.events else None
        if events:
            events.finder.levels(info.labels, info.negatives)
        if recordings.threshold is not None:
            recordings.finder.levels(info.labels, info.negatives)
        return Asked(info, Windows.of(windows, self.window, self.hop), recordings, by_window, events)


def _levels(texts: Sequence[str], infos: Sequence[AdapterInfo], *, negatives: bool) -> list[Thresholds | None]:
    """Thresholds for each adapter; one of a label counts for the adapters that have the label.

    Raises:
        ConfigError: a text is no threshold, or no adapter has its label.
    """
    known = list(dict.fromkeys(label for info in infos for label in info.labels))
    thresholds_of(texts, known)
    found = []
    for info in infos:
        others = {f"{label}=" for label in known if label not in info.labels}
        mine = [text for text in texts if text[: text.rfind("=") + 1] not in others]
        if texts and not mine:
            found.append(dict[str, float]())  # only labels of other adapters are looked for
        else:
            found.append(thresholds_of(mine, info.labels, info.negatives if negatives else ()))
    return found


@dataclass(frozen=True)
class Asked:
    """What is asked of one adapter."""

    info: AdapterInfo
    windows: Windows
    recording: Request
    by_window: Request | None
    events: Request | None

    @property
    def note(self) -> str | None:
        """What a client should know of its windows."""
        return self.windows.gap_note

    def answer(self, timeline: Timeline) -> dict[str, Any]:
        """The answer, as JSON.

        Args:
            timeline: of the recording.

        Raises:
            AstuneError: it has no scores.
        """
        timeline.refuse()
        labels, negatives = timeline.labels, timeline.negatives
        one = self.recording
        least = None if one.threshold is None else one.finder.least(labels, negatives)
        prediction = prediction_of(timeline, label_count(one.top_k, len(labels)), one.pool, least)
        found: dict[str, Any] = {"labels": [_rounded(entry["label"], entry["score"]) for entry in prediction.labels]}
        found |= {
            "heard_seconds": timeline.heard_seconds, "window_count": len(timeline.starts), "window": self.windows.window,
            "hop": self.windows.hop, "pool": one.pool,
        }  # fmt: skip
        if self.note:
            found["note"] = self.note
        if self.by_window:
            rows = of_windows(timeline, self.by_window.top_k, self.by_window.threshold)
            found["windows"] = _by_window(timeline, rows)
        if self.events:
            found["events"] = [_event(row) for row in of_events(timeline, self.events.finder).rows]
        return found


def _rounded(label: str, score: float) -> dict[str, Any]:
    return {"label": label, "score": score}


def _by_window(timeline: Timeline, findings: Findings) -> list[dict[str, Any]]:
    found: dict[float, list[dict[str, Any]]] = {float(start): [] for start in timeline.starts}
    for row in findings.rows:
        found[row.start].append(_rounded(row.label, row.score))
    return [
        {"start": float(start), "end": float(end), "labels": found[float(start)]}
        for start, end in zip(timeline.starts, timeline.ends, strict=True)
    ]


def _event(row: Row) -> dict[str, Any]:
    return {"onset": row.start, "offset": row.end, **_rounded(row.label, row.score)}
