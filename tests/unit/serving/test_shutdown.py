"""The command: what it prints, how it ends, and what keeps it from beginning."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from typer.testing import CliRunner

from astune.cli import app
from astune.errors import AdapterError, ConfigError
from astune.serving.server import listening_socket
from astune.serving.settings import ServeSettings
from tests.serving_parts import Client, running


@contextmanager
def command(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """``astune serve`` in a process of its own, and a client of it."""
    given = [sys.executable, "-m", "astune", "serve", *map(str, arguments), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            stdout: IO[str] | None = process.stdout
            assert stdout is not None
            address = stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), process.stderr.read() if process.stderr else ""
            with Client(base_url=address, timeout=120) as client:
                yield process, client
        finally:
            process.kill()


def test_told_to_stop_under_load_it_finishes_what_has_begun_and_ends_with_0(
    adapter: Path, recordings: dict[str, Path]
) -> None:
    with command(adapter) as (process, client):
        answers: list[Any] = []
        refused: list[httpx.ConnectError] = []

        def ask() -> None:
            try:
                answers.append(client.classify(recordings["long.wav"], window=0.2, hop=0.2))
            except httpx.ConnectError as fault:  # it came too late
                refused.append(fault)

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        while client.counters()["astune_places_held"] == 0:
            pass
        process.send_signal(signal.SIGTERM)
        for thread in asking:
            thread.join()
        assert process.wait(60) == 0
        assert len(answers) + len(refused) == 4
        assert {len(answer["results"]["birds"]["windows"]) for answer in answers} == {47}
        assert "running requests are finished" in (process.stderr.read() if process.stderr else "")
        with pytest.raises(httpx.ConnectError):
            client.get("/health")


def test_what_takes_longer_than_it_may_is_given_up(adapter: Path) -> None:
    head = "POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999\r\n\r\n"
    with (
        running(adapters=(str(adapter),), drain_seconds=0) as client,
        socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection,
    ):
        connection.sendall(head.encode())
        while client.counters()["astune_places_held"] == 0:
            pass
        client.stop()  # the upload never comes


def test_what_keeps_it_from_beginning_is_a_sentence(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> BaseException | None:
        return CliRunner().invoke(app, ["serve", *map(str, arguments)]).exception

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port} cannot be listened on" in str(refused(adapter, "--port", port))
    assert isinstance(refused(tmp_path / "nothing", "--port", 0), AdapterError)
    assert "nothing is not a folder; make it, or give another" in str(
        refused("--adapters-dir", tmp_path / "nothing", "--port", 0)
    )
    assert "at least 8 characters" in str(refused(adapter, "--token", "short", "--port", 0))
    assert "nothing to serve" in str(refused("--port", 0))
    monkeypatch.setattr("astune.serving.settings._PACKAGES", ("fastapi", "no_such_package"))
    missing = refused(adapter, "--port", 0)
    assert isinstance(missing, ConfigError)
    assert "no_such_package" in str(missing)
    assert "pip install -e '.[serve]'" in str(missing)


def test_answers_wait_for_no_receipt() -> None:
    """Else each answer to a client that keeps its connection takes 40 ms more."""
    with (
        listening_socket(ServeSettings(port=0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_help_needs_none_of_the_packages_of_the_service() -> None:
    script = "import sys; sys.modules['fastapi'] = sys.modules['uvicorn'] = None; sys.argv = ['astune', 'serve', '--help']; " \
        "from astune.cli import main\ntry: main()\nexcept SystemExit as end: assert not end.code\n" \
        "assert 'torch' not in sys.modules"  # fmt: skip
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "--adapters-dir" in ended.stdout
