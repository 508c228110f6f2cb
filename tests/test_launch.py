"""Jobs in order, several at a time, failures kept to those who need them."""

import sys

import pytest

from cgat_jax.launch import Job, run_jobs


class _Fake:
    """A launcher whose jobs end after as many looks as they are told."""

    def __init__(self, codes=None, looks=2):
        self.codes, self.looks = codes or {}, looks
        self.alive, self.most, self.started, self.stopped = set(), 0, [], []

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

            def wait(self):
                return 143

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


def test_an_interrupt_asks_running_jobs_to_stop(tmp_path):
    fake = _Fake(looks=10**9)
    started = []

    def interrupt(job):
        started.append(job.name)
        if len(started) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, JOBS, fake, limit=2, on_start=interrupt)
    assert fake.stopped == ["a"]


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
