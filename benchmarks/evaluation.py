"""Times the retrieval evaluator and the center codes against straightforward code.

    python -m benchmarks.evaluation [--rounds 3] [--queries 2100] [--database 193734]
        [--largest 10000000] [--out docs/benchmarks/retrieval.md]

Retrieval: ``evaluate_retrieval`` (all measures) and ``average_precision_at`` (MAP
alone) on a set of NUS-WIDE's size, against straightforward NumPy in float32: products
for distances and labels, and an argsort, query by query, on ``--subset`` queries. Once
with all measures but the expectation over ties, in the same stable order; and twice as
the field computes MAP@5000 alone, in an order of ties that depends on NumPy's build:
with int64 labels, as scripts load them, and with float32 labels. Growth: see
``benchmarks.retrieval_growth``.

Center codes: the jitted closed form against the double sum of the paper, sample by
sample in NumPy, binary bank.

Variants alternate within one run, and the best round counts; NumPy's products have one
thread, ours as many as ``--threads`` says. The peak memory is that
of the process when the evaluator has run, before anything else does.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable

# A second thread of NumPy's products would spin between them and count as work.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

from benchmarks.out_file import out_file, write_out
from cgat_jax.retrieval import average_precision_at, evaluate_retrieval

TITLE = "# Ranking and measuring codes, by their number"
NUM_BITS, NUM_CLASSES, TOP_K = 32, 21, 5000
OURS = EVERYTHING, MAP_ONLY = "evaluate_retrieval", "average_precision_at"
CENTER_SIZES = [(5_000, 38, 32, 32), (10_000, 80, 32, 64)]


def synthetic_set(num_items: int, num_bits: int, num_classes: int, rng):
    """Codes int8 and multi-hot labels uint8; labels are long-tailed, codes noisy."""
    frequency = 0.25 / np.arange(1, num_classes + 1) ** 0.8
    labels = (rng.random((num_items, num_classes)) < frequency).astype(np.uint8)
    class_codes = np.random.default_rng(1).normal(size=(num_classes, num_bits))
    noise = rng.normal(size=(num_items, num_bits))
    codes = np.where(labels @ class_codes + noise > 0, 1, -1).astype(np.int8)
    return codes, labels


def straightforward_ranking(query_code, query_label, codes, labels, kind=None):
    """Relevance, nearest first, by two products and an argsort of all distances."""
    relevant = (query_label @ labels.T > 0).astype(np.float32)
    distances = 0.5 * (codes.shape[1] - query_code @ codes.T)
    return relevant[np.argsort(distances, kind=kind)]


def straightforward_precision(ranked) -> float:
    """AP of ranked relevance."""
    ranks = np.flatnonzero(ranked) + 1
    return np.mean(np.arange(1, len(ranks) + 1) / ranks) if len(ranks) else 0.0


def straightforward_map(query_codes, query_labels, codes, labels) -> float:
    """MAP@5000 alone, ties in whatever order ``np.argsort`` leaves them."""
    total = 0.0
    for query in zip(query_codes, query_labels, strict=True):
        ranked = straightforward_ranking(*query, codes, labels)
        total += straightforward_precision(ranked[:TOP_K])
    return total / len(query_codes)


def straightforward_scores(query_codes, query_labels, codes, labels):
    """MAP@5000, MAP, P@N and PR in the stable order; not the expectation over ties."""
    rows = []
    for query in zip(query_codes, query_labels, strict=True):
        ranked = straightforward_ranking(*query, codes, labels, kind="stable")
        hits = np.cumsum(ranked, dtype=np.int64)
        wanted = np.maximum(np.arange(1, 101) * hits[-1] // 100, 1)
        rows.append(
            [
                straightforward_precision(ranked[:TOP_K]),
                straightforward_precision(ranked),
                *(ranked[:n].sum() / n for n in range(100, 1001, 10)),
                *(wanted / (np.searchsorted(hits, wanted) + 1)),
            ]
        )
    return np.mean(rows, axis=0)


def straightforward_centers(labels, bank_codes, bank_labels):
    """The paper's center codes by its double sum over positives and negatives."""
    centers = []
    for label in labels:
        positive = (bank_labels @ label > 0).astype(np.float32)
        num_positive = positive.sum()
        near = (positive[:, None] * bank_codes).sum(axis=0)
        far = ((1 - positive)[:, None] * bank_codes).sum(axis=0)
        num_negative = len(positive) - num_positive
        centers.append(np.sign(num_negative * near - num_positive * far))
    return np.array(centers)


def best_times(
    variants: dict[str, Callable], rounds: int, clock: Callable = time.perf_counter
) -> dict[str, float]:
    """Seconds of each variant's best round; the variants take turns."""
    return {name: best[0] for name, best in best_of(variants, rounds, clock).items()}


