"""Hashing losses as the papers write them: loops over pairs, NumPy floats."""

import math


def dpsh(codes, labels, bank_codes, bank_labels, eta):
    """Mean negative log-likelihood of all pairs plus the mean quantization error."""
    pairs, rounding = [], []
    for code, label in zip(codes, labels, strict=True):
        for other, other_label in zip(bank_codes, bank_labels, strict=True):
            theta = sum(a * b for a, b in zip(code, other, strict=True)) / 2
            similar = any(a * b > 0 for a, b in zip(label, other_label, strict=True))
            pairs.append(math.log(1 + math.exp(theta)) - similar * theta)
        rounding += [(a - math.copysign(1, a)) ** 2 if a else 0.0 for a in code]
    return sum(pairs) / len(pairs) + eta * sum(rounding) / len(rounding)
