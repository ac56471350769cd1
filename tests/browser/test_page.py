"""The page as people use it: with a mouse, with a keyboard, on a phone; in front of a running service."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from astune import Predictor
from astune.cli import main
from astune.inference.findings import Findings, Row
from astune.inference.writers import WRITERS, Format
from tests.browser.conftest import BIRDS, HTML, WEATHER, Open, running

TOLERANCE = 2e-5  # of scores: windows of other requests may share their batch
Recordings = dict[str, Path]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def add(page: Page, *files: Path) -> None:
    page.set_input_files("#files", files)
    expect(page.locator("#queue li")).to_have_count(len(files))


def choose(page: Page, *names: str) -> None:
    for box in page.locator("#adapters input").all():
        box.set_checked(box.input_value() in names)


def analyse(page: Page) -> dict[str, Any]:
    """Analyse one sound; gives the answer of the service, which the page shows."""
    with page.expect_response("**/v1/classify") as answered:
        page.get_by_role("button", name=re.compile("^Analyse")).click()
    expect(page.locator("#queue .state").last).to_have_text("done")
    answer: dict[str, Any] = answered.value.json()
    return answer


def bars(page: Page, name: str) -> list[tuple[str, float]]:
    lines = page.get_by_role("article", name=f"Labels by {name}").get_by_role("listitem")
    return [(line.locator(".label").inner_text(), float(line.locator(".score").inner_text())) for line in lines.all()]


def test_an_uploaded_sound_has_the_labels_of_each_adapter(page: Page, recordings: Recordings, adapters: Path) -> None:
    add(page, recordings["short"])
    choose(page, "birds", "weather")
    analyse(page)
    for name, labels in (("birds", BIRDS), ("weather", WEATHER)):
        expected = Predictor(adapters / name, device="cpu").predict(recordings["short"])
        shown = bars(page, name)
        assert {label for label, _ in shown} == set(labels)
        assert [label for label, _ in shown] == [one["label"] for one in expected]
        assert [score for _, score in shown] == pytest.approx(
            [one["score"] for one in expected], abs=0.0005 + TOLERANCE
        )
        widths = page.get_by_role("article", name=f"Labels by {name}").locator(".fill").all()
        assert [
            float((bar.get_attribute("style") or "").split()[1].rstrip("%;")) / 100 for bar in widths
        ] == pytest.approx([one["score"] for one in expected], abs=TOLERANCE)
    marks = page.get_by_role("article", name="Labels by weather").locator(".threshold").all()
    assert {mark.get_attribute("title") for mark in marks} == {"Threshold 0.300", "Threshold 0.500", "Threshold 0.700"}
    expect(page.get_by_role("status")).to_contain_text("robin.wav is done. birds: ")
    expect(page.locator("#picture")).to_have_attribute(
        "aria-label", re.compile(r"^Waveform and spectrogram of 0\.6 s: loudest at ")
    )


def findings(file: str, answer: dict[str, Any], name: str, kind: str) -> Findings:
    """What an answer says, as the command line's tables have it."""
    result = answer["results"][name]
    if kind == "labels":
        rows = [(0.0, result["heard_seconds"], one) for one in result["labels"]]
    elif kind == "windows":
        rows = [(window["start"], window["end"], one) for window in result["windows"] for one in window["labels"]]
    else:
        rows = [(event["onset"], event["offset"], event) for event in result["events"]]
    return Findings(
        file, tuple(Row(start, end, one["label"], one["score"]) for start, end, one in rows), answer["seconds"],
        result["heard_seconds"], result["window_count"], result["window"], result["hop"],
        result["pool"] if kind == "labels" else None, answer["sampling_rate"],
    )  # fmt: skip


def saved(page: Page, name: str, kind: str, title: str) -> tuple[str, str]:
    with page.expect_download() as started:
        page.get_by_role("button", name=f"Save {kind} as {title} ({name})").click()
    return started.value.suggested_filename, Path(started.value.path()).read_bytes().decode()


@pytest.mark.parametrize("kind", ["labels", "windows", "events"])
def test_saved_tables_are_those_of_the_command_line(page: Page, recordings: Recordings, kind: str) -> None:
    """Byte for byte what ``astune predict`` writes of the same scores; ``test_a_saved_table_is_what_the_command_prints`` runs it."""
    add(page, recordings["long"])
    choose(page, "birds")
    page.get_by_text("Settings").click()
    page.get_by_role("spinbutton", name="Window").fill("0.5")
    page.get_by_role("spinbutton", name="Hop").fill("0.2")
    page.get_by_label("Events").check()
    answer = analyse(page)
    formats: list[Format] = ["csv", "audacity", "raven"]
    for form in formats:
        file, text = saved(page, "birds", kind, form.title().replace("Csv", "CSV"))
        assert file == f"{recordings['long'].name}.birds{WRITERS[form].suffix}".replace('"', "_")  # as browsers do
        assert text == WRITERS[form].text(findings(recordings["long"].name, answer, "birds", kind))
        assert text.count("\n") > 1


