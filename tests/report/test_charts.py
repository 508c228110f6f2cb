"""Charts: colors and ids on a page, axes, smoothed curves, and what is drawn at all."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from cgat_jax.report import figures, write_report
from cgat_jax.report.cells import group
from cgat_jax.report.plotting import DARK, LINES, VARIABLES, Chart, Line, draw, for_page
from cgat_jax.report.records import read_run
from tests.report.synthetic import write_sanity, write_workdir


@pytest.fixture
def drawn(monkeypatch):
    """The charts of a report by name, not drawn."""
    found = []
    monkeypatch.setattr(figures, "draw", lambda chart: found.append(chart) or "")

    def charts(path):
        found.clear()
        run = read_run(path)
        named = figures.charts([run], group(run.records))
        return dict(zip(named, found, strict=True))

    return charts


def _words(svg):
    words = [each.text for each in ElementTree.fromstring(svg).iter() if each.text]
    return {word.strip() for word in words}


def test_a_figure_follows_the_theme_of_the_page():
    """Every color that is drawn has a partner for dark pages; words are text."""
    lines = tuple(
        Line(f"{n} <&>", n, [1, 2], ([1, n], [2, n])) for n in range(len(LINES))
    )
    text = draw(Chart("A & B", "x", "y", lines, 0.5, None))
    style, drawn = text.split("</style>", 1)
    used = set(re.findall("(?:fill|stroke): (#[0-9a-f]{6})", drawn))
    assert used == set(DARK) and "prefers-color-scheme: dark" in style
    for color, dark in DARK.items():
        for use in ("fill", "stroke"):
            assert f'[style*="{use}: {color}"]{{{use}:{dark}!important}}' in style
    words = [each.text for each in ElementTree.fromstring(text).iter() if each.text]
    assert {"A & B", "chance", "3 <&>"} <= {word.strip() for word in words}


def test_a_legend_lists_lines_as_they_lie():
    lines = tuple(Line(f"line{n}", n, [1, 2], ([n, n],)) for n in (2, 5, 3))
    text = draw(Chart("title", "x", "y", lines, 4.0, None)).split("</title>")[1]
    order = ["line5", "chance", "line3", "line2"]
    assert sorted(order, key=lambda word: text.index(f">{word}<")) == order


def test_labels_too_long_to_stand_beside_a_chart_stand_below_it():
    """Else matplotlib warns, which fails here, that nothing is left of the chart."""
    what = "CgAT (epochs 16, learning_rate 0.05, schedule cosine, weight 2, steps 3)"
    heights = []
    for label in ("CgAT", what, what * 2):
        text = draw(Chart("a", "x", "y", (Line(label, 0, [1, 2], ([1, 2],)),), 0, None))
        width, height = re.search(
            'width="([0-9.]+)pt" height="([0-9.]+)pt"', text
        ).groups()
        assert float(width) == pytest.approx(5.2 * 72, abs=0.1)
        heights.append(float(height))
        assert all(word in text.split("</title>")[1] for word in label.split())
    assert heights == sorted({*heights})


def test_on_a_page_a_figure_has_the_colors_of_the_page():
    lines = tuple(Line(f"{n}", n, [1, 2], ([1, n],)) for n in range(len(LINES)))
    text = for_page(draw(Chart("A", "x", "y", lines, 0.5, None)), "one")
    assert not re.findall("(?:fill|stroke): #", text) and "@media" not in text
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", text))
    assert used == set(VARIABLES.values())
    assert ElementTree.fromstring(text)[0].text == "A: y by x; " + ", ".join(
        map(str, range(len(LINES)))
    )


def test_figures_on_a_page_share_no_id_and_refer_to_their_own():
    line = Line("a", 2, [1, 2], ([1, 2], [2, 3]))
    picture = draw(Chart("A", "x", "y", (line,), None, None))
    texts = [for_page(picture, name) for name in ("one", "two")]
    ids = [set(re.findall(' id="([^"]+)"', text)) for text in texts]
    assert ids[0] and not ids[0] & ids[1]
    for own, text in zip(ids, texts, strict=True):
        assert own == set(re.findall(r'(?:href="|url\()#([^")]+)', text))


def test_ticks_are_where_budgets_were_measured(tmp_path, drawn):
    path = write_workdir(tmp_path / "run", gallery=False)
    levels = [1, 2, 4, 8, 16]
    curve = {"epsilon": [n / 255 for n in levels]}
    curve |= dict.fromkeys(("map", "bits_flipped"), [0.5] * 5)
    write_sanity(path, curve=curve)
    chart = drawn(path)["budget_map"]
    assert chart.ticks == levels and chart.lines[0].x == levels
    assert {"1", "2", "4", "8", "16"} <= _words(draw(chart)) - {"2.5"}
    assert "0" in _words(draw(chart._replace(ticks=(0.0, 8.0))))  # no logarithm


def _log(folder, entries):
    lines = [json.dumps({"step": 20 * n, "epoch": n / 3} | e) for n, e in entries]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_a_loss_is_smoothed_and_what_was_logged_is_behind_it(tmp_path, drawn, rng):
    path = write_workdir(tmp_path / "run", gallery=False)
    losses = 1 + rng.standard_normal(60)
    _log(path / "pretrain", [(n, {"loss": x}) for n, x in enumerate(losses, start=1)])
    (line,) = drawn(path)["loss_pretrain"].lines
    np.testing.assert_allclose(line.raw, losses)
    (smooth,) = line.ys
    np.testing.assert_allclose(smooth[20], losses[15:26].mean())
    np.testing.assert_allclose(smooth[0], losses[:6].mean())
    assert np.std(np.diff(smooth)) < 0.3 * np.std(np.diff(losses))
    text = draw(drawn(path)["loss_pretrain"])
    assert text.count("opacity: 0.3") == 1 and "_raw" not in text


def test_short_curves_are_not_smoothed(tmp_path, drawn):
    path = write_workdir(tmp_path / "run", gallery=False)
    _log(path / "pretrain", [(n, {"loss": n % 2}) for n in range(1, 8)])
    (line,) = drawn(path)["loss_pretrain"].lines
    assert line.raw is None and line.ys == ([1, 0, 1, 0, 1, 0, 1],)


def test_a_last_point_of_few_steps_is_merged_with_the_one_before(tmp_path, drawn):
    path = write_workdir(tmp_path / "run", gallery=False)
    points = [(5, 1.0), (10, 0.8), (15, 0.6), (16, 3.0)]
    _log(path / "pretrain", [(n, {"loss": x}) for n, x in points])
    (line,) = drawn(path)["loss_pretrain"].lines
    assert line.x == [100, 200, 320]
    np.testing.assert_allclose(line.ys, [[1.0, 0.8, (5 * 0.6 + 3.0) / 6]])
    points[-1] = (18, 3.0)
    _log(path / "pretrain", [(n, {"loss": x}) for n, x in points])
    (line,) = drawn(path)["loss_pretrain"].lines
    assert line.x == [100, 200, 300, 360]


def test_map_over_training_is_a_chart_where_it_was_logged(tmp_path, drawn):
    path = write_workdir(tmp_path / "run", gallery=False)
    assert "training_map" not in drawn(path)
    entries = [(n, {"loss": 1.0}) for n in range(1, 7)]
    for n in (2, 5):
        entries[n][1]["map/training"] = n / 10
    _log(path / "pretrain", entries)
    chart = drawn(path)["training_map"]
    (line,) = chart.lines
    assert line.label == "pretrain" and line.ys == ([20.0, 50.0],)
    assert line.x == [1.0, 2.0] and chart.y_range == (0.0, 103.0)


def test_a_training_map_that_is_no_number_is_a_damaged_line(tmp_path):
    path = write_workdir(tmp_path / "run", gallery=False)
    _log(path / "pretrain", [(1, {"loss": 1.0, "map/training": "high"})])
    assert "pretrain" not in read_run(path).metrics


def test_the_page_says_what_the_training_map_is(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda chart: "<svg></svg>")
    path = write_workdir(tmp_path / "run", gallery=False)
    assert "MAP over training" not in write_report(path).read_text()
    _log(path / "pretrain", [(1, {"loss": 1.0, "map/training": 0.5})])
    text = write_report(path).read_text()
    assert "MAP over training" in text and "The network has learned from these" in text
