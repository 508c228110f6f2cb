"""Ending a run: when it is asked to, with everything saved, or when it diverged.

Asked by Ctrl-C, SIGTERM (a cluster's queue) or SIGHUP (a lost connection). The first
signal ends the main thread there and then, or, within ``deferred``, is noted for the
loop to save and end. A thread of its own watches the time, because a compilation or a
program on a device keeps Python's signal handlers waiting. The second signal ends the
process at once: files are written whole or not at all, so what is on disk stays good.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from cgat_jax.errors import Stopped

Started = TypeVar("Started")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE, SAVING_PATIENCE = 9.0, 28.0
"""Seconds from the first signal to the end, whatever runs; the latter where there is
something to save (a cluster kills after 30)."""
_SAME = 2.0  # seconds within which SIGTERM and SIGHUP are one request
PARENT = "CGAT_JAX_PARENT"
"""Environment variable: the process whose end asks this one to stop."""


class StopSignal:
    """The signals of a process; a program makes one and listens."""

    def __init__(self, program: str = ""):
        """Not yet asked; the handlers are installed by ``listen``.

        Args:
            program: its name, for the line that is printed at the end.
        """
        self.program = program
        self.asked = 0  # the signal's number
        self._since = 0.0
        self._deferred = self._saving = self._said = False

    def listen(self, *, patience: float = PATIENCE) -> None:
        """Installs the handlers; to be called in the main thread.

        A signal that was ignored when the process started (nohup) stays so.
        """
        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ask)
        watch = threading.Thread(target=self._watch, args=(reading, patience))
        watch.daemon = True
        watch.start()

    def rest(self) -> None:
        """Ignores signals from now on: what a program had to do is done.

        Python itself would restore their default at its end, which is to be killed.
        """
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def deferred(self, *, saving: bool = False) -> Iterator[None]:
        """Within it a signal is noted, and raised by ``check`` and at the end.

        Args:
            saving: there is something to save, which may take longer.
        """
        before = self._deferred, self._saving
        self._deferred, self._saving = True, saving
        try:
            yield
        finally:
            self._deferred, self._saving = before
        if not self._deferred:
            self.check()

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """Within it, inside of ``deferred``, a signal is raised as elsewhere."""
        self.check()
        before, self._deferred = self._deferred, False
        try:
            yield
        finally:
            self._deferred = before

    def check(self) -> None:
        """Raises ``Stopped`` if a signal came."""
        if self.asked:
            raise Stopped(128 + self.asked)

    def say(self, number: int = 0) -> None:
        """Prints the line with which a stopped program ends, once.

        Args:
            number: of the signal, where it came to another process of the run.
        """
        if self._said:
            return
        self._said = True
        name = signal.Signals(self.asked or number).name
        text = f"{self.program}: stopped by {name}; the same command goes on from here"
        # The terminal may be gone, or closed; the process is to end all the same.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(text, file=sys.stderr, flush=True)

    def _ask(self, number, frame) -> None:
        if self.asked:
            if _is_again(number, self._since):
                os._exit(128 + number)
            return
        self.asked, self._since = number, time.monotonic()
        if not self._deferred:
            raise Stopped(128 + number)

    def _watch(self, reading: int, patience: float) -> None:
        """Ends the process where the main thread does not, and with its parent."""
        parent, first, since = int(os.environ.get(PARENT, 0)), 0, 0.0
        while True:
            for number in _arrived(reading):
                if first and _is_again(number, since):
                    os._exit(128 + number)
                if not first:
                    first, since = number, time.monotonic()
            limit = max(patience, SAVING_PATIENCE if self._saving else 0.0)
            if first and time.monotonic() - since > limit:
                self.asked = first
                self.say()
                os._exit(128 + first)
            if parent and os.getppid() != parent:
                parent = 0
                if not first:
                    os.kill(os.getpid(), signal.SIGTERM)


def _is_again(number: int, since: float) -> bool:
    """Whether a further signal asks again: of the others, groups and sessions get two.

    A queue sends SIGTERM to parent and child; the end of a session, SIGHUP behind it.
    """
    return number == signal.SIGINT or time.monotonic() - since > _SAME


def start_deaf(
    number: int, start: Callable[[], Started]
) -> tuple[Started, list[int], Callable[[int, object], object]]:
    """Starts a program to which a signal is nothing, and which is noted here instead.

    For a signal that a queue sends to all of a job, and that means its first process.

    Args:
        number: the signal.
        start: starts the program, which inherits that it is blocked.

    Returns:
        What ``start`` returned; a list that grows by each signal that comes; and the
        handler that the signal had.
    """
    before = signal.getsignal(number)
    handler = before if callable(before) else lambda number, frame: None
    asked: list[int] = []
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        started = start()
        signal.signal(number, lambda number, frame: asked.append(number))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    return started, asked, handler


def _arrived(reading: int) -> list[int]:
    """Our signals among those that came within half a second."""
    if not select.select([reading], [], [], 0.5)[0]:
        return []
    return [number for number in os.read(reading, 64) if number in SIGNALS]
