"""Hamming retrieval and its measures, exact and in NumPy only.

``evaluate_retrieval`` scores one set of codes against another; ``hamming`` packs codes
into bits and measures distances; ``ranking`` orders a database stably; ``ties``
averages over the orders that equal distances leave open; ``confidence`` tells how
sure a mean is and how much of their space codes use.
"""

from cgat_jax.retrieval.confidence import bootstrap_interval, code_usage
from cgat_jax.retrieval.hamming import hamming_distances, pack_codes
from cgat_jax.retrieval.metrics import average_precision_at, evaluate_retrieval
from cgat_jax.retrieval.scores import RetrievalScores

__all__ = [
    "RetrievalScores",
    "average_precision_at",
    "bootstrap_interval",
    "code_usage",
    "evaluate_retrieval",
    "hamming_distances",
    "pack_codes",
]
