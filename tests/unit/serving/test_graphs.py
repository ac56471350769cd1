"""Exported graphs are served beside adapters in torch, and without torch where there are no others."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from astune import OnnxPredictor
from tests.graphs import info, write_graph
from tests.serving_parts import Alone, running, write_adapter

TOKEN = "a token of some length"  # noqa: S105 - of this test


def test_a_graph_beside_an_adapter_in_torch(tmp_path: Path, recordings: dict[str, Path]) -> None:
    birds = write_adapter(tmp_path / "birds", "birds")
    graph = write_graph(tmp_path / "noise.onnx", info(task="multi-label", thresholds=dict.fromkeys(info().labels, 0.3)))
    (tmp_path / "watched").mkdir()
    alone, other = OnnxPredictor(graph), Alone({"birds": birds})
    with running(
        adapters=(str(birds), str(graph)),
        adapters_dir=tmp_path / "watched",
        token=SecretStr(TOKEN),
        device=None,
        runtime=None,
    ) as client:
        for path in recordings.values():
            results = client.classify(path, adapter=["noise", "birds"], top_k=10)["results"]
            for name, expected in (
                ("noise", alone.predict(path, top_k=10)),
                ("birds", other.predictors["birds"].predict(path, top_k=10)),
            ):
                assert {one["label"]: one["score"] for one in results[name]["labels"]} == pytest.approx(
                    {one["label"]: one["score"] for one in expected}, abs=1e-5
                )
            assert client.classify(path, adapter="noise")["results"]["noise"]["labels"] == [
                {**one, "score": pytest.approx(one["score"], abs=1e-5)}
                for one in alone.predict(path, top_k=None, threshold=alone.thresholds)
            ]
        runtimes = {one["name"]: one["runtime"] for one in client.get("/v1/adapters").json()["adapters"]}
        assert runtimes == {"birds": "torch", "noise": "onnx"}
        sent = client.put(
            "/v1/adapters/sent",
            files={"file": ("model.onnx", graph.read_bytes())},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert sent.status_code == 200, sent.text
        assert sent.json()["labels"] == list(alone.labels)
        assert [one.name for one in (tmp_path / "watched").iterdir()] == ["sent.onnx"]
        client.classify(recordings["short.wav"], adapter="sent")
        write_graph(tmp_path / "watched" / "put.onnx")
        end = time.monotonic() + 60
        while "put" not in [one["name"] for one in client.get("/v1/adapters").json()["adapters"]]:
            assert time.monotonic() < end
        assert client.delete("/v1/adapters/put", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 204
        assert client.classify(recordings["short.wav"], status=404, adapter="put")


_ALONE = """
import sys
from pathlib import Path
from threading import Thread
from queue import Queue
import httpx
from astune.serving import ServeSettings
from astune.serving.server import Server

server, told = Server(ServeSettings(adapters=(sys.argv[1],), port=0)), Queue()
thread = Thread(target=server.run, args=(told.put,))
thread.start()
answer = httpx.post(told.get() + "/v1/classify", files={"file": Path(sys.argv[2]).read_bytes()}, data={"events": "true", "hop": 0.3})
server.stop()
thread.join()
assert answer.status_code == 200, answer.text
heavy = [name for name in ("torch", "transformers", "sklearn", "accelerate") if name in sys.modules]
assert not heavy, heavy
"""


def test_a_service_of_graphs_alone_does_not_import_torch(tmp_path: Path, recordings: dict[str, Path]) -> None:
    graph = write_graph(tmp_path / "noise.onnx")
    given = [sys.executable, "-c", _ALONE, str(graph), str(recordings["long.wav"])]
    ended = subprocess.run(given, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
