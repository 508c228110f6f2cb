"""What two processes tell each other, a line a finding: see ``test_processes``.

python -m tests.several_processes HOST:PORT PROCESS_ID
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from cgat_jax import processes, sharding
from cgat_jax.errors import DamagedFileError, InputError, Stopped
from cgat_jax.training import checkpoint, damage


class Asked:
    """What stands for the signals of a process."""

    def __init__(self, asked):
        self.asked = asked

    def check(self):
        if self.asked:
            raise Stopped(128 + self.asked)


def raised(do):
    try:
        return repr(do())
    except (Exception, Stopped) as error:
        code = getattr(error, "code", "")
        return f"{type(error).__name__}: {error if not code else code}"


def refuse(number, error):
    with processes.together():
        if jax.process_index() == number:
            raise error


def fail():
    raise InputError("no such file")


def nested():
    return processes.from_first(lambda: processes.greatest(3 + jax.process_index()))


def restored(number, folder, error):
    """What comes of a checkpoint that the second process cannot restore."""
    mesh = sharding.make_mesh()
    state = sharding.put_whole(mesh, {"w": np.arange(3)})
    manager = checkpoint.open_checkpoints(folder)
    checkpoint.save(manager, 1, state)
    restore = manager.restore

    def fail(*arguments, **options):
        found = restore(*arguments, **options)
        if number:
            raise error
        return found

    if error:
        manager.restore = fail
    told = raised(lambda: checkpoint.restore_latest(manager, state))
    manager.close()
    return [told, sorted(path.name for path in folder.glob("1*"))]


def restorations(number):
    folder = Path(processes.from_first(tempfile.mkdtemp))
    errors = {
        "no memory": MemoryError("no memory"),
        "not there": FileNotFoundError(2, "No such file"),
        "other bytes": DamagedFileError("other bytes"),
    }
    for name, error in errors.items():
        yield f"restored, {name}", restored(number, folder / name, error)
    check_seen = damage.check_seen
    if number:  # it looks for the folder at another place
        damage.check_seen = lambda folder: check_seen(folder / "elsewhere")
    told, left = restored(number, folder / "unseen", None)
    yield "restored, unseen", [told.replace(str(folder), "F"), left]
    damage.check_seen = check_seen
    processes.from_first(lambda: shutil.rmtree(folder))


def findings(number):
    mesh = sharding.make_mesh()
    yield from restorations(number)
    yield "greatest", processes.greatest(5 - 3 * number)
    yield "told", processes.from_first(lambda: {"number": number, "x": 0.1})
    yield "long", processes.from_first(lambda: "x" * 5_000) == "x" * 5_000
    yield "nested", nested()
    for dtype in (np.int8, np.float64, np.uint16, bool):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        told = processes.array_from_first(lambda a=array: a if not number else a[:0])
        yield f"array {np.dtype(dtype)}", [str(told.dtype), told.tolist()]
    yield "no array", processes.array_from_first(lambda: None)
    like = {"w": np.zeros(2, np.float32), "b": np.zeros((), np.float32)}
    tree = {"w": np.ones(2, np.float32), "b": np.float32(7)}
    told = processes.tree_from_first(lambda: tree, like)
    yield "tree", [told["w"].tolist(), float(told["b"])]
    yield "first fails", raised(lambda: processes.from_first(fail))
    yield "second fails", raised(lambda: refuse(1, OSError(28, "No space left")))
    yield "second stops", raised(lambda: refuse(1, Stopped(143)))
    yield "a signal", raised(lambda: processes.check_stop(Asked(number * 15)))
    yield "no signal", raised(lambda: processes.check_stop(Asked(0)))
    poll = processes.Poll(mesh)
    poll.ask(number, 4)
    yield "poll waits", poll.heard(1)
    poll.ask(0, 2)
    yield "poll", poll.heard(1)
    poll.forget()
    yield "poll forgets", poll.heard(0)
    rows = sharding.put_rows(mesh, np.full((2, 1), number, np.int32))
    yield "whole", sharding.whole_array(mesh, rows)[:, 0].tolist()
    yield "own", sharding.own_rows(rows)[:, 0].tolist()
    held = sharding.put_whole(mesh, {"x": np.arange(3)})
    yield "held", np.asarray(held["x"]).tolist()
    yield "compiled themselves", not jax.config.jax_enable_compilation_cache
    split = sharding.put_whole(mesh, np.arange(4), sharding.by_row(mesh))
    yield "split", sharding.own_rows(split).tolist()


def main():
    coordinator, number = sys.argv[1], int(sys.argv[2])
    processes.start(coordinator, 2, number)
    print(json.dumps(dict(findings(number))))
    processes.leave()


if __name__ == "__main__":
    main()
