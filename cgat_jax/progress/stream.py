"""A stream for progress, which ends nothing when it cannot be written to."""

from collections.abc import Callable
from io import TextIOBase
from typing import Any


class QuietStream:
    """A stream that is silent where there is none, and once writing to it failed.

    Its reader may be gone (``| tee`` after a Ctrl-C), or its disk full.
    """

    def __init__(self, stream: TextIOBase | None):
        """Nothing is written yet."""
        self.stream, self._is_silent = stream, stream is None
        self.encoding = getattr(stream, "encoding", None)

    def isatty(self) -> bool:
        """Whether it is a terminal that is not silent."""
        return bool(self._try(lambda: self.stream.isatty()))

    def fileno(self) -> int:
        """That of the stream.

        Raises:
            OSError, ValueError: it has none.
        """
        if self.stream is None:
            raise OSError("there is no stream")
        return self.stream.fileno()

    def write(self, text: str) -> None:
        """Writes it, or is silent from now on."""
        self._try(lambda: self.stream.write(text))

    def flush(self) -> None:
        """As ``write``."""
        self._try(lambda: self.stream.flush())

    def _try(self, do: Callable[[], Any]) -> Any:
        if self._is_silent:
            return None
        try:
            return do()
        except (OSError, ValueError):
            self._is_silent = True
            return None
