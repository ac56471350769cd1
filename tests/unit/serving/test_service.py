"""A running service and a real client: answers are those of ``astune predict``, and what cannot be answered is refused honestly."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from astune.inference.findings import Findings
from astune.inference.request import Request
from astune.inference.timeline import Timeline
from astune.printable import printable
from astune.serving.questions import Asked
from tests.serving_parts import SPECS, Alone, Client, running, write_adapter

TOLERANCE = 1e-5  # rows of other batches are rounded otherwise


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(folder / name, name) for name in SPECS}


@pytest.fixture(scope="module")
def alone(adapters: dict[str, Path]) -> Alone:
    return Alone(adapters)


@pytest.fixture(scope="module")
def client(adapters: dict[str, Path]) -> Iterator[Client]:
    with running(adapters=tuple(map(str, adapters.values()))) as client:
        yield client


def scores(result: dict[str, Any]) -> dict[str, float]:
    return {one["label"]: one["score"] for one in result["labels"]}


def test_every_timeline_names_the_adapter_that_heard_it(
    client: Client, recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters: dict[str, str] = {}
    answer = Asked.answer

    def seen(asked: Asked, timeline: Timeline) -> dict[str, Any]:
        adapters[asked.info.name] = timeline.adapter
        return answer(asked, timeline)

    monkeypatch.setattr(Asked, "answer", seen)
    client.classify(next(iter(recordings.values())), adapter=list(SPECS))
    assert adapters == {name: name for name in SPECS}


@pytest.mark.parametrize("name", SPECS)
def test_labels_are_those_of_predict(name: str, client: Client, alone: Alone, recordings: dict[str, Path]) -> None:
    for path in recordings.values():
        answer = client.classify(path, adapter=name, top_k=100, threshold=["0", f"{name}-0=0"])
        expected = alone.labels(name, path)
        assert scores(answer["results"][name]) == pytest.approx(expected, abs=TOLERANCE)
        (told,) = alone.predictors[name].predictions([path])
        assert (answer["file"], answer["seconds"], answer["sampling_rate"]) == (
            path.name,
            told.seconds,
            told.sampling_rate,
        )
        assert answer["results"][name]["window_count"] == told.windows
        assert answer["results"][name]["heard_seconds"] == told.heard_seconds


@pytest.mark.parametrize("name", SPECS)
def test_what_is_left_open_is_decided_as_by_predict(
    name: str, client: Client, alone: Alone, recordings: dict[str, Path]
) -> None:
    predictor, path = alone.predictors[name], recordings["long.wav"]
    (told,) = Request("recordings").predictions(predictor, [path])
    found = client.classify(path, adapter=name)["results"][name]
    assert found["labels"] == [{**one, "score": pytest.approx(one["score"], abs=TOLERANCE)} for one in told.labels]
    note = Request("recordings").threshold_note(predictor)
    assert found["notes"] == ([note] if note else [])


@pytest.mark.parametrize("name", SPECS)
def test_windows_and_events_are_those_of_predict(
    name: str, client: Client, alone: Alone, recordings: dict[str, Path]
) -> None:
    predictor, path = alone.predictors[name], recordings["long.wav"]

    def rows(request: Request) -> list[tuple[float, float, str, Any]]:
        found: Findings
        (found,) = request.findings(predictor, [path])
        return [(row.start, row.end, row.label, pytest.approx(row.score, abs=TOLERANCE)) for row in found.rows]

    asked: dict[str, Any] = {"window": 0.5, "hop": 0.3}
    own: dict[str, Any] = {"threshold": 0.35, "low": 0.3, "min_length": 0.4, "merge_gap": 0.2}
    answer = client.classify(path, adapter=name, events=True, **asked, **own)["results"][name]
    windows = [(w["start"], w["end"], one["label"], one["score"]) for w in answer["windows"] for one in w["labels"]]
    events = [(one["onset"], one["offset"], one["label"], one["score"]) for one in answer["events"]]
    assert windows == rows(Request("windows", **asked, threshold=own["threshold"]))
    assert events == rows(Request("events", **asked, **own))
    assert len(answer["windows"]) == answer["window_count"] == 31


def test_fifty_clients_on_five_adapters_each_get_what_their_adapter_alone_gives(
    client: Client, alone: Alone, recordings: dict[str, Path]
) -> None:
    names, files = list(SPECS), list(recordings.values())
    expected = {(name, path): alone.labels(name, path) for name in names for path in files}
    before = client.counters()

    def ask(number: int) -> None:
        with Client(base_url=client.base_url, timeout=120) as own:
            path = files[number % len(files)]
            mine = [names[(number + step) % len(names)] for step in range(1 + number % 3)]
            zero = ["0", *(f"{name}-0=0" for name in mine)]
            found = own.classify(path, adapter=mine, top_k=100, threshold=zero)
            assert list(found["results"]) == mine
            for name in mine:
                assert scores(found["results"][name]) == pytest.approx(expected[name, path], abs=TOLERANCE)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(ask, range(50)))
    after = client.counters()
    counted = "astune_requests_total,method=POST,route=/v1/classify,status=200"
    assert after[counted] - before.get(counted, 0) == 50
    batches, rows = (
        after[f"astune_batch_rows_{kind}"] - before[f"astune_batch_rows_{kind}"] for kind in ("count", "sum")
    )
    assert rows > 1.5 * batches, "requests hardly shared batches"
    assert after["astune_queue_rows"] == after["astune_places_held"] == 0


def test_several_files_are_answered_in_order_and_a_broken_one_fails_alone(
    client: Client, alone: Alone, recordings: dict[str, Path]
) -> None:
    paths = list(recordings.values())
    files = [("file", (path.name, path.read_bytes())) for path in paths]
    files.insert(2, ("file", ("text.wav", b"no audio")))
    answer = client.post(
        "/v1/classify/batch", files=files, data={"adapter": "birds", "top_k": 100, "threshold": ["0", "birds-0=0"]}
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    broken = results.pop(2)
    assert broken["file"] == "text.wav"
    assert broken["error"]["code"] == "unprocessable"
    assert broken["error"]["message"].startswith("text.wav: ")
    assert [one["file"] for one in results] == [path.name for path in paths]
    for one, path in zip(results, paths, strict=True):
        assert scores(one["results"]["birds"]) == pytest.approx(alone.labels("birds", path), abs=TOLERANCE)


def test_adapters_are_listed(client: Client, alone: Alone) -> None:
    found = client.get("/v1/adapters").json()
    assert found["broken"] == []
    assert [one["name"] for one in found["adapters"]] == sorted(SPECS)
    for one in found["adapters"]:
        predictor = alone.predictors[one["name"]]
        assert tuple(one["labels"]) == predictor.labels
        assert tuple(one["negatives"]) == predictor.negatives
        assert one["thresholds"] == predictor.thresholds
        assert one["seconds"] == predictor.front_end.seconds
        assert (one["task"], one["method"]) == (predictor.task.name, predictor.model.method.spec)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 422, "adapter is missing, and there are 5"),
        ({"adapter": "brids"}, 404, "did you mean 'birds'"),
        ({"adapter": ""}, 404, "unknown adapter"),
        ({"adapter": "birds", "top_k": "0"}, 422, "top_k"),
        ({"adapter": "birds", "top_k": ["1", "2"]}, 422, "top_k"),
        ({"adapter": "birds", "topk": "1"}, 422, "did you mean 'top_k'"),
        ({"adapter": "birds", "window": "60"}, 422, "longer than the adapter's input"),
        ({"adapter": "birds", "hop": "0.001"}, 422, "0.01"),
        ({"adapter": "birds", "window": "nan"}, 422, "window"),
        ({"adapter": "birds", "threshold": "2"}, 422, "from 0 to 1"),
        ({"adapter": "birds", "threshold": "nobody=0.5"}, 422, "unknown label"),
        ({"adapter": ["birds", "frogs"], "threshold": "rain-1=0.5"}, 422, "unknown label"),
        ({"adapter": "birds", "low": "0.2"}, 422, "add events=true"),
        ({"adapter": "birds", "events": "true", "threshold": "0.3", "low": "0.5"}, 422, "above its threshold"),
        ({"adapter": "birds", "pool": "median"}, 422, "mean"),
    ],
)
def test_questions_that_cannot_be_asked(
    fields: dict[str, Any], status: int, words: str, client: Client, recordings: dict[str, Path]
) -> None:
    answer = client.classify(recordings["short.wav"], status=status, **fields)
    assert words in answer["error"]["message"]


def test_a_threshold_of_a_label_counts_for_the_adapters_that_have_it(
    client: Client, recordings: dict[str, Path]
) -> None:
    found = client.classify(recordings["one.flac"], adapter=["birds", "frogs"], threshold="birds-1=0", top_k=10)[
        "results"
    ]
    assert [one["label"] for one in found["birds"]["labels"]] == ["birds-1"]
    assert found["frogs"]["labels"] == []


def test_requests_that_are_no_form(client: Client, recordings: dict[str, Path]) -> None:
    content = recordings["short.wav"].read_bytes()
    for answer, status, words in (
        (client.post("/v1/classify", content=content), 415, "multipart/form-data"),
        (client.post("/v1/classify", json={"adapter": "birds"}), 415, "multipart/form-data"),
        (client.post("/v1/classify", data={"adapter": "birds"}), 415, "multipart/form-data"),
        (client.post("/v1/classify", files={"sound": content}, data={"adapter": "birds"}), 422, "'sound'"),
        (client.post("/v1/classify", files={"adapter": (None, "birds")}), 422, "has no file"),
        (
            client.post("/v1/classify", files=[("file", content), ("file", content)]),
            400,
            "Send several to /v1/classify/batch.",
        ),
        (client.post("/v1/classify", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, "boundary"),
        (client.post("/v1/classify?adapter=birds", files={"file": content}), 422, "not in the address"),
        (client.get("/v1/classify"), 405, "use POST"),
        (client.post("/v1/nothing"), 404, "unknown address"),
        (client.get("/nothing"), 404, "/openapi.json"),
        (client.put("/v1/adapters/new", files={"file": content}), 403, "without a token"),
        (client.delete("/v1/adapters/birds"), 403, "without a token"),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"error"}
        assert set(answer.json()["error"]) == {"code", "message"}
        assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\x00" * 4096, b"<html>"], ids=["empty", "cut", "zeros", "page"])
def test_what_is_no_recording(content: bytes, client: Client) -> None:
    before = client.counters()["astune_decode_failures_total"]
    message = client.classify(content, status=422, adapter="birds")["error"]["message"]
    assert message.startswith("sound.wav: ")
    assert tempfile.gettempdir() not in message
    assert client.counters()["astune_decode_failures_total"] == before + 1


@pytest.mark.parametrize(
    "name",
    ["../../../x.wav", "/etc/passwd", "уж.flac", "a\nb\x1b[31m.wav", "x" * 1000 + ".wav", "-", "a=b.wav", ".wav"],
)
def test_a_client_s_name_for_a_file_is_a_name_alone(
    name: str, client: Client, recordings: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    answer = client.classify(recordings["short.wav"], name=name, adapter="birds")
    assert len(answer["file"]) <= 255
    assert answer["file"].isprintable()
    sent = name.replace("\n", "%0A")  # as httpx, like browsers, writes it in the form
    assert answer["file"] == printable(sent)[:255]
    assert list(tmp_path.iterdir()) == []


def test_answers_have_headers_that_keep_browsers_careful(client: Client) -> None:
    for path in ("/health", "/v1/adapters", "/nothing", "/openapi.json", "/metrics"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    assert client.get("/v1/adapters").headers["cache-control"] == "no-store"
    assert (
        client.options(
            "/v1/classify", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        ).status_code
        == 405
    )


def test_metrics_and_health(client: Client, recordings: dict[str, Path]) -> None:
    client.classify(recordings["short.wav"], adapter="birds")
    counters = client.counters()
    assert counters["astune_adapters"] == 5
    assert counters["astune_request_seconds_count,route=/v1/classify"] >= 1
    assert counters["astune_batch_rows_sum"] >= 1
    health = client.get("/health")
    assert (health.status_code, health.json()["status"], health.json()["adapters"]) == (200, "ready", 5)
    assert client.get("/health/live").status_code == 200


def test_the_interface_is_described_with_examples(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/health",
        "/health/live",
        "/metrics",
        "/v1/classify",
        "/v1/classify/batch",
        "/v1/adapters",
        "/v1/adapters/{name}",
    }
    form = paths["/v1/classify"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["example"]["file"] == "garden.wav"
    assert set(form["schema"]["properties"]) >= {"file", "adapter", "top_k", "window", "hop", "threshold", "events"}
    assert all("description" in one for one in form["schema"]["properties"].values())
