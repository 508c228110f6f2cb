"""What Orbax and its storage print and log about failures that are told in one line."""

import contextlib
import functools
import gc
import logging
import re
import sys
import warnings
from collections.abc import Iterator

from absl import logging as absl_logging

_LOOP_CLOSED = "Event loop is closed"
_NEVER_RETRIEVED = "Future exception was never retrieved"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Orbax's warnings to itself, and the tracebacks that its threads log."""
    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.FATAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        absl_logging.set_verbosity(verbosity)


def reason_of(error: Exception) -> str:
    """What an error says, in one line; of the system's own, that alone."""
    text = " ".join(str(error).split())
    found = re.search(r": ([^:\[\]]+) \[os_error_code", text)
    return found[1] if found else text[:200] or type(error).__name__


def sweep() -> None:
    """Ends without a word what a failure of Orbax has left behind.

    Coroutines that were never awaited, at once; what its storage's threads say when
    they find their event loop closed, whenever they come to it.
    """
    hush_stragglers()
    gc.collect()


@functools.cache
def hush_stragglers() -> None:
    """Drops, from the first failure on, what only a closed event loop can say."""
    unraisable, uncaught = sys.unraisablehook, sys.excepthook

    def is_straggler(error: BaseException | None) -> bool:
        return isinstance(error, RuntimeError) and str(error) == _LOOP_CLOSED

    def on_unraisable(args) -> None:
        if not is_straggler(args.exc_value):
            unraisable(args)

    def on_uncaught(kind, error, trace) -> None:
        if not is_straggler(error):
            uncaught(kind, error, trace)

    sys.unraisablehook, sys.excepthook = on_unraisable, on_uncaught
    logging.getLogger("asyncio").addFilter(
        lambda record: not record.getMessage().startswith(_NEVER_RETRIEVED)
    )
