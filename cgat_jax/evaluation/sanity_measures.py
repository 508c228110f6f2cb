"""What the sanity checks measure: each a number, compared with its threshold later.

All take the network and the curve over the budget, and give None where the measure
cannot be made. ``sanity.CHECKS`` says what each means.
"""

from typing import NamedTuple

import numpy as np

from cgat_jax.evaluation.attack_runner import AttackResult
from cgat_jax.evaluation.network_under_test import NetworkUnderTest

BUDGETS = (1, 2, 4, 8, 16)  # of 255
MAIN, STRONG = "cgat", "apgd"
RESTARTS, FORWARDS, SQUARE_QUERIES = 5, 5, 500
STEPS = 100  # of other attacks than the main one
CURVE = (0, 0.06, 0.12, 0.25, 0.5, 1)  # parts of the main attack's iterations
SLACK = 1e-6


class Curve(NamedTuple):
    """Budgets of [0, 1], with MAP and the share of bits flipped under each."""

    epsilon: list[float]
    map: list[float]
    bits_flipped: list[float]


def budget_curve(network: NetworkUnderTest) -> Curve:
    """The main attack at 1, 2, 4, 8 and 16 / 255."""
    sizes = [level / 255 for level in BUDGETS]
    found = [_main(network, epsilon=size).codes for size in sizes]
    means = [_map(network, codes) for codes in found]
    return Curve(sizes, means, [_flipped(network, codes) for codes in found])


def _map(network: NetworkUnderTest, codes: np.ndarray) -> float:
    return float(network.average_precision(codes).mean())


def _flipped(network: NetworkUnderTest, codes: np.ndarray) -> float:
    return float((codes != network.codes).mean())


def _main(network: NetworkUnderTest, **changes) -> AttackResult:
    """The main attack; what changes nothing is left out, so that it is made once."""
    usual = {"restart": 0, "epsilon": network.epsilon}
    changes = {k: v for k, v in changes.items() if k not in usual or usual[k] != v}
    return network.attack(MAIN, **{"steps": network.budget.steps} | changes)


def zero_budget(network: NetworkUnderTest, curve: Curve) -> float:
    """Share of bits that attacks of a ball of size 0 flip, the largest of three."""
    attacks = (MAIN, STRONG, "square")
    result = [network.attack(name, steps=10, epsilon=0.0).codes for name in attacks]
    return max(_flipped(network, codes) for codes in result)


def rise(network: NetworkUnderTest, curve: Curve) -> float:
    """Largest rise of MAP from one budget to the next larger one."""
    return max(float(np.diff(curve.map).max()), 0.0)


def unbounded(network: NetworkUnderTest, curve: Curve) -> float:
    """MAP of APGD without a bound, in parts of chance."""
    result = network.attack(STRONG, steps=STEPS, epsilon=1.0)
    return _map(network, result.codes) / max(network.chance, SLACK)


def doubled(network: NetworkUnderTest, curve: Curve) -> float:
    """Change of MAP with twice the iterations."""
    twice = _main(network, steps=2 * network.budget.steps)
    return abs(_map(network, twice.codes) - _map(network, _main(network).codes))


def restarted(network: NetworkUnderTest, curve: Curve) -> float:
    """Fall of MAP with more starts, the lowest AP of each query taken."""
    results = [_main(network, restart=n) for n in range(network.restarts + RESTARTS)]
    found = [network.average_precision(result.codes) for result in results]
    own = np.min(found[: network.restarts], axis=0)
    return float(own.mean() - np.min(found, axis=0).mean())


def order(network: NetworkUnderTest, curve: Curve) -> float | None:
    """How far MAP is from white-box below transfer below noise."""
    transferred = network.transferred(MAIN, steps=network.budget.steps)
    if transferred is None:
        return None
    white, noise = _main(network).codes, network.attack("noise").codes
    values = [_map(network, codes) for codes in (white, transferred, noise)]
    return max(values[0] - values[1], values[1] - values[2], 0.0)


def square_wins(network: NetworkUnderTest, curve: Curve) -> float:
    """How far Square's MAP is below that of the main attack."""
    found = network.attack("square", steps=SQUARE_QUERIES).codes
    return max(_map(network, _main(network).codes) - _map(network, found), 0.0)


def zero_gradients(network: NetworkUnderTest, curve: Curve) -> float:
    """What the relaxation adds to the zeros; those of logits count above one half.

    Dead units and flat background make some zeros in an honest network (16 % in the
    quickstart's defended one); a network that is flat everywhere has nothing else, and
    no attack by gradients sees it, whatever its relaxation: above three quarters this
    counts as 1 more, which what a relaxation adds cannot reach.
    """
    flat = network.zero_gradients("logits")
    relaxed = network.zero_gradients(network.budget.relaxation)
    return max(relaxed - flat, flat - 0.5, 0.0) + (flat > 0.75)


def saturation(network: NetworkUnderTest, curve: Curve) -> float | None:
    """How far MAP falls when the attack sees logits of unit length."""
    if network.budget.relaxation == "unit":  # which would be compared with itself
        return None
    plain = _map(network, _main(network).codes)
    unit = _map(network, _main(network, relaxation="unit").codes)
    return max(plain - unit, 0.0)


def changing_output(network: NetworkUnderTest, curve: Curve) -> float:
    """Share of outputs that differ among forward passes of one input."""
    outputs = network.outputs(FORWARDS)
    return float(np.mean([outputs[0] != other for other in outputs[1:]]))


def outside(network: NetworkUnderTest, curve: Curve) -> float:
    """Largest excess, of floats and of 8 bits, whose rounding may add half a level."""
    worst = 0.0
    for name in (MAIN, STRONG, "square"):
        found = _main(network) if name == MAIN else network.attack(name, steps=STEPS)
        adversarial = np.asarray(found.images, np.float64)
        rounded, half = np.round(adversarial * 255) / 255, 0.5 / 255
        for pixels, slack in ((adversarial, 0.0), (rounded, half)):
            change = np.abs(pixels - network.images).max() - network.epsilon - slack
            worst = max(worst, change, -pixels.min(), pixels.max() - 1)
    return float(worst)


def batch_dependence(network: NetworkUnderTest, curve: Curve) -> float:
    """Share of bits that change with the size of the batch."""
    other = _main(network, size=-1).codes
    return float((other != _main(network).codes).mean())


def not_descending(network: NetworkUnderTest, curve: Curve) -> float:
    """Share of queries and intervals in which the objective rose by over 0.01."""
    found = [_main(network, steps=int(p * network.budget.steps)) for p in CURVE]
    values = np.stack([network.agreement(result.images) for result in found])
    return float((np.diff(values, axis=0) > 0.01).mean())


def noise_flips_more(network: NetworkUnderTest, curve: Curve) -> float:
    """Share of bits that noise flips, less that of the main attack."""
    noise, main = network.attack("noise").codes, _main(network).codes
    return _flipped(network, noise) - _flipped(network, main)
