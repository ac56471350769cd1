"""The interface as OpenAPI describes it, against the running service: schemathesis makes requests, allowed and not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import BaseSchema, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serving_parts import Client, running, write_adapter, write_recordings

TOKEN = "a token of some length"  # noqa: S105 - of this test
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ROUTES = [
    ("GET", "/health"), ("GET", "/health/live"), ("GET", "/metrics"), ("GET", "/v1/adapters"), ("POST", "/v1/classify"),
    ("POST", "/v1/classify/batch"), ("PUT", "/v1/adapters/{name}"), ("DELETE", "/v1/adapters/{name}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("adapters")
    birds = write_adapter(folder / "birds", "birds")
    (folder / "watched").mkdir()
    with running(adapters=(str(birds),), adapters_dir=folder / "watched", token=TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def schema(client: Client) -> BaseSchema:
    return schemathesis.openapi.from_dict(client.get("/openapi.json").json())


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_requests_that_follow_the_description_and_requests_that_do_not(
    method: str, path: str, mode: GenerationMode, client: Client, schema: BaseSchema
) -> None:
    operation = schema[path][method]
    asked = 0

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        nonlocal asked
        asked += 1
        answer = case.call(base_url=str(client.base_url), headers={"Authorization": f"Bearer {TOKEN}"})
        case.validate_response(answer, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:
        assert mode == GenerationMode.NEGATIVE, "nothing can be wrong with a request without parameters"
        assert not asked
    assert client.get("/health").json()["status"] == "ready"


def test_every_route_is_asked(client: Client) -> None:
    described = client.get("/openapi.json").json()["paths"]
    assert {(method.upper(), path) for path, methods in described.items() for method in methods} == set(ROUTES)


def test_a_question_that_the_description_allows_is_answered(client: Client, tmp_path: Path, schema: BaseSchema) -> None:
    """As schemathesis does not have recordings, its checks of answers are run on answers that have all parts."""
    recordings = write_recordings(tmp_path)
    fields = {"adapter": "birds", "window": 0.5, "events": "true", "threshold": ["0.1", "birds-1=0.2"], "top_k": 2}
    for path, name in (("/v1/classify", "long.wav"), ("/v1/classify/batch", "stereo.wav")):
        files = {"file": recordings[name].read_bytes()}
        request = client.build_request("POST", path, files=files, data=fields)
        request.read()  # schemathesis looks at it
        answer = client.send(request)
        assert answer.status_code == 200
        schema[path]["POST"].validate_response(schemathesis.Response.from_any(answer))
