"""Large, slow and absent clients, and recordings that are larger than they look."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.serving_parts import FOREVER, Client, running, until


@contextmanager
def begun_upload(client: Client, length: int = 10_000) -> Iterator[socket.socket]:
    """A client that sends the beginning of a form, and no more."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        head = f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
        part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
        connection.sendall((head + part).encode())
        yield connection


def test_a_full_queue_refuses_new_requests_until_there_is_room(adapter: Path, recordings: dict[str, Path]) -> None:
    with running(adapters=(str(adapter),), max_queue=1) as client:
        with begun_upload(client):  # which has the only slot
            until(lambda: client.counters()["astune_places_held"] == 1)
            answer = client.post("/v1/classify", files={"file": recordings["short.wav"].read_bytes()})
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "queue_full"
            assert int(answer.headers["retry-after"]) >= 1
        until(lambda: client.counters()["astune_places_held"] == 0)
        client.classify(recordings["long.wav"], window=0.2, hop=0.1)  # hundreds of windows through one slot
        assert client.counters()["astune_rejected_total,reason=queue"] == 1


def test_a_client_that_leaves_in_the_middle_of_its_upload_leaves_nothing(
    adapter: Path, recordings: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with running(adapters=(str(adapter),)) as client:
        for _ in range(5):
            with begun_upload(client):
                pass
        until(lambda: client.counters().get("astune_requests_total,method=POST,route=/v1/classify,status=499") == 5)
        assert client.counters()["astune_places_held"] == 0
        client.classify(recordings["short.wav"])
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_leaves_before_its_answer_frees_its_rows(adapter: Path, recordings: dict[str, Path]) -> None:
    with running(adapters=(str(adapter),), max_batch=2) as client:
        content = recordings["long.wav"].read_bytes()
        fields = {"window": "0.05", "hop": "0.01"}
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
        ]
        parts.append('--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')
        body = "".join(parts).encode() + content + b"\r\n--b--\r\n"
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
            head = "POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: client.counters()["astune_batch_rows_count"] > 2)
        until(lambda: client.counters()["astune_clients_gone_total"] == 1)
        until(lambda: client.counters()["astune_places_held"] == 0)
        assert client.counters()["astune_queue_rows"] == 0
        assert client.counters()["astune_batch_rows_sum"] < 900, "all of its windows were computed"
        client.classify(recordings["short.wav"])


def test_uploads_are_bounded_whether_or_not_they_say_how_large_they_are(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with running(adapters=(str(adapter),), max_upload_mb=1.5) as client:
        stated = client.post("/v1/classify", files={"file": bytes(2 * 2**20)})
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'

        def chunks() -> Iterator[bytes]:
            yield head
            for _ in range(40):
                yield bytes(100_000)
            yield b"\r\n--b--\r\n"

        unstated = client.post(
            "/v1/classify", content=chunks(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        for answer in (stated, unstated):
            assert answer.status_code == 413
            assert "larger than 1.5 MiB" in answer.json()["error"]["message"]
        assert client.counters()["astune_rejected_total,reason=large"] == 2
        assert client.counters()["astune_places_held"] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_waits_to_be_asked_for_a_body_that_is_too_large_is_not_asked(adapter: Path) -> None:
    with (
        running(adapters=(str(adapter),), max_upload_mb=1) as client,
        socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection,
    ):
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 2000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        answer = b""
        while more := connection.recv(65536):  # the connection is closed: whether a body comes, nobody knows
            answer += more
        assert answer.startswith(b"HTTP/1.1 413 ")


def test_long_recordings_are_refused_even_where_their_files_are_small(
    adapter: Path, recordings: dict[str, Path], tmp_path: Path
) -> None:
    silence = tmp_path / "silence.flac"
    with soundfile.SoundFile(silence, "w", 8_000, 1, format="FLAC") as file:
        for _ in range(20):
            file.write(np.zeros(8_000 * 600, np.int16))
    assert silence.stat().st_size < 2**20
    with running(adapters=(str(adapter),), max_seconds=10) as client:
        # Nothing behind the first window is heard, and all of it would be decoded.
        message = client.classify(silence, status=413, hop=1e6)["error"]["message"]
        assert "longer than 10 s" in message
        client.classify(recordings["long.wav"])  # of 9.3 s


def test_windows_are_bounded(adapter: Path, recordings: dict[str, Path]) -> None:
    with running(adapters=(str(adapter),), max_windows=20) as client:
        client.classify(recordings["long.wav"], hop=0.5)
        assert (
            "more than 20 windows" in client.classify(recordings["long.wav"], status=413, hop=0.1)["error"]["message"]
        )


def test_a_slow_upload_ends(adapter: Path, recordings: dict[str, Path]) -> None:
    with running(adapters=(str(adapter),), upload_seconds=0.3) as client:
        with begun_upload(client) as connection:
            connection.settimeout(FOREVER)
            answer = b""
            while more := connection.recv(65536):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["error"]["code"] == "too_slow"
        client.classify(recordings["short.wav"])


def test_decoding_is_bounded_in_time(adapter: Path, recordings: dict[str, Path]) -> None:
    with running(adapters=(str(adapter),), decode_seconds=1e-6) as client:
        message = client.classify(recordings["long.wav"], status=422)["error"]["message"]
        assert "decoding takes longer" in message


def test_a_connection_without_a_request_is_closed(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astune.serving.connections._HEAD_SECONDS", 0.2)
    with running(adapters=(str(adapter),)) as client:
        for beginning in (b"", b"GET /health HTTP/1.1\r\nX: "):
            with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
                connection.settimeout(FOREVER)
                connection.sendall(beginning)
                assert connection.recv(1) == b""
        assert client.get("/health").status_code == 200
