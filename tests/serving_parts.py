"""A running service with small adapters of several methods, and recordings for it."""

from __future__ import annotations

import queue
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import soundfile
import torch

from astune import AudioClassifier, Predictor, load_backbone
from astune.serving import ServeSettings
from astune.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RATE = 16_000  # Hz
SPECS = {  # by name: method, frames, task
    "birds": ("lora", 64, "single-label"),
    "frogs": ("bitfit", 128, "single-label"),
    "rain": ("bottleneck-pf-par", 64, "multi-label"),
    "speech": ("prefix", 96, "single-label"),
    "wind": ("linear", 100, "multi-label"),
}


FOREVER = 60.0  # seconds that a test waits at most


def until(what: Callable[[], bool]) -> None:
    """Wait for what has to happen."""
    end = time.monotonic() + FOREVER
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def write_adapter(folder: Path, name: str, seed: int = 0) -> Path:
    """An adapter of :data:`SPECS` whose weights are random, and so its scores."""
    spec, frames, task = SPECS[name]
    torch.manual_seed(seed)
    labels = tuple(f"{name}-{number}" for number in range(3 + len(name) % 3))
    thresholds = {label: 0.4 + 0.05 * number for number, label in enumerate(labels)} if task == "multi-label" else {}
    model = AudioClassifier(
        load_backbone("random:tiny", frames), spec, labels, task=TASKS[task], negatives=labels[:1]
    )  # fmt: skip
    model.thresholds = thresholds
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def write_recordings(folder: Path) -> dict[str, Path]:
    """Short and long, of several rates, channels and formats."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        "short.wav": (0.4, RATE, 1), "one.flac": (1.0, RATE, 1), "stereo.wav": (1.7, 44_100, 2), "low.ogg": (2.2, 8_000, 1),
        "long.wav": (9.3, 22_050, 1),
    }  # fmt: skip
    for seed, (name, (seconds, rate, channels)) in enumerate(kinds.items()):
        draw = np.random.default_rng(seed)
        soundfile.write(folder / name, draw.normal(0, 0.1, (round(seconds * rate), channels)), rate)
    return {name: folder / name for name in kinds}


class Client(httpx.Client):
    """Asks a running service."""

    stop: Callable[[], None]
    """Tells the service to stop, where it runs in this process."""

    def classify(
        self, path: Path | bytes, *, status: int = 200, name: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        content = path if isinstance(path, bytes) else path.read_bytes()
        shown = name if name is not None else path.name if isinstance(path, Path) else "sound.wav"
        answer = self.post("/v1/classify", files={"file": (shown, content)}, data=fields)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def counters(self) -> dict[str, float]:
        """What /metrics says, by name and labels."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.get("/metrics").text)
        return {
            "".join([sample.name, *(f",{key}={value}" for key, value in sorted(sample.labels.items()))]): sample.value
            for family in families
            for sample in family.samples
        }


@contextmanager
def running(**fields: Any) -> Iterator[Client]:
    """A service in a thread of this process, on a free port, and a client of it; at the end it drains."""
    from astune.serving.server import Server

    server = Server(ServeSettings(**{"port": 0, "device": "cpu", "max_wait_ms": 2.0, **fields}))
    told: queue.Queue[str | BaseException] = queue.Queue()

    def run() -> None:
        try:
            server.run(told.put)
        except BaseException as fault:  # noqa: BLE001 - it is raised in the test
            told.put(fault)

    thread = Thread(target=run)
    thread.start()
    try:
        address = told.get()
        if isinstance(address, BaseException):
            raise address
        with Client(base_url=address, timeout=120) as client:
            client.stop = server.stop
            yield client
    finally:
        server.stop()
        thread.join()
    if not told.empty():
        raise AssertionError(told.get())


class Alone:
    """Each adapter by itself, as the command line uses it."""

    def __init__(self, adapters: Mapping[str, Path]) -> None:
        self.predictors = {name: Predictor(path, device="cpu", threads=1) for name, path in adapters.items()}

    def labels(self, name: str, recording: Path) -> dict[str, float]:
        return {one["label"]: one["score"] for one in self.predictors[name].predict(recording, top_k=None)}
