"""Several processes of one run: who writes, what all of them know, when all stop.

Every process runs the same program, on devices of its own. The first one alone touches
the run's files and tells the others what it found; what depends on a clock, a file or a
signal is asked of all, so that no process waits in a collective for one that has gone
another way. With a single process nothing of this costs anything.

Functions that talk to other processes must be called by all of them, in one order.
"""

import collections
import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from cgat_jax import sharding
from cgat_jax.errors import InputError, Stopped, ToldElsewhere
from cgat_jax.types import PyTree

HEARTBEAT_SECONDS = 30
"""After so long without a sign of a process, the others end."""
_LEAST = 1_024  # bytes that are told at once, so that few programs are compiled
_alone: ContextVar[bool] = ContextVar("alone", default=False)


def start(
    coordinator: str = "",
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the other processes of a run; to be called before any device is used.

    Args:
        coordinator: HOST:PORT of the first process; empty: the cluster's own word is
            taken (SLURM, Open MPI, Kubernetes, Cloud TPU).
        num_processes: how many there are, where a coordinator is given.
        process_id: which one this is, from 0, where a coordinator is given.

    Raises:
        InputError: there is no such cluster, or the others cannot be reached.
    """
    # Its handler would take SIGTERM away from ours, which saves and asks the others.
    jax.config.update("jax_enable_preemption_service", False)
    given = (coordinator, num_processes, process_id) if coordinator else ()
    try:
        jax.distributed.initialize(
            *given,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"--distributed: the processes did not meet ({text}); no cluster that JAX "
            "knows: give --coordinator=HOST:PORT --num_processes=N --process_id=0..N-1"
        ) from error
    if jax.default_backend() == "cpu":  # one that reads it, one that does not: deadlock
        jax.config.update("jax_enable_compilation_cache", False)


def leave() -> None:
    """Waits until all processes are done, before this one ends."""
    if jax.process_count() > 1:
        with contextlib.suppress(RuntimeError):  # one of them was faster to end
            jax.distributed.shutdown()


@runtime_checkable
class Stops(Protocol):
    """What knows of the signals of this process: the number of one, or 0."""

    asked: int

    def check(self) -> None:
        """Raises ``Stopped`` if a signal came."""


def is_first() -> bool:
    """Whether this process reads and writes the run's files."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether there is nobody to tell: one process, or the first in its own work."""
    return jax.process_count() == 1 or _alone.get()


def greatest(value: int) -> int:
    """The largest of the processes' values."""
    if is_alone():
        return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def check_stop(stop: Stops) -> None:
    """Raises ``Stopped`` in all processes, if one of them was asked to stop."""
    if is_alone():
        stop.check()
    elif number := greatest(stop.asked):
        raise Stopped(128 + number)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What one process raises within it, all raise where they leave it.

    Raises:
        ToldElsewhere: another process could not go on, and says why itself.
        Stopped: another process was asked to stop.
    """
    if is_alone():
        yield
        return
    problem = None
    try:
        yield
    except (Exception, Stopped) as error:
        problem = error
    raised = multihost_utils.process_allgather(np.int32(problem is not None))
    if not raised.any():
        return
    source = int(np.argmax(raised))
    told = _tell(None if problem is None else _described(problem), source)
    if problem is not None:
        raise problem
    if "stopped" in told:
        raise Stopped(told["stopped"])
    raise ToldElsewhere(f"process {source}: {told['error']}")


def _described(problem: BaseException) -> dict[str, Any]:
    if isinstance(problem, Stopped):
        return {"stopped": problem.code}
    return {"error": " ".join(str(problem).split()) or type(problem).__name__}


def from_first(make: Callable[[], Any]) -> Any:
    """What the first process makes, in all of them: JSON values, such as records.

    What it raises, all raise, see ``together``.
    """
    if is_alone():
        return make()
    value = None
    with together():
        if is_first():
            value = _made_alone(make)
    return _tell(value)


def array_from_first(make: Callable[[], np.ndarray | None]) -> np.ndarray | None:
    """As ``from_first``, of an array of numbers, or None: the same bytes in all."""
    if is_alone():
        return make()
    held = []

    def describe() -> list[Any] | None:
        if (array := make()) is None:
            return None
        held.append(np.asarray(array))
        return [held[0].dtype.str, held[0].shape]

    if (described := from_first(describe)) is None:
        return None
    dtype, shape = described
    array = held[0] if held else np.zeros(shape, dtype)
    told = multihost_utils.broadcast_one_to_all(array.reshape(-1).view(np.uint8))
    return np.asarray(told).view(dtype).reshape(shape)


def tree_from_first(make: Callable[[], PyTree], like: PyTree) -> PyTree:
    """As ``array_from_first``, of a tree of arrays with the structure of another."""
    if is_alone():
        return make()
    held = []

    def flat() -> None:
        held.extend(jax.tree.leaves(jax.device_get(make())))

    from_first(flat)
    leaves, structure = jax.tree.flatten(like)
    told = [
        array_from_first(lambda place=place: held[place])
        for place in range(len(leaves))
    ]
    return jax.tree.unflatten(structure, told)


def _made_alone(make: Callable[[], Any]) -> Any:
    token = _alone.set(True)
    try:
        return make()
    finally:
        _alone.reset(token)


def _tell(value: Any, source: int = 0) -> Any:
    """A JSON value of one process, in all."""
    mine = jax.process_index() == source
    text = json.dumps(value).encode() if mine else b""
    tell = functools.partial(multihost_utils.broadcast_one_to_all, is_source=mine)
    size = int(tell(np.int32(len(text))))
    room = np.zeros(max(_LEAST, 1 << (size - 1).bit_length()), np.uint8)
    room[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(np.asarray(tell(room))[:size].tobytes())


class Poll:
    """Numbers of all processes, of which each hears the largest some questions later.

    The answers travel beside other work, so that nobody waits for them; and since all
    hear the same ones at the same question, all decide alike.
    """

    def __init__(self, mesh: Mesh):
        """Nothing was asked yet."""
        self._mesh, self._waiting = mesh, collections.deque()
        whole = sharding.replicated(mesh)
        self._largest = jax.jit(lambda rows: rows.max(axis=0), out_shardings=whole)

    def ask(self, *values: int) -> None:
        """Puts this process's numbers to the others."""
        answer = np.array(values, np.int32)
        if not is_alone():
            rows = np.tile(answer, (jax.local_device_count(), 1))
            answer = self._largest(sharding.put_rows(self._mesh, rows))
        self._waiting.append(answer)

    def heard(self, newest: int) -> list[int]:
        """The largest since the last time, but for the newest questions: zeros if none.

        Args:
            newest: how many questions to leave; a single process leaves none.
        """
        newest, found = 0 if is_alone() else newest, []
        while len(self._waiting) > newest:
            found.append(np.asarray(self._waiting.popleft()))
        return np.max(found, axis=0).tolist() if found else []

    def forget(self) -> None:
        """Drops what was asked and not heard."""
        self._waiting.clear()
