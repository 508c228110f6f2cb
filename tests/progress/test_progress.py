"""What is shown of a run: by an injected clock, in a terminal and in a log file."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest

from cgat_jax.progress import Overall, Screen, duration
from cgat_jax.progress.screen import QUIET_SECONDS
from tests.runs import ROOT


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def screen(log, clock):
    return Screen(log, clock)


def test_the_time_left_goes_by_what_was_done_since_the_first_step(clock):
    """15 are done while programs are compiled; then 1 a second, and 250 are left."""
    overall = Overall({"pretrain": 100.0, "defend": 300.0}, clock)
    with overall.stage("pretrain"):
        clock.now += 500  # programs are compiled
        overall.add(15.0)
        assert overall.seconds_left is None
        clock.now += 85
        overall.add(85.0)
        assert overall.seconds_left == pytest.approx(300.0)
    with overall.stage("defend"):
        clock.now += 50
        overall.add(50.0)
        assert overall.seconds_left == pytest.approx(250.0)
        assert str(overall) == "stage 2 of 2, defend: 37 %, about 4 min left"
        assert overall.forecast == "about 4 min from here: defend 4 min"


def test_a_minute_is_less_than_a_minute_until_it_is_over(clock):
    overall = Overall({"evaluate": 100.0}, clock)
    with overall.stage("evaluate"):
        for _ in range(2):
            clock.now += 30
            overall.add(30.0)
        assert str(overall).endswith("60 %, less than a minute left")
        clock.now += 59
        assert str(overall).endswith("60 %, less than a minute left")
        clock.now += 2  # what runs takes longer than what was before
        assert str(overall).endswith("60 %, almost done")
        overall.add(1.0)  # slow as it is, there is more than a minute to go
        assert "about 2 min left" in str(overall)


def test_what_is_done_at_one_stroke_tells_a_time_as_well(clock):
    """Attacks of one batch each: compiling is part of all that is known."""
    overall = Overall({"evaluate": 1_000.0}, clock)
    with overall.stage("evaluate"):
        for _ in range(3):
            overall.begin()
            clock.now += 20
            overall.add(20.0)
        assert overall.seconds_left == pytest.approx(940.0)
        overall.begin()
        clock.now += 500
        overall.add(20.0)
        clock.now += 40
        overall.add(20.0)
        assert overall.seconds_left == pytest.approx(2 * 900.0)


def test_what_was_there_already_counts_at_once_and_not_as_work(clock):
    overall = Overall({"pretrain": 1_000.0, "defend": 100.0, "evaluate": 100.0}, clock)
    with overall.stage("pretrain"):
        pass
    assert overall.done == 1_000.0 and overall.seconds_left is None
    with overall.stage("defend"):
        overall.add(0.0)
        clock.now += 10
        overall.add(50.0)
        assert overall.seconds_left == pytest.approx(150 / 50 * 10)
    with overall.stage("evaluate"):
        assert overall.done == 1_100.0


def test_what_costs_nothing_tells_nothing_of_the_rest(clock):
    """As prototypes, which no image passes a network for: ten minutes of them."""
    overall = Overall({"evaluate": 1_000.0}, clock)
    with overall.stage("evaluate"):
        overall.begin()
        for _ in range(10):
            clock.now += 5
            overall.add(50.0)
        left = overall.seconds_left
        with overall.part(0.0):
            overall.begin()
            for _ in range(600):
                clock.now += 1
                overall.add(0.0)
        assert overall.seconds_left == left == pytest.approx(50.0)


def test_no_part_does_more_than_it_was_to_cost(clock):
    overall = Overall({"evaluate": 100.0}, clock)
    with overall.stage("evaluate"):
        with overall.part(30.0):
            overall.add(50.0)
            assert overall.done == 30.0
        with overall.part(500.0), overall.part(40.0):
            pass
        assert overall.done == 100.0


def test_a_stage_that_is_skipped_is_done(clock):
    overall = Overall({"backbone": 10.0, "pretrain": 20.0}, clock)
    with overall.stage("pretrain"):
        assert overall.done == 10.0


def test_a_part_that_fails_is_not_done(clock):
    overall = Overall({"evaluate": 100.0}, clock)
    with pytest.raises(KeyError), overall.stage("evaluate"):
        raise KeyError
    assert overall.done == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "10 s"),
        (54, "50 s"),
        (55, "1 min"),
        (3_599, "1 h"),
        (86_400, "1 day"),
        (93_600, "1 day 2 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def _run(screen, clock):
    with screen.run({"pretrain": 100.0, "evaluate": 300.0}):
        with screen.stage("pretrain"), screen.bar("steps", 10, unit="steps") as bar:
            for _ in range(10):
                clock.now += 10
                bar.note("loss 0.5")
                bar.update()
        with screen.stage("evaluate"), screen.part("cgat"):
            with screen.part("worst_case", 200.0):
                for name in ("apgd", "apgd, restart 1"):
                    with screen.part(cost=100.0), screen.bar(name, 5) as bar:
                        for _ in range(5):
                            clock.now += 20
                            bar.update()
            with screen.part(cost=100.0):
                pass  # was measured before


def test_a_log_has_a_line_a_part_and_one_every_thirty_seconds(screen, log, clock):
    _run(screen, clock)
    first, second = "stage 1 of 2, pretrain:", "stage 2 of 2, evaluate:"
    ensemble = "cgat: worst_case, apgd"
    assert log.getvalue().splitlines() == [
        f"{first} 0 %; steps",
        "about 6 min from here: pretrain 1 min, evaluate 5 min",
        f"{first} 7 %, about 6 min left; steps, 3 of 10 steps, loss 0.5",
        f"{first} 15 %, about 6 min left; steps, 6 of 10 steps, loss 0.5",
        f"{first} 22 %, about 5 min left; steps, 9 of 10 steps, loss 0.5",
        f"{second} 25 %, about 5 min left; {ensemble}",
        f"{second} 35 %, about 4 min left; {ensemble}, 2 of 5",
        f"{second} 45 %, about 4 min left; {ensemble}, 4 of 5",
        f"{second} 50 %, about 3 min left; {ensemble}, restart 1",
        f"{second} 60 %, about 3 min left; {ensemble}, restart 1, 2 of 5",
        f"{second} 70 %, about 2 min left; {ensemble}, restart 1, 4 of 5",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log.getvalue())


def test_a_run_that_goes_on_starts_where_it_stopped(screen, log, clock):
    with screen.run({"pretrain": 100.0, "defend": 100.0}):
        with screen.stage("pretrain"):
            pass
        with screen.stage("defend"), screen.bar("steps", 10, done=5) as bar:
            bar.update()
    assert log.getvalue() == "stage 2 of 2, defend: 75 %; steps\n"


def test_bars_within_a_bar_are_neither_shown_nor_counted_twice(screen, log, clock):
    with screen.run({"evaluate": 100.0}), screen.stage("evaluate"):
        with screen.part("cgat"), screen.bar("sanity", 10) as outer:
            for _ in range(5):
                clock.now += QUIET_SECONDS
                with screen.part(cost=70.0), screen.bar("inner", 10) as inner:
                    inner.update(10)
                outer.update()
        assert screen._overall.done == 50.0
    assert "inner" not in log.getvalue() and "cgat: sanity, 5 of" in log.getvalue()


def test_without_a_run_a_bar_of_a_log_is_silent_for_its_first_seconds(
    screen, log, clock
):
    for _ in screen.watched(range(3), "index", 3, unit="img"):
        clock.now += 9
    assert log.getvalue() == ""
    with screen.bar("index", 100, unit="img") as bar:
        clock.now += QUIET_SECONDS
        bar.update(40)
    assert log.getvalue() == "index, 40 of 100 img\n"


def test_other_processes_show_nothing(screen, log, clock):
    with screen.run({"pretrain": 100.0}, shown=False), screen.stage("pretrain"):
        with screen.bar("steps", 10, shown=False) as bar:
            clock.now += 100
            bar.update(10)
    assert log.getvalue() == ""


class Gone(io.StringIO):
    """A pipe without a reader, or a closed file."""

    def __init__(self, error, terminal):
        super().__init__()
        self.error, self.terminal, self.tried = error, terminal, 0

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.tried += 1
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O on closed file")])
@pytest.mark.parametrize("terminal", [True, False])
def test_what_cannot_be_written_is_tried_once_and_ends_nothing(clock, error, terminal):
    stream = Gone(error, terminal)
    _run(Screen(stream, clock), clock)
    assert stream.tried == 1


def test_without_a_stream_nothing_is_shown(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    _run(Screen(clock=clock), clock)


TERMINAL = """
import time
from cgat_jax import progress

