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
    for number, state in enumerate(("finished", "half finished")):
        rng = np.random.default_rng(number)
        found = faults.damages_of_run(state, 6, tmp_path, rng)
        assert sum(sum(counts.values()) for counts in found.values()) == 6


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


def test_what_is_on_record_is_not_run_again(tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    ran = []

    def parts(options, folder):
        kills = lambda: ran.append("kills") or {"SIGINT": 3}  # noqa: E731
        damages = lambda: ran.append("damages") or {"a.npy": {hurt.SAME: 2}}  # noqa: E731
        return {"3 kills of main": kills, "2 damages of a finished workdir": damages}

    monkeypatch.setattr(faults, "parts", parts)
    monkeypatch.setattr("sys.argv", ["faults", f"--out={path}"])
    faults.main()
    text = path.read_text()
    assert "| main | 3 | the same bytes |" in text
    assert "| finished | a.npy | 2 | 0 | 0 | 0 | 0 |" in text
    faults.main()
    assert ran == ["kills", "damages"] and path.read_text() == text
