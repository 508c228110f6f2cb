"""Ending a run: when it is asked to, with everything saved, or when it diverged."""

import signal

EXIT_STOPPED = 143


class Stopped(SystemExit):
    """The run was asked to stop (SIGTERM) and has saved what it had."""


class NonFiniteError(ArithmeticError):
    """Training met a number that is not finite; the message says which and where."""


class StopSignal:
    """Remembers a SIGTERM, so that the loop can end at a step's end."""

    def __init__(self):
        """Not yet asked; the handler is installed by ``listen``."""
        self.asked = False

    def listen(self) -> None:
        """Installs the handler; to be called in the main thread."""
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number, frame):
        self.asked = True

    def check(self) -> None:
        """Raises ``Stopped`` if a SIGTERM came."""
        if self.asked:
            raise Stopped(EXIT_STOPPED)
