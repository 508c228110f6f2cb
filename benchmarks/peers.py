"""Workers that take turns: each library computes in a process of its own.

The parent asks one worker at a time, a JSON object a line, and waits for the answer, so
that a worker is idle while another computes. Neither JAX nor PyTorch is imported here.
"""

import dataclasses
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MATMUL_SIZE = 2048
# The inner attack of a CgAT step, and the attack of the evaluation.
CRAFTING = {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 7}
ATTACK = {"epsilon": 8 / 255, "step_size": 1 / 255}
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, ETA = 0.01, 0.9, 5e-4, 0.001
# A round of a job lasts at least so long: fast jobs are called several times.
_ROUND_SECONDS = 0.3
# Threads that spin after their work sleep by then, and leave the cores to the other.
_PAUSE = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything but the batch is."""

    image_size: int
    bits: int
    bank: int
    classes: int


SCALES = {
    "small": Scale(image_size=48, bits=32, bank=4_000, classes=10),
    "alexnet": Scale(image_size=224, bits=64, bank=10_000, classes=80),
    "vgg11": Scale(image_size=224, bits=64, bank=10_000, classes=80),
}


def synthetic_inputs(network: str, batch: int) -> dict[str, np.ndarray]:
    """Random pixels (uint8, NHWC), labels and a bank: the same for both libraries."""
    scale, rng = SCALES[network], np.random.default_rng(0)

    def labels(rows):
        return (rng.random((rows, scale.classes)) < 0.1).astype(np.float32)

    shape = (batch, scale.image_size, scale.image_size, 3)
    return {
        "pixels": rng.integers(0, 256, shape, dtype=np.uint8),
        "labels": labels(batch),
        "indices": rng.choice(scale.bank, batch, replace=False),
        "bank_labels": labels(scale.bank),
        "bank_codes": rng.uniform(-1, 1, (scale.bank, scale.bits)).astype(np.float32),
        "square": rng.normal(size=(MATMUL_SIZE, MATMUL_SIZE)).astype(np.float32),
    }


def serve(
    describe: Callable[[], dict[str, Any]],
    prepare: Callable[..., tuple[dict[str, Callable], dict[str, Any]]],
    wait: Callable[[Any], None],
) -> None:
    """Answers the parent, line by line, until it closes the pipe.

    Args:
        describe: tells versions and device.
        prepare: builds the jobs of a case, and tells facts about them.
        wait: blocks until what a job returned is computed.
    """
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    jobs, calls = {}, {}

    def prepare_jobs(**request):
        jobs.clear()
        gc.collect()  # the networks of the case before
        new_jobs, facts = prepare(**request)
        jobs.update(new_jobs)
        for name, job in jobs.items():
            seconds = _clocked(job, 1, wait)["wall"]
            calls[name] = max(1, math.ceil(_ROUND_SECONDS / seconds))
        return facts | {"jobs": list(jobs)}

    def time_job(job):
        return _clocked(jobs[job], calls[job], wait)

    handlers = {"describe": describe, "prepare": prepare_jobs, "time": time_job}
    for line in sys.stdin:
        request = json.loads(line)
        answer = handlers[request.pop("do")](**request)
        print(json.dumps(answer), file=answers, flush=True)


def _clocked(job, calls, wait):
    """What a round took of the clock and of the cores, in seconds; and its calls."""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        result = job()
    wait(result)
    cpu = time.process_time() - cpu
    return {"wall": time.perf_counter() - start, "cpu": cpu, "calls": calls}


class Worker:
    """A process that runs ``serve``; leaving the context ends it."""

    def __init__(self, python: str, module: str):
        """Starts ``python -m module`` in the repository's root, on at most one GPU."""
        one_gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        sharing = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self._process = subprocess.Popen(
            [python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | sharing | {"CUDA_VISIBLE_DEVICES": one_gpu},
        )
        self._module = module

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for the answer.

        Raises:
            RuntimeError: the worker ended; its own message is on stderr.
        """
        print(json.dumps({"do": do} | request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._module} ended with {self._process.wait()}")
        return json.loads(answer)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception) -> None:
        self._process.stdin.close()
        self._process.wait()


def timed_rounds(
    workers: dict[str, Worker], jobs: dict[str, list[str]], rounds: int
) -> tuple[dict[str, dict[str, dict[str, list[float]]]], dict[str, float]]:
    """Times each job of each worker once a round, the workers in turns.

    Args:
        workers: by side.
        jobs: the names of the jobs by side; equal names are timed one after the other.
        rounds: how often.

    Returns:
        By job and side, the seconds a call of each round: ``wall`` by the clock and
        ``cpu`` summed over the cores. And of all rounds together the clock's seconds,
        and the cores' seconds that other processes had.
    """
    names = dict.fromkeys(name for side in jobs.values() for name in side)
    times = {
        name: {side: {"wall": [], "cpu": []} for side in jobs if name in jobs[side]}
        for name in names
    }
    load = {"wall": 0.0, "others": 0.0}
    for _ in range(rounds):
        for name, sides in times.items():
            for side, seconds in sides.items():
                time.sleep(_PAUSE)
                busy = _busy_seconds()
                answer = workers[side].ask("time", job=name)
                for clock, values in seconds.items():
                    values.append(answer[clock] / answer["calls"])
                load["wall"] += answer["wall"]
                load["others"] += _busy_seconds() - busy - answer["cpu"]
    return times, load


def _busy_seconds() -> float:
    """Seconds that all cores worked since the start; 0 where Linux does not say."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    fields = [int(x) for x in stat.read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")