def best_of(
    variants: dict[str, Callable], rounds: int, *clocks: Callable
) -> dict[str, list[float]]:
    """The best round by each clock; the variants take turns."""
    times = {name: [np.inf] * len(clocks) for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            starts = [clock() for clock in clocks]
            run()
            spent = [now() - start for now, start in zip(clocks, starts, strict=True)]
            times[name] = [*map(min, times[name], spent)]
    return times


def peak_memory() -> float:
    """Largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bench_retrieval(options: argparse.Namespace) -> str:
    """The times of the evaluator and of the straightforward MAP, at one size."""
    rng = np.random.default_rng(0)
    database = synthetic_set(options.database, NUM_BITS, NUM_CLASSES, rng)
    queries = synthetic_set(options.queries, NUM_BITS, NUM_CLASSES, rng)
    data_memory = peak_memory()
    settings = {"threads": options.threads, "top_k": TOP_K}
    scores = evaluate_retrieval(*queries, *database, **settings)
    memory = peak_memory()
    some = min(options.subset, options.queries)
    float_codes, float_queries = (x[0].astype(np.float32) for x in (database, queries))
    int64, float32 = (
        (float_queries[:some], queries[1][:some].astype(dtype))
        + (float_codes, database[1].astype(dtype))
        for dtype in (np.int64, np.float32)
    )
    variants = {
        EVERYTHING: lambda: evaluate_retrieval(*queries, *database, **settings),
        MAP_ONLY: lambda: average_precision_at(*queries, *database, **settings),
        "straightforward, all, stable": lambda: straightforward_scores(*float32),
        "straightforward MAP, int64 labels": lambda: straightforward_map(*int64),
        "straightforward MAP, float32 labels": lambda: straightforward_map(*float32),
    }
    clocks = time.perf_counter, time.process_time
    times = best_of(variants, options.rounds, *clocks)
    return (
        f"{options.queries:,} queries, {options.database:,} items, {NUM_BITS} bits, "
        f"{NUM_CLASSES} classes, {options.threads} threads; MAP {scores.map:.4f}, "
        f"chance {scores.chance:.4f}. Peak {memory:.0f} MB, of which {data_memory:.0f} "
        f"before the evaluation.\n\n{retrieval_table(times, options.queries, some)}"
    )


def retrieval_table(times: dict[str, list[float]], num_queries: int, some: int) -> str:
    """Ms a query that pass, and of CPU time, and what ratio those are to ours."""
    from cgat_jax.report.tables import markdown_table

    rows = []
    for name, seconds in times.items():
        wall, spent = (
            1e3 * x / (num_queries if name in OURS else some) for x in seconds
        )
        ratios = (spent / (1e3 * times[mine][1] / num_queries) for mine in OURS)
        rows.append(
            [name, f"{wall:.2f}", f"{spent:.2f}", *(f"{x:.2f}" for x in ratios)]
        )
    ratios = [f"CPU / {name}" for name in OURS]
    return markdown_table(
        pd.DataFrame(rows, columns=["", "ms a query", "CPU, ms a query", *ratios])
    )


def bench_centers(rounds: int, size: int, num_classes: int, batch: int, num_bits: int):
    """The times of the center codes, jitted and by loops."""
    import jax  # the memory measured above is to be the evaluator's

    from cgat_jax.centers import center_codes
    from cgat_jax.types import Bank

    data = synthetic_set(size, num_bits, num_classes, np.random.default_rng(0))
    codes, labels = (table.astype(np.float32) for table in data)
    queries, bank = jax.device_put((labels[:batch], Bank(codes, labels)))
    jitted = jax.jit(lambda queries, bank: center_codes(queries, bank, binary=True))
    variants = {
        "jitted": lambda: jitted(queries, bank).block_until_ready(),
        "loops": lambda: straightforward_centers(labels[:batch], codes, labels),
    }
    agreement = (np.asarray(variants["jitted"]()) == variants["loops"]()).mean()
    times = best_times(variants, max(rounds, 10))
    return (
        f"Center codes, N={size} C={num_classes} b={batch} K={num_bits}: "
        f"{1e3 * times['jitted']:.2f} ms jitted, {1e3 * times['loops']:.2f} ms loops, "
        f"ratio {times['loops'] / times['jitted']:.1f}, bits equal {agreement:.4f}.\n"
    )


def main() -> None:
    """Parses the options and runs both benchmarks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = dict(rounds=3, queries=2_100, database=193_734, subset=60, threads=2)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--largest", type=int, default=10**7, help="of the growth")
    parser.add_argument("--out", type=out_file(TITLE), help="Markdown file to write")
    options = parser.parse_args()
    whole = bench_retrieval(options)

    from benchmarks import retrieval_growth as growth  # with JAX: see bench_centers

    grown = growth.table(options.largest, options.rounds)
    centers = [bench_centers(options.rounds, *sizes) for sizes in CENTER_SIZES]
    text = "\n".join(
        [f"{TITLE}\n", growth.origin(options), whole, grown, "\n".join(centers)]
    )
    print(text)
    write_out(options.out, text)


if __name__ == "__main__":
    main()
