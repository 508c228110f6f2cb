"""Asked to stop, a process ends in time, with one line and the shell's exit code."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
HEAD = """
import sys, time
from cgat_jax.errors import Stopped
from cgat_jax.training.interrupts import StopSignal
stop = StopSignal("program")
stop.listen(patience={patience})
try:
{body}
except Stopped as stopped:
    stop.say()
    sys.exit(stopped.code)
"""


def _start(body, patience=0.5, *, ignoring=False, stdin=None):
    script = HEAD.format(patience=patience, body=textwrap.indent(body, "    "))
    command = [sys.executable, "-c", script]
    if ignoring:  # as nohup does
        command = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *command]
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def _end(process, code, saved="", typed=None):
    out, errors = process.communicate(typed, timeout=60)
    assert process.returncode == code, errors
    assert out == saved
    name = signal.Signals(code - 128).name
    line = f"program: stopped by {name}; the same command goes on from here\n"
    assert errors == line


@pytest.mark.parametrize(("number", "code"), CODES.items())
def test_a_signal_ends_what_runs_with_one_line(number, code):
    process = _start("print('ready', flush=True)\ntime.sleep(60)")
    process.send_signal(number)
    _end(process, code)


LOOP = """
with stop.deferred(saving=True):
    print('ready', flush=True)
    while not stop.asked:
        time.sleep(0.01)
    print('saved', flush=True)
    stop.check()
"""


@pytest.mark.parametrize(("number", "code"), CODES.items())
def test_a_loop_saves_first(number, code):
    process = _start(LOOP)
    process.send_signal(number)
    _end(process, code, "saved\n")


@pytest.mark.parametrize("number", CODES)
def test_a_signal_at_the_end_of_a_finished_program_changes_nothing(number):
    body = "stop.rest()\nprint('ready', flush=True)\nsys.stdin.readline()\n"
    process = _start(body + "print('done', flush=True)", stdin=subprocess.PIPE)
    process.send_signal(number)
    out, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, out, errors) == (0, "done\n", "")


def test_what_is_noted_is_raised_at_the_end_of_what_defers():
    body = LOOP.replace("saving=True", "").replace("stop.check()", "pass")
    process = _start(body + "print('never', flush=True)", patience=30.0)
    process.send_signal(signal.SIGTERM)
    _end(process, 143, "saved\n")


def test_within_what_defers_a_part_may_be_cut_off():
    body = "with stop.deferred():\n    with stop.raised():\n"
    body += "        print('ready', flush=True)\n        time.sleep(60)"
    process = _start(body, patience=30.0)
    process.send_signal(signal.SIGTERM)
    _end(process, 143)


# A thread of C that holds the main thread: Python's own handlers do not run.
STUCK = """
import ctypes
with stop.deferred():
    print('ready', flush=True)
    ctypes.CDLL(None).sleep(60)
"""


def test_a_main_thread_that_does_not_come_back_is_ended():
    process = _start(STUCK.replace(".sleep(60)", ".pause()") + "    time.sleep(60)")
    process.send_signal(signal.SIGTERM)
    _end(process, 143)


def test_it_is_ended_though_nobody_reads_its_line():
    process = _start(STUCK.replace(".sleep(60)", ".pause()") + "    time.sleep(60)")
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    process.stdout.close()


def _asked_and_then(wait):
    """The loop, which says that it is asked and waits before it saves."""
    save = "    print('saved', flush=True)"
    return LOOP.replace(save, f"    print('asked', flush=True)\n    {wait}\n{save}")


def test_a_second_signal_ends_at_once():
    process = _start(_asked_and_then("time.sleep(60)"), patience=600.0)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and out == errors == ""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_a_group_that_comes_twice_is_one(second):
    """A queue signals parent and child, and the parent its child once more.

    The end of a session is SIGTERM and at once SIGHUP.
    """
    body = _asked_and_then("sys.stdin.readline()")
    process = _start(body, stdin=subprocess.PIPE)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(second)
    _end(process, 143, "saved\n", "\n")


def test_hangups_that_are_ignored_stay_ignored():
    process = _start(LOOP, ignoring=True)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _end(process, 143, "saved\n")


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {script!r}],
    env=os.environ | {{"CGAT_JAX_PARENT": str(os.getpid())}}, stdout=sys.stdout)
time.sleep(60)
"""


def test_a_process_ends_with_its_parent(tmp_path):
    done = tmp_path / "saved"
    body = LOOP.replace("'ready'", "os.getpid()").replace(
        "print('saved', flush=True)", f"open({str(done)!r}, 'w').close()"
    )
    script = "import os\n" + HEAD.format(
        patience=5.0, body=textwrap.indent(body, "    ")
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(script=script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert int(parent.stdout.readline()) != parent.pid
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists()
