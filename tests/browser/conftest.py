"""A running service with real adapters, and Chromium in front of it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from astune import AudioClassifier, load_backbone
from astune.serving import create_app
from astune.tasks import MULTI_LABEL

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
HTML = "<img src=x onerror=window.hacked=1>"
BIRDS = ("blackbird", "robin", 'wren, "winter"', HTML)
WEATHER = ("rain", "wind", "thunder")
COPIES = 7  # of an adapter, so that there are more than one looks through
RATE = 16_000  # Hz
MOST_SECONDS = 60.0


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Tones that come and go in noise; (samples,)."""
    draw, times = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    tones = sum(
        np.sin(2 * np.pi * f * times) * (np.sin(2 * np.pi * times / p) > 0) for f, p in ((440, 1.7), (2500, 2.9))
    )
    samples: np.ndarray = 0.15 * tones + 0.01 * draw.standard_normal(len(times))
    return samples


def write_adapter(folder: Path, method: str, labels: tuple[str, ...], frames: int, **settings: Any) -> Path:
    """An adapter whose scores differ from sound to sound: its head is drawn, and larger than a new one."""
    torch.manual_seed(len(labels))
    model = AudioClassifier(load_backbone("random:tiny", frames), method, labels, **settings)
    with torch.no_grad():
        model.head.weight.mul_(8)
    if model.thresholds:
        model.thresholds = dict(zip(labels, (0.3, 0.5, 0.7), strict=True))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="package")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of adapters: of one label and of several, of two input lengths, and copies of one of them."""
    folder = tmp_path_factory.mktemp("adapters")
    write_adapter(folder / "birds", "lora", BIRDS, 64)
    write_adapter(folder / "weather", "bottleneck", WEATHER, 98, task=MULTI_LABEL)
    for number in range(COPIES):
        shutil.copytree(folder / "birds", folder / f"copy-{number}")
    return folder


@contextmanager
def running(**settings: Any) -> Iterator[str]:
    """A service on a free port of this machine, for as long as it is used; gives its address."""
    server = uvicorn.Server(uvicorn.Config(create_app(**settings), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="package")
def server(adapters: Path) -> Iterator[str]:
    names = sorted(str(path) for path in adapters.iterdir())
    with running(adapters=tuple(names), max_seconds=MOST_SECONDS, device="cpu") as address:
        yield address


@pytest.fixture(scope="package")  # its loop runs in this thread until it ends: no test elsewhere could start one
def playwright() -> Iterator[Playwright]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed (apt-get install chromium)")
    with sync_playwright() as started:
        yield started


def launched(playwright: Playwright, *more: str) -> Browser:
    return playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*ARGUMENTS, *more])


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    started = launched(playwright)
    yield started
    started.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, server: str) -> Iterator[Open]:
    """Opens the page in a context of its own. Afterwards nothing was sent elsewhere, and no script failed."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []
    elsewhere: list[str] = []

    def opened(address: str = server, *, engine: Browser = browser, **settings: Any) -> Page:
        contexts.append(engine.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: None if request.url.startswith((address, "blob:")) else elsewhere.append(request.url),
        )
        page.goto(address)
        page.locator("#adapters input").first.wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert elsewhere == []
    # Chromium writes every refused request to the console; the page shows it too.
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()


@pytest.fixture(scope="package")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sounds by what they are for."""
    folder = tmp_path_factory.mktemp("sounds")
    named = {
        "short": "robin.wav",
        "long": 'garden, "dawn" é.wav',
        "html": "<b>bold<img src=x onerror=window.hacked=1>.wav",
    }
    for number, (kind, name) in enumerate(named.items()):
        soundfile.write(folder / name, sound(9.3 if kind == "long" else 0.6, number), RATE)
    (folder / "broken.wav").write_bytes(b"this is no sound" * 50)
    soundfile.write(folder / "endless.flac", sound(MOST_SECONDS + 5), RATE)
    return {kind: folder / name for kind, name in named.items()} | {
        "broken": folder / "broken.wav",
        "endless": folder / "endless.flac",
    }
