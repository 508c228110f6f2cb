"""What is shown of it: two lines of a terminal, or now and then a line of a log."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import TextIOBase
from typing import Any, TypeVar

from tqdm import tqdm

from cgat_jax.progress.overall import Cost, Overall
from cgat_jax.progress.stream import QuietStream

Item = TypeVar("Item")
QUIET_SECONDS = 30.0
"""Between two lines of a log within one part."""
_DELAY = 0.5  # seconds before a bar is drawn, so that short ones do not flash
_REDRAW = 0.2  # seconds between two states of the overall line
_MANY = 100_000  # from so many on, they are shown in thousands


def _has_rows(stream: QuietStream) -> bool:
    """Whether a terminal has a size; one without shows no bar, and gets lines."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return True  # it is no file, and does not tell
    return min(size) > 0


class Bar:
    """What runs now, and how far it is."""

    def __init__(self, title: str, total: int, unit: str, done: int):
        """Nothing is shown yet; see ``Screen.bar``."""
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self.text, self.share = "", 0.0
        self.drawn: tqdm | None = None
        self.on_change: Callable[[Bar, int], None] = lambda bar, count: None

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        self.on_change(self, count)

    def rename(self, title: str) -> None:
        """What runs now, shown with the next update."""
        self.title = title

    def note(self, text: str) -> None:
        """Shows a text beside it, with the next update."""
        self.text = text

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        text = f"{self.title}, {self.done:,} of {self.total:,}{unit}"
        return f"{text}, {self.text}" if self.text else text


class Screen:
    """Where progress is shown: a terminal is drawn on, anything else gets lines.

    Of bars within bars the outermost is shown and watched. What cannot be written is
    not shown, and ends nothing.
    """

    def __init__(
        self,
        stream: TextIOBase | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Shows nothing yet.

        Args:
            stream: by default what ``sys.stderr`` is when something is shown.
            clock: seconds.
        """
        self._stream, self._clock, self._last = stream, clock, 0.0
        self._quiet = QuietStream(stream)
        self._overall: Overall | None = None
        self._line: tqdm | None = None
        self._bar: Bar | None = None
        self._titles: list[str] = []
        self._is_new = self._foretold = False

    @contextlib.contextmanager
    def run(self, stages: Mapping[str, Cost], *, shown: bool = True) -> Iterator[None]:
        """Within it there is a line for the whole of a run.

        Args:
            stages: their costs in forward passes, in order.
            shown: here; otherwise nothing is watched.
        """
        if not shown:
            yield
            return
        self._overall, self._bar = Overall(stages, self._clock), None
        self._foretold = False
        if self._is_terminal():
            self._line = tqdm(bar_format="{desc}", **self._looks(0))
        try:
            yield
        finally:
            if self._line is not None:
                self._line.close()
            self._overall = self._line = None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage of the run, if this is one."""
        self._is_new = True
        with self._overall.stage(name) if self._overall else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def part(self, title: str = "", cost: Cost | None = None) -> Iterator[None]:
        """A part of a stage; a bar within it has the title, and fills the cost.

        Args:
            title: such as the network.
            cost: forward passes, done whole when it is left; None: of its own parts.
        """
        if self._bar is not None:
            yield
            return
        self._titles.append(title)
        self._is_new = True
        counts = self._overall is not None and cost is not None
        try:
            with self._overall.part(cost) if counts else contextlib.nullcontext():
                yield
        finally:
            self._titles.pop()

    @contextlib.contextmanager
    def bar(
        self, title: str, total: int, *, unit="", done: int = 0, shown: bool = True
    ) -> Iterator[Bar]:
        """A bar for what runs; it is gone when it is left.

        Args:
            title: what runs.
            total: how many units there are.
            unit: what they are called.
            done: how many an earlier call has done.
            shown: here.
        """
        bar = Bar(self.titled(title), total, unit, done)
        if not shown or self._bar is not None:
            yield bar
            return
        self._bar, bar.on_change = bar, self._changed
        if self._overall is not None:
            bar.share = self._overall.left_of_part / max(total, 1)
            self._overall.reached(done * bar.share)
            self._overall.begin()
        self._open(bar)
        try:
            yield bar
        finally:
            self._bar = None
            if bar.drawn is not None:
                bar.drawn.close()

    def watched(
        self, items: Iterable[Item], title: str, total: int, **options
    ) -> Iterator[Item]:
        """The items, with a bar that counts them; options are those of ``bar``."""
        with self.bar(title, total, **options) as bar:
            for item in items:
                yield item
                bar.update()

    def titled(self, title: str) -> str:
        """A title below those of the parts that are open: network: attack, restart."""
        first, *others = [*filter(None, [*self._titles, title])] or [""]
        return f"{first}: {', '.join(others)}" if others else first

    @property
    def _file(self) -> QuietStream:
        stream = sys.stderr if self._stream is None else self._stream
        if stream is not self._quiet.stream:
            self._quiet = QuietStream(stream)
        return self._quiet

    def _is_terminal(self) -> bool:
        return self._file.isatty() and _has_rows(self._file)

    def _looks(self, position: int) -> dict[str, Any]:
        """What a line of the terminal is: gone when it is done, and as wide as it."""
        looks = {"position": position, "leave": False, "dynamic_ncols": True}
        return looks | {"file": self._file}

    def _open(self, bar: Bar) -> None:
        if self._is_terminal():
            bar.drawn = tqdm(
                total=bar.total,
                initial=bar.done,
                desc=bar.title,
                unit=bar.unit or "it",
                unit_scale=bar.total >= _MANY,
                delay=_DELAY,
                **self._looks(0 if self._line is None else 1),
            )
            self._draw()
        elif self._overall is None:
            self._last = self._clock()
        elif self._is_new:
            self._write(bar.title)
        self._is_new = False

    def _changed(self, bar: Bar, count: int) -> None:
        if self._overall is not None:
            self._overall.add(count * bar.share)
            self._foretell(self._overall)
        if bar.drawn is not None:
            bar.drawn.set_description_str(bar.title, refresh=False)
            bar.drawn.set_postfix_str(bar.text, refresh=False)
            bar.drawn.update(count)
            self._draw()
        elif not self._is_terminal() and self._clock() - self._last >= QUIET_SECONDS:
            self._write(str(bar))

    def _foretell(self, overall: Overall) -> None:
        """Says once, as soon as it is known, what all of it will take."""
        if not self._foretold and (text := overall.forecast):
            self._foretold = True
            tqdm.write(text, file=self._file)

    def _draw(self) -> None:
        if self._line is not None and self._clock() - self._last >= _REDRAW:
            self._last = self._clock()
            self._line.set_description_str(str(self._overall))

    def _write(self, text: str) -> None:
        self._last = self._clock()
        whole = f"{self._overall}; " if self._overall is not None else ""
        line = " ".join(f"{whole}{text}".split())
        self._file.write(f"{line}\n")
        self._file.flush()
