"""Objectives of attacks as their papers write them: loops over images and bits."""

import math

import numpy as np


def masked_quadratic(code, reference):
    """Mean of s (s + 2) over the bits with s > -0.5."""
    products = [a * b for a, b in zip(code, reference, strict=True)]
    chosen = [s for s in products if s > -0.5]
    return sum(s * (s + 2) for s in chosen) / max(len(chosen), 1)


def masked_quadratic_targeted(code, reference):
    """Minus the mean of s (s + 2) over the bits with s < 0.5."""
    products = [a * b for a, b in zip(code, reference, strict=True)]
    chosen = [s for s in products if s < 0.5]
    return -sum(s * (s + 2) for s in chosen) / max(len(chosen), 1)


def hag(code, own):
    """(sum m^2 u h / sum m + 1)^2 + (mean m u)^2."""
    masks = []
    for a, h in zip(code, own, strict=True):
        distance = abs(a - math.copysign(1, h))
        masks.append(1.0 if distance < 1.5 else 0.5 if distance == 1.5 else 0.0)
    pairs = list(zip(masks, code, own, strict=True))
    away = sum(m * m * a * h for m, a, h in pairs) / (sum(masks) + 1e-8)
    balance = sum(m * a for m, a, _ in pairs) / len(code)
    return (away + 1) ** 2 + balance**2


def sdha(code, own, label, bank_codes, bank_labels):
    """Minus the mean of the weighted smooth distances to each relevant code."""
    relevant = [
        other
        for other, other_label in zip(bank_codes, bank_labels, strict=True)
        if any(a * b > 0 for a, b in zip(label, other_label, strict=True))
    ]
    relevant = relevant or [[math.copysign(1, h) for h in own]]
    values = []
    for other in relevant:
        smooth = hamming = 0.0
        for a, r in zip(code, other, strict=True):
            gate = 1 / (1 + math.exp(-5 * a * r))
            smooth += abs(a - r) / 2 * gate + 1 - gate
            hamming += (1 - math.copysign(1, a) * r) / 2
        values.append((hamming + 1e-8) ** -0.5 * smooth)
    return -sum(values) / len(values)


def annealed(iteration, steps):
    """Ten equal parts: five at 0.1, then 0.2, 0.3, 0.5, 0.7 and 1."""
    for part, value in enumerate([0.1] * 5 + [0.2, 0.3, 0.5, 0.7, 1.0]):
        if iteration < (part + 1) * steps / 10:
            return value
    return None


def relaxed_average_precision(code, label, bank_codes, bank_labels):
    """FastAP over bins d = 0..K of relaxed Hamming distances, triangular shares."""
    bits = len(code)
    items = [0.0] * (bits + 1)
    hits = [0.0] * (bits + 1)
    for other, other_label in zip(bank_codes, bank_labels, strict=True):
        distance = (bits - np.dot(code, other)) / 2
        for d in range(bits + 1):
            share = max(0.0, 1 - abs(distance - d))
            items[d] += share
            hits[d] += share * (np.dot(label, other_label) > 0)
    total = sum(
        hits[d] * sum(hits[: d + 1]) / max(sum(items[: d + 1]), 1e-8)
        for d in range(bits + 1)
    )
    return total / max(sum(hits), 1)
