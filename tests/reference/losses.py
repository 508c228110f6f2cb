"""Hashing losses as the papers write them: loops over pairs, NumPy floats."""

import math

import numpy as np

SWEEPS, MU, NU, ETA = 10, 1.0, 1.0, 55.0


def mean(values):
    """Arithmetic mean; 0 of nothing."""
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def inner(code, other):
    """Scalar product."""
    return sum(a * b for a, b in zip(code, other, strict=True))


def similar(label, other):
    """1 where two label sets share a class, else 0."""
    return int(any(a > 0 and b > 0 for a, b in zip(label, other, strict=True)))


def pairs(codes, labels, bank_codes, bank_labels):
    """(u . u_j, S) for every code of the batch and every code of the bank."""
    return [
        (inner(code, other), similar(label, other_label))
        for code, label in zip(codes, labels, strict=True)
        for other, other_label in zip(bank_codes, bank_labels, strict=True)
    ]


def log_loss(theta, wanted):
    """log(1 + e^theta) - S theta."""
    return math.log(1 + math.exp(theta)) - wanted * theta


def rounding(codes):
    """(u - sign u)^2 of every bit."""
    return [(a - np.sign(a)) ** 2 for code in codes for a in code]


def dpsh(codes, labels, bank_codes, bank_labels, *, eta, eta_form="mean"):
    """Mean log-loss at theta = u . u_j / 2, plus the quantization error."""
    found = pairs(codes, labels, bank_codes, bank_labels)
    errors = rounding(codes)
    count = len(errors) if eta_form == "mean" else len(bank_codes) * len(codes)
    return mean(log_loss(p / 2, s) for p, s in found) + eta * sum(errors) / count


def dph(codes, labels, bank_codes, bank_labels):
    """Squared difference of the cosine from +1 (similar) or -1."""
    bits = len(codes[0])
    found = pairs(codes, labels, bank_codes, bank_labels)
    return mean((p / bits - (1 if s else -1)) ** 2 for p, s in found)


def hashnet(codes, labels, bank_codes, bank_labels, *, unseen="labels"):
    """Pairs weighted by S_tot / S_1 and S_tot / S_0, their sum divided by S_tot.

    With ``unseen`` "dissimilar", images whose code is all zero have no labels yet.
    """
    known = [
        label if any(code) or unseen == "labels" else [0] * len(label)
        for code, label in zip(bank_codes, bank_labels, strict=True)
    ]
    found = pairs(codes, labels, bank_codes, known)
    count = {s: sum(1 for _, other in found if other == s) for s in (0, 1)}
    weighted = [len(found) / count[s] * log_loss(0.1 * p, s) for p, s in found]
    return sum(weighted) / len(found)


def dsdh_tables(binary, relaxed, labels):
    """B and W after ten rounds of regression and cyclic coordinate descent."""
    binary, bits = np.array(binary, float), len(binary[0])
    for _ in range(SWEEPS):
        gram = sum(np.outer(code, code) for code in binary) + NU / MU * np.eye(bits)
        classifier = np.linalg.inv(gram) @ binary.T @ labels
        for bit in range(bits):
            for image, label in enumerate(labels):
                wanted = inner(classifier[bit], label)
                wanted += ETA / MU * relaxed[image, bit]
                for other in range(bits):
                    if other != bit:
                        product = inner(classifier[other], classifier[bit])
                        wanted -= binary[image, other] * product
                binary[image, bit] = np.sign(wanted)
    return binary, classifier


def dsdh_objective(binary, relaxed, labels, classifier):
    """What the rounds of ``dsdh_tables`` lower."""
    value = MU * ((labels - binary @ classifier) ** 2).sum()
    value += NU * (classifier**2).sum() + ETA * ((binary - relaxed) ** 2).sum()
    return value


def dsdh(codes, labels, bank_codes, bank_labels, *, index, quantization=0.0):
    """DPSH without its last term; error of the classifier; its size; the lost term."""
    tables = dsdh_tables(np.sign(bank_codes), bank_codes, bank_labels)
    binary, classifier = tables[0][index], tables[1]
    value = dpsh(codes, labels, bank_codes, bank_labels, eta=0.0)
    for code, label in zip(binary, labels, strict=True):
        for column, wanted in enumerate(label):
            error = wanted - inner(classifier[:, column], code)
            value += MU * error**2 / labels.size
    value += NU * mean(w**2 for row in classifier for w in row)
    return value + quantization * mean(((binary - codes) ** 2).flatten())


def cauchy_distance(code, other):
    """K/2 (1 - min(cos, 0.99)), the denominator of cos at least 1e-4."""
    norms = math.sqrt(inner(code, code) * inner(other, other))
    return len(code) / 2 * (1 - min(inner(code, other) / max(norms, 1e-4), 0.99))


