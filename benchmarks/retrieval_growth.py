"""How the cost of ranking grows, from 10^5 to 10^7 codes and from 16 to 128 bits.

    python -m benchmarks.evaluation     # runs this

Each size runs in a process of its own, so that the peak of its memory is its own:

- ``evaluate``: all measures, NumPy; ``AP``: ``average_precision_at`` alone;
- ``device``: all measures, ranked by ``cgat_jax.device_retrieval``, JAX's first device;
- ``FAISS``: the exact search of the 5,000 nearest by ``IndexBinaryFlat``, without heap,
  which is what FAISS has for this: it finds neighbors and measures nothing.

One thread each but for the device; counted is the CPU time of the process, in which
neighbors on the machine matter least (of a device that is no CPU, the host's alone).
The best round counts. Packing the database, once for all
queries, is timed by itself and not part of the others.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks import evaluation
from cgat_jax.report.tables import markdown_table

SIZES, BITS = (10**5, 10**6, 10**7), (16, 32, 64, 128)
QUERIES = {10**5: 200, 10**6: 32, 10**7: 8}
PART = 10**5  # items that are drawn at once
DEVICE_PAIRS = 2 * 10**6  # queries x items that the device is given on a CPU
DEVICE_VALUES = 2 * 10**8  # larger databases, in float32, are left out on a CPU
ABOUT = """\
How the cost grows: ms a query of one thread's CPU time, {classes} classes, best of
{rounds} rounds. evaluate: `evaluate_retrieval`, all measures; AP:
`average_precision_at` of the nearest {top_k:,}; device: `device_retrieval` on {device};
FAISS: the search for the nearest {top_k:,} by `IndexBinaryFlat` without heap, measuring
nothing. pack: the database's codes and labels, once, s. MB: peak of the process when
both of ours had run, before that, and of that the data (int8 codes, uint8 labels)."""


def cases(size: int, bits: int) -> tuple[dict[str, Callable], dict]:
    """The variants by name, each with its number of queries, and what they share."""
    rng, classes = np.random.default_rng(0), evaluation.NUM_CLASSES
    codes, labels = np.empty((size, bits), np.int8), np.empty((size, classes), np.uint8)
    for start in range(0, size, PART):
        some = slice(start, start + PART)
        part = len(codes[some]), bits, classes
        codes[some], labels[some] = evaluation.synthetic_set(*part, rng)
    count = next(n for most, n in QUERIES.items() if size <= most)
    queries = evaluation.synthetic_set(count, bits, classes, rng)
    options = {"threads": 1, "top_k": evaluation.TOP_K}
    data = *queries, codes, labels
    from cgat_jax.retrieval import average_precision_at, evaluate_retrieval
    from cgat_jax.retrieval.streaming import pack_retrieval

    return {
        "pack": (1, lambda: pack_retrieval(*data)),
        "evaluate": (count, lambda: evaluate_retrieval(*data, **options)),
        "AP": (count, lambda: average_precision_at(*data, **options)),
    }, {"data": data, "megabytes": (codes.nbytes + labels.nbytes) / 2**20}


def device_case(data) -> dict[str, tuple[int, Callable]]:
    """The jitted form, on few queries where the device is a CPU."""
    import jax

    from cgat_jax import device_retrieval

    count = len(data[0])
    if jax.default_backend() == "cpu":
        if data[2].size > DEVICE_VALUES:
            return {}
        count = max(1, min(count, DEVICE_PAIRS // len(data[2])))
    tables = jax.device_put((data[0][:count], data[1][:count], *data[2:]))
    return {"device": (count, lambda: device_retrieval.evaluate_retrieval(*tables))}


def faiss_case(data) -> dict[str, tuple[int, Callable]]:
    """The exact search for the nearest items."""
    import faiss

    faiss.omp_set_num_threads(1)
    packed, bits = (np.packbits(x > 0, axis=1) for x in data[::2]), data[0].shape[1]
    queries, codes = packed
    index = faiss.IndexBinaryFlat(bits)
    index.use_heap = False
    index.add(codes)
    top_k = min(evaluation.TOP_K, len(codes))
    return {"FAISS": (len(queries), lambda: index.search(queries, top_k))}


def measure(size: int, bits: int, rounds: int) -> dict[str, float]:
    """Seconds of packing, ms a query of the others, and MB."""
    jobs, shared = cases(size, bits)
    memory = {"before": evaluation.peak_memory(), "data": shared["megabytes"]}
    best = dict.fromkeys(jobs, np.inf)
    for _ in range(rounds):
        best["pack"] = min(best["pack"], _seconds(jobs["pack"][1]))
    packed = jobs["pack"][1]()
    with mock.patch("cgat_jax.retrieval.metrics.pack_retrieval", lambda *_: packed):
        for name in ("evaluate", "AP") * rounds:
            count, run = jobs[name]
            best[name] = min(best[name], _seconds(run) / count)
    memory["peak"] = evaluation.peak_memory()
    others = faiss_case(shared["data"]) | device_case(shared["data"])
    for name, (count, run) in others.items():
        run()  # compiles
        best[name] = min(_seconds(run) for _ in range(rounds)) / count
    times = {name: 1e3 * seconds for name, seconds in best.items()}
    return times | {"pack": best["pack"]} | memory


def _seconds(run: Callable) -> float:
    """CPU time of all threads, which XLA and FAISS start as well."""
    start = time.process_time()
    run()
    return time.process_time() - start


def table(largest: int, rounds: int) -> str:
    """The table of all sizes up to the largest."""
    import jax

    rows = []
    for size in (size for size in SIZES if size <= largest):
        for bits in BITS:
            arguments = size, bits, rounds
            command = [sys.executable, "-m", __name__, *map(str, arguments)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            names = "evaluate", "AP", "device", "FAISS"
            times = [f"{found[name]:.2f}" if name in found else "-" for name in names]
            ratios = [f"{found[name] / found['FAISS']:.2f}" for name in names[:2]]
            memory = [f"{found[name]:.0f}" for name in ("peak", "before", "data")]
            pack = f"{found['pack']:.2f}"
            rows.append([f"{size:,}", str(bits), *times, *ratios, pack, *memory])
            print(*rows[-1], file=sys.stderr)
    header = ["codes", "bits", *names, "evaluate / FAISS", "AP / FAISS", "pack, s"]
    about = ABOUT.format(
        classes=evaluation.NUM_CLASSES,
        top_k=evaluation.TOP_K,
        rounds=rounds,
        device=jax.devices()[0].device_kind,
    )
    table = pd.DataFrame(rows, columns=[*header, "MB", "before", "data"])
    return f"{about}\n\n{markdown_table(table)}"


def origin(options: argparse.Namespace) -> str:
    """Date, machine, versions and load, and the command."""
    import importlib.metadata

    from benchmarks.step_report import processor, without_path
    from cgat_jax.evaluation.provenance import provenance

    about = provenance()
    wanted = "cgat_jax", "jax", "numpy"
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in wanted)
    arguments = " ".join(map(without_path, sys.argv[1:]))
    return (
        f"{datetime.date.today()}, {processor()}; {versions}, faiss-cpu "
        f"{importlib.metadata.version('faiss-cpu')}; commit {about['commit']}; load "
        f"average {os.getloadavg()[0]:.1f} after the first part.\n"
        f"Command: `python -m benchmarks.evaluation {arguments}`\n"
    )


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:]))))
