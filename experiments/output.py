"""What programs print, which may lose its reader."""

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Any, TextIO


class Output:
    """Standard output that is silent once its reader is gone (``| head``, a terminal).

    What is done is done then, and keeps its exit code; a full disk stays an error.
    """

    def __init__(self, stream: TextIO):
        """Around another stream."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """As the stream's."""
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Writes it where it is read."""
        self._try(lambda: self._stream.write(text))

    def flush(self) -> None:
        """As ``write``."""
        self._try(self._stream.flush)

    def _try(self, do: Callable[[], Any]) -> None:
        try:
            do()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            write_nowhere(self._stream)


def write_nowhere(stream: TextIO) -> None:
    """Lets a stream forget what it could not write, which Python tries once more."""
    with contextlib.suppress(OSError, ValueError):  # it has no file below it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
