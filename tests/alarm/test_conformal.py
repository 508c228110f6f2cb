"""p-values: the definition, the promised false alarms, and what moves nothing."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from cgat_jax.alarm.conformal import check_calibration, conformal_p_values
from cgat_jax.errors import InputError
from tests.reference import alarm as reference


def rows(rng, count, kind):
    """Dependent statistics: continuous, or with many ties as Hamming distances have."""
    shared = rng.normal(size=(count, 1))
    found = shared + rng.normal(size=(count, 4)) * [0.1, 1, 3, 0.5]
    return found if kind == "continuous" else np.round(found)


@pytest.mark.parametrize("kind", ["continuous", "ties"])
@pytest.mark.parametrize("count", [1, 2, 19, 40])
def test_p_values_are_those_of_the_definition(rng, kind, count):
    clean, queries = rows(rng, count, kind), rows(rng, 12, kind) * 1.5
    each, together = conformal_p_values(clean, queries)
    for query, own, whole in zip(queries, each, together, strict=True):
        expected, expected_whole = reference.p_values(clean, query)
        assert own.tolist() == expected and whole == expected_whole


@pytest.mark.parametrize("kind", ["continuous", "ties"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_clean_queries_raise_no_more_alarms_than_asked_for(kind, alpha):
    """Theory: P(p <= alpha) <= alpha over calibration and query; each trial has both.

    The number of alarms in independent trials is binomial with at most that rate, so
    it is above the 99.9 % quantile once in a thousand seeds. Without ties, one
    statistic and (n + 1) alpha whole, the rate is alpha exactly, and the test has the
    power to tell it from half and from twice of it.
    """
    rng, trials, count = np.random.default_rng(1), 2_000, 39
    raised = single = 0
    for _ in range(trials):
        bag = rows(rng, count + 1, kind)
        raised += conformal_p_values(bag[1:], bag[:1])[1][0] <= alpha
        single += conformal_p_values(bag[1:, :1], bag[:1, :1])[1][0] <= alpha
    assert max(raised, single) <= binom.ppf(0.999, trials, alpha)
    if kind == "continuous":
        assert binomtest(int(single), trials, alpha).pvalue > 0.001
        assert binomtest(int(single), trials, alpha / 2).pvalue < 0.001
        assert raised > trials * alpha / 2  # ties are few: not idle either


def test_every_rank_of_the_bag_is_used_once_without_ties(rng):
    """One statistic: the p-values of the bag's rows are 1/(n+1), ..., 1."""
    bag = rng.normal(size=(30, 1))
    found = [
        conformal_p_values(np.delete(bag, i, 0), bag[i : i + 1])[1][0]
        for i in range(30)
    ]
    np.testing.assert_allclose(sorted(found), np.arange(1, 31) / 30)


def test_the_order_of_the_clean_queries_changes_nothing(rng):
    clean, queries = rows(rng, 50, "ties"), rows(rng, 9, "ties")
    for found, other in zip(
        conformal_p_values(clean, queries),
        conformal_p_values(rng.permutation(clean), queries),
        strict=True,
    ):
        np.testing.assert_array_equal(found, other)


def test_what_is_more_unusual_in_everything_has_no_larger_p_value(rng):
    clean, queries = rows(rng, 60, "ties"), rows(rng, 30, "ties")
    each, together = conformal_p_values(clean, queries)
    odder, odder_together = conformal_p_values(clean, queries + 1)
    assert (odder <= each).all() and (odder_together <= together).all()
    assert (odder_together < together).any()


@pytest.mark.parametrize(
    ("count", "rate", "what"),
    [
        (18, 0.05, "give 19 or more"),
        (98, 0.01, "give 99 or more"),
        (100, 0.0, "between 0 and 1"),
        (100, 1.0, "between 0 and 1"),
        (100, float("nan"), "between 0 and 1"),
    ],
)
def test_too_few_clean_queries_are_refused(count, rate, what):
    with pytest.raises(InputError, match=what):
        check_calibration(count, rate)


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (99, 0.01), (9, 0.1)])
def test_the_least_number_can_raise_an_alarm(count, rate):
    check_calibration(count, rate)
    clean = np.arange(float(count))[:, None]
    assert conformal_p_values(clean, np.array([[1e9]]))[1][0] <= rate
    with pytest.raises(InputError):
        check_calibration(count - 1, rate)
