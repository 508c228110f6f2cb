"""Time and memory of searching an index, beside FAISS alone.

    python -m benchmarks.search [--rounds 5] [--out docs/benchmarks/search.md]

One thread. Each round asks the same queries one at a time of FAISS's
``IndexBinaryFlat`` and of ``cgat_jax.Index`` over it, in turn: the ratio is of the same
minutes. ``Index`` also looks up the answers' ids and labels in its catalogue. The index
lies in a folder, as one that is served does. Building is timed at the speed of the
network alone and with the index around it.
"""

import argparse
import datetime
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from benchmarks.evaluation import peak_memory
from benchmarks.out_file import out_file, write_out
from benchmarks.step_report import processor
from cgat_jax import Index
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.models.network_file import make_network, new_card
from cgat_jax.report.tables import markdown_table

TITLE = "# Searching an index"
CASES = [(10**5, 64), (10**6, 32), (10**6, 64), (10**6, 128)]
K, QUERIES, ENCODED = 100, 50, 2048


def main() -> None:
    """Parses the arguments, measures, prints and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--codes", type=int, default=0, help="of one case of 64 bits")
    parser.add_argument("--out", type=out_file(TITLE))
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    cases = [(options.codes, 64)] if options.codes else CASES
    rows = [measure(count, bits, options.rounds) for count, bits in cases]
    text = page(pd.DataFrame(rows), encoding_speed(), options.rounds)
    print(text)
    write_out(options.out, text)


def random_network(bits: int) -> Network:
    """A small network with random weights."""
    import jax
    import jax.numpy as jnp

    card = new_card(backbone="small", bits=bits, image_size=36, crop_size=32)
    init = jax.jit(make_network(card).init)
    return Network(*init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))), card)


def measure(count: int, bits: int, rounds: int) -> dict[str, object]:
    """A row of the table: random codes, half of the queries a few bits from one."""
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 256, (count, bits // 8), dtype=np.uint8)
    queries = packed[rng.integers(count, size=QUERIES)]
    queries[: QUERIES // 2, 0] ^= 3
    alone = faiss.IndexBinaryFlat(bits)
    alone.add(packed)
    with tempfile.TemporaryDirectory() as name:
        folder = Index.build(random_network(bits), np.ones((1, bits))).save(
            Path(name) / "index"
        )
        index = Index.load(folder)
        index.remove([0])
        for start in range(0, count, 100_000):
            some = np.arange(start, min(count, start + 100_000))
            codes = np.unpackbits(packed[some], axis=1).astype(np.int8) * 2 - 1
            index.add(codes, some)
        index.close()
        started = time.perf_counter()
        index = Index.load(folder)
        loading = time.perf_counter() - started
        times = in_turn(alone, index, queries, rounds)
        index.close()
    best = {name: 1e3 * min(found) / QUERIES for name, found in times.items()}
    ratio = np.median(np.array(times["index"]) / times["faiss"])
    return {
        "codes": f"{count:,}",
        "bits": str(bits),
        "FAISS alone": f"{best['faiss']:.2f}",
        "Index": f"{best['index']:.2f}",
        "ratio": f"{ratio:.2f}",
        "loading": f"{loading:.1f}",
        "peak": f"{peak_memory():,.0f}",
    }


def in_turn(alone, index: Index, queries: np.ndarray, rounds: int):
    """CPU seconds for all queries, one at a time; both give the same."""
    times = {"faiss": [], "index": []}
    for _ in range(rounds + 1):  # the first one warms up
        started = time.thread_time()
        expected = [alone.search(query[None], K) for query in queries]
        between = time.thread_time()
        found = [index.search_packed(query[None], K) for query in queries]
        ended = time.thread_time()
        times["faiss"].append(between - started)
        times["index"].append(ended - between)
    for (distances, numbers), result in zip(expected, found, strict=True):
        assert (distances == result.distances).all()
        assert numbers[0].tolist() == result.ids[0]
    return {name: values[1:] for name, values in times.items()}


def encoding_speed() -> tuple[float, float]:
    """Images a second of the network alone, and of an index that is built."""
    rng, network = np.random.default_rng(0), random_network(64)
    images = rng.integers(0, 256, (ENCODED, 40, 40, 3), dtype=np.uint8)
    network.encode(images[:64])
    found = []
    for _ in range(3):
        started = time.perf_counter()
        network.encode(images)
        between = time.perf_counter()
        Index.build(network, images)
        ended = time.perf_counter()
        found.append((ENCODED / (between - started), ENCODED / (ended - between)))
    return max(x for x, _ in found), max(x for _, x in found)


def page(table: pd.DataFrame, speed: tuple[float, float], rounds: int) -> str:
    """The result as Markdown."""
    made = provenance()
    alone, building = speed
    versions = f"jax {made['versions']['jax']}, faiss {faiss.__version__}"
    lines = [
        TITLE,
        "",
        f"The {K} nearest of random codes, {QUERIES} queries one at a time, one "
        f"thread: CPU ms a query, the best of {rounds} rounds; the ratio is the median "
        "of the rounds'. `Index` gives ids and labels as well. Loading: seconds to "
        "open the folder and fill the engine. Peak: MB of the process until then.",
        "",
        markdown_table(table),
        "",
        f"Building: {building:,.0f} images of 40 x 40 pixels a second in an index of "
        f"the network `small`, small pictures included, where the network alone "
        f"encodes {alone:,.0f} ({building / alone:.2f} of it).",
        "",
        f"Made by `python -m benchmarks.search` on {datetime.date.today()}, commit "
        f"{made['commit']}, {processor()}, {versions}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
