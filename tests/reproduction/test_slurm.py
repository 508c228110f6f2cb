"""Cells in a queue, with commands of SLURM that say what a test tells them to."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.io import write_sealed
from cgat_jax.files.ownership import claim_folder, kind_of
from cgat_jax.reproduction.launchers import Job, run_jobs
from cgat_jax.reproduction.slurm import ledger, states, submission
from cgat_jax.reproduction.slurm.cell import CellJob
from cgat_jax.reproduction.slurm.ledger import Entry, Note
from cgat_jax.reproduction.slurm.submission import Resources
from experiments import launching
from tests.programs import ROOT, run_program

submitit = pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
_COMMANDS = {
    "squeue": 'cat "$FAKE/queue"; test ! -e "$FAKE/squeue_fails" || '
    '{ echo "Unable to contact slurm controller" >&2; exit 1; }',
    "sacct": 'if test -e "$FAKE/accounts"; then cat "$FAKE/accounts"; else '
    'echo "Slurm accounting storage is disabled" >&2; exit 1; fi',
    "sbatch": 'n=$(($(ls "$FAKE" | grep -c ^script) + 1)); cp "$1" "$FAKE/script$n"; '
    'test ! -e "$FAKE/sbatch_fails" || { echo "sbatch: error: no such partition" >&2; '
    'exit 1; }; echo "Submitted batch job $((10 * n))"',
    "scontrol": 'echo "$@" >> "$FAKE/updates"',
    "srun": "exit 1",
}


class _Slurm:
    """What the commands of a cluster are told to say, and what they were told."""

    def __init__(self, folder):
        self.folder = folder

    def queue(self, root, *jobs):
        """Has the queue hold jobs: (cell, id, state, reason)."""
        entries, lines = ledger.read_entries(root), ["7|other|RUNNING|vm|None"]
        for cell, job, state, reason in jobs:
            lines.append(f"{job}|cgat-{entries[cell].tag}|{state}|n1|{reason}")
        (self.folder / "queue").write_text("\n".join(lines) + "\n")

    def has(self, name, text=""):
        (self.folder / name).write_text(text)

    def scripts(self):
        paths = sorted(self.folder.glob("script*"))
        return [path.read_text() for path in paths]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = tmp_path / "fake"
    folder.mkdir()
    for name, text in _COMMANDS.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / "queue").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    return _Slurm(folder)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "runs"
    claim_folder(root, "runs")
    return root


JOBS = [
    Job("a", ["run", "a"], ""),
    Job("b", ["run", "b"], "a"),
    Job("c", ["run", "c"], ""),
    Job("d", ["run", "d"], "a"),
    Job("e", ["run", "e"], "other"),
]


def _submitted(root, job):
    return submitit.core.utils.DelayedSubmission.load(
        root / "cluster" / f"{job}_submitted.pkl"
    ).function


def test_cells_are_arrays_that_wait_for_what_they_need(slurm, root):
    resources = Resources(
        partition="gpu",
        minutes=90,
        gpus=2,
        cpus=3,
        memory=1.5,
        at_once=2,
        options={"account": "vision"},
    )
    assert submission.submit(JOBS, root, resources) == {}
    first, second = slurm.scripts()
    for script in (first, second):
        for line in (
            "#SBATCH --account=vision",
            "#SBATCH --cpus-per-task=3",
            "#SBATCH --gpus-per-node=2",
            "#SBATCH --mem=1536MB",
            "#SBATCH --partition=gpu",
            "#SBATCH --requeue",
            "#SBATCH --signal=USR2@60",
            "#SBATCH --time=90",
        ):
            assert f"{line}\n" in script
        assert "srun" in script and "--cpus-per-task=3 " in script
    assert "--array=0-2%2" in first and "--dependency" not in first
    assert "--array=0-1%2" in second and "--dependency=afterany:10_0\n" in second
    entries = ledger.read_entries(root)
    assert {name: entry.job for name, entry in entries.items()} == {
        "a": "10_0",
        "c": "10_1",
        "b": "20_0",
        "d": "20_1",
        "e": "10_2",  # what it needs has been done before
    }
    assert _submitted(root, "20_1").job == Job("d", ["run", "d"], "a")
    assert _submitted(root, "10_2").job == Job("e", ["run", "e"], "")


@pytest.mark.parametrize(("nodes", "tasks"), [(2, 1), (1, 2), (2, 4)])
def test_a_cell_of_several_tasks_is_one_distributed_run(slurm, root, nodes, tasks):
    submission.submit(JOBS[:1], root, Resources(nodes=nodes, tasks=tasks))
    (script,) = slurm.scripts()
    assert f"#SBATCH --nodes={nodes}\n" in script
    assert f"#SBATCH --ntasks-per-node={tasks}\n" in script
    assert _submitted(root, "10").job.arguments == ["run", "a", "--distributed"]


def test_a_cell_that_lives_in_the_queue_is_not_submitted_again(slurm, root):
    submission.submit(JOBS[:4], root, Resources())
    slurm.queue(
        root,
        ("a", "10_0", "RUNNING", "None"),
        ("c", "10_1", "FAILED", "NonZeroExitCode"),
        ("b", "20_0", "PENDING", "Dependency"),
        ("d", "20_1", "REQUEUE_HOLD", "launch failed requeued held"),
    )
    submission.submit(JOBS[:4], root, Resources())
    assert len(slurm.scripts()) == 3
    assert ledger.read_entries(root)["c"].job == "30"
    assert ledger.read_entries(root)["a"].job == "10_0"


def test_nothing_is_submitted_while_the_queue_does_not_answer(slurm, root):
    submission.submit(JOBS[:1], root, Resources())
    slurm.has("squeue_fails")
    with pytest.raises(InputError, match="the queue is not known: Unable to contact"):
        submission.submit(JOBS, root, Resources())
    assert len(slurm.scripts()) == 1


def test_a_job_whose_id_was_never_read_is_found_by_its_name(slurm, root):
    """As after a kill, or where sbatch gave up on an answer that came too late."""
    slurm.has("sbatch_fails")
    with pytest.raises(InputError, match="sbatch refused 2 cells.*no such partition"):
        submission.submit(JOBS[:3], root, Resources())
    assert ledger.read_entries(root)["a"].job == ""
    (slurm.folder / "sbatch_fails").unlink()
    slurm.queue(
        root,
        ("a", "10_0", "PENDING", "Resources"),
        ("c", "10_1", "RUNNING", "None"),
    )
    assert submission.submit([JOBS[0], JOBS[2]], root, Resources()) == {}
    assert len(slurm.scripts()) == 1
    found = states.states_of(["a", "c"], root)
    assert found["a"] == ("waiting", "10_0", "Resources", None)
    assert found["c"] == ("running", "10_1", "n1", None)


def test_who_waits_for_a_cell_that_failed_waits_for_its_next_job(slurm, root):
    submission.submit(JOBS[:2], root, Resources())
    slurm.queue(root, ("b", "20", "PENDING", "Dependency"))
    submission.submit(JOBS[:2], root, Resources())
    assert len(slurm.scripts()) == 3
    told = (slurm.folder / "updates").read_text()
    assert told == "update JobId=20 Dependency=afterany:30\n"


def test_a_folder_of_someone_else_keeps_its_cell_out_and_those_that_need_it(
    slurm, root
):
    (root / "a").mkdir()
    (root / "a" / "diary.txt").write_text("mine")
    failed = submission.submit(JOBS, root, Resources())
    assert set(failed) == {"a", "b", "d"} and "not empty" in failed["a"]
    assert failed["b"] == "needs a, which failed"
    assert set(ledger.read_entries(root)) == {"c", "e"}
    ended = run_jobs(
        JOBS[:2],
        lambda job: root / job.name / "log.txt",
        launcher=states.make_launcher(failed, root),
        pause=0.0,
    )
    assert "not empty" in ended["a"] and ended["b"] == "needs a, which failed"


_STATES = [
    # in the queue, in the accounts, its note: state, exit code, why
    (("PENDING", "Priority"), None, None, ("waiting", None, "Priority")),
    (("CONFIGURING", "None"), None, None, ("waiting", None, "n1")),
    (("RUNNING", "None"), None, Note(None, "", 0), ("running", None, "n1")),
    (("COMPLETING", "None"), None, Note(0, "", 0), ("running", None, "n1")),
    (
        ("PENDING", "BeginTime"),
        None,
        Note(143, "exit code 143: main: stopped", 2),
        ("waiting", None, "BeginTime, restarts: 2"),
    ),
    (("COMPLETED", "None"), None, Note(0, "", 0), ("done", 0, "")),
    (("COMPLETED", "None"), None, None, ("done", 0, "")),  # its note is on its way
    (None, None, Note(0, "", 3), ("done", 0, "restarts: 3")),
    (None, None, Note(2, "exit code 2: no data", 0), ("failed", 2, "2: no data")),
    (
        ("FAILED", "NonZeroExitCode"),
        None,
        Note(1, "needs a, which failed", 0),
        ("failed", 1, "needs a, which failed"),
    ),
    (("FAILED", "RaisedSignal:9"), None, Note(None, "", 0), ("failed", 1, "killed")),
    (("FAILED", "NonZeroExitCode"), None, None, ("failed", 1, "it never began")),
    (("TIMEOUT", "TimeLimit"), None, Note(None, "", 0), ("failed", 1, "(TIMEOUT)")),
    (
        ("CANCELLED", "None"),
        None,
        Note(143, "exit code 143: main: stopped", 0),
        ("failed", 143, "main: stopped; ended by the queue (CANCELLED)"),
    ),
    (None, "CANCELLED by 1000", Note(None, "", 0), ("failed", 1, "(CANCELLED)")),
    (None, "PREEMPTED", Note(None, "", 0), ("failed", 1, "queue (PREEMPTED)")),
    (None, "OUT_OF_MEMORY", Note(None, "", 0), ("failed", 1, "(OUT_OF_MEMORY)")),
    (None, "NODE_FAIL", None, ("failed", 1, "queue (NODE_FAIL)")),
    (None, "COMPLETED", None, ("done", 0, "")),
    (None, None, Note(None, "", 0), ("failed", 1, "killed: it left no exit code, and")),
    (None, None, None, ("failed", 1, "never began, and the queue has forgotten it")),
]


@pytest.mark.parametrize(("queued", "accounted", "note", "expected"), _STATES)
def test_how_a_cell_stands(slurm, root, queued, accounted, note, expected):
    submission.submit(JOBS[:1], root, Resources())
    (root / "a" / "log.txt").write_text("step 7\n")
    entry = ledger.read_entries(root)["a"]
    slurm.queue(root, *([("a", "10", *queued)] if queued else []))
    if accounted:
        slurm.has("accounts", f"10|{accounted}\n")
    if note:
        ledger.write_note(ledger.note_path(root, entry.tag, 0, 0), note)
    found = states.states_of(["a", "unknown"], root)
    assert set(found) == {"a"}
    state, job, why, code = found["a"]
    assert (state, job, code) == (expected[0], "10", expected[1])
    assert expected[2] in why if expected[2] else not why
    said_itself = note is not None and note.code is not None
    assert ("last line: step 7" in why) == (state == "failed" and not said_itself)


def test_of_several_processes_the_one_that_failed_says_why(root):
    entry = Entry("t", 0, "1")
    for rank, note in enumerate([Note(None, "", 0), Note(3, "not finite", 0)]):
        ledger.write_note(ledger.note_path(root, "t", 0, rank), note)
    assert ledger.read_note(root, entry) == (3, "not finite", 0)
    assert ledger.read_note(root, Entry("t", 1, "1")) is None


def test_a_damaged_note_is_none_and_damaged_jobs_are_refused(slurm, root):
    submission.submit(JOBS[:1], root, Resources())
    tag = ledger.read_entries(root)["a"].tag
    ledger.note_path(root, tag, 0, 0).write_text('{"code": 0, "sha256": "1"}')
    assert states.states_of(["a"], root)["a"].state == "failed"
    path = root / "cluster" / "jobs.json"
    path.write_text(path.read_text().replace('"index": 0', '"index": 1'))
    for call in (
        lambda: submission.submit(JOBS, root, Resources()),
        lambda: states.states_of(["a"], root),
    ):
        with pytest.raises(DamagedFileError, match="which cells are in the queue"):
            call()
    write_sealed(path, {"cells": {"a": {"tag": "t"}}})
    with pytest.raises(DamagedFileError, match="which cells are in the queue"):
        ledger.read_entries(root)
    assert len(slurm.scripts()) == 1


def test_who_waits_hears_of_each_end_and_who_leaves_stops_nothing(slurm, root):
    submission.submit(JOBS[:3], root, Resources())
    entries, ended = ledger.read_entries(root), []
    slurm.queue(root, ("a", "10_0", "RUNNING", "None"), ("c", "10_1", "PENDING", ""))

    def end(job):
        """The queue goes on whenever a cell is waited for."""
        ended.append(job.name)
        for name, code in (("a", 0), ("c", 2)):
            path = ledger.note_path(root, entries[name].tag, entries[name].index, 0)
            ledger.write_note(path, Note(code, "exit code 2: no data", 0))
        slurm.queue(root)
        if job.name == "b":
            raise KeyboardInterrupt

    def wait(**options):
        return run_jobs(
            JOBS[:3],
            lambda job: root / job.name / "log.txt",
            limit=3,
            launcher=states.make_launcher({}, root, every=0.05),
            pause=0.01,
            patience=0.0,
            **options,
        )

    with pytest.raises(KeyboardInterrupt):
        wait(on_start=end)
    assert ended == ["a", "c", "b"]
    assert len(slurm.scripts()) == 2
    path = ledger.note_path(root, entries["b"].tag, 0, 0)
    ledger.write_note(path, Note(0, "", 0))
    assert set(wait()) == {"c"}


def test_a_queue_that_is_restarted_is_waited_for(slurm, root):
    submission.submit(JOBS[:1], root, Resources())
    slurm.has("squeue_fails")
    handle = states.make_launcher({}, root, every=1e-6)(JOBS[0], root / "log.txt")
    assert handle.poll() is None
    (slurm.folder / "squeue_fails").unlink()
    time.sleep(0.01)
    assert handle.poll() == 1


@pytest.fixture
def waits(monkeypatch):
    """As with the flags ``--launcher=slurm --wait``."""
    monkeypatch.setattr(launching, "_LAUNCHER", SimpleNamespace(value="slurm"))
    monkeypatch.setattr(launching, "_WAIT", SimpleNamespace(value=True))
    monkeypatch.setattr(launching, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(launching, "_resources", Resources)


def test_a_queue_that_does_not_answer_loses_no_reason(
    slurm, root, waits, monkeypatch, capsys
):
    def fail(names, root):
        raise InputError("squeue failed")

    monkeypatch.setattr(states, "states_of", fail)
    failed = launching.run_missing("study", JOBS[:2], root)
    assert failed["b"] == "needs a, which failed" and "exit code 1" in failed["a"]
    assert capsys.readouterr().err == "study: squeue failed\n" * 2


def test_a_cell_that_ended_well_with_less_than_is_asked_for_is_named(
    slurm, root, waits
):
    slurm.has("accounts", "10|COMPLETED\n20|COMPLETED\n")
    job = JOBS[0]
    assert launching.run_missing("study", [job], root, left=lambda: []) == {}
    failed = launching.run_missing("study", [job], root, left=lambda: [job])
    assert set(failed) == {"a"} and "queued with other settings" in failed["a"]


def _cell(root, job, tag="t"):
    ledger.write_entries(root, {job.name: Entry("t", 0, "1")})
    return CellJob(job, root, tag, 0)


def test_a_job_that_is_not_the_cells_latest_runs_nothing(root, caplog):
    claim_folder(root / "cluster", "queue")
    _cell(root, Job("a", ["/no/such/program"], ""), tag="older")()
    assert "submitted again since: not run" in caplog.text
    assert ledger.read_note(root, Entry("older", 0, "")) is None


def test_a_cell_whose_need_failed_says_so_and_runs_if_it_is_trained(root):
    claim_folder(root / "cluster", "queue")
    job = Job("b", [sys.executable, "-c", "raise SystemExit('disk full')"], "a")
    with pytest.raises(RuntimeError, match="needs a, which failed"):
        _cell(root, job)()
    assert ledger.read_note(root, Entry("t", 0, "")).why == "needs a, which failed"
    assert not (root / "b").exists()
    (root / "a" / "evaluate" / "x").mkdir(parents=True)
    (root / "a" / "evaluate" / "x" / "record.json").write_text("{}")
    with pytest.raises(RuntimeError, match="exit code 1: disk full"):
        _cell(root, job)()
    assert ledger.read_note(root, Entry("t", 0, ""))[:2] == (
        1,
        "exit code 1: disk full",
    )
    assert (root / "b" / "log.txt").read_text() == "disk full\n"
    assert kind_of(root / "b") == "run"  # it was moved away since it was submitted


def test_a_cell_that_cannot_be_started_says_so_and_leaves_the_folder(root):
    claim_folder(root / "cluster", "queue")
    (root / "b").mkdir()
    (root / "b" / "diary.txt").write_text("mine")
    for name, said in (("a", "No such file.*/no/such/program"), ("b", "not empty")):
        job = Job(name, ["/no/such/program"], "")
        with pytest.raises(RuntimeError, match=f"not started: .*{said}"):
            _cell(root, job)()
        note = ledger.read_note(root, Entry("t", 0, ""))
        assert note.code == 1 and note.why.startswith("not started: ")
    assert [path.name for path in (root / "b").iterdir()] == ["diary.txt"]
    assert signal.SIGUSR2 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


_NODE = """
import signal, sys
from pathlib import Path
from cgat_jax.reproduction.launchers import Job
from cgat_jax.reproduction.slurm.cell import CellJob
from tests.programs import ROOT, run_program

