"""The JSON of answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, create_model
from pydantic.config import JsonDict

from astune.adapter_info import AdapterInfo
from astune.names import Pool, Runtime

_ROBIN: JsonDict = {"label": "robin", "score": 0.93}
_HEARD: JsonDict = {"heard_seconds": 12.5, "window_count": 2, "window": 10.255, "hop": 10.255, "pool": "mean"}


class LabelScore(BaseModel):
    """A label and its score."""

    label: str
    score: float = Field(ge=0, le=1)


class WindowLabels(BaseModel):
    """The labels of a window."""

    start: float = Field(description="Seconds from the beginning of the recording.")
    end: float
    labels: list[LabelScore]


class FoundEvent(LabelScore):
    """A label that sounds for a while."""

    onset: float = Field(description="Seconds from the beginning of the recording.")
    offset: float


class Result(BaseModel):
    """What one adapter says of a recording."""

    labels: list[LabelScore] = Field(description="Of the whole recording, the likeliest first.")
    windows: list[WindowLabels] | None = Field(None, description="Where window or hop was given.")
    events: list[FoundEvent] | None = Field(None, description="Where events were asked for.")
    heard_seconds: float = Field(description="Of the recording, that lie in some window.")
    window_count: int = Field(description="Windows that were heard.")
    window: float = Field(description="Seconds of each.")
    hop: float = Field(description="Seconds from the start of one to the start of the next.")
    pool: Pool = Field(description="How scores of windows became those of the recording.")
    notes: list[str] = Field(description="What to know of this answer, such as where thresholds come from.")


class Classified(BaseModel):
    """The answer about one recording."""

    file: str = Field(description="Its name as the client gave it; control characters are escaped.")
    seconds: float
    sampling_rate: int = Field(description="Hz, of the file.")
    doubts: list[str] = Field(description="What is suspicious of it, such as silence or a file that is cut short.")
    results: dict[str, Result] = Field(description="By the name of the adapter.")

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "file": "garden.wav", "seconds": 12.5, "sampling_rate": 44100, "doubts": [],
                    "results": {"birds": {"labels": [_ROBIN], **_HEARD, "notes": []}},
                }
            ]
        }
    }  # fmt: skip


class Fault(BaseModel):
    """A fault, as a code and a message."""

    code: str = Field(description="A word for programs: one for each status.")
    message: str = Field(description="A sentence for people.")


class ErrorAnswer(BaseModel):
    """Every answer whose status is 400 or more."""

    error: Fault


class Unclassified(ErrorAnswer):
    """A recording of several that has no labels."""

    file: str


class Batch(BaseModel):
    """Answers about several recordings, in their order."""

    results: list[Classified | Unclassified]


_RECORD: dict[str, Any] = {name: (field.annotation, field) for name, field in AdapterInfo.model_fields.items()}
AdapterRecord = create_model(
    "AdapterRecord",
    __doc__="An adapter that is served.",
    seconds=(float, Field(description="That fill the input.")),
    runtime=(Runtime, Field(description="What computes it: torch, or onnx for an exported graph.")),
    **_RECORD,
)


class BrokenAdapter(BaseModel):
    """An adapter that cannot be served, or not in its newest form."""

    name: str
    error: str


class AdapterList(BaseModel):
    """All adapters."""

    adapters: list[AdapterRecord]
    broken: list[BrokenAdapter]


class Health(BaseModel):
    """How the service is."""

    status: Literal["ready", "starting", "draining", "stuck", "failed"]
    version: str
    adapters: int
    broken: int
    queue: int = Field(description="Windows that wait for the model.")
    decoders_stuck: int = Field(description="Decoding threads that do not end.")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors of a route, for OpenAPI.

    Args:
        statuses: that it may have.
    """
    return {status: {"model": ErrorAnswer, "description": _MEANINGS[status]} for status in statuses}


_MEANINGS = {
    400: "The form cannot be read.",
    401: "The token is missing or wrong.",
    403: "The service was started without a token, or without a folder of adapters.",
    404: "There is no such adapter.",
    408: "The request arrived too slowly.",
    409: "The adapter is one of the command line.",
    413: "The request or the recording is too large.",
    415: "The request is not a form.",
    422: "The recording cannot be read, or a field cannot be used.",
    500: "The service failed.",
    503: "No adapter is loaded, or all decoding threads are stuck.",
    429: "The queue is full; Retry-After says when to try again.",
    507: "The folder of adapters cannot be written.",
}