def dch(codes, labels):
    """Cauchy cross-entropy of all pairs in the batch, and Cauchy quantization."""
    every = [similar(label, other) for label in labels for other in labels]
    count, positive = len(every), sum(every)
    both = 0 < positive < count
    weight = (count / (count - positive), count / positive) if both else (1, 1)
    distance = [cauchy_distance(code, other) for code in codes for other in codes]
    entropy = mean(
        weight[s] * (s * math.log(d / 20) + math.log(1 + 20 / d))
        for s, d in zip(every, distance, strict=True)
    )
    spread = [cauchy_distance(np.abs(code), np.ones(len(code))) for code in codes]
    return entropy + 0.1 * mean(math.log(1 + d / 20) for d in spread)


def hadamard_centers(num_classes, bits):
    """Rows of Sylvester's matrix, (-1)^popcount(i & j), then their opposites."""
    rows = [[(-1) ** (i & j).bit_count() for j in range(bits)] for i in range(bits)]
    return np.array((rows + [[-a for a in row] for row in rows])[:num_classes], float)


def csq_target(label, centers, ties, rule):
    """The center of the first class; or the sign of the sum, ties where it is 0."""
    if rule == "single":
        return centers[list(label).index(max(label))]
    total = sum(y * center for y, center in zip(label, centers, strict=True))
    return np.array(
        [np.sign(a) if a else tie for a, tie in zip(total, ties, strict=True)]
    )


def csq(codes, labels, *, ties, rule="multi", quantization=1e-4):
    """Binary cross-entropy of (u + 1) / 2 to the bits of the hash center."""
    centers = hadamard_centers(len(labels[0]), len(codes[0]))
    entropy = []
    for code, label in zip(codes, labels, strict=True):
        target = csq_target(label, centers, ties, rule)
        for a, wanted in zip(code, target, strict=True):
            chance = (a + 1) / 2
            entropy.append(-math.log(chance if wanted > 0 else 1 - chance))
    penalty = mean((abs(a) - 1) ** 2 for code in codes for a in code)
    return mean(entropy) + quantization * penalty


def greedyhash(codes, labels, *, classifier):
    """Cross-entropy of the first class from the signs, and the cubic penalty."""
    entropy = []
    for code, label in zip(codes, labels, strict=True):
        scores = [inner(row, np.sign(code)) for row in classifier]
        total = math.log(sum(math.exp(score) for score in scores))
        entropy.append(total - scores[list(label).index(max(label))])
    penalty = mean(abs(abs(a) - 1) ** 3 for code in codes for a in code)
    return mean(entropy) + 0.1 * penalty


def greedyhash_gradient(codes, labels, *, classifier):
    """That with respect to u, the sign's derivative counting as 1."""
    gradient = []
    for code, label in zip(codes, labels, strict=True):
        chances = np.exp([inner(row, np.sign(code)) for row in classifier])
        chances /= chances.sum()
        chances[list(label).index(max(label))] -= 1
        cubic = -0.3 * np.sign(code) * (1 - np.abs(code)) ** 2 / codes.size
        gradient.append(chances @ classifier / len(codes) + cubic)
    return np.array(gradient)


def swdc(codes, signs):
    """Bit by bit, the squared difference of sorted values and sorted signs."""
    errors = []
    for column, other in zip(codes.T, signs.T, strict=True):
        for a, b in zip(sorted(column), sorted(other), strict=True):
            errors.append((a - b) ** 2)
    return mean(errors)


def prototype(codes, labels, bank_codes, bank_labels, *, triangle):
    """Circle loss over the batch, and the rounding error over 10^4 times the batch."""
    bits, groups = len(codes[0]), {0: [], 1: []}
    for row, (code, label) in enumerate(zip(codes, labels, strict=True)):
        for column, other in enumerate(bank_codes):
            if column > row or not triangle:
                cosine = inner(code, other) / bits
                groups[similar(label, bank_labels[column])].append(cosine)
    near = [math.exp(-(2 - s) * s) for s in groups[1]]
    far = [math.exp((2 + s) * s) for s in groups[0]]
    circle = sum(math.log(sum(group)) for group in (near, far) if group)
    return (circle + sum(rounding(codes)) / 1e4) / len(codes)


def classified_prototype(codes, classes, labels, bank_codes, bank_labels):
    """Likelihood of pairs, squared error of classes, rounding over 10^4 times B."""
    found = pairs(codes, labels, bank_codes, bank_labels)
    likelihood = mean(log_loss(theta / 2, wanted) for theta, wanted in found)
    errors = mean(
        (c - y) ** 2
        for row, label in zip(classes, labels, strict=True)
        for c, y in zip(row, label, strict=True)
    )
    return likelihood + errors + sum(rounding(codes)) / 1e4 / len(codes)
