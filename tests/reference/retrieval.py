"""Retrieval measures from their definitions: loops, float64, stable order."""

import itertools

import numpy as np


def distances(query_code, database_codes):
    """(K - q.r) / 2 in float64."""
    products = database_codes.astype(np.float64) @ query_code.astype(np.float64)
    return (len(query_code) - products) / 2


def ranked_relevance(query_code, query_label, database_codes, database_labels):
    """Relevance in the order of the ranking: share a label, nearest first."""
    order = np.argsort(distances(query_code, database_codes), kind="stable")
    shared = database_labels.astype(np.int64) @ query_label.astype(np.int64)
    return (shared > 0)[order]


def average_precision(relevance, top_k=None):
    """AP of the first top_k; its divisor is the number of hits among them."""
    ranks = [rank for rank, hit in enumerate(relevance[:top_k], 1) if hit]
    if not ranks:
        return 0.0
    return np.mean([hits / rank for hits, rank in enumerate(ranks, 1)])


def all_average_precisions(
    queries, query_labels, database, database_labels, top_k=None
):
    """AP@top_k of each query."""
    return np.array(
        [
            average_precision(
                ranked_relevance(code, label, database, database_labels), top_k
            )
            for code, label in zip(queries, query_labels, strict=True)
        ]
    )


def precision_at(relevance, cutoff):
    """Share of hits among the first N."""
    return sum(bool(hit) for hit in relevance[:cutoff]) / cutoff


def precision_at_recall(relevance, num_levels):
    """Precision where each recall level is reached; None without relevant items."""
    num_relevant = int(sum(relevance))
    if num_relevant == 0:
        return None
    curve = []
    for level in range(1, num_levels + 1):
        wanted = max(1, level * num_relevant // num_levels)
        found = 0
        for rank, hit in enumerate(relevance, 1):
            found += hit
            if found == wanted:
                curve.append(wanted / rank)
                break
    return curve


def average_over_orders(distance, relevance, top_k):
    """Mean AP@top_k over every order of the items that keeps the distances sorted."""
    order = np.argsort(distance, kind="stable")
    distance, relevance = distance[order], relevance[order]
    groups = [relevance[distance == value] for value in np.unique(distance)]
    orders = itertools.product(
        *[list(itertools.permutations(group)) for group in groups]
    )
    return np.mean(
        [average_precision(np.concatenate(order), top_k) for order in orders]
    )


def sampled_orders(distance, relevance, top_k, rng, num_samples):
    """AP@top_k in random orders of the items that keep the distances sorted."""
    samples = []
    for _ in range(num_samples):
        order = rng.permutation(len(distance))
        order = order[np.argsort(distance[order], kind="stable")]
        samples.append(average_precision(relevance[order], top_k))
    return np.array(samples)
