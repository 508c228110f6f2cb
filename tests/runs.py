"""Runs of the whole command in processes of their own, and what they leave."""

import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor

from tests.programs import ROOT, Program, run_program

CONFIG = ROOT / "tests" / "tiny_config.py"
PROGRESS = re.compile(r"stage \d of \d, |about .* from here: ")
GLOO = re.compile(r"^\[Gloo\]|connected peer ranks is")


def arguments(workdir, cache, *overrides):
    settings = [f"--config={CONFIG}", f"--workdir={workdir}"]
    return [*settings, f"--config.compilation_cache={cache}", *overrides]


def run_main(workdir, cache, *overrides, devices=1):
    return run_program(
        "experiments.main",
        *arguments(workdir, cache, *overrides),
        env=_devices(devices) if devices > 1 else None,
    )


def start(workdir, cache, *overrides):
    return Program("experiments.main", *arguments(workdir, cache, *overrides))


def _devices(count):
    flag = f"--xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"}


def start_processes(workdir, cache, *overrides, count=2, devices=1):
    """A run of several processes on this machine, each with as many CPU devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = ["--distributed", f"--coordinator=127.0.0.1:{port}"]
    shared.append(f"--num_processes={count}")
    return [
        Program(
            "experiments.main",
            *arguments(workdir, cache, *overrides),
            *shared,
            f"--process_id={number}",
            env=_devices(devices),
        )
        for number in range(count)
    ]


def wait_for(processes):
    """Exit codes, what they printed, and their errors, without the runtime's own."""
    with ThreadPoolExecutor(len(processes)) as pool:
        texts = list(pool.map(lambda process: process.communicate(), processes))
    outs, errors = (
        [_without_gloo(text) for text in part] for part in zip(*texts, strict=True)
    )
    return [process.returncode for process in processes], outs, errors


def without_progress(errors):
    """What a program has said on stderr besides how far it is."""
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if not PROGRESS.match(line))


def _without_gloo(text):
    """Without what gloo's threads print, who also break each other's lines."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not GLOO.search(line))


def read_records(workdir):
    records = json.loads((workdir / "results.json").read_text())["records"]
    for record in records:
        record.pop("seconds")
        record.pop("config_sha256")  # differs with checkpoint_seconds
        record.pop("commit")  # work may go on while the tests run
    return records


def read_curve(path):
    """The lines of a training's log, without the times and the checks of the lines."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    clock = "seconds/step", "seconds/data", "images_per_second", "check"
    return [{k: line[k] for k in line if k not in clock} for line in lines]


def newest_step(folder):
    steps = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    return max(steps, default=0)