def begin_again(number, frame):
    print("into the queue", flush=True)
    if sys.argv[3] == "refused":
        raise RuntimeError("timed-out too many times")
    sys.exit(7)

signal.signal(signal.SIGUSR2, begin_again)
job = Job("a", [sys.executable, "-c", sys.argv[2]], "")
CellJob(job, Path(sys.argv[1]), "t", 0)()
"""
_PROGRAM = """
import signal, sys, time
def save(*_):
    print("saved", flush=True)
    sys.exit({code})
signal.signal(signal.SIGTERM, save)
print("begun", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("how", "code", "ends", "note", "why"),
    [
        ("accepted", 143, 7, None, "ended without a word"),
        ("refused", 143, 1, 143, "did not begin it again: timed-out too many times"),
        ("accepted", 0, 0, 0, ""),  # it had just finished
        ("accepted", 3, 1, 3, "exit code 3: saved"),  # no matter of time
    ],
)
def test_when_its_time_is_up_a_cell_saves_and_is_begun_again(
    root, how, code, ends, note, why
):
    """The signal reaches the program as well, as everything that a job runs."""
    claim_folder(root / "cluster", "queue")
    ledger.write_entries(root, {"a": Entry("t", 0, "1")})
    program = _PROGRAM.format(code=code)
    node = subprocess.Popen(
        [sys.executable, "-c", _NODE, str(root), program, how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, deadline = root / "a" / "log.txt", time.monotonic() + 60
    while not (log.is_file() and log.read_text() == "begun\n"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    for pid in [*map(int, children), node.pid]:
        os.kill(pid, signal.SIGUSR2)
    out, _ = node.communicate(timeout=60)
    assert node.returncode == ends
    assert log.read_text() == "begun\nsaved\n"
    assert out == ("into the queue\n" if code == 143 else "")
    left = ledger.read_note(root, Entry("t", 0, "1"))
    assert left.code == note and why in left.why


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("job_name", "'job-name' is set by the launcher"),
        ("chdir", "'chdir' is set by the launcher"),
        ("ntasks", "'ntasks' is set by the launcher"),
        ("nodes", "'nodes' has a flag here: --slurm_nodes"),
        ("ntasks_per_node", "'ntasks-per-node' has a flag here: --slurm_tasks"),
        ("time", "'time' has a flag here: --slurm_time"),
    ],
)
def test_options_that_are_the_launchers_are_refused(slurm, option, said):
    submission.check_resources(Resources(options={"mail_type": "END"}))
    with pytest.raises(InputError, match=said):
        submission.check_resources(Resources(options={option: "2"}))


def test_an_option_may_say_more_than_its_flag(slurm):
    """All memory of a node, or a kind of GPU; but not beside the flag."""
    for option, value in {"mem": "0", "gpus_per_node": "a100:2"}.items():
        submission.check_resources(Resources(options={option: value}))
        with pytest.raises(InputError, match="has a flag here"):
            both = Resources(options={option: value}, gpus=1, memory=2.0)
            submission.check_resources(both)


def test_without_submitit_or_slurm_one_line_says_what_is_missing(slurm, monkeypatch):
    submission.check_resources(Resources())
    with pytest.raises(InputError, match="'dependency' is set by the launcher"):
        submission.check_resources(Resources(options={"dependency": "singleton"}))
    (slurm.folder / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(slurm.folder))
    with pytest.raises(InputError, match="sbatch and srun are not there"):
        submission.check_resources(Resources())
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"needs submitit: pip install .*\[slurm\]"):
        submission.check_resources(Resources())


