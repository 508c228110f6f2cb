"""What processes tell each other; and that a single one has nobody to tell."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from cgat_jax import processes, sharding
from cgat_jax.errors import InputError, Stopped
from tests.programs import ROOT
from tests.runs import wait_for
from tests.several_processes import Asked, refuse

TOLD = {
    "greatest": 5,
    "told": {"number": 0, "x": 0.1},
    "long": True,
    "nested": 3,
    "array int8": ["int8", [[0, 1, 2], [3, 4, 5]]],
    "array float64": ["float64", [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]],
    "array uint16": ["uint16", [[0, 1, 2], [3, 4, 5]]],
    "array bool": ["bool", [[False, True, True], [True, True, True]]],
    "no array": None,
    "tree": [[1.0, 1.0], 7.0],
    "second stops": "Stopped: 143",
    "a signal": "Stopped: 143",
    "no signal": "None",
    "poll waits": [],
    "poll": [1, 4],
    "poll forgets": [],
    "whole": [0, 0, 1, 1],
    "held": [0, 1, 2],
    "compiled themselves": True,
    "restored, other bytes": ["None", ["1.damaged-1"]],
}
UNSEEN = (
    "[Errno 2] this process does not see it; give a folder that all hosts see: "
    "'F/unseen/1/elsewhere'"
)
APART = [
    {
        "first fails": "InputError: no such file",
        "second fails": "ToldElsewhere: process 1: [Errno 28] No space left",
        "restored, no memory": ["ToldElsewhere: process 1: no memory", ["1"]],
        "restored, not there": [
            "ToldElsewhere: process 1: [Errno 2] No such file",
            ["1"],
        ],
        "restored, unseen": [f"ToldElsewhere: process 1: {UNSEEN}", ["1"]],
        "own": [0, 0],
        "split": [0, 1],
    },
    {
        "first fails": "ToldElsewhere: process 0: no such file",
        "second fails": "OSError: [Errno 28] No space left",
        "restored, no memory": ["MemoryError: no memory", ["1"]],
        "restored, not there": ["FileNotFoundError: [Errno 2] No such file", ["1"]],
        "restored, unseen": [f"FileNotFoundError: {UNSEEN}", ["1"]],
        "own": [1, 1],
        "split": [2, 3],
    },
]


@pytest.mark.slow
def test_two_processes_agree():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flag = "--xla_force_host_platform_device_count=2"
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.several_processes", address, str(number)],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flag},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    codes, outs, errors = wait_for(started)
    assert codes == [0, 0], errors
    for out, apart in zip(outs, APART, strict=True):
        assert json.loads(out.splitlines()[-1]) == TOLD | apart


def test_a_single_process_has_nobody_to_tell():
    made = object()
    assert processes.is_first() and processes.is_alone()
    assert processes.from_first(lambda: made) is made  # not even a copy
    assert processes.array_from_first(lambda: None) is None
    assert processes.greatest(4) == 4
    with pytest.raises(OSError, match="full"):
        refuse(0, OSError("full"))
    with pytest.raises(Stopped):
        processes.check_stop(Asked(15))
    processes.leave()


def test_a_single_process_hears_itself_at_once():
    poll = processes.Poll(sharding.make_mesh())
    poll.ask(0, 3)
    poll.ask(1, 2)
    assert poll.heard(newest=2) == [1, 3]
    assert poll.heard(newest=2) == []


def test_a_value_of_one_process_is_whole_on_all_of_its_devices():
    mesh = sharding.make_mesh()
    rows = sharding.put_rows(mesh, np.arange(4))
    assert sharding.whole_array(mesh, rows).tolist() == [0, 1, 2, 3]
    assert sharding.own_rows(rows).tolist() == [0, 1, 2, 3]
    assert sharding.own_rows(np.arange(2)).tolist() == [0, 1]


def test_no_cluster_and_no_coordinator_is_one_line(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM", "OMPI"))]:
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match="--coordinator=HOST:PORT") as caught:
        processes.start()
    assert len(str(caught.value).splitlines()) == 1
