"""Signals that come while a program still imports its modules, which takes seconds."""

import os
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def listen() -> None:
    """Ends the process with one line at the first signal: nothing has begun yet.

    A program's own handlers take over; a signal that was ignored (nohup) stays so.
    """
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


def _end(number, frame) -> None:
    name = signal.Signals(number).name
    module = next((a for a in sys.orig_argv if a.startswith("experiments.")), "")
    program = module.partition(".")[2] or "experiments"
    text = f"{program}: stopped by {name} before it began\n"
    os.write(2, text.encode())
    os._exit(128 + number)
