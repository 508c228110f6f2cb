"""Jobs in order, several at a time, failures kept to those who need them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgat_jax.config import Config
from cgat_jax.config.settings import to_json
from cgat_jax.files import ownership
from cgat_jax.reproduction.launchers import Job, run_jobs, start_run
from cgat_jax.training.interrupts import PARENT

ROOT = Path(__file__).parents[2]


class _Fake:
    """A launcher whose jobs end after as many looks as they are told."""

    def __init__(self, codes=None, looks=2, stubborn=()):
        self.codes, self.looks, self.stubborn = codes or {}, looks, stubborn
        self.alive, self.most, self.started, self.stopped = set(), 0, [], []
        self.killed = []

    def __call__(self, job, log):
        self.started.append(job.name)
        self.alive.add(job.name)
        self.most = max(self.most, len(self.alive))
        fake, left = self, [self.looks]

        class Handle:
            def poll(self):
                left[0] -= 1
                if left[0] > 0:
                    return None
                fake.alive.discard(job.name)
                return fake.codes.get(job.name, 0)

            def terminate(self):
                fake.stopped.append(job.name)
                if job.name not in fake.stubborn:
                    left[0] = 2

            def kill(self):
                fake.killed.append(job.name)

        return Handle()


def _run(tmp_path, jobs, launcher, **options):
    return run_jobs(
        jobs,
        lambda job: tmp_path / f"{job.name}.log",
        launcher=launcher,
        pause=0.0,
        **options,
    )


JOBS = [Job("a", [], ""), Job("b", [], "a"), Job("c", [], ""), Job("d", [], "b")]


@pytest.mark.parametrize(("limit", "order"), [(1, "abcd"), (2, "acbd"), (9, "acbd")])
def test_jobs_run_in_order_and_after_what_they_need(tmp_path, limit, order):
    fake = _Fake()
    assert _run(tmp_path, JOBS, fake, limit=limit) == {}
    assert "".join(fake.started) == order
    assert fake.most == min(limit, 2)


def test_a_failure_stops_only_those_who_need_it(tmp_path):
    (tmp_path / "a.log").write_text("fine\nno space left\n\n")
    fake = _Fake({"a": 2})
    failed = _run(tmp_path, JOBS, fake)
    assert fake.started == ["a", "c"]
    assert failed == {
        "a": "exit code 2: no space left",
        "b": "needs a, which failed",
        "d": "needs b, which failed",
    }


def test_those_who_need_a_failure_start_if_it_left_enough(tmp_path):
    fake = _Fake({"a": 2, "c": 1})
    failed = _run(tmp_path, JOBS, fake, suffices=lambda name: name == "a")
    assert fake.started == ["a", "b", "c", "d"]
    assert set(failed) == {"a", "c"}


def test_what_is_needed_and_not_listed_is_finished_already(tmp_path):
    fake = _Fake()
    assert _run(tmp_path, JOBS[1:2], fake) == {} and fake.started == ["b"]


@pytest.mark.parametrize("stubborn", ["", "a"])
def test_an_interrupt_asks_running_jobs_to_stop_and_ends_those_who_do_not(
    tmp_path, stubborn
):
    fake = _Fake(looks=10**9, stubborn=stubborn)
    started = []

    def interrupt(job):
        started.append(job.name)
        if len(started) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, JOBS, fake, limit=2, on_start=interrupt, patience=0.1)
    assert fake.stopped == ["a"] and fake.killed == list(stubborn)
    assert stubborn or fake.alive == set()  # it was waited for


def test_real_processes_write_their_logs(tmp_path):
    jobs = [
        Job("good", [sys.executable, "-c", "print('hello')"], ""),
        Job("bad", [sys.executable, "-c", "raise SystemExit('disk full')"], ""),
    ]
    ended = []
    failed = run_jobs(
        jobs,
        lambda job: tmp_path / job.name / "log.txt",
        limit=2,
        on_end=lambda job, code: ended.append((job.name, code)),
    )
    assert failed == {"bad": "exit code 1: disk full"}
    assert sorted(ended) == [("bad", 1), ("good", 0)]
    assert (tmp_path / "good" / "log.txt").read_text() == "hello\n"


def test_a_job_that_cannot_be_started_stops_no_other(tmp_path):
    def launcher(job, log):
        if job.name == "a":
            raise OSError(28, "No space left on device", str(log))
        return fake(job, log)

    fake = _Fake()
    failed = _run(tmp_path, JOBS, launcher)
    assert fake.started == ["c"]
    assert "not started" in failed["a"] and "No space left" in failed["a"]


def test_a_run_gets_a_folder_of_its_own_before_its_log(tmp_path):
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "log.txt").write_text("my diary")
    (foreign / "photo.jpg").write_bytes(b"mine")
    jobs = [Job(n, [sys.executable, "-c", "print(1)"], "") for n in ("own", "foreign")]
    failed = run_jobs(
        jobs, lambda job: tmp_path / job.name / "log.txt", launcher=start_run
    )
    assert list(failed) == ["foreign"] and "not empty" in failed["foreign"]
    assert (foreign / "log.txt").read_text() == "my diary"
    assert sorted(p.name for p in foreign.iterdir()) == ["log.txt", "photo.jpg"]
    assert ownership.kind_of(own) == "run" and (own / "log.txt").read_text() == "1\n"


@pytest.mark.parametrize("config", [None, "{}", '{"data": {}, "model": {}}'])
def test_a_folder_with_a_log_of_someone_else_keeps_it(tmp_path, config):
    (tmp_path / "a").mkdir()
    log = tmp_path / "a" / "log.txt"
    log.write_text("my diary")
    if config:
        (tmp_path / "a" / "config.json").write_text(config)
    job = Job("a", [sys.executable, "-c", "print(1)"], "")
    failed = run_jobs([job], lambda _: log, launcher=start_run, pause=0.01)
    assert "not empty" in failed["a"] and log.read_text() == "my diary"


def test_what_an_earlier_version_left_of_a_run_is_taken_over(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text(to_json(Config()))
    (tmp_path / "a" / "log.txt").write_text("before\n")
    job = Job("a", [sys.executable, "-c", "print(1)"], "")
    assert not run_jobs([job], lambda _: tmp_path / "a/log.txt", launcher=start_run)
    assert (tmp_path / "a" / "log.txt").read_text() == "before\n1\n"


_CHILD = """
import sys, time
from experiments import cli

