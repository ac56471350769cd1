"""Backbones and adapters from a hub: a local server plays it; nothing here asks the network."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from astune import load_backbone

REPO = "somebody/small-ast"
LOAD = "import astune, sys; print(astune.load_backbone(sys.argv[1], 64).max_length)"
LIMIT = 120  # seconds until a command that hangs is ended; the point is that it ends by itself


class Hub(BaseHTTPRequestHandler):
    """Enough of the hub to fetch single files."""

    folder: Path
    gated = False
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        prefix = f"/{REPO}/resolve/main/"
        file = self.folder / self.path.removeprefix(prefix)
        if self.gated or not self.path.startswith(prefix) or not file.is_file():
            self.send_response(401 if self.gated else 404)
            self.send_header("X-Error-Code", "GatedRepo" if self.gated else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        del format, args


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[type[Hub], str]]:
    folder = tmp_path / "repository"
    load_backbone("random:tiny").model.save_pretrained(folder)
    handler = type("LocalHub", (Hub,), {"folder": folder, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def load(endpoint: str, home: Path, name: str = REPO, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", **variables}
    code = LOAD + "\n"
    wrapped = f"from astune.errors import AstuneError\ntry:\n    {code}except AstuneError as e:\n    sys.exit(str(e))"
    command = [sys.executable, "-c", "import sys\n" + wrapped, name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_fetched_once_then_from_the_cache(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    handler, endpoint = hub
    first = load(endpoint, tmp_path / "home")
    assert (first.returncode, first.stdout.strip()) == (0, "64"), first.stderr
    assert any("model.safetensors" in line for line in handler.asked)
    handler.asked.clear()
    again = load(endpoint, tmp_path / "home")
    assert (again.returncode, again.stdout.strip()) == (0, "64"), again.stderr
    assert handler.asked == []


def test_a_hub_that_has_no_such_model(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    result = load(hub[1], tmp_path / "home", "nobody/nothing")
    assert result.returncode == 1
    assert "answered 404 when asked for config.json" in result.stderr
    assert "bundled" in result.stderr


def test_a_gated_model(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    hub[0].gated = True
    result = load(hub[1], tmp_path / "home")
    assert result.returncode == 1
    assert "hf auth login" in result.stderr


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = load(f"http://127.0.0.1:{port}", tmp_path / "home")
    assert result.returncode == 1
    for part in (repr(REPO), f"127.0.0.1:{port}", str(tmp_path / "home"), "HF_HOME", "folder", "bundled"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_a_hub_that_never_answers(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        result = load(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "home")
    assert result.returncode == 1
    assert "timed out" in result.stderr


def test_offline_mode_does_not_ask(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    result = load(hub[1], tmp_path / "home", HF_HUB_OFFLINE="1")
    assert result.returncode == 1
    assert "HF_HUB_OFFLINE is set" in result.stderr
    assert hub[0].asked == []


def test_the_saved_configuration_is_that_of_an_ast(hub: tuple[type[Hub], str]) -> None:
    assert json.loads((hub[0].folder / "config.json").read_text())["model_type"] == "audio-spectrogram-transformer"
