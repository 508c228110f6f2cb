"""Sanity checks: counted, named where they failed, and what to do about each."""

from html.parser import HTMLParser

import pytest

from cgat_jax.evaluation.sanity import CHECKS
from cgat_jax.report import figures, write_report
from cgat_jax.report.sanity import ADVICE, examined, failures
from tests.report.synthetic import write_sanity, write_workdir


def _checks(**values):
    return [
        {
            "name": name,
            "passed": None if value is None else value <= 0.01,
            "value": value,
            "threshold": 0.01,
            "meaning": f"what {name} measures; and more",
        }
        for name, value in values.items()
    ]


def _sanity(defense, **values):
    return {"defense": defense, "num_queries": 64, "checks": _checks(**values)}


def test_checks_are_tables_in_the_order_of_the_networks():
    found = examined([_sanity("cgat", ball=0.5, order=None), _sanity("none", ball=0.0)])
    assert [each.network for each in found] == ["undefended", "CgAT"]
    assert [each.failed for each in found] == [0, 1]
    assert found[0].verdict == "all 1 sanity checks passed"
    assert found[1].verdict == "1 of 1 sanity checks failed"
    assert found[1].rows.to_numpy().tolist() == [
        ["ball", "FAILED", "0.5", "0.01", "what ball measures; and more"],
        ["order", "not made", "", "0.01", "what order measures; and more"],
    ]
    assert "first 64 queries" in found[0].note


def test_seeds_of_a_network_are_told_apart():
    entries = [_sanity("cgat", ball=0.5) | {"seed": seed} for seed in (0, 1)]
    assert [each.network for each in examined(entries)] == [
        "CgAT, seed 0",
        "CgAT, seed 1",
    ]
    assert examined(entries[:1])[0].network == "CgAT"


def test_the_checks_name_the_other_network():
    entry = _sanity("cgat", ball=0.0)
    assert "other network" not in examined([entry])[0].note
    for twin, said in (
        ("none", "The other network is undefended."),
        (None, "There was no other network"),
    ):
        assert said in examined([entry | {"twin": twin}])[0].note


def test_a_failure_says_what_to_do():
    entries = [_sanity("cgat", ball=0.0, restarts=0.025), _sanity("none", other=1)]
    other, restarts = failures(entries)
    assert restarts[:4] == (
        "CgAT",
        "restarts",
        "0.025, at most 0.01",
        "What restarts measures",
    )
    assert "worst_case" in restarts.advice
    assert other.network == "undefended" and other.advice == ""  # of a later version


def test_there_is_advice_for_every_check():
    assert set(ADVICE) == set(CHECKS)


class _Visible(HTMLParser):
    """The text of a page that is seen before anything is opened."""

    def __init__(self, text):
        super().__init__()
        self.closed, self.text = 0, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "details" and "open" not in dict(attrs):
            self.closed += 1
        self.in_summary = tag == "summary"

    def handle_endtag(self, tag):
        self.closed -= tag == "details" and self.closed > 0

    def handle_data(self, data):
        self.text += data if not self.closed or self.in_summary else ""


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda chart: "<svg></svg>")
    path = write_workdir(tmp_path / "run", gallery=False)
    failed = _checks(restarts=0.025, ball=0.0)
    write_sanity(path, checks=failed)
    write_sanity(path, defense="none")
    return write_report(path).read_text()


def test_the_page_shows_failures_and_folds_the_rest(page):
    seen = _Visible(page).text
    assert "CgAT: restarts failed." in seen and ADVICE["restarts"] in seen
    assert "what ball measures" in page and "what ball measures" not in seen


def test_failures_are_counted_beside_the_headline_and_have_their_color(page):
    head = page[: page.index("MAP under attack</h2>")]
    assert "✗ CgAT: 1 of 2 sanity checks failed" in head
    assert "✓ undefended: all 1 sanity checks passed" in head
    assert 'class="left failed">✗ FAILED' in page and 'class="left">passed' in page
