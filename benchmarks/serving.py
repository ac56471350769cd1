"""The service under load: requests a second and their latency, beside a process for each task and beside calls one after the other."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile
import torch

from astune import AudioClassifier, Predictor, load_backbone
from astune.errors import AstuneError
from astune.names import BUNDLED_BACKBONE
from benchmarks.report import Benchmark, Finding, Options, Report

_FRAMES, _SECONDS = 98, 0.9
_ADAPTERS, _CLIENTS, _BATCHES = (1, 16), (1, 8, 32), (1, 16)
_TASKS = 4  # of the comparison with a process for each
_REQUESTS = 160  # of each row
_PATIENCE = 600  # seconds
_MOST_APART = 1e-5  # of scores, in float32
_LABELS = ("a", "b", "c")


@dataclass(frozen=True)
class Load:
    """What clients saw."""

    seconds: float
    """From the first request to the last answer."""
    latencies: list[float]
    """Of each request, in seconds."""

    @property
    def cells(self) -> tuple[str, str, str]:
        """Requests a second, and the latency in ms that half and 95 of 100 requests did not exceed."""
        ranked = statistics.quantiles(self.latencies, n=20)
        return f"{self.rate:.1f}", f"{1000 * ranked[9]:.0f}", f"{1000 * ranked[18]:.0f}"

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds


def write_adapters(folder: Path, backbone: str, number: int) -> dict[str, Path]:
    """LoRA adapters of one shape.

    Args:
        folder: of their folders.
        backbone: as for :func:`astune.load_backbone`.
        number: of them.

    Returns:
        Folders by name.
    """
    made = {}
    for seed in range(number):
        torch.manual_seed(seed)
        model = AudioClassifier(load_backbone(backbone, _FRAMES), "lora", _LABELS)
        with torch.no_grad():
            model.head.weight.mul_(20)
        model.save_pretrained(folder / f"task{seed}")
        made[f"task{seed}"] = folder / f"task{seed}"
    return made


@contextmanager
def service(adapters: Sequence[Path], max_batch: int, threads: int) -> Iterator[str]:
    """``astune serve`` in a process of its own.

    Args:
        adapters: folders.
        max_batch: windows that it computes at a time.
        threads: that it computes with.

    Yields:
        Its address.

    Raises:
        AstuneError: it does not start.
    """
    command = [
        sys.executable,
        "-m",
        "astune",
        "serve",
        *map(str, adapters),
        "--port",
        "0",
        "--device",
        "cpu",
        "--max-batch",
        str(max_batch),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - our own command
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            if not address:
                raise AstuneError("the service does not start; it says why above")
            yield address
        finally:
            process.terminate()


def ask(connection: http.client.HTTPConnection, adapter: str, recording: bytes) -> dict[str, float]:
    """One request.

    Args:
        connection: to a service.
        adapter: name of it.
        recording: content of a file.

    Returns:
        Scores by label.

    Raises:
        AstuneError: the answer is an error.
    """
    fields = {"adapter": adapter, "top_k": str(len(_LABELS))}
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    parts.append('--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')
    body = "".join(parts).encode() + recording + b"\r\n--b--\r\n"
    connection.request("POST", "/v1/classify", body, {"Content-Type": "multipart/form-data; boundary=b"})
    answer = json.loads(connection.getresponse().read())
    if "error" in answer:
        raise AstuneError(answer["error"]["message"])
    return {one["label"]: one["score"] for one in answer["results"][adapter]["labels"]}


def load(
    addresses: Sequence[str], adapters: Sequence[Sequence[str]], recording: bytes, clients: int, requests: int
) -> Load:
    """Let clients ask, each as soon as it has its answer.

    Args:
        addresses: of services.
        adapters: names, of each service.
        recording: content of a file.
        clients: side by side.
        requests: of all clients together.

    Returns:
        What they saw.
    """
    turns = count()

    def client(_: int) -> list[float]:
        seen = []
        with ExitStack() as stack:
            connections = [stack.enter_context(_connected(one)) for one in addresses]
            while (turn := next(turns)) < requests:
                own = turn % len(addresses)
                name = adapters[own][turn // len(addresses) % len(adapters[own])]
                begun = time.perf_counter()
                ask(connections[own], name, recording)
                seen.append(time.perf_counter() - begun)
        return seen

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        latencies = [one for seen in pool.map(client, range(clients)) for one in seen]
    return Load(time.perf_counter() - begun, latencies)


def run(options: Options) -> Iterator[Report]:
    """Load on one service, then beside other ways to serve several tasks.

    Args:
        options: of the command line.

    Yields:
        A table each.
    """
    backbone, requests = options.backbone or BUNDLED_BACKBONE, options.steps or _REQUESTS
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "a.wav"
        soundfile.write(recording, np.random.default_rng(0).normal(0, 0.1, round(_SECONDS * 16_000)), 16_000)
        adapters = write_adapters(Path(folder), backbone, max(_ADAPTERS))
        yield under_load(adapters, recording, requests, options.threads, backbone)
        yield beside_others(dict(list(adapters.items())[:_TASKS]), recording, requests, options.threads, backbone)


def under_load(adapters: dict[str, Path], recording: Path, requests: int, threads: int, backbone: str) -> Report:
    """A table of one service with more and more clients.

    Args:
        adapters: folders by name.
        recording: a file.
        requests: of each row.
        threads: that the service computes with.
        backbone: for the title.

    Returns:
        The table.
    """
    content, rows, apart, rates = recording.read_bytes(), [], 0.0, {}
    for batch in _BATCHES:
        with service(list(adapters.values()), batch, threads) as address:
            apart = max(apart, _apart(address, adapters, recording))
            for number in _ADAPTERS:
                names = list(adapters)[:number]
                for clients in _CLIENTS:
                    seen = load([address], [names], content, clients, requests)
                    rates[batch, number, clients] = seen.rate
                    rows.append((f"{clients} clients, {number} adapters", str(batch), *seen.cells))
    most = max(_CLIENTS)
    gains = [rates[max(_BATCHES), number, most] / rates[1, number, most] for number in _ADAPTERS]
    claim = f"with {most} clients, batches give at least the requests a second of windows one by one"
    return Report(
        f"Service, clips of {_SECONDS} s, LoRA on {backbone}, {requests} requests a row",
        ("load", "max-batch", "requests / s", "p50 ms", "p95 ms"), rows,
        claims=[Finding(f"{claim} ({', '.join(f'{gain:.2f}' for gain in gains)} times)", all(gain >= 1 for gain in gains))],
        checks=[Finding(f"scores are those of the adapter alone (apart by {apart:.1e})", apart <= _MOST_APART)],
    )  # fmt: skip


def beside_others(adapters: dict[str, Path], recording: Path, requests: int, threads: int, backbone: str) -> Report:
    """A table of ways to serve several tasks.

    Args:
        adapters: folders by name.
        recording: a file.
        requests: of each row.
        threads: that all processes together compute with, at least one each.
        backbone: for the title.

    Returns:
        The table.
    """
    content, clients, names = recording.read_bytes(), 2 * len(adapters), list(adapters)
    with service(list(adapters.values()), max(_BATCHES), threads) as address:
        one = load([address], [names], content, clients, requests)
    with ExitStack() as stack:
        many = [
            stack.enter_context(service([path], max(_BATCHES), max(1, threads // len(adapters))))
            for path in adapters.values()
        ]
        each = load(many, [[name] for name in names], content, clients, requests)
    predictors = [Predictor(path, device="cpu", threads=1) for path in adapters.values()]
    latencies = []
    for turn in range(requests):
        begun = time.perf_counter()
        predictors[turn % len(predictors)].predict(recording)
        latencies.append(time.perf_counter() - begun)
    rows = [
        (f"one service, {clients} clients", *one.cells),
        (f"a service for each task, {clients} clients", *each.cells),
        ("calls of predict, one after the other", *Load(sum(latencies), latencies).cells),
    ]
    return Report(
        f"{len(adapters)} tasks on {backbone}, {requests} requests", ("way", "requests / s", "p50 ms", "p95 ms"), rows
    )


def _connected(address: str) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=_PATIENCE))


def _apart(address: str, adapters: dict[str, Path], recording: Path) -> float:
    """The largest difference of a score from that of the adapter alone."""
    content, largest = recording.read_bytes(), 0.0
    with _connected(address) as connection:
        for name, path in adapters.items():
            found = ask(connection, name, content)
            for one in Predictor(path, device="cpu", threads=1).predict(recording, top_k=None):
                largest = max(largest, abs(found[one["label"]] - one["score"]))
    return largest


BENCHMARK = Benchmark("serving", "requests of many tasks share batches of one service", run)
