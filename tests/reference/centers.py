"""The paper's objective of a center code, and the center by the paper's double sum."""

import numpy as np


def objective(center, positives, negatives):
    """Mean Hamming distance to the positives minus that to the negatives."""

    def distance(codes):
        return (codes != center).sum(axis=1).mean()

    return distance(positives) - distance(negatives)


def center_code(label, bank_codes, bank_labels):
    """One center by loops: w_i = 1 / N_p on positives, w_j = 1 / N_n on negatives."""
    positive = [bool((label * other).sum() > 0) for other in bank_labels]
    count = sum(positive)
    if count == 0:
        return np.zeros(bank_codes.shape[1])
    total = np.zeros(bank_codes.shape[1])
    for code, is_positive in zip(bank_codes, positive, strict=True):
        if is_positive:
            total += code * (len(positive) - count if count < len(positive) else 1)
        else:
            total -= code * count
    return np.sign(total)
