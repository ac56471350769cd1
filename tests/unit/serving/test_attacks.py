"""Clients that speak no HTTP, are slow, read nothing or forge lines of the log; ordinary ones are answered meanwhile."""

from __future__ import annotations

import asyncio
import errno
import re
import select
import socket
import struct
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from astune.errors import AdapterError, ConfigError
from astune.serving import ServeSettings, loading, log, uploads
from astune.serving.problems import Problem
from astune.serving.service import Service
from tests.faults.sockets import PATIENCE, Answer, answers, exchange, form, request
from tests.serving_parts import Client, running, until

TOKEN = "a token of some length"  # noqa: S105 - of this test


def address(client: Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port or 0


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines of the log, but for the one of the end."""
    return [line for line in capsys.readouterr().err.splitlines() if "Z stopping: " not in line]


def connected(client: Client, sent: bytes = b"") -> socket.socket:
    """A client that sends something, and no more."""
    connection = socket.create_connection(address(client), timeout=PATIENCE)
    connection.sendall(sent)
    return connection


def answer_on(connection: socket.socket) -> Answer:
    (answer,) = answers(connection)
    return answer


BEGUN = request("POST", "/v1/classify", b"", length=10_000)
EXPECTING = request("POST", "/v1/classify", b"", [("Expect", "100-continue")], length=10_000)
CHUNKED = request("POST", "/v1/classify", b"", [("Transfer-Encoding", "chunked")]).replace(
    b"Content-Length: 0\r\n", b""
)


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (b"\xff\xfe secret \r\n\r\n", 400, "the request is not HTTP: illegal request line"),
        (request("GET", "/", headers=[("X", "y" * 300_000)]), 431, "larger than 16 KiB"),
        (request("POST", "/", headers=[("Transfer-Encoding", "gzip")]), 501, "transfer encoding"),
        (CHUNKED + b"5\r\n--b0u\r\nno number\r\n", 400, "illegal chunk header"),
    ],
)
def test_what_is_not_http_is_refused_as_all_else_is(
    sent: bytes, status: int, message: str, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(adapters=(str(adapter),)) as client:
        (answer,) = exchange(address(client), [sent])
        assert answer.status == status
        assert message in answer.message
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/health").status_code == 200
        until(lambda: not client.counters()["astune_places_held"])
    refused, *gone = logged(capsys)
    assert re.fullmatch(rf"\S+Z {status} - - 0 ms 127\.0\.0\.1 \w+: .*{message}.*", refused)
    assert all(" 499 POST /v1/classify " in line for line in gone)  # and no trace


def test_a_head_whose_body_is_malformed_is_refused_without_one(
    adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = CHUNKED.replace(b"POST /v1/classify", b"HEAD /") + b"no number\r\n"
    with running(adapters=(str(adapter),)) as client:
        (answer,) = exchange(address(client), [sent], head=True)
    assert (answer.status, answer.body) == (400, b"")
    assert logged(capsys)[0].partition("Z ")[2].startswith("400 ")


def test_a_client_that_is_gone_before_its_refusal_leaves_no_trace(
    adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(adapters=(str(adapter),)) as client:
        for _ in range(30):
            connection = connected(client, request("GET", "/v1/adapters") + b"no request\r\n\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()  # at once
        assert client.get("/health").status_code == 200
    assert [line for line in logged(capsys) if "  | " in line or "failed" in line] == []


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=0-1", "bytes=" + "0-1," * 500])
def test_the_page_is_sent_whole(asked: str, adapter: Path) -> None:
    with running(adapters=(str(adapter),)) as client:
        (answer,) = exchange(
            address(client), [request("GET", "/", headers=[("Range", asked), ("Connection", "close")])]
        )
        assert (answer.status, answer.body) == (200, client.get("/").content)


def test_a_form_that_is_cut_off_is_refused_and_leaves_no_file_open(
    adapter: Path, recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    made = uploads._Parser.on_headers_finished

    def on_headers_finished(parser: uploads._Parser) -> None:
        made(parser)
        opened.extend(parser._files_to_close_on_error)

    monkeypatch.setattr(uploads._Parser, "on_headers_finished", on_headers_finished)
    body = form([("file", "a.wav", recordings["long.wav"].read_bytes())])[:-40]
    with running(adapters=(str(adapter),)) as client:
        (answer,) = exchange(address(client), [request("POST", "/v1/classify", body)])
    assert (answer.status, answer.message) == (400, "the form cannot be read: it is incomplete, or has no parts")
    assert [file.closed for file in opened] == [True]


@pytest.mark.parametrize("head", [b"X: " + b"y" * 2_000_000, b"X: y\r\n" * 200_000, b"X" * 2_000_000])
def test_parts_with_endless_heads_are_refused(head: bytes, adapter: Path, recordings: dict[str, Path]) -> None:
    body = form([("file", "a.wav", b"")]).replace(b"\r\n\r\n", b"\r\n" + head + b"\r\n\r\n", 1)
    with running(adapters=(str(adapter),)) as client:
        (answer,) = exchange(address(client), [request("POST", "/v1/classify", body)])
        assert answer.status == 400
        assert answer.message.startswith("the form cannot be read: ")
        client.classify(recordings["short.wav"])


def test_the_head_of_a_part_is_bounded_whatever_parses_it() -> None:
    parser = uploads._Parser(Headers(), None)  # type: ignore[arg-type] # its callbacks are called here
    for _ in range(3):
        parser.on_part_begin()
        for _ in range(80):
            parser.on_header_value(b"x" * 200, 0, 200)
    with pytest.raises(MultiPartException, match="larger than 16,384 bytes"):
        parser.on_header_field(b"x" * 1_000, 0, 1_000)


def test_ordinary_clients_are_answered_while_hundreds_are_connected_and_a_hundred_ask(
    adapter: Path, recordings: dict[str, Path]
) -> None:
    with running(adapters=(str(adapter),)) as client:
        client.classify(recordings["short.wav"])
        before = len(list(Path("/proc/self/fd").iterdir()))
        with ExitStack() as stack:
            many = [stack.enter_context(closing(connected(client))) for _ in range(500)]
            for one in many[::5]:
                one.sendall(request("GET", "/health"))
            client.classify(recordings["long.wav"])
            assert [answer_on(one).status for one in many[::5]] == [200] * 100
        until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)


def test_requests_for_another_protocol_are_answered_in_this_one(
    adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(adapters=(str(adapter),)) as client:
        asked = {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert client.get("/health", headers=asked).status_code == 200
    assert logged(capsys) == []


def test_what_nobody_foresaw_is_in_the_log_and_not_in_the_answer(
    adapter: Path, recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object) -> None:
        raise KeyError("secret\n2026-01-01T00:00:00.000Z 200 GET / 1 ms\x1b[31m")

    monkeypatch.setattr(Service, "classify", fail)
    with running(adapters=(str(adapter),)) as client:
        answer = client.post("/v1/classify", files={"file": recordings["short.wav"].read_bytes()})
        assert answer.json() == {
            "error": {"code": "internal_error", "message": "the service failed; its log shows why"}
        }
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.counters()["astune_requests_total,method=POST,route=/v1/classify,status=500"] == 1
    first, *trace, last = logged(capsys)
    assert first.endswith(" a request failed: KeyError")
    assert " 500 POST /v1/classify " in last
    assert all(line.startswith("  | ") for line in trace)
    assert "secret" in trace[-1]
    assert "\x1b" not in trace[-1]


def test_each_refusal_is_one_line_whatever_clients_call_things(
    adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = "x\n2026-01-01T00:00:00.000Z 200 GET /secrets 1 ms\x1b[2J"
    with running(adapters=(str(adapter),)) as client:
        client.classify(b"no sound", status=422, name=forged)
        client.classify(b"no sound", status=404, adapter=forged)
        assert client.get("/v1/%0a2026-01-01T00:00:00.000Z%20200?token=secret").status_code == 404
    lines = logged(capsys)
    assert len(lines) == 3
    assert [line.split()[1:4] for line in lines] == [
        ["422", "POST", "/v1/classify"], ["404", "POST", "/v1/classify"], ["404", "GET", "/v1/%0A2026-01-01T00:00:00.000Z%20200"],
    ]  # fmt: skip
    assert not re.search(r"[\x00-\x1f]|token", "".join(lines))


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    log.log("a line")


def test_who_sends_the_token_and_nothing_beside_it_may_change_adapters(adapter: Path, tmp_path: Path) -> None:
    token = "schl\u00fcssel aus w\u00f6rtern"  # noqa: S105 - of this test
    with running(adapters=(str(adapter),), adapters_dir=tmp_path, token=SecretStr(token)) as client:

        def status(*given: bytes, name: str = "songs") -> int:
            headers = [(b"Authorization", one) for one in given]
            return client.delete(f"/v1/adapters/{name}", headers=headers).status_code

        right = b"Bearer " + token.encode()
        assert status(right) == 404  # it may, and there is none
        for wrong in ((), (right, right), (b"Bearer x", right), (right[:-1],), (right + b"x",), (token.encode(),)):
            # Whether there is an adapter of the name, or may be one, is not told.
            assert {status(*wrong, name=name) for name in ("songs", "birds", ".hidden")} == {401}


@pytest.mark.parametrize("token", [" begins with a space", "ends with a line\n", "has a \x00 inside"])
def test_tokens_that_cannot_be_sent_are_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="clients cannot send it"):
        ServeSettings(token=SecretStr(token))


def test_what_is_wrong_with_a_setting_is_said_without_the_name_of_a_class() -> None:
    with pytest.raises(ConfigError, match=r"^the service: port=99999999: "):
        ServeSettings(port=99_999_999)


def test_slow_uploads_make_room_for_others(
    adapter: Path, recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_SLOW_AFTER", 0.0)
    with running(adapters=(str(adapter),), max_queue=3) as client, ExitStack() as stack:
        slow = [stack.enter_context(closing(connected(client, BEGUN))) for _ in range(3)]
        until(lambda: client.counters()["astune_places_held"] == 3)
        client.classify(recordings["short.wav"])
        assert client.counters()["astune_places_held"] == 2
        (refused,), _, _ = select.select(slow, [], [], PATIENCE)
        assert answer_on(refused).status == 408


def test_uploads_have_a_least_rate(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PATIENCE", 0.2)
    with running(adapters=(str(adapter),)) as client, closing(connected(client, BEGUN)) as slow:
        answer = answer_on(slow)
    assert answer.status == 408
    assert "send at least 1,024 bytes a second" in answer.message


def test_an_answer_that_nobody_reads_is_given_up(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astune.serving.connections.PATIENCE", 0.5)
    monkeypatch.setattr("astune.serving.server._TICKS", 1)
    with running(adapters=(str(adapter),)) as client, ExitStack() as stack:
        for _ in range(3):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.connect(address(client))
            stack.enter_context(closing(connection))
            # Their answers are far more than the system's buffers take.
            connection.sendall(request("GET", "/openapi.json") * 2_000)
            ended = select.poll()
            ended.register(connection, 0)  # errors alone
            assert ended.poll(1_000 * PATIENCE)
        assert client.get("/health").status_code == 200


def test_where_too_many_are_connected_those_go_that_ask_nothing(
    adapter: Path, recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astune.serving.connections.most_connections", lambda: 4)
    with running(adapters=(str(adapter),)) as client, ExitStack() as stack:
        idle = [stack.enter_context(closing(connected(client))) for _ in range(6)]
        client.classify(recordings["short.wav"])
        with suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""


def test_where_too_many_are_connected_that_ask_something_the_next_one_is_refused(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astune.serving.connections.most_connections", lambda: 3)
    with running(adapters=(str(adapter),)) as client, ExitStack() as stack:
        for _ in range(3):
            asking = stack.enter_context(closing(connected(client, EXPECTING)))
            assert asking.recv(100).startswith(b"HTTP/1.1 100 ")  # its body is waited for
        answer = answer_on(stack.enter_context(closing(connected(client))))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(("fault", "status"), [(errno.ENOSPC, 507), (errno.EMFILE, 503)])
def test_uploads_that_cannot_be_kept(
    fault: int, status: int, adapter: Path, recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(fault, "as the system says", "/hidden/place")

    monkeypatch.setattr(uploads, "_copy", full)
    with running(adapters=(str(adapter),)) as client:
        message = client.classify(recordings["short.wav"], status=status)["error"]["message"]
    assert "as the system says" in message
    assert "hidden" not in message


def test_a_request_that_is_given_up_at_the_end_is_a_line_and_no_trace(
    adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        running(adapters=(str(adapter),), drain_seconds=0) as client,
        closing(connected(client, BEGUN)) as slow,
    ):
        until(lambda: client.counters()["astune_places_held"] == 1)
        client.stop()
        assert answer_on(slow).message == "the service is stopping; try again when it has started"
    told = capsys.readouterr().err
    assert " 503 POST /v1/classify " in told
    assert "  | " not in told


def test_adapters_that_hear_too_much_are_refused_before_they_are_loaded(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("it is loaded")

    monkeypatch.setattr(loading, "PredictorEngine", load)
    with pytest.raises(AdapterError, match=r"max_input_seconds=0\.3 allows no more"):
        loading.Loader(ServeSettings(max_input_seconds=0.3), None)._load("birds", str(adapter))  # type: ignore[arg-type]


def test_a_slow_upload_whose_time_is_just_over_can_be_given_up() -> None:
    async def forever() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def give_up_twice() -> None:
        scope: dict[str, Any] = {"type": "http", "headers": []}
        body = uploads._Body(Request(scope, forever), ServeSettings())
        receiving = asyncio.create_task(body.receive())
        await asyncio.sleep(0)
        body.give_up()
        await asyncio.sleep(0)  # its time is over, and it does not know yet
        body.give_up()
        with pytest.raises(Problem) as refused:
            await receiving
        assert refused.value.status == 408
        body.give_up()

    asyncio.run(give_up_twice())
