"""Curves of several seeds: paired by seed; who lacks a point is left out and named."""

import math

import pytest

from cgat_jax.reproduction import figures, paper_cells
from tests.report.synthetic import make_record


@pytest.fixture
def charts(monkeypatch):
    """The charts that are drawn, instead of pictures of them."""
    drawn = []

    def keep(chart):
        drawn.append(chart)
        return ""

    monkeypatch.setattr(figures, "draw", keep)
    return drawn


def _drawn(figure, records, charts, tmp_path):
    studies = paper_cells.studies(list(records), (0, 1, 2), {})
    _, notes = figures.pictures_of(figure, records, studies, tmp_path)
    return charts[0], notes


def _sweep(maps):
    """Records of figure 6 by lambda: ``maps`` holds a MAP for each seed."""
    cells = [
        cell
        for cell in paper_cells.cells_of_figure(6, "coco")
        if cell.attack == "hag" and cell.weight in maps
    ]
    return {
        cell: [
            {"seed": seed, "map": value, "chance": 0.3}
            for seed, value in maps[cell.weight].items()
        ]
        for cell in cells
    }


def test_a_sweep_pairs_seeds_and_leaves_out_those_that_lack_a_lambda(charts, tmp_path):
    maps = {0.0: {0: 0.1, 1: 0.2, 2: 0.3}, 1.0: {0: 0.4, 2: 0.6}}
    chart, notes = _drawn(6, _sweep(maps), charts, tmp_path)
    (line,) = chart.lines
    assert line.x == [0.0, 1.0]
    assert [list(y) for y in line.ys] == [[10, 40], pytest.approx([30, 60])]
    assert notes == [
        "MS-COCO: CgAT by lambda, HAG: seed 1 is left out, it lacks lambda 1."
    ]


def test_a_sweep_without_a_whole_seed_has_no_line(charts, tmp_path):
    chart, notes = _drawn(6, _sweep({0.0: {0: 0.1}, 1.0: {1: 0.4}}), charts, tmp_path)
    assert chart.lines == () and len(notes) == 2


def _curve(rng, seed, n, precision):
    record = make_record("none", "clean", seed, rng)
    return record | {"precision_at": {"n": n, "precision": precision}}


def test_a_curve_keeps_every_seed_that_has_its_points(charts, tmp_path, rng):
    cell = paper_cells.cells_of_figure(3, "coco")[0]
    records = {
        cell: [
            _curve(rng, 0, [100], [0.9]),
            _curve(rng, 1, [100, 500], [0.5, None]),
            _curve(rng, 2, [100, 500], [0.7, 0.6]),
        ]
    }
    chart, notes = _drawn(3, records, charts, tmp_path)
    (line,) = chart.lines
    assert line.x == [100, 500] and len(line.ys) == 2
    assert line.ys[0][0] == 50 and math.isnan(line.ys[0][1])  # not known is not 0
    assert line.ys[1] == pytest.approx([70, 60])
    assert notes == [
        "MS-COCO: DHTA, undefended, clean: seed 0 is left out, it lacks points of the "
        "curve."
    ]
