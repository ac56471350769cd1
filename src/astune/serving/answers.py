"""The JSON of answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, create_model
from pydantic.config import JsonDict

from astune.adapter_info import AdapterInfo
from astune.names import Pool, Runtime

_ROBIN: JsonDict = {"label": "robin", "score": 0.93}
_USED: JsonDict = {"heard_seconds": 12.5, "window_count": 2, "window": 10.255, "hop": 10.255, "pool": "mean"}


class LabelScore(BaseModel):
    """A label and its score."""

    label: str = Field(description="Name of the class.")
    score: float = Field(ge=0, le=1, description="Score of the label, from 0 to 1.")


class WindowLabels(BaseModel):
    """The labels of one window of the recording."""

    start: float = Field(description="Start of the window, in seconds from the beginning of the recording.")
    end: float = Field(description="End of the window, in seconds from the beginning of the recording.")
    labels: list[LabelScore] = Field(description="Labels of the window, the highest score first.")


class FoundEvent(LabelScore):
    """A label with the time span in which it was found."""

    onset: float = Field(description="Start of the event, in seconds from the beginning of the recording.")
    offset: float = Field(description="End of the event, in seconds from the beginning of the recording.")


class Result(BaseModel):
    """The result of one adapter for a recording."""

    labels: list[LabelScore] = Field(description="Labels of the whole recording, the highest score first.")
    windows: list[WindowLabels] | None = Field(
        None, description="Labels of each window, if the request gave window or hop."
    )
    events: list[FoundEvent] | None = Field(None, description="Events found, if the request asked for them.")
    heard_seconds: float = Field(description="Seconds of the recording that the windows cover.")
    window_count: int = Field(description="Number of windows classified.")
    window: float = Field(description="Length of each window in seconds.")
    hop: float = Field(description="Seconds from the start of one window to the start of the next.")
    pool: Pool = Field(description="How the scores of the windows were combined into the scores of the recording.")
    notes: list[str] = Field(description="Remarks about this result, such as where its thresholds come from.")


class Classified(BaseModel):
    """The answer about one recording."""

    file: str = Field(description="File name that the client gave, with control characters escaped.")
    seconds: float = Field(description="Length of the recording in seconds.")
    sampling_rate: int = Field(description="Sampling rate of the file in Hz.")
    doubts: list[str] = Field(description="Warnings about the recording, such as silence or a truncated file.")
    results: dict[str, Result] = Field(description="Result of each adapter, by the adapter's name.")

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "file": "garden.wav", "seconds": 12.5, "sampling_rate": 44100, "doubts": [],
                    "results": {"birds": {"labels": [_ROBIN], **_USED, "notes": []}},
                }
            ]
        }
    }  # fmt: skip


class Fault(BaseModel):
    """An error, as a code and a message."""

    code: str = Field(description="Code for programs; each status has its own.")
    message: str = Field(description="Message for people.")


class ErrorAnswer(BaseModel):
    """The answer to a request that failed, with a status of 400 or more."""

    error: Fault = Field(description="What went wrong.")


class Unclassified(ErrorAnswer):
    """The error of one recording in a batch."""

    file: str = Field(description="File name that the client gave, with control characters escaped.")


class Batch(BaseModel):
    """The answers about several recordings."""

    results: list[Classified | Unclassified] = Field(
        description="One answer per recording, in the order of the request."
    )


_RECORD: dict[str, Any] = {name: (field.annotation, field) for name, field in AdapterInfo.model_fields.items()}
AdapterRecord = create_model(
    "AdapterRecord",
    __doc__="An adapter that the service offers.",
    seconds=(float, Field(description="Length of the model's input in seconds.")),
    runtime=(Runtime, Field(description="What runs the adapter: torch, or onnx for an exported graph.")),
    **_RECORD,
)


class BrokenAdapter(BaseModel):
    """An adapter that could not be loaded; an older version of it may still be served."""

    name: str = Field(description="Name of the adapter.")
    error: str = Field(description="Why it could not be loaded.")


class AdapterList(BaseModel):
    """All adapters of the service."""

    adapters: list[AdapterRecord] = Field(description="Adapters that can be used.")
    broken: list[BrokenAdapter] = Field(description="Adapters that could not be loaded.")


class Health(BaseModel):
    """The state of the service."""

    status: Literal["ready", "starting", "draining", "stuck", "failed"] = Field(
        description="State of the service; ready means that it takes requests."
    )
    version: str = Field(description="Version of astune.")
    adapters: int = Field(description="Number of adapters that can be used.")
    broken: int = Field(description="Number of adapters that could not be loaded.")
    queue: int = Field(description="Number of windows that wait for the model.")
    decoders_stuck: int = Field(description="Number of decoding threads that hang.")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors of a route, for OpenAPI.

    Args:
        statuses: status codes that the route may return.
    """
    return {status: {"model": ErrorAnswer, "description": _MEANINGS[status]} for status in statuses}


_MEANINGS = {
    400: "The form cannot be read.",
    401: "The token is missing or wrong.",
    403: "The service was started without a token, or without a folder of adapters.",
    404: "No adapter has this name.",
    408: "The request arrived too slowly.",
    409: "The adapter was given on the command line, so requests cannot change it.",
    413: "The request or the recording is too large.",
    415: "The request is not a form.",
    422: "The recording cannot be read, or a field has an invalid value.",
    500: "The service failed.",
    503: "No adapter is loaded, or all decoding threads hang.",
    429: "The queue is full; Retry-After says when to try again.",
    507: "The service cannot write to the folder of adapters.",
}
