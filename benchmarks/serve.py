"""A service under load, and under abuse, on this machine's loopback.

    python -m benchmarks.serve [--index DIR] [--requests 4000] [--abuse 10000]
        [--out docs/benchmarks/serve_cpu.md]

Starts ``experiments.serve`` with an index (by default one that is made for it: 10,000
codes of 32 bits of a ``small`` network with random weights, images of 48 pixels) and
searches it with photos of 64 pixels, decoded, encoded and ranked: 1, 8 and 64 clients,
each of which asks again once it is answered. Then the abuse: of 10,000 requests a tenth
are bad, in 13 ways, slow senders among them. Every good one must get the same answer as
before, every bad one its own status, and none no answer; the memory of the service is
read ten times. The clients are one process of the same machine and cost time as well.

Exit codes: 0, or 1 where an answer was not as it had to be.
"""

import argparse
import asyncio
import contextlib
import datetime
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from benchmarks.out_file import out_file, write_out
from benchmarks.serve_clients import Abuse, Kind, Target, abuse, bad_kinds, load, unlike
from benchmarks.step_report import processor
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.models.network_file import make_network, new_card
from cgat_jax.report.tables import markdown_table
from cgat_jax.search import Index
from cgat_jax.training.interrupts import PARENT
from experiments.xla import prefer_fast_cpu_convolutions

TITLE = "# A service under load and under abuse"
CLIENTS = 1, 8, 64
NUM_CODES, BITS, SIDE = 10_000, 32, 48
UPLOAD_MEGABYTES, SECONDS = 2, 5
_HEAD = """\
{title}

{date}, {processor}; commit {commit}; JAX {jax}. Command: `python -m benchmarks.serve`.
Load average before: {load:.1f}.

Searches by photo (JPEG, 64 pixels) among {images:,} codes, clients on the same machine.
Each client asks again once it is answered; seconds are from request to answer."""


def make_index(folder: Path) -> Path:
    """An index of random codes of a network with random weights."""
    card = new_card(backbone="small", bits=BITS, image_size=SIDE, crop_size=SIDE)
    first = jnp.zeros((1, SIDE, SIDE, 3))
    weights = jax.jit(make_network(card).init)(jax.random.key(0), first)
    codes = np.random.default_rng(0).choice([-1, 1], (NUM_CODES, BITS))
    return Index.build(Network(*weights, card), codes.astype(np.int8)).save(folder)


@contextlib.contextmanager
def service(index: Path) -> Iterator[Target]:
    """A service of its own process, ready."""
    command = [
        *(sys.executable, "-m", "experiments.serve", f"--index={index}", "--port=0"),
        *("--rate=0", "--noattacks", f"--megabytes={UPLOAD_MEGABYTES}"),
        f"--seconds={SECONDS}",
    ]
    environment = os.environ | {PARENT: str(os.getpid())}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stdout:
                if found := re.match(r"ready: http://\S+:(\d+)/", line):
                    yield Target(int(found[1]), process.pid)
                    break
            else:
                raise RuntimeError("the service did not start")
        finally:
            process.terminate()


def load_table(target: Target, requests: int) -> pd.DataFrame:
    """Requests a second and seconds of each, by the number of clients."""
    rows = []
    for clients in CLIENTS:
        asyncio.run(load(target, clients, min(requests, 20 * clients)))  # warm
        started = time.perf_counter()
        seconds = asyncio.run(load(target, clients, requests))
        spent = time.perf_counter() - started
        p50, p99 = (f"{1000 * x:.1f}" for x in np.percentile(seconds, [50, 99]))
        rows.append([f"{clients}", f"{requests / spent:.0f}", p50, p99])
    columns = ["clients", "searches a second", "p50, ms", "p99, ms"]
    return pd.DataFrame(rows, columns=columns)


def abuse_text(found: Abuse, bad: list[Kind]) -> str:
    """What came of the abuse."""
    names = dict.fromkeys(["good", *(kind.name for kind in bad)])
    rows = [
        [name, f"{status}" if status > 0 else "no answer", f"{count:,}"]
        for name in names
        for (kind, status), count in sorted(found.counts.items())
        if kind == name
    ]
    table = pd.DataFrame(rows, columns=["request", "status", "times"])
    total = sum(found.counts.values())
    memory = ", ".join(f"{x / 2**20:.0f}" for x in found.memory)
    wrong = list(unlike(found, bad)) or ["All were as they had to be."]
    return f"""\
## Abuse

{total:,} requests by 16 clients in {found.seconds:.0f} s. {" ".join(wrong)}
Good ones had the same answer as before. Memory of the service in MiB, at the start and
after each tenth: {memory}.

{markdown_table(table)}"""


def main() -> int:
    """Parses the options, starts the service and measures it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--abuse", type=int, default=10_000)
    parser.add_argument("--out", type=out_file(TITLE))
    options = parser.parse_args()
    before = os.getloadavg()[0]
    prefer_fast_cpu_convolutions()
    with tempfile.TemporaryDirectory() as place:
        index = options.index or make_index(Path(place) / "index")
        with service(index) as target:
            loads = load_table(target, options.requests)
            size = UPLOAD_MEGABYTES * 10**6
            bad = bad_kinds(upload_bytes=size, seconds=SECONDS)
            found = asyncio.run(abuse(target, options.abuse, bad))
        count = len(Index.load(index))
    head = _HEAD.format(
        title=TITLE,
        date=datetime.date.today(),
        processor=processor(),
        commit=provenance()["commit"],
        jax=jax.__version__,
        load=before,
        images=count,
    )
    text = "\n\n".join([head, markdown_table(loads).strip(), abuse_text(found, bad)])
    print(text)
    write_out(options.out, text)
    return 1 if list(unlike(found, bad)) else 0


if __name__ == "__main__":
    sys.exit(main())
