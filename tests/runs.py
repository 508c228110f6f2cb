"""Runs of the whole command in processes of their own, and what they leave."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "tests" / "tiny_config.py"


def command(workdir, cache, *overrides):
    command = [sys.executable, "-m", "experiments.main", f"--config={CONFIG}"]
    command += [f"--workdir={workdir}", f"--config.compilation_cache={cache}"]
    return [*command, *overrides]


def run_main(workdir, cache, *overrides, devices=1):
    flag = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    if devices > 1:
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {flag}"
    return subprocess.run(
        command(workdir, cache, *overrides),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def start_processes(workdir, cache, *overrides, count=2, devices=1):
    """A run of several processes on this machine, each with as many CPU devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flag = f"--xla_force_host_platform_device_count={devices}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    shared = ["--distributed", f"--coordinator=127.0.0.1:{port}"]
    shared.append(f"--num_processes={count}")
    return [
        subprocess.Popen(
            [*command(workdir, cache, *overrides), *shared, f"--process_id={number}"],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
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


def _without_gloo(text):
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("[Gloo]"))


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


def start(workdir, cache, *overrides):
    return subprocess.Popen(
        command(workdir, cache, *overrides),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def newest_step(folder):
    steps = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    return max(steps, default=0)
