"""Times the gradient of the relaxed average precision against plain autodiff.

    python -m benchmarks.average_precision [--items 50000] [--queries 100] [--rounds 5]

Both have the same value: ours counts an item in the two bins beside its distance, and
knows from them its derivative; plainly, every item is looked at for every bin, and JAX
differentiates that. The variants alternate within one run, and the best round counts.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.evaluation import best_times
from cgat_jax.attacks.objectives import relaxed_average_precision
from cgat_jax.types import Bank, similarity


def straightforward(codes, labels, bank):
    """The sum over bins as it is written."""
    bits = codes.shape[1]
    distances = (bits - codes @ bank.codes.T) / 2
    relevant = similarity(labels, bank.labels)

    @jax.checkpoint  # else the gradient keeps K + 1 tables of the distances' size
    def add_bin(sums, distance):
        items, hits, total = sums
        share = jnp.maximum(1 - jnp.abs(distances - distance), 0)
        found = (share * relevant).sum(axis=1)
        items, hits = items + share.sum(axis=1), hits + found
        return (items, hits, total + found * hits / jnp.maximum(items, 1e-8)), None

    zero = jnp.zeros(len(codes))
    (_, hits, total), _ = jax.lax.scan(add_bin, (zero,) * 3, jnp.arange(bits + 1.0))
    return total / jnp.maximum(hits, 1)


def main() -> None:
    """Parses the options and prints seconds and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = dict(items=50_000, queries=100, bits=32, classes=10, rounds=5)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    rng, eye = np.random.default_rng(0), np.eye(options.classes, dtype=np.float32)
    codes = np.sign(rng.normal(size=(options.items, options.bits))).astype(np.float32)
    bank = Bank(codes, eye[rng.integers(options.classes, size=options.items)])
    labels = eye[rng.integers(options.classes, size=options.queries)]
    relaxed = np.tanh(rng.normal(size=(options.queries, options.bits)))
    arguments = jax.device_put((relaxed.astype(np.float32), labels, bank))

    def variant(average_precision):
        def total(codes, labels, bank):
            return average_precision(codes, labels, bank).sum()

        step = jax.jit(jax.value_and_grad(total))
        return lambda: jax.block_until_ready(step(*arguments))

    variants = {
        "relaxed_average_precision": variant(relaxed_average_precision),
        "straightforward": variant(straightforward),
    }
    values = [float(run()[0]) for run in variants.values()]
    assert np.isclose(*values, rtol=1e-5), values
    times = best_times(variants, options.rounds)
    for name, seconds in times.items():
        print(f"{name}: {1e3 * seconds:.1f} ms")
    print(f"ratio: {times['straightforward'] / times['relaxed_average_precision']:.1f}")


if __name__ == "__main__":
    main()