def main():
    print("pid", __import__("os").getpid(), flush=True)
    while True:
        time.sleep(0.1)

sys.argv = sys.argv[:1]
cli.run("child", main)
"""
_PARENT = """
import sys
from pathlib import Path
from cgat_jax.reproduction.launchers import Job, run_jobs
from experiments import cli

def main():
    job = Job("a", [sys.executable, "-c", sys.stdin.read()], "")
    run_jobs([job], lambda job: Path(OUT), pause=0.05)

OUT = sys.argv.pop()
cli.run("parent", main)
"""


def _pid_in(log, patience=60.0):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if log.is_file() and (words := log.read_text().split())[:1] == ["pid"]:
            return int(words[1])
        time.sleep(0.05)
    raise AssertionError("the child did not start")


def _is_alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGKILL, -9, ""),
        (signal.SIGINT, 130, "parent: stopped by SIGINT; the same command goes on"),
        (signal.SIGHUP, 129, "parent: stopped by SIGHUP; the same command goes on"),
    ],
)
def test_no_child_outlives_its_parent(tmp_path, number, code, line):
    log = tmp_path / "log.txt"
    environment = {k: v for k, v in os.environ.items() if k != PARENT}
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(log)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    parent.stdin.write(_CHILD)
    parent.stdin.close()
    try:
        child = _pid_in(log)
        parent.send_signal(number)
        error = parent.stderr.read()
        assert parent.wait(60) == code
        assert error.startswith(line) and error.count("\n") == bool(line)
        deadline = time.monotonic() + 30
        while _is_alive(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _is_alive(child)
        assert log.read_text().splitlines()[1:] == [
            "child: stopped by SIGTERM; the same command goes on from here"
        ]
    finally:
        parent.kill()
        parent.wait()
        parent.stderr.close()