with progress.run({"pretrain": 10.0, "evaluate": 10.0}):
    with progress.stage("pretrain"):
        for _ in progress.watched(range(8), "steps", 8):
            time.sleep(0.15)
    with progress.stage("evaluate"), progress.part("cgat"):
        with progress.part(cost=10.0):
            for _ in progress.watched(range(1), "noise", 1):
                pass
print("end")
"""


def test_a_terminal_has_two_lines_and_nothing_is_left_of_them():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL],
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
    )
    os.close(theirs)
    found = []

    def read():
        while True:
            try:
                chunk = os.read(ours, 4_096)
            except OSError:  # the other end is closed
                return
            if not chunk:
                return
            found.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait() == 0
    reader.join()
    os.close(ours)
    text = b"".join(found).decode()
    assert "stage 1 of 2, pretrain" in text and "steps: " in text
    assert "noise" not in text  # it was too short to be seen
    lines = _screen_of(text)
    assert lines == ["end"]


def test_a_terminal_without_a_size_gets_lines():
    ours, theirs = pty.openpty()  # of 0 rows and 0 columns, until somebody says more
    code = TERMINAL.replace("range(8), ", "range(1), ")
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, cwd=ROOT
    )
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(ours, 4_096):
            text += chunk
    assert process.wait() == 0
    os.close(ours)
    lines = text.decode().split("\r\n")
    assert lines[0].startswith("stage 1 of 2, pretrain") and "\r" not in lines[0]
    assert lines[1].startswith("stage 2 of 2, evaluate")


def _screen_of(text):
    """The rows of a terminal that are not empty after all of it was written."""
    rows, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|.|\n|\r", text):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif token == "\x1b[A":
            row = max(row - 1, 0)
        elif not token.startswith("\x1b"):
            line = rows[row].ljust(column)
            rows[row] = line[:column] + token + line[column + 1 :]
            column += 1
    return [line.strip() for line in rows if line.strip()]
