"""Labels, names of files and of adapters that are code: the page shows them, and the service answers with them; nothing runs."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from playwright.sync_api import FilePayload, Page, expect
from prometheus_client.parser import text_string_to_metric_families

from astune.printable import printable
from tests.browser.conftest import RATE, Open, running, sound, write_adapter
from tests.faults.injection.payloads import CONTROLS, TEXT_NAMES, TEXTS

FILES = tuple(f"{name}.wav" for name in (*TEXT_NAMES[:16], *CONTROLS[:6], "a\rb\nSet-Cookie: c=d", 'a"; filename="b'))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("hostile") / "adapter", "linear", TEXTS, 64)


def wav() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, sound(0.4), RATE, format="WAV")
    return stream.getvalue()


def analysed(page: Page, name: str) -> list[str]:
    """Labels that the page shows of a sound of some name."""
    page.set_input_files("#files", FilePayload(name=name, mimeType="audio/wav", buffer=wav()))
    page.get_by_role("button", name=re.compile("^Analyse")).click()
    expect(page.locator("#queue .state").last).to_have_text("done", timeout=60_000)
    return page.locator("ol.scores .label").all_text_contents()


def test_the_page_shows_code_as_text(open_page: Open, adapter: Path) -> None:
    with running(adapters=(str(adapter),), device="cpu") as address:
        page = open_page(address)
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        page.locator("#asked details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        page.fill("#top-k", str(len(TEXTS)))
        for name in FILES:
            assert sorted(analysed(page, name)) == sorted(TEXTS)
            assert page.locator("#answer .file .name").text_content() == name
            page.locator("#queue .remove").click()
        assert page.locator("#queue li").count() == 0
        analysed(page, FILES[1])
        with page.expect_download() as begun:
            page.get_by_role("button", name=re.compile("Save labels as CSV")).click()
        text = begun.value.path().read_bytes().decode()
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        assert {row["label"] for row in rows} == {*TEXTS}
        assert {row["file_name"] for row in rows} == {FILES[1]}
        assert page.evaluate("window.hacked") is None
        assert (
            page.locator("#answer script, #answer img, #answer iframe, #answer a, #queue img, #adapters img").count()
            == 0
        )
        assert dialogs == []
        assert page.url == f"{address}/"


def test_the_service_answers_with_code_as_text(adapter: Path) -> None:
    with (
        running(adapters=(str(adapter),), device="cpu") as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        for name in FILES:
            answer = client.post("/v1/classify", files={"file": (name, wav())}, data={"top_k": str(len(TEXTS))})
            assert answer.status_code == 200, answer.text
            record: dict[str, Any] = answer.json()
            (result,) = record["results"].values()
            assert {one["label"] for one in result["labels"]} == {*TEXTS}
            assert printable(record["file"]) == record["file"]
            assert_careful(answer)
        for text in (*TEXTS, *CONTROLS[:-1]):  # the last one is no text that a form holds
            quoted = {"adapter": text, "threshold": text}
            refused = client.post("/v1/classify", files={"file": ("a.wav", wav())}, data=quoted)
            assert refused.status_code in {404, 422}
            message = refused.json()["error"]["message"]
            assert printable(message, lines=True) == message
            assert_careful(refused)
        for path in (
            "/<script>window.hacked=1</script>",
            "/%0d%0aSet-Cookie:%20c=d",
            '/"}%20astune_forged%201',
            "/%1b[31m",
        ):
            refused = client.get(path)
            assert refused.status_code == 404
            assert "hacked" not in refused.text
            assert_careful(refused)
        refused = client.request("FORGED|~", "/health")
        assert refused.status_code in {400, 405}
        samples = [
            one for family in text_string_to_metric_families(client.get("/metrics").text) for one in family.samples
        ]
        assert {one.labels["route"] for one in samples if "route" in one.labels} <= {
            "/v1/classify", "/metrics", "/health", "/health/live", "page", "none",
        }  # fmt: skip
        assert {one.labels["method"] for one in samples if "method" in one.labels} <= {"GET", "POST", "other"}
        assert all(one.name.startswith("astune_") and "forged" not in one.name for one in samples)


def assert_careful(answer: httpx.Response) -> None:
    """Headers that are ours alone; a browser takes the body for nothing but JSON."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (
        "script-src" in answer.headers["content-security-policy"]
        or "default-src 'self'" in answer.headers["content-security-policy"]
    )
    assert "set-cookie" not in answer.headers
