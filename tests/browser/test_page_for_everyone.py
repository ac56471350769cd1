"""The page on a phone, with a keyboard alone, for screen readers, in the dark; and what it keeps and sends: nothing."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.test_page import Recordings, add, analyse, choose

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
TOUCH = 44  # pixels
CLICKED = "button, select, summary, input[type=number], input[type=search], label.check, .slider, audio, .lane canvas"
NAMED = {
    "button", "checkbox", "slider", "spinbutton", "combobox", "searchbox", "img", "image", "meter", "progressbar", "table", "article",
    "region", "figure",
}  # fmt: skip


def full(page: Page, recordings: Recordings) -> None:
    """Everything that the page can show."""
    add(page, recordings["long"])
    choose(page, "birds", "weather")
    page.get_by_label("Events").check()
    page.get_by_text("Settings").click()
    analyse(page)
    page.get_by_text(re.compile(r"^Table of \d+ labels of windows$")).first.click()
    expect(page.get_by_role("table", name="windows found by birds").get_by_role("row").nth(5)).to_be_visible()


def test_it_fits_a_phone(open_page: Open, recordings: Recordings) -> None:
    page = open_page(**PHONE)
    full(page, recordings)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    small = page.evaluate(
        """([clicked, touch]) => [...document.querySelectorAll(clicked)].filter(one => one.checkVisibility())
            .map(one => [one.id || one.className || one.textContent, one.getBoundingClientRect()])
            .filter(([, box]) => box.height < touch || box.width < touch).map(([name, {width, height}]) => [name, width, height])""",
        [CLICKED, TOUCH],
    )
    assert small == []
    cut = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter(one => one.checkVisibility() && !one.closest(".scroller") && one.getBoundingClientRect().right > innerWidth)
            .map(one => one.outerHTML.slice(0, 80))"""
    )
    assert cut == []


def test_a_keyboard_is_enough(page: Page, recordings: Recordings) -> None:
    """From the top of the page to a sound that plays, with Tab, Space, Enter and arrows; and what has the focus shows it."""

    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "document.activeElement.matches('audio') ? 'audio' : document.activeElement.outerHTML.slice(0, 300)"
            )
            assert page.evaluate(
                "document.activeElement.matches('audio, body') || parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2"
            ), focused
            if page.locator(f"{wanted}:focus").count():
                return
        pytest.fail(f"Tab does not reach {wanted}")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the results")).to_be_in_viewport()
    tab_to("#choose")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(recordings["long"])
    tab_to("#adapters input[value='weather']")
    page.keyboard.press("Space")
    tab_to("#events")
    page.keyboard.press("Space")
    tab_to("summary")
    page.keyboard.press("Enter")
    tab_to("#hop")
    page.keyboard.type("0.4")
    tab_to("#analyse")
    page.keyboard.press("Enter")
    expect(page.locator("#queue .state")).to_have_text("done")
    slider = page.get_by_role("slider", name="Position in the timeline of weather")
    tab_to("[aria-label='Position in the timeline of weather']")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "0.4")
    page.keyboard.press("Space")
    page.wait_for_function("() => !document.getElementById('player').paused")
    page.keyboard.press("Space")
    tab_to("article[aria-label='Timeline by weather'] summary")
    page.keyboard.press("Enter")
    tab_to("tbody button")
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.getElementById('player').paused")
    with page.expect_download():
        tab_to("article[aria-label='Timeline by weather'] .downloads button")
        page.keyboard.press("Enter")


def test_everything_has_a_name(page: Page, recordings: Recordings) -> None:
    full(page, recordings)
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in tree:
        if not node["ignored"]:
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert {"button", "checkbox", "slider", "spinbutton", "table", "article", "region", "figure"} <= roles.keys()
    nameless = {
        role for role, names in roles.items() if role.lower() in NAMED and not all(name.strip() for name in names)
    }
    assert nameless == set()
    for role in ("slider", "article", "region", "table"):
        assert len(set(roles[role])) == len(roles[role]), f"two of one name: {roles[role]}"
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))")
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    assert page.evaluate("document.documentElement.lang") == "en"
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


CONTRAST = """() => {
    const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const over = (colour, under) => {
        probe.fillStyle = under; probe.fillRect(0, 0, 1, 1);
        probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
        const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
        return `rgb(${r}, ${g}, ${b})`;
    };
    const light = colour => {
        const linear = one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = colour.match(/\\d+/g).map(one => linear(one / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = one => one ? over(getComputedStyle(one).backgroundColor, behind(one.parentElement)) : "rgb(255, 255, 255)";
    const found = [];
    for (const one of document.querySelectorAll("body *")) {
        const text = [...one.childNodes].some(child => child.nodeType === 3 && child.data.trim());
        if (!text || !one.checkVisibility() || one.closest(":disabled, .unseen, .skip")) continue;
        const [ground, ink] = [behind(one), over(getComputedStyle(one).color, behind(one))];
        const [a, b] = [light(ground), light(ink)].sort((x, y) => y - x);
        found.push([Math.round(100 * (a + 0.05) / (b + 0.05)) / 100, one.outerHTML.slice(0, 90)]);
    }
    return found.sort((x, y) => x[0] - y[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_the_light_and_in_the_dark(
    open_page: Open, recordings: Recordings, scheme: Literal["light", "dark"]
) -> None:
    page = open_page(color_scheme=scheme)
    full(page, recordings)
    page.evaluate(
        "for (const one of document.querySelectorAll('.fault, .stale')) { one.hidden = false; one.textContent = 'shown'; }"
    )
    found = page.evaluate(CONTRAST)
    assert len(found) > 50
    assert [one for one in found if one[0] < 4.5] == []  # WCAG's AA
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 60) == (scheme == "dark")


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_where_that_is_not_wanted(
    open_page: Open, motion: Literal["reduce", "no-preference"], moves: bool
) -> None:
    page = open_page(reduced_motion=motion)
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("button", name="Stop recording")).to_be_visible()
    animation = page.evaluate("getComputedStyle(document.querySelector('.recording .dot')).animationName")
    assert (animation != "none") is moves


def test_nothing_is_kept_and_no_script_comes_from_elsewhere(page: Page, recordings: Recordings, server: str) -> None:
    """That nothing is sent elsewhere, the fixture checks for every test."""
    add(page, recordings["short"])
    analyse(page)
    assert page.context.cookies() == []
    stored = page.evaluate(
        """async () => [
            localStorage.length, sessionStorage.length, (await indexedDB.databases()).length, (await caches.keys()).length,
        ]"""
    )
    assert stored == [0, 0, 0, 0]
    answer = page.request.get(server)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    html = answer.text()
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=|https?://", html)
    folder = Path(__file__).parents[2] / "src" / "astune" / "serving" / "page"
    for path in folder.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|https?://[a-z]", path.read_text()
        ), path.name
