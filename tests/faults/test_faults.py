"""A few of the faults of ``python -m tests.faults`` in every run of the tests."""

from pathlib import Path

import numpy as np
import pytest

from tests.faults import __main__ as faults
from tests.faults import hurt, subjects


def test_preparing_survives_kills_and_stops(tmp_path):
    counts = faults.kills_of("prepare", 4, tmp_path, np.random.default_rng(1))
    assert sum(counts.values()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("program", ["main", "reproduce"])
def test_runs_survive_kills_and_stops(tmp_path, program):
    counts = faults.kills_of(program, 6, tmp_path, np.random.default_rng(2))
    assert sum(counts.values()) == 6


@pytest.mark.slow
def test_a_damaged_run_ends_the_same_or_is_refused_by_name(tmp_path):
    faults.references("main", tmp_path)
    counts = faults.damages_of_run(12, tmp_path, np.random.default_rng(3))
    kinds = [found for of_run in counts.values() for found in of_run.values()]
    assert sum(sum(found.values()) for found in kinds) == 12


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("results.json", "results.json"),
        ("defend/checkpoints/12/state/d/0a1b", "defend/checkpoints"),
        ("codes/none/query.npy", "codes/*.npy"),
        ("evaluate/none-cgat/record.json", "evaluate/record.json"),
    ],
)
def test_files_have_kinds(path, kind):
    assert hurt.kind_of(Path(path)) == kind


def test_another_number_is_noticed(tmp_path):
    subject = subjects.Subject("main", [], tmp_path, 1.0)
    (tmp_path / "results.json").write_text(
        '{"records": [{"map": 0.5}], "transfers": [], "sanity": []}'
    )
    expected = subjects.result_of(subject)
    path = tmp_path / "codes" / "none" / "query.npy"
    assert hurt.judge(subject, path, expected, (0, "", "")) == hurt.SAME
    for outcome in [
        (0, "", "Traceback (most recent call last)"),
        (1, "", "main: something"),
        (2, "", "main: something is damaged"),
        (2, "", f"main: {path}: damaged\nmain: {path}: damaged"),
    ]:
        with pytest.raises(hurt.Unexpected):
            hurt.judge(subject, path, expected, outcome)
    refused = (2, "", f"main: {path}: damaged\n")
    assert hurt.judge(subject, path, expected, refused) == hurt.REFUSED
    (tmp_path / "results.json").write_text(
        '{"records": [{"map": 0.6}], "transfers": [], "sanity": []}'
    )
    with pytest.raises(hurt.Unexpected, match="another result"):
        hurt.judge(subject, path, expected, (0, "", ""))
