"""Folders of many runs: ours or refused, one program at a time, no orphans."""

import errno
import io
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from cgat_jax.config import Config
from cgat_jax.config.settings import to_json
from cgat_jax.errors import ForeignFilesError
from cgat_jax.files import locks, ownership
from cgat_jax.reproduction.launchers import Job
from experiments import study
from experiments.cells import is_root, run_missing
from tests.programs import ROOT, Program

STUDY = ["experiments.study", "--study=tests/tiny_study.py"]
REPRODUCE = ["experiments.reproduce", "--table=4", "--dataset=quickstart"]


def _start(arguments, cwd):
    return Program(*arguments, cwd=cwd)


def _refused(arguments, cwd):
    with _start(arguments, cwd) as process:
        _, error = process.communicate(timeout=120)
    assert process.returncode == 2, error
    assert error.count("\n") == 1, error
    return error


def _bytes_in(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("program", [STUDY, REPRODUCE])
def test_a_foreign_root_keeps_its_bytes(tmp_path, program):
    root = tmp_path / "photos"
    for name in ("summer/beach.jpg", "notes.txt", "quickstart/mine.txt", "table4/a.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine")
    before = _bytes_in(tmp_path)
    for flags in ([], ["--render-only"]):
        error = _refused([*program, f"--workdir={root}", *flags], tmp_path)
        assert "not empty" in error and str(root) in error
        assert _bytes_in(tmp_path) == before


def test_a_foreign_folder_of_a_result_is_refused_before_anything_runs(tmp_path):
    root = tmp_path / "runs"
    ownership.claim_folder(root, "runs")
    (root / "table4").mkdir()
    (root / "table4" / "a.md").write_text("mine")
    before = _bytes_in(tmp_path)
    error = _refused([*REPRODUCE, f"--workdir={root}"], tmp_path)
    assert "not empty" in error and str(root / "table4") in error
    assert _bytes_in(tmp_path) == before


@pytest.mark.parametrize(
    ("code", "said", "more"),
    [
        (2, "a holds another: choose another --workdir", True),
        (2, "out of memory", False),
        (1, "choose another --workdir", False),
    ],
)
def test_a_refused_cell_says_which_folder_to_move(tmp_path, code, said, more):
    program = f"import sys; print({said!r}); sys.exit({code})"
    job = Job("a-seed0", [sys.executable, "-c", program], "")
    (why,) = run_missing("study", [job], tmp_path, 1).values()
    end = f" (or move {tmp_path / 'a-seed0'} away)" if more else ""
    assert why == f"exit code {code}: {said}{end}"


class _Gone(io.StringIO):
    """A pipe without a reader."""

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_cells_run_though_nobody_reads_of_them(tmp_path, monkeypatch):
    def fail():
        raise ValueError("no table")

    job = Job("a-seed0", [sys.executable, "-c", "print(1)"], "")
    monkeypatch.setattr(sys, "stdout", _Gone())
    monkeypatch.setattr(sys, "stderr", _Gone())
    assert run_missing("study", [job], tmp_path, 1, fail) == {}
    assert (tmp_path / "a-seed0" / "log.txt").read_text() == "1\n"


def test_a_second_program_is_told_who_works_there(tmp_path):
    root = tmp_path / "runs"
    ownership.claim_folder(root, "runs")
    with locks.locked(root):
        error = _refused([*STUDY, f"--workdir={root}"], tmp_path)
    assert f"in use by process {os.getpid()} on" in error


@pytest.mark.slow
def test_a_foreign_file_for_the_tables_keeps_its_bytes(tmp_path):
    out = tmp_path / "thesis.md"
    out.write_text("# My thesis\n")
    command = [*STUDY, f"--workdir={tmp_path / 'cells'}", f"--out={out}"]
    assert "was not made by this program" in _refused(command, tmp_path)
    out.write_text(
        "# My thesis\n\nMade by `python -m experiments.study --study=x.py`\n"
    )
    before = out.read_text()
    for flags in ([], ["--render-only"]):
        assert "was not made by this program" in _refused([*command, *flags], tmp_path)
    assert out.read_text() == before and not (tmp_path / "cells").exists()


@pytest.mark.slow
def test_tables_are_written_again_from_any_folder(tmp_path):
    out = tmp_path / "docs" / "table.md"
    command = [*STUDY, f"--workdir={tmp_path / 'cells'}", f"--out={out}"]
    texts = []
    for _ in range(2):
        with _start([*command, "--render-only"], tmp_path) as process:
            _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        texts.append(out.read_text())
    assert texts[0] == texts[1] and "--study=tests/tiny_study.py" in texts[0]
    other = texts[0].replace("tiny_study", "another")  # the page of another study
    out.write_text(other)
    assert "was not made by this program" in _refused(command, tmp_path)
    assert out.read_text() == other


def test_files_to_write_are_new_or_empty_or_our_own(tmp_path):
    mark, path = "# Ours", tmp_path / "out.md"
    ownership.check_out_file(path, mark)
    for content in ("", "# Ours, and more\n"):
        path.write_text(content)
        ownership.check_out_file(path, mark)
    quoted, later = b"It says:\n> # Ours\n", b"a\n" * 5 + b"# Ours\n"
    for content in (
        b"theirs",
        bytes(range(256)),
        b"x" * 9_000 + b"# Ours",
        quoted,
        later,
    ):
        path.write_bytes(content)
        with pytest.raises(ForeignFilesError, match="was not made by this program"):
            ownership.check_out_file(path, mark)
        assert path.read_bytes() == content
    with pytest.raises(ForeignFilesError, match="is no file"):
        ownership.check_out_file(tmp_path, mark)
    with pytest.raises(ForeignFilesError, match="is a file; expected a folder"):
        ownership.check_out_file(path / "below" / "out.md", mark)


def test_without_a_mark_no_content_and_no_link_is_our_own(tmp_path):
    path, link = tmp_path / "out.bin", tmp_path / "link.bin"
    path.write_bytes(b"")
    ownership.check_out_file(path)
    link.symlink_to(path)
    with pytest.raises(ForeignFilesError, match="is a link"):
        ownership.check_out_file(link)
    path.write_bytes(b"theirs")
    with pytest.raises(ForeignFilesError, match="was not made by this program"):
        ownership.check_out_file(path)


def test_every_mark_of_a_file_begins_one_of_its_lines(tmp_path):
    path = tmp_path / "out.md"
    path.write_text("# Results: a\n\nMade by me --study=a.py`.\n")
    ownership.check_out_file(path, "Made by me", "# Results: a\n")
    for marks in (("Made by me", "# Results: b\n"), ("Made by", "# Results\n")):
        with pytest.raises(ForeignFilesError, match="was not made by this program"):
            ownership.check_out_file(path, *marks)


@pytest.mark.parametrize("name", ["ablation", "quickstart"])
def test_the_written_tables_are_their_own_studys(name):
    path = ROOT / "docs" / f"results_{name}.md"
    ownership.check_out_file(path, study.MADE, f"# Results: {name}\n")


def test_a_benchmark_writes_over_no_foreign_file(tmp_path):
    out = tmp_path / "notes.md"
    out.write_text("mine")
    with _start(["benchmarks.step", f"--out={out}"], ROOT) as process:
        _, error = process.communicate(timeout=120)
    assert process.returncode == 2 and "was not made by this program" in error
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["step_cpu", "training_cpu", "attack_steps"])
def test_the_written_reports_of_benchmarks_are_our_own(name):
    module = {"step_cpu": "step_report", "training_cpu": "training"}.get(name, name)
    source = (ROOT / "benchmarks" / f"{module}.py").read_text()
    (title,) = re.findall(r'^TITLE = "(.*)"$', source, flags=re.MULTILINE)
    ownership.check_out_file(ROOT / "docs" / "benchmarks" / f"{name}.md", title)


