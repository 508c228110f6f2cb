"""How far a run is: a line for all of it, and a bar for what runs.

What is shown changes no number and draws none. A process has one screen, and so has
this package: ``run``, ``stage``, ``part``, ``bar`` and ``watched`` are that one's.
"""

from cgat_jax.progress.overall import Overall, duration
from cgat_jax.progress.screen import Bar, Screen

SCREEN = Screen()
run, stage, part = SCREEN.run, SCREEN.stage, SCREEN.part
bar, watched, titled = SCREEN.bar, SCREEN.watched, SCREEN.titled

__all__ = [
    "Bar",
    "Overall",
    "Screen",
    "bar",
    "watched",
    "duration",
    "part",
    "run",
    "stage",
    "titled",
]