def _study(root, *flags):
    given = [f"--workdir={root}", "--study=tests/tiny_study.py", *flags]
    return run_program("experiments.study", *given)


@pytest.mark.long
def test_the_command_leaves_comes_back_and_says_how_cells_stand(slurm, tmp_path):
    root = tmp_path / "cells"
    launch = ["--launcher=slurm", "--nowait", "--slurm_tasks=2"]
    assert "2 not started" in _study(root, "--status").stdout
    assert not root.exists()
    done = _study(root, *launch)
    assert done.returncode == 0, done.stderr
    pretrained, defended = sorted(ledger.read_entries(root), reverse=True)
    slurm.queue(
        root,
        (pretrained, "10", "RUNNING", "None"),
        (defended, "20", "PENDING", "Dependency"),
    )
    again = _study(root, *launch)
    text = "in the queue: 1 cells waiting, 1 running (jobs 10, 20)"
    assert again.returncode == 0 and text in again.stdout
    assert len(slurm.scripts()) == 2
    status = _study(root, "--status").stdout
    assert f"running: {pretrained} (job 10: n1)" in status
    assert f"waiting: {defended} (job 20: Dependency)" in status
    assert "2 cells: 1 running, 1 waiting" in status
    local = _study(root)
    assert local.returncode == 2
    assert f"{root / pretrained} is running in the queue (job 10: n1)" in local.stderr
    slurm.has("squeue_fails")
    local = _study(root)
    assert local.returncode == 2 and "move that folder away" in local.stderr
    arguments = _submitted(root, "20").job.arguments
    assert arguments[1:3] == ["-m", "experiments.main"]
    assert arguments[-1] == "--distributed"
    sealed = json.loads((root / "cluster" / "jobs.json").read_text())
    assert len(sealed["sha256"]) == 64
    for flags, said in (
        (["--slurm_option=account"], "expected name=value"),
        (["--launcher=pbs"], "launcher"),
    ):
        refused = _study(root, "--launcher=slurm", *flags)
        assert refused.returncode == 2 and said in refused.stderr