def test_the_report_of_a_benchmark_names_no_path_of_the_machine():
    from benchmarks.step_report import without_path

    arguments = ["--torch-python", "/opt/x/bin/python", "--out=/a/b.md", "docs/c.md"]
    assert [without_path(argument) for argument in arguments] == [
        "--torch-python",
        "python",
        "--out=b.md",
        "docs/c.md",
    ]


RESULT = {
    "index.html": '<p class="eyebrow">The paper beside this package</p>\n',
    "table.csv": "dataset,loss,bits,defense,attack,weight,paper\n",
    "table.json": '{\n "title": "CgAT, WWW 2023: table 4",\n "rows": []\n}\n',
    "table.md": "# CgAT, WWW 2023: table 4\n",
}


def test_roots_of_earlier_versions_are_known(tmp_path):
    assert is_root(tmp_path)
    for name in (
        "pretrained-seed0/config.json",
        "compiled/x",
        "quickstart/b-seed0/config.json",
        "quickstart/compiled/x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(to_json(Config()))
        assert is_root(tmp_path), name
    for folder in ("table4", "figure1"):
        (tmp_path / folder).mkdir()
        for name, text in RESULT.items():
            assert not is_root(tmp_path)
            (tmp_path / folder / name).write_text(text)
        assert is_root(tmp_path), folder
    foreign = "notes.txt", "photos/a.jpg", "coco/photos/a.jpg", "table5/a.md"
    foreign += (
        "site/config.json",
        "diary/log.txt",
        "coco/x/config.json",
        "coco/compiled/a",
    )
    for name in (*foreign, "table1/table.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        assert not is_root(tmp_path), name
        path.unlink()
        while path.parent != tmp_path:
            path = path.parent
            path.rmdir()
    assert is_root(tmp_path)


def test_a_folder_that_holds_a_folder_named_as_our_cache_is_not_ours(tmp_path):
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled" / "mine.o").write_text("mine")
    assert not is_root(tmp_path)


def _children_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _is_alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_study_that_is_ended_leaves_no_orphan_and_goes_on(tmp_path, number):
    command = [*STUDY, f"--workdir={tmp_path / 'cells'}"]
    with _start(command, tmp_path) as process:
        deadline = time.monotonic() + 600
        while not list(tmp_path.glob("cells/*/config.json")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        (child,) = _children_of(process.pid)
        process.send_signal(number)
        process.communicate(timeout=60)
    deadline = time.monotonic() + 45
    while _is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_alive(child)
    assert process.returncode == (-9 if number == signal.SIGKILL else 143)
    with _start(command, tmp_path) as process:
        output, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert "| AT-self | " in output
