import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks.pgd import Budget
from cgat_jax.attacks.square import square, square_side


def test_squares_shrink_as_the_published_schedule_says():
    """Side sqrt(p * H * W); p halves at 10, 50, 200, ... of 10,000 queries."""
    budget = Budget(steps=10_000)
    expected = {
        0: 0.8,
        10: 0.8,
        11: 0.4,
        51: 0.2,
        201: 0.1,
        1001: 0.025,
        8001: 0.0015625,
    }
    for iteration, share in expected.items():
        side = square_side(jnp.array(iteration), budget, (224, 224))
        assert int(side) == round(np.sqrt(share) * 224)


@pytest.mark.parametrize("steps", [7, 500, 5_000, 300_000])
def test_the_schedule_is_that_of_whole_numbers_for_any_number_of_queries(steps):
    """32 bits were too few for 10,000 times an iteration beyond 214,748."""
    halvings = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    for iteration in {0, steps // 9, steps // 2, 5 * steps // 7, steps - 1}:
        spent = iteration * 10_000 // steps
        share = 0.8 * 0.5 ** sum(spent > each for each in halvings)
        side = square_side(jnp.array(iteration), Budget(steps=steps), (224, 224))
        assert int(side) == round(np.sqrt(share) * 224)


def test_the_side_is_at_least_a_pixel_and_less_than_the_image():
    budget = Budget(steps=10_000)
    assert int(square_side(jnp.array(9_999), budget, (8, 8))) == 1
    assert int(square_side(jnp.array(0), Budget(steps=10), (4, 9))) <= 3


@pytest.fixture
def problem(rng):
    weights = jnp.array(rng.normal(size=(6, 192)) / 8, jnp.float32)

    def encode(images, iteration):
        return images.reshape(len(images), -1) @ weights.T

    images = jnp.array(rng.random((4, 8, 8, 3)), jnp.float32)
    references = jnp.array(rng.choice([-1.0, 1.0], (4, 6)), jnp.float32)
    return encode, images, references, jax.random.split(jax.random.key(0), 4)


@pytest.mark.slow
def test_more_queries_never_raise_the_objective_and_many_lower_it(problem):
    """The schedule follows the budget, so a budget's own prefix is what counts."""
    encode, images, references, keys = problem

    def agreement(x):
        return (jnp.tanh(encode(x, 0)) * references).mean(axis=1)

    start = square(Budget(steps=1))(encode, images, references, keys)
    long = square(Budget(steps=400))(encode, images, references, keys)
    assert (agreement(long) < agreement(start) - 0.02).all()
    assert (agreement(long) < agreement(images)).all()


def _queried(problem, budget):
    """The result, and the images that were asked for, in order."""
    encode, *rest = problem
    seen = {}

    def keep(number, x):
        seen[int(number)] = np.array(x)

    def recorded(x, iteration):
        jax.debug.callback(keep, iteration, x)
        return encode(x, iteration)

    found = square(budget)(recorded, *rest)
    jax.effects_barrier()
    assert sorted(seen) == list(range(budget.steps))
    return np.array(found), [seen[number] for number in range(budget.steps)]


def _is_a_square(change, side):
    """Whether what changed lies in a square, with one sign a channel."""
    rows, columns, _ = np.nonzero(change)
    signs = [set(np.sign(part[part != 0])) for part in np.moveaxis(change, 2, 0)]
    spans = [np.ptp(places) + 1 for places in (rows, columns) if len(places)]
    return all(span <= side for span in spans) and max(map(len, signs)) <= 1


def test_each_query_is_a_square_on_the_lowest_before_it_and_the_lowest_is_kept(problem):
    """Algorithm 1 by loops over the images that were asked for."""
    encode, *rest = problem
    images, references = map(np.asarray, rest[:2])
    budget = Budget(steps=60, epsilon=0.05)
    found, queries = _queried(problem, budget)
    codes = [np.tanh(np.asarray(encode(x, 0))) for x in queries]
    values = [(code * references).mean(axis=1) for code in codes]
    stripes = np.sign(queries[0] - images)
    assert (stripes == stripes[:, :1]).all() and len(np.unique(stripes)) == 2
    refused = 0
    for row, image in enumerate(images):
        best, lowest = queries[0][row], values[0][row]
        for number in range(1, budget.steps):
            query, value = queries[number][row], values[number][row]
            side = square_side(jnp.array(number), budget, (8, 8))
            assert _is_a_square(query - best, int(side))
            assert np.abs(query - image).max() <= 0.05 + 1e-6
            refused += value > lowest
            best, lowest = (query, value) if value < lowest else (best, lowest)
        np.testing.assert_array_equal(found[row], best)
        assert lowest < values[0][row]
    assert refused > 30


@pytest.mark.slow
def test_it_asks_for_no_gradient(problem):
    encode, *rest = problem

    @jax.custom_jvp
    def opaque(images):
        return jnp.sign(encode(images, 0))

    @opaque.defjvp
    def refuse(primals, tangents):
        raise AssertionError("a gradient was asked for")

    square(Budget(steps=20))(lambda images, iteration: opaque(images), *rest)


@pytest.mark.slow
def test_every_pixel_that_moved_is_at_the_end_of_the_ball(problem):
    _, images, _, _ = problem
    moved = square(Budget(steps=60, epsilon=0.05))(*problem)
    change = np.abs(np.asarray(moved - images))
    inside = (np.asarray(images) > 0.05) & (np.asarray(images) < 0.95)
    np.testing.assert_allclose(change[inside], 0.05, atol=1e-6)
