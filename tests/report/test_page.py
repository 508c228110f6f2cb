"""The page for its readers: contrast, size, keyboard, narrow and dark screens."""

import itertools
import json
import re
import shutil
from importlib import resources

import numpy as np
import pytest

from cgat_jax.report import write_report
from cgat_jax.report.plotting import DARK, VARIABLES
from tests.report.synthetic import make_record, write_sanity, write_workdir

CHROMIUM = shutil.which("chromium")
STYLE = resources.files("cgat_jax.report").joinpath("style.html").read_text()
TEXT = [
    *itertools.product(("ink", "faint", "accent"), ("card", "page")),
    *itertools.product(("yes", "no", "alarm"), ("card",)),
    *itertools.product(("ink", "faint", "alarm"), ("alarm-bg",)),
    *itertools.product(("card",), ("yes", "no")),  # marks on answers
]
"""Variables of text and of what it is written on."""
MARKS = ["bar", "tick", "yes", "no", "alarm", *(f"chart-{n}" for n in range(1, 9))]
"""What is told apart from the card by its color alone."""


def variables(scheme):
    """The colors of the page in a scheme, of six digits."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)
    found = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})(?![0-9a-f])", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})(?![0-9a-f])", dark))
    return found


def contrast(one, other):
    """The ratio of WCAG 2.2."""

    def luminance(color):
        levels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(
            levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4
        )
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "behind"), TEXT)
def test_text_stands_out(scheme, text, behind):
    colors = variables(scheme)
    assert contrast(colors[text], colors[behind]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("mark", [mark for mark in MARKS if mark != "bar"])
def test_lines_and_marks_stand_out(scheme, mark):
    colors = variables(scheme)
    assert contrast(colors[mark], colors["card"]) >= 3


def test_charts_and_the_page_name_the_same_colors():
    light, dark = variables("light"), variables("dark")
    for color, name in VARIABLES.items():
        assert (light[name], dark[name]) == (color, DARK[color]), name


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with all that there is, as wide as it gets."""
    rng = np.random.default_rng(0)
    path = write_workdir(tmp_path_factory.mktemp("page") / "run")
    for attack in ("hag", "saat", "apgd", "square", "worst_case", "nag", "sdha"):
        for defense in ("none", "cgat"):
            known = make_record(defense, "cgat", 0, rng) | {"attack": attack}
            known["components"] = [{"attack": "apgd", "map": 0.4, "share": 1.0}]
            folder = path / "evaluate" / f"{defense}-{attack}"
            folder.mkdir()
            (folder / "record.json").write_text(json.dumps(known))
    check = {"name": "restarts", "passed": False, "value": 0.1, "threshold": 0.01}
    write_sanity(path, checks=[check | {"meaning": "fall of MAP with 5 more starts"}])
    return write_report(path)


@pytest.mark.slow
def test_the_page_is_small(report):
    assert report.stat().st_size < 1_000_000


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def opened(browser, report, width=1280, scheme="light"):
    size = {"width": width, "height": 900}
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.set_default_timeout(120_000)  # on a machine that does other things as well
    page.goto(report.as_uri())
    return page


@pytest.mark.parametrize("width", [1280, 400])
def test_only_tables_scroll_sideways_and_say_so(browser, report, width):
    page = opened(browser, report, width)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate(
        """[...document.querySelectorAll('body *')].filter(each =>
          each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0
          && getComputedStyle(each).overflowX != 'visible'
          && !each.matches('.scroll')).map(each => each.outerHTML.slice(0, 90))"""
    )
    assert not cut
    silent = page.evaluate(
        """[...document.querySelectorAll('.scroll')].filter(each =>
          each.scrollWidth > each.clientWidth + 1
          && !each.previousElementSibling?.matches('.hint:not([hidden])')
          ).map(each => each.ariaLabel)"""
    )
    hidden = page.evaluate(
        """[...document.querySelectorAll('.scroll')].filter(each =>
          each.scrollWidth > each.clientWidth + 1
          && each.previousElementSibling?.offsetHeight == 0
          ).map(each => each.ariaLabel)"""
    )
    assert not silent and not hidden
    page.close()


def test_words_beside_a_strip_stay_whole(browser, report):
    page = opened(browser, report, 400)
    lines = page.evaluate(
        """[...document.querySelectorAll('.codes p')].map(each => each.offsetHeight)"""
    )
    assert all(height < 24 for height in lines)
    page.close()


def test_everything_is_reached_by_keyboard_and_shows_where_it_is(browser, report):
    page = opened(browser, report)
    wanted = page.locator("summary, .scroll, a").count()
    seen, folded = set(), page.locator("details:not([open]) > summary").count()
    assert folded
    for _ in range(3 * wanted):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.outerHTML.slice(0, 120)")
        if page.evaluate("document.activeElement.matches('summary, .scroll, a')"):
            style = "getComputedStyle(document.activeElement)"
            assert page.evaluate(f"{style}.outlineStyle") == "solid", name
        if page.evaluate(
            "document.activeElement.matches('details:not([open]) > summary')"
        ):
            page.keyboard.press("Enter")
            seen.add(name)
    assert len(seen) == folded or page.locator("details:not([open])").count() == 0
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_colors_of_the_scheme(browser, report, scheme):
    page = opened(browser, report, scheme=scheme)
    colors = page.evaluate(
        """[...document.querySelectorAll('.chart text')].map(
          each => getComputedStyle(each).fill)"""
    )
    expected = {"light": "rgb(27, 31, 36)", "dark": "rgb(233, 237, 242)"}
    assert expected[scheme] in colors
    page.close()
