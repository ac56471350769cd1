"""What the page computes itself, compared with the same in Python: log-Mel energies, tables, WAV files, the microphone."""

from __future__ import annotations

import base64
import io
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from playwright.sync_api import Page, Playwright, expect

from astune.features import FrontEnd
from astune.inference.findings import Findings, Row
from astune.inference.writers import WRITERS, Format
from tests.browser.conftest import Open, launched, sound

TOLERANCE = 1e-3  # of log energies, where float32 rounds: 0.004 dB; the page computes in float64


def test_log_mel_energies_are_the_front_ends(page: Page) -> None:
    for samples in (0, 1, 399, 400, 560, 16_000):
        compare_energies(page, sound(1.0)[:samples].astype(np.float32))


def compare_energies(page: Page, samples: NDArray[np.float32]) -> None:
    found = page.evaluate(
        """async samples => {
            const {LogMel} = await import(new URL("log_mel.js", document.baseURI));
            return new LogMel().energies(Float32Array.from(samples)).map(frame => [...frame]);
        }""",
        samples.tolist(),
    )
    front_end = FrontEnd(100)
    expected = front_end.energies(samples)
    assert np.shape(found) == expected.shape
    assert np.abs(np.array(found) - expected).max() < TOLERANCE
    exact = type(front_end.log_mel)().double()(torch.from_numpy(samples).double()).numpy()
    assert np.abs(np.array(found) - exact).max() < 1e-5  # of what both compute in float64


SMALL = (0.0, 0.5, 1.0, 1 / 3, 1e-7, 5e-7, 1e-6, 1.5e-6, 9.9e-5, 1e-4, 0.9999995, 0.99999949)


def test_numbers_are_written_as_python_writes_them(page: Page) -> None:
    draw = np.random.default_rng(0)
    several = [draw.uniform(0, 1, 2000), draw.uniform(0, 20_000, 2000), draw.integers(0, 10**7, 2000) / 16_000]
    several += [
        draw.uniform(0, 1, 2000).astype(np.float32),
        draw.integers(0, 10**6, 2000) / 128,
    ]  # the last: half are in the middle
    numbers = [float(one) for one in (*SMALL, *np.concatenate(several))]
    found = page.evaluate(
        """async numbers => {
            const {fixed, shortest} = await import(new URL("tables.js", document.baseURI));
            return numbers.map(one => [fixed(one, 6), fixed(one, 3), shortest(one, 6), shortest(one, 3)]);
        }""",
        numbers,
    )
    assert found == [[f"{one:.6f}", f"{one:.3f}", repr(round(one, 6)), repr(round(one, 3))] for one in numbers]


NASTY = 'a, "b" é🐦\ttab\n\rline\x1b[31m\x85\u2028\u202e.wav'


def test_tables_are_the_writers(page: Page) -> None:
    formats: tuple[Format, ...] = ("csv", "audacity", "raven")
    for form, rate in product(formats, (8_000, 11_025, 44_100)):
        compare_tables(page, form, rate)


def compare_tables(page: Page, form: Format, rate: int) -> None:
    rows = [(0.0, 1.5, "a", 0.75), (1.25, 10_801.123456, 'b "quoted", c', 1 / 3), (1 / 128, 2.0, "d=é🐦", 1e-7)]
    answer = {
        "file": NASTY, "seconds": 10_802.123, "sampling_rate": rate,
        "results": {"x": {
            "events": [{"onset": a, "offset": b, "label": label, "score": score} for a, b, label, score in rows],
            "heard_seconds": 10_802.0004, "window_count": 9, "window": 0.995, "hop": 1 / 3, "pool": "mean",
        }},
    }  # fmt: skip
    text = page.evaluate(
        """async ([answer, form]) => {
            const {table, WRITERS} = await import(new URL("tables.js", document.baseURI));
            return WRITERS[form].write(table(answer, "x", "events"));
        }""",
        [answer, form],
    )
    found = Findings(
        str(answer["file"]), tuple(Row(*row) for row in rows), 10_802.123, 10_802.0004, 9, 0.995, 1 / 3, None, rate
    )
    assert text == WRITERS[form].text(found)


def test_a_wav_file_is_what_soundfile_reads(page: Page) -> None:
    samples = [0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 1 / 32768]
    encoded = page.evaluate(
        """async samples => {
            const {wavFile} = await import(new URL("wav.js", document.baseURI));
            return btoa(String.fromCharCode(...new Uint8Array(await wavFile(Float32Array.from(samples), 44100).arrayBuffer())));
        }""",
        samples,
    )
    read, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)), dtype="int16")
    assert rate == 44_100
    assert read.tolist() == [0, 16_384, -16_384, 32_767, -32_768, 32_767, -32_768, 1]


def test_the_microphone_is_recorded_as_it_sounds(playwright: Playwright, open_page: Open, tmp_path: Path) -> None:
    """A tone of 1 kHz comes in, and a WAV file of 1 kHz at its level goes out; then it is labelled as any sound."""
    rate = 48_000  # Hz
    tone = 0.25 * np.sin(2 * np.pi * 1000 * np.arange(20 * rate) / rate)
    soundfile.write(tmp_path / "tone.wav", tone, rate, subtype="PCM_16")
    engine = launched(playwright, f"--use-file-for-fake-audio-capture={tmp_path / 'tone.wav'}")
    page = open_page(engine=engine)
    with page.expect_request("**/v1/classify"):
        page.get_by_role("button", name="Record").click()
        expect(page.locator("#clock")).to_have_text(re.compile(r"^[1-9]\d*\.\d s$"))
        page.get_by_role("button", name="Stop recording").click()
        expect(page.get_by_role("status")).to_contain_text("Recorded ")
        expect(page.locator("#queue .name")).to_contain_text("recording ")
        page.get_by_role("button", name="Analyse").click()
    expect(page.locator("#queue .state")).to_have_text("done")
    encoded = page.evaluate(
        """async () => {
            const {Recorder} = await import(new URL("recorder.js", document.baseURI));
            let seconds = 0;
            const recorder = await Recorder.start((_, now) => { seconds = now; }, () => {});
            while (seconds < 1) await new Promise(resolve => setTimeout(resolve, 20));
            const bytes = new Uint8Array(await recorder.stop().arrayBuffer());
            let text = "";
            for (const byte of bytes) text += String.fromCharCode(byte);
            return btoa(text);
        }"""
    )
    samples, found = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert samples.ndim == 1
    second_half = samples[len(samples) // 2 :]
    spectrum = np.abs(np.fft.rfft(second_half * np.hanning(len(second_half))))
    assert np.argmax(spectrum) * found / len(second_half) == pytest.approx(1000, abs=5)
    assert np.sqrt(2 * np.mean(second_half**2)) == pytest.approx(0.25, rel=0.1)
    engine.close()


def test_a_microphone_that_is_refused_is_explained(open_page: Open, playwright: Playwright) -> None:
    engine = launched(playwright, "--deny-permission-prompts", "--use-fake-ui-for-media-stream=deny")
    page = open_page(engine=engine)
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#microphone-fault")).to_have_text(
        "The browser does not allow this page to use the microphone. Allow it in the address bar, then record again."
    )
    expect(page.get_by_role("button", name="Record")).to_be_focused()
    engine.close()


def test_a_page_without_https_says_where_it_could_record(page: Page) -> None:
    words = page.evaluate(
        """async () => {
            Object.defineProperty(navigator, "mediaDevices", {value: undefined});
            const {Recorder} = await import(new URL("recorder.js", document.baseURI));
            return Recorder.start(() => {}, () => {}).catch(fault => fault.message);
        }"""
    )
    assert "https://" in words
