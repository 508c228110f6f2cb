"""Cells on a real SLURM of one node: ended, killed, begun again, in two tasks."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cgat_jax.files.ownership import claim_folder
from cgat_jax.reproduction.launchers import Job
from cgat_jax.reproduction.slurm import ledger, states, submission
from cgat_jax.reproduction.slurm.submission import Resources
from tests.reproduction import one_node_slurm

ROOT = Path(__file__).parents[2]
why_not = one_node_slurm.why_not()
pytestmark = [
    *(pytest.mark.slurm, pytest.mark.slow),
    pytest.mark.skipif(bool(why_not), reason=why_not),
]
pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
_PROGRAM = """
import os, signal, sys, time
def save(*_):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("begun", os.getpid(), *sys.argv[2:], flush=True)
time.sleep(0 if "SLURM_RESTART_COUNT" in os.environ else int(sys.argv[1]))
print("finished", flush=True)
"""


@pytest.fixture(scope="module")
def slurm():
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a socket's name is short
        with one_node_slurm.running(Path(folder)) as found:
            for name, value in found.items():
                patch.setenv(name, value)
            yield found
            patch.undo()


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "runs"
    claim_folder(root, "runs")
    return root


def _job(name, seconds, needs=""):
    return Job(name, [sys.executable, "-c", _PROGRAM, str(seconds)], needs)


def _wait(is_so, patience=600.0):
    deadline = time.monotonic() + patience
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.3)
    return found


def _log(root, name):
    path = root / name / "log.txt"
    return path.read_text() if path.is_file() else ""


def test_cells_that_end_are_put_back_killed_and_needed(slurm, root):
    jobs = [
        _job("timed", 600),
        _job("requeued", 600),
        _job("killed", 600),
        _job("good", 0),
        Job("bad", [sys.executable, "-c", "raise SystemExit('disk full')"], ""),
        _job("needs bad", 0, "bad"),
        _job("cancelled", 600),
    ]
    names = [job.name for job in jobs]
    resources = Resources(cpus=1, minutes=5)
    assert submission.submit(jobs, root, resources) == {}
    ids = {name: entry.job for name, entry in ledger.read_entries(root).items()}

    def found():
        return states.states_of(names, root)

    for name in ("timed", "requeued", "killed", "cancelled"):
        _wait(lambda name=name: _log(root, name))
    for command in (
        ["scancel", "--signal=USR2", ids["timed"]],
        ["scontrol", "requeue", ids["requeued"]],
        ["scancel", ids["cancelled"]],
    ):
        subprocess.run(command, check=True)
    os.kill(int(_log(root, "killed").split()[1]), signal.SIGKILL)
    assert submission.submit([jobs[0], jobs[1]], root, resources) == {}
    assert ledger.read_entries(root)["timed"].job == ids["timed"]  # it lives: not again
    ended = _wait(
        lambda: {s.state for s in found().values()} == {"done", "failed"} and found()
    )
    for name in ("timed", "requeued"):
        assert ended[name] == ("done", ids[name], "restarts: 1", 0)
        lines = [line.split()[0] for line in _log(root, name).splitlines()]
        assert lines == ["begun", "saved", "begun", "finished"]
    assert ended["good"].code == 0
    assert ended["killed"].code == -9 and "exit code -9" in ended["killed"].why
    assert ended["cancelled"].code == 143
    assert "ended by the queue (CANCELLED)" in ended["cancelled"].why
    assert ended["bad"][2:] == ("exit code 1: disk full", 1)
    assert ended["needs bad"][2:] == ("needs bad, which failed", 1)
    assert not _log(root, "needs bad")
    submission.submit([_job("killed", 0)], root, resources)
    _wait(lambda: found()["killed"].code == 0)
    assert found()["bad"].job == ids["bad"] != found()["killed"].job


def test_a_cell_of_two_tasks_is_begun_by_srun_in_both(slurm, root):
    job = _job("two", 600)
    submission.submit([job], root, Resources(tasks=2, cpus=1, minutes=5))
    tag = ledger.read_entries(root)["two"].tag
    other = root / "cluster" / f"{tag}-0.1.log"
    _wait(lambda: _log(root, "two") and other.is_file() and other.read_text())
    subprocess.run(
        ["scancel", "--signal=USR2", ledger.read_entries(root)["two"].job], check=True
    )
    _wait(lambda: states.states_of(["two"], root)["two"].code == 0)
    for text in (_log(root, "two"), other.read_text()):
        lines = text.splitlines()
        assert lines[0].endswith(" --distributed") and lines[1] == "saved"
        assert lines[2].endswith(" --distributed") and lines[3] == "finished"


_SUBMIT = """
import sys
from pathlib import Path
from cgat_jax.reproduction.launchers import Job
from cgat_jax.reproduction.slurm import submission
root = Path(sys.argv[1])
jobs = [Job(name, [sys.executable, "-c", sys.argv[2], "600"], "") for name in "abc"]
import submitit
print("ready", flush=True)
submission.submit(jobs, root, submission.Resources(cpus=1, minutes=5))
"""


@pytest.mark.long
def test_no_cell_begins_twice_however_often_the_command_is_killed(slurm, root, rng):
    """Killed anywhere between the first file and the last; jobs live on."""

    def submit(seconds):
        command = [sys.executable, "-c", _SUBMIT, str(root), _PROGRAM]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(seconds)
            process.kill()

    def begun():
        return [_log(root, name).count("begun") for name in "abc"]

    for seconds in rng.uniform(0.0, 0.4, size=12):
        submit(seconds)
        assert max(begun()) <= 1
    deadline = time.monotonic() + 600
    while begun() != [1, 1, 1]:  # one without its pickle waits a minute for it
        assert max(begun()) <= 1 and time.monotonic() < deadline
        submit(3.0)
    time.sleep(5.0)
    assert begun() == [1, 1, 1]
    found = states.states_of("abc", root)
    assert {state.state for state in found.values()} == {"running"}


@pytest.mark.long
def test_a_study_on_a_cluster_leaves_comes_back_and_writes_its_table(slurm, tmp_path):
    root = tmp_path / "cells"
    command = [sys.executable, "-m", "experiments.study", f"--workdir={root}"]
    command += ["--study=tests/tiny_study.py", "--launcher=slurm", "--slurm_cpus=1"]

    def run(*flags):
        return subprocess.run(
            [*command, *flags],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=600,
        )

    left = run("--nowait")
    assert left.returncode == 0, left.stderr
    entries = ledger.read_entries(root)
    pretrained = next(name for name in entries if name.startswith("pretrained"))
    _wait(lambda: (root / pretrained / "pretrain").exists())
    subprocess.run(["scontrol", "requeue", entries[pretrained].job], check=True)
    done = run()
    assert done.returncode == 0, done.stderr
    assert ledger.read_entries(root) == entries
    assert done.stdout.count("done: ") == 2 and "missing" not in done.stdout
    assert "2 cells: 2 done" in run("--status").stdout
    assert "in the queue: 0 cells waiting, 0 running" in run().stdout
