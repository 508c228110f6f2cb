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


def whole_center_codes(labels, signs, bank_labels):
    """sign(N * sum of positives - n * sum of all) of each query, in 64-bit integers."""
    signs, size = signs.astype(np.int64), len(signs)
    total, centers = signs.sum(axis=0), []
    for label in labels:
        positive = (bank_labels[:, label > 0] > 0).any(axis=1)
        near, count = signs[positive].sum(axis=0), int(positive.sum())
        centers.append(np.sign(near if count == size else size * near - count * total))
    return np.array(centers)


def label_weight(label, other, weights):
    """Jaccard index or cosine of two label sets; 0 where one of them is empty."""
    shared = sum(1 for a, b in zip(label, other, strict=True) if a and b)
    if shared == 0:
        return 0.0
    counts = sum(1 for a in label if a), sum(1 for b in other if b)
    if weights == "jaccard":
        return shared / (sum(counts) - shared)
    return shared / (counts[0] ** 0.5 * counts[1] ** 0.5 + 1e-8)


def weighted_difference(label, bank_codes, bank_labels, weights):
    """Weighted mean of the positives minus the mean of the negatives, by loops."""
    bits = bank_codes.shape[1]
    near, far, total, count = np.zeros(bits), np.zeros(bits), 0.0, 0
    for code, other in zip(bank_codes, bank_labels, strict=True):
        weight = label_weight(label, other, weights)
        if weight > 0:
            near, total = near + weight * code, total + weight
        else:
            far, count = far + code, count + 1
    return near / (total or 1) - far / (count or 1)
