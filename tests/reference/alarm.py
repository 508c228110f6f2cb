"""The alarm's statistics and p-values from their definitions, in loops."""

import numpy as np

from tests.reference.retrieval import distances


def nearest_distance(code, others, count):
    """Mean of the smallest ``count`` Hamming distances, over the number of bits."""
    ordered = sorted(distances(code, others).tolist())[:count]
    return sum(ordered) / len(ordered) / len(code)


def change(logits, views):
    """Mean of |tanh(z') - tanh(z)| / 2 over bits and those views, of one image."""
    found = []
    for view in views:
        for z, moved in zip(logits[0], logits[view], strict=True):
            found.append(abs(np.tanh(float(moved)) - np.tanh(float(z))) / 2)
    return sum(found) / len(found)


def p_values(clean, query):
    """(of each statistic, of all): by the bag of the clean rows and the query."""
    bag = [*clean.tolist(), query.tolist()]

    def rank(row, column):
        return sum(other[column] >= row[column] for other in bag)

    columns = range(len(query))
    ranks = [[rank(row, column) for column in columns] for row in bag]
    rarity = [(min(row), sum(row)) for row in ranks]
    as_rare = sum(other <= rarity[-1] for other in rarity)
    each = [rank(bag[-1], column) / len(bag) for column in columns]
    return each, as_rare / len(bag)
