"""How far a run is, in forward passes, and how long it will take from there."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping

_FIRST_SECONDS = 5.0
_SOON = 60.0  # seconds below which no number is told: it would seem to stand still
_LEAST, _LEAST_COMPILED = 0.01, 0.05  # of the whole, before a time is told
Cost = float | int


@dataclasses.dataclass
class _Paced:
    """Cost that this process has done itself, and in how many seconds."""

    done: float = 0.0
    seconds: float = 0.0


class Overall:
    """The stages of a run with their costs, and how much of them is done.

    A part that is left counts as done whole, so that what an earlier call has measured
    counts at once. The time that is left goes by what this process has done itself.

    >>> from cgat_jax.progress import Overall
    >>> now = [0.0]
    >>> overall = Overall({"pretrain": 100.0, "defend": 300.0}, lambda: now[0])
    >>> with overall.stage("pretrain"):
    ...     pass  # was there already
    >>> with overall.stage("defend"):
    ...     overall.add(50.0)  # while programs are compiled
    ...     now[0] = 120.0
    ...     overall.add(100.0)
    ...     print(overall)
    stage 2 of 2, defend: 62 %, about 3 min left
    """

    def __init__(
        self, stages: Mapping[str, Cost], clock: Callable[[], float] = time.monotonic
    ):
        """Nothing is done yet.

        Args:
            stages: the cost of each, in any unit, in their order.
            clock: seconds.
        """
        self.costs, self.total = dict(stages), sum(stages.values())
        self.done = 0.0
        self._name, self._limits = "", [self.total]
        self._clock, self._last, self._begins = clock, clock(), True
        self._steady, self._every = _Paced(), _Paced()
        self._soon_since: float | None = None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Within it the stage is that one; all of its cost is done afterwards."""
        self._name, names = name, [*self.costs]
        self.done = sum(self.costs[each] for each in names[: names.index(name)])
        with self.part(self.costs[name]):
            yield

    @contextlib.contextmanager
    def part(self, cost: Cost) -> Iterator[None]:
        """Within it at most ``cost`` is done; all of it afterwards, however little."""
        limit = min(self.done + cost, self._limits[-1])
        self._limits.append(limit)
        try:
            yield
            self.done = max(self.done, limit)
        finally:
            self._limits.pop()

    def add(self, cost: Cost) -> None:
        """So much more is done, though never more than the part was to cost.

        What costs nothing has taken its time, but tells nothing of the rest.
        """
        grown, now = min(cost, self.left_of_part), self._clock()
        if not cost:
            self._last, self._begins = now, False
            return
        self.done += grown
        for paced in (self._every, *([] if self._begins else [self._steady])):
            paced.done += grown
            paced.seconds += now - self._last
        self._last, self._begins = now, False
        self._see_the_end(now)

    def _see_the_end(self, now: float) -> None:
        """Notes since when less than a minute is said to be left."""
        left = self.seconds_left
        if left is None or left >= _SOON:
            self._soon_since = None
        elif self._soon_since is None:
            self._soon_since = now

    def begin(self) -> None:
        """Something else begins: before its first addition programs are compiled."""
        self._last, self._begins = self._clock(), True

    def reached(self, cost: Cost) -> None:
        """So much of the part was done by an earlier call."""
        self.done += min(cost, self.left_of_part)

    @property
    def left_of_part(self) -> float:
        """What the innermost part that is open still costs."""
        return self._limits[-1] - self.done

    @property
    def seconds_left(self) -> float | None:
        """From what this process has done so far; None where that is too little."""
        pace = self._pace
        return None if pace is None else (self.total - self.done) * pace

    @property
    def forecast(self) -> str:
        """What the stages that are left will take; empty while that is not known."""
        pace, end, left = self._pace, 0.0, {}
        if pace is None:
            return ""
        for name, cost in self.costs.items():
            end += cost
            if self.done < end:
                left[name] = min(cost, end - self.done) * pace
        stages = ", ".join(f"{name} {duration(each)}" for name, each in left.items())
        return f"about {duration(sum(left.values()))} from here: {stages}"

    @property
    def _pace(self) -> float | None:
        """Seconds of a unit of cost; with compiling only where that is all there is."""
        for paced, least in ((self._steady, _LEAST), (self._every, _LEAST_COMPILED)):
            enough = paced.done > least * self.total
            if enough and paced.seconds >= _FIRST_SECONDS:
                return paced.seconds / paced.done
        return None

    def __str__(self) -> str:
        names = [*self.costs]
        share = int(100 * self.done / self.total) if self.total else 0
        number = names.index(self._name) + 1 if self._name else 0
        text = f"stage {number} of {len(names)}, {self._name}: {share} %"
        left = self.seconds_left
        if left is None:
            return text
        if left >= _SOON:
            return f"{text}, about {duration(left)} left"
        since = self._clock() if self._soon_since is None else self._soon_since
        over = self._clock() - since > _SOON
        return f"{text}, almost done" if over else f"{text}, less than a minute left"


def duration(seconds: Cost) -> str:
    """Seconds as a person says them.

    >>> from cgat_jax.progress import duration
    >>> [duration(seconds) for seconds in (7, 44, 200, 5_400, 200_000)]
    ['10 s', '40 s', '3 min', '1 h 30 min', '2 days 8 h']
    """
    if seconds < 55:
        return f"{max(10, round(seconds, -1)):.0f} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    name = "day" if days == 1 else "days"
    return f"{days} {name} {hours} h" if hours else f"{days} {name}"
