"""The page in a real Chromium: by hand and by keyboard, wide and narrow."""

import itertools
import shutil

import pytest

from tests.service.process import serving
from tests.service.toy import NUM_QUERIES, encoded, make_index, photo

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
]
WIDTHS, SCHEMES = (1280, 400), ("light", "dark")
PATIENCE = 60_000  # ms, on a machine that does other things as well


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    place = tmp_path_factory.mktemp("page")
    folders = [make_index(place / "none", 1, "none"), make_index(place / "cgat")]
    arguments = [f"--index={folder}" for folder in folders]
    with serving(*arguments, "--rate=0", token="") as process:
        yield process


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(service, browser):
    """The page, on which nothing goes wrong that is not looked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on(
        "console", lambda m: page.problems.append(m.text) if m.type == "error" else 0
    )
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(service.url)
    yield page
    context.close()
    foreign = [
        url for url in page.asked if not url.startswith((service.url, "data:", "blob:"))
    ]
    assert not foreign


def answers(page, network, moment="before"):
    return page.locator(f"[data-index={network}] .{moment} ol li")


def upload(page, content, name="mine.png"):
    file = {"name": name, "mimeType": "image/png", "buffer": content}
    page.set_input_files("#photo", file)


def attack(page, choice, levels=16):
    page.select_option("#choice", choice)
    page.locator("#levels").fill(str(levels))
    page.click("#go")
    page.wait_for_selector("#progress", state="hidden")


def test_a_query_is_picked_and_answered_by_both_networks(page):
    assert page.locator(".pick").count() == NUM_QUERIES
    page.locator(".pick input").first.check(force=True)
    for network in ("none", "cgat"):
        answers(page, network).nth(9).wait_for()
        marked = answers(page, network).locator(".badge:visible")
        assert marked.count() == 10
        text = page.locator(f"[data-index={network}] .before .when").inner_text()
        right = answers(page, network).and_(page.locator(".yes")).count()
        assert f"{right} of 10 correct" in text
    assert not page.problems


def test_a_photo_is_uploaded_searched_and_attacked(page):
    upload(page, encoded(photo(1000)))
    for network in ("none", "cgat"):
        answers(page, network).nth(9).wait_for()
        assert answers(page, network).locator(".badge:visible").count() == 0
    attack(page, "worst")
    total = 0
    for network in ("none", "cgat"):
        block = page.locator(f"[data-index={network}] .after")
        assert "classes are taken from its nearest answers" in block.inner_text()
        assert "difference, at most 16/255, magnified" in block.inner_text()
        flipped = block.locator(".strip .flipped").count()
        total += flipped
        assert f"{flipped} flipped" in block.inner_text()
        assert block.locator(".strip b").count() == 32
        assert answers(page, network, "after").count() == 10
        told = block.locator(".verdict").inner_text()
        assert "calibrated to 5 % of clean queries" in told
        sizes = block.locator(".triple img").evaluate_all(
            "images => images.map((image) => image.naturalWidth)"
        )
        assert sizes == [32, 32, 32]
    assert total > 0
    assert not page.problems


def test_no_budget_changes_nothing(page):
    page.locator(".pick input").nth(1).check(force=True)
    answers(page, "cgat").nth(9).wait_for()
    attack(page, "cgat", levels=0)
    assert page.locator("#budget").inner_text() == "0/255"
    block = page.locator("[data-index=cgat] .after")
    assert "0 flipped" in block.inner_text()
    before, after = (
        answers(page, "cgat", x).all_inner_texts() for x in ("before", "after")
    )
    assert before == after


def test_a_bad_upload_is_told_and_the_next_one_works(page):
    upload(page, b"this is no image")
    page.wait_for_selector("#problem:visible")
    assert "not one that can be read" in page.locator("#problem").inner_text()
    assert page.locator("#go").is_disabled()
    assert page.locator(".before:visible").count() == 0
    upload(page, encoded(photo(5)))
    answers(page, "cgat").nth(9).wait_for()
    assert page.locator("#problem").is_hidden()
    assert page.locator("#go").is_enabled()


def test_it_goes_by_keyboard_alone(page):
    page.focus("#photo")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    answers(page, "cgat").nth(9).wait_for()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "document.querySelectorAll('.pick')[1].querySelector(':checked')"
    )
    answers(page, "cgat").nth(9).wait_for()
    page.focus("#levels")
    page.keyboard.press("End")
    assert page.locator("#budget").inner_text() == "16/255"
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.id === 'go' && !go.disabled")
    page.keyboard.press("Enter")
    answers(page, "cgat", "after").nth(9).wait_for()


@pytest.mark.parametrize(("width", "scheme"), [*itertools.product(WIDTHS, SCHEMES)])
def test_it_fits_wide_and_narrow_light_and_dark(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.locator(".pick input").first.check(force=True)
    answers(page, "cgat").nth(9).wait_for()
    attack(page, "noise")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    dark = "getComputedStyle(document.body).backgroundColor"
    assert (page.evaluate(dark) == "rgb(14, 17, 22)") == (scheme == "dark")
    left = page.locator(".network").evaluate_all(
        "all => all.map((one) => Math.round(one.getBoundingClientRect().left))"
    )
    assert (left[0] == left[1]) == (width == 400)


@pytest.mark.parametrize("path", ["/docs", "/login"])
def test_the_other_pages_fit_as_well(page, service, path):
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(service.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert not page.problems