@pytest.mark.parametrize(("kind", "options"), [("windows", ["--top-k", str(len(BIRDS))]), ("events", ["--events"])])
def test_a_saved_table_is_what_the_command_prints(
    page: Page, recordings: Recordings, adapters: Path, kind: str, options: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    add(page, recordings["long"])
    choose(page, "birds")
    page.get_by_text("Settings").click()
    page.get_by_role("spinbutton", name="Window").fill("0.5")
    page.get_by_role("spinbutton", name="Threshold").fill("0.3")
    page.get_by_label("Events").check()
    analyse(page)
    monkeypatch.chdir(recordings["long"].parent)
    command = [
        "astune",
        "predict",
        str(adapters / "birds"),
        recordings["long"].name,
        "--window",
        "0.5",
        "--threshold",
        "0.3",
    ]
    monkeypatch.setattr(sys, "argv", [*command, "--device", "cpu", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert without_rounding(saved(page, "birds", kind, "CSV")[1]) == without_rounding(capsys.readouterr().out)


def without_rounding(table: str) -> list[dict[str, str]]:
    """Rows of a CSV, scores to four of their six digits: windows that share a batch with others are rounded otherwise."""
    rows = list(csv.DictReader(table.splitlines()))
    assert rows
    return [row | {"score": f"{float(row['score']):.4f}"} for row in rows]


def test_a_timeline_is_played_by_a_click_and_with_the_keyboard(page: Page, recordings: Recordings) -> None:
    add(page, recordings["long"])
    choose(page, "birds")
    page.get_by_label("Events").check()
    answer = analyse(page)["results"]["birds"]
    slider = page.get_by_role("slider", name="Position in the timeline of birds")
    expect(slider).to_have_attribute("aria-valuemax", "9.3")

    def time() -> float:
        return float(page.evaluate("document.getElementById('player').currentTime"))

    def paused() -> bool:
        return bool(page.evaluate("document.getElementById('player').paused"))

    box = slider.bounding_box()
    assert box
    slider.click(position={"x": box["width"] / 2, "y": 30})
    page.wait_for_timeout(200)
    window = max(one["start"] for one in answer["windows"] if one["start"] <= 4.65)
    assert window <= time() < window + 2
    assert not paused()

    slider.focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(100)
    assert paused()
    page.keyboard.press("Home")
    steps = {"ArrowRight": 1, "ArrowLeft": 0, "PageDown": 0, "PageUp": 10, "End": len(answer["windows"]) - 1}
    for key, step in steps.items():
        page.keyboard.press(key)
        start = answer["windows"][step]["start"]
        expect(slider).to_have_attribute("aria-valuenow", f"{start:.1f}")
        best = answer["windows"][step]["labels"][0]
        expect(slider).to_have_attribute(
            "aria-valuetext", re.compile(re.escape(f"{best['label']} {best['score']:.3f}"))
        )
        page.wait_for_timeout(50)
        assert time() == pytest.approx(start, abs=0.01)
    assert paused()

    tables = page.get_by_role("article", name="Timeline by birds")
    tables.get_by_text(re.compile(r"^Table of \d+ labels of windows$")).click()
    rows = tables.get_by_role("table", name="windows found by birds").get_by_role("row")
    total = sum(len(one["labels"]) for one in answer["windows"])
    expect(rows).to_have_count(1 + min(100, total))
    rows.nth(5).get_by_role("button").click()
    page.wait_for_timeout(200)
    assert not paused()
    tables.get_by_role("combobox", name="Zoom").select_option("8×")
    wide, frame = slider.bounding_box(), tables.bounding_box()
    assert wide
    assert frame
    assert wide["width"] > 7 * frame["width"]


def test_several_sounds_are_analysed_one_after_the_other(page: Page, recordings: Recordings) -> None:
    add(page, recordings["short"], recordings["broken"], recordings["long"])
    choose(page, "birds")
    page.get_by_role("button", name="Analyse 3 sounds").click()
    expect(page.locator("#queue .state")).to_have_text(["done", "failed", "done"])
    expect(page.get_by_role("status")).to_have_text("3 sounds done, 1 of them failed")
    expect(page.get_by_role("button", name=re.compile("^Analyse"))).to_be_disabled()
    page.get_by_role("button", name="broken.wav").first.click()
    expect(page.locator("#answer .fault")).to_contain_text("broken.wav")
    expect(page.locator("#picture-note")).to_have_text(
        "This browser cannot play or draw this file. The server may read it all the same."
    )
    page.get_by_role("button", name="Remove broken.wav").click()
    expect(page.locator("#queue li")).to_have_count(2)
    expect(page.locator(".file .name")).to_have_text(recordings["long"].name)
    expect(page.get_by_role("button", name=f"Remove {recordings['long'].name}")).to_be_focused()
    expect(page.locator(".stale")).to_be_hidden()
    choose(page, "weather")
    expect(page.locator(".stale")).to_be_visible()
    expect(page.get_by_role("button", name="Analyse 2 sounds")).to_be_enabled()


def test_what_the_server_refuses_is_said_in_its_words(page: Page, recordings: Recordings, server: str) -> None:
    add(page, recordings["endless"])
    choose(page, "birds")
    page.get_by_role("button", name="Analyse").click()
    with recordings["endless"].open("rb") as stream:
        answer = httpx.post(
            f"{server}/v1/classify", data={"adapter": "birds"}, files={"file": ("endless.flac", stream)}
        )
    assert answer.status_code == 413
    expect(page.locator("#answer .fault")).to_have_text(f"endless.flac: {answer.json()['error']['message']}")
    page.get_by_text("Settings").click()
    page.get_by_role("spinbutton", name="Window").fill("30")
    page.get_by_role("button", name="Analyse").click()
    expect(page.locator("#answer .fault")).to_contain_text("longer than the adapter's input of")
    page.context.set_offline(True)
    page.get_by_role("spinbutton", name="Window").fill("0.3")
    page.get_by_role("button", name="Analyse").click()
    expect(page.locator("#answer .fault")).to_contain_text("The server cannot be reached.")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#adapters-fault")).to_contain_text("The server cannot be reached.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#adapters-fault")).to_be_hidden()


def test_a_file_that_is_too_large_is_refused_while_it_is_sent(open_page: Open, adapters: Path, tmp_path: Path) -> None:
    (tmp_path / "large.wav").write_bytes(bytes(30_000_000))
    with running(adapters=(str(adapters / "birds"),), max_upload_mb=1.0, device="cpu") as address:
        page = open_page(address)
        add(page, tmp_path / "large.wav")
        page.get_by_role("button", name="Analyse").click()
        expect(page.locator("#queue .state")).to_have_text("failed")
        expect(page.locator("#answer .fault")).to_have_text(
            "large.wav: the request is larger than 1 MiB; send a shorter recording, or one that is compressed"
        )


def test_a_busy_server_is_asked_again(page: Page, recordings: Recordings) -> None:
    refused = []

    def once(route: Route) -> None:
        refused.append(route)
        if len(refused) > 1:
            route.continue_()
            return
        route.fulfill(
            status=429,
            headers={"retry-after": "1"},
            json={"error": {"code": "queue_full", "message": "the queue is full"}},
        )

    page.route("**/v1/classify", once)
    add(page, recordings["short"])
    page.get_by_role("button", name="Analyse").click()
    expect(page.locator("#queue .state")).to_have_text("server busy, again in 1 s")
    expect(page.locator("#queue .state")).to_have_text("done")
    assert len(refused) == 2


def test_an_analysis_is_stopped(page: Page, recordings: Recordings) -> None:
    page.route("**/v1/classify", lambda _: None)  # an answer that never comes
    add(page, recordings["short"], recordings["long"])
    page.get_by_role("button", name="Analyse 2 sounds").click()
    expect(page.locator("#queue .state")).to_have_text([re.compile("uploading|computing"), "waiting"])
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#queue .state")).to_have_text(["stopped", "stopped"])
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Analyse 2 sounds")).to_be_enabled()
    page.unroute_all()


def test_html_in_names_and_labels_is_text(page: Page, recordings: Recordings) -> None:
    add(page, recordings["html"])
    choose(page, "birds")
    page.get_by_label("Events").check()
    analyse(page)
    assert HTML in dict(bars(page, "birds"))
    expect(page.locator("#queue .name")).to_have_text(recordings["html"].name)
    expect(page.locator(".file .name")).to_have_text(recordings["html"].name)
    page.get_by_text(re.compile(r"^Table of \d+ labels of windows$")).click()
    expect(page.get_by_role("cell", name=HTML).first).to_be_visible()
    assert page.locator("img").count() == 1  # the page's own
    assert page.evaluate("window.hacked") is None


def test_adapters_are_found_by_their_labels(page: Page) -> None:
    expect(page.locator("#chosen")).to_have_text("1 of 9 adapters chosen")
    page.get_by_role("searchbox", name="Find an adapter by its name or a label").fill("Thunder")
    expect(page.locator("#adapters label:visible")).to_have_count(1)
    expect(page.get_by_role("checkbox", name="weather")).to_be_visible()


def test_files_are_dropped(page: Page, recordings: Recordings) -> None:
    page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(bytes)], "dropped.wav"));
            for (const type of ["dragenter", "dragover", "drop"]) {
                document.body.dispatchEvent(new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
            }
        }""",
        list(recordings["short"].read_bytes()),
    )
    expect(page.locator("#queue .name")).to_have_text("dropped.wav")
    analyse(page)


def test_adapters_that_are_broken_are_named(open_page: Open, adapters: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "adapter_config.json").write_text("{}")
    with running(adapters=(str(adapters / "birds"),), adapters_dir=tmp_path, device="cpu") as address:
        page = open_page(address)
        expect(page.locator("#adapters-fault")).to_contain_text("1 adapter could not be loaded. odd: ")
        expect(page.get_by_role("checkbox")).to_have_count(3)  # the adapter's, timeline, events
