"""A few of the faults of ``python -m tests.faults`` in every run of the tests."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults import __main__ as faults
from tests.faults import hurt, subjects


@pytest.mark.slow
def test_preparing_survives_kills_and_stops(tmp_path):
    counts = faults.kills_of("prepare", 4, tmp_path, (1,))
    assert sum(map(faults.total, counts)) == 4


@pytest.mark.long
@pytest.mark.parametrize("program", ["main", "reproduce"])
def test_runs_survive_kills_and_stops(tmp_path, program):
    counts = faults.kills_of(program, 6, tmp_path, (2,))
    assert sum(map(faults.total, counts)) == 6


@pytest.mark.long
def test_a_damaged_run_ends_the_same_or_is_refused_by_name(tmp_path):
    for number, state in enumerate(("finished", "half finished")):
        found = faults.damages_of_run(state, 6, tmp_path, (number,))
        assert sum(map(faults.total, found)) == 6


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


def test_an_end_without_a_word_and_a_result_is_noticed(tmp_path):
    subject = subjects.Subject("main", [], tmp_path, 1.0)

    def end():
        process = subprocess.Popen(
            ["true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.wait()
        hurt._end(process, signal.SIGTERM, subject)

    with pytest.raises(hurt.Unexpected, match="main, SIGTERM: 0 after"):
        end()
    (tmp_path / "results.json").write_text("{}")
    end()


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
    aside = tmp_path / "codes" / "none.damaged-1" / "query.npy"
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"as it was")
    assert hurt.judge(subject, path, expected, (0, "", "")) == hurt.ASIDE
    shutil.rmtree(tmp_path / "codes")
    (tmp_path / "results.json").write_text(
        '{"records": [{"map": 0.6}], "transfers": [], "sanity": []}'
    )
    with pytest.raises(hurt.Unexpected, match="another result"):
        hurt.judge(subject, path, expected, (0, "", ""))


def test_what_is_on_record_is_not_run_again(tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    ran = []

    def kills(done):
        for number in range(done, 3):
            ran.append(f"kill {number}")
            yield {"SIGINT": 1}

    def damages(done):
        for number in range(done, 3):
            if number == 1 and "cut off" not in ran:
                ran.append("cut off")
                raise KeyboardInterrupt
            ran.append(f"damage {number}")
            yield {"a.npy": {hurt.SAME: 1}}

    def parts(options, folder):
        there = {"3 kills of main": (3, kills)}
        return there | {"3 damages of a finished workdir": (3, damages)}

    monkeypatch.setattr(faults, "parts", parts)
    monkeypatch.setattr("sys.argv", ["faults", f"--out={path}"])
    with pytest.raises(KeyboardInterrupt):
        faults.main()
    faults.main()
    text = path.read_text()
    assert "| main | 3 | the same bytes |" in text
    assert "| finished | a.npy | 3 | 0 | 0 | 0 | 0 |" in text
    faults.main()
    assert ran == [
        *(f"kill {number}" for number in range(3)),
        *("damage 0", "cut off", "damage 1", "damage 2"),
    ]
    assert path.read_text() == text
