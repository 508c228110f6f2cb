"""Functions are told apart by what attacks see of them, not by their codes alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.errors import NonFiniteError
from cgat_jax.evaluation.attack_runner import as_codes
from cgat_jax.evaluation.behavior import behavior_digest
from cgat_jax.sharding import to_images

WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(4 * 4 * 3, 8)), jnp.float32)
LEVELS = np.random.default_rng(1).integers(0, 256, (9, 4, 4, 3), dtype=np.uint8)
IMAGES = to_images(jnp.asarray(LEVELS))


def encode(images):
    return (images - 0.5).reshape(len(images), -1) @ WEIGHTS


def rounded(images):
    return encode(jnp.round(images * 255) / 255)


@jax.custom_jvp
def round_straight_through(images):
    return jnp.round(images * 255) / 255


@round_straight_through.defjvp
def _slope_of_identity(primals, tangents):
    return round_straight_through(primals[0]), tangents[0]


def straight_through(images):
    return encode(round_straight_through(images))


def without_gradient(images):
    shape = jax.ShapeDtypeStruct((len(images), 8), jnp.float32)
    return jax.pure_callback(lambda x: np.asarray(encode(x)), shape, images)


def test_the_same_function_is_the_same():
    again = behavior_digest(lambda images: encode(images), IMAGES)
    assert again == behavior_digest(encode, IMAGES)
    known = behavior_digest(without_gradient, IMAGES)
    assert known == behavior_digest(without_gradient, IMAGES)


def test_the_last_bits_of_a_sum_are_no_other_function():
    """Another machine, or an accelerator's next call, adds in another order."""

    def reversed_sum(images):
        pixels = (images - 0.5).reshape(len(images), -1)
        return pixels[:, ::-1] @ WEIGHTS[::-1]

    assert (np.asarray(reversed_sum(IMAGES)) != np.asarray(encode(IMAGES))).any()
    assert behavior_digest(reversed_sum, IMAGES) == behavior_digest(encode, IMAGES)

    def slightly_other(images):
        return encode(images + 0.02 * images**2)

    def louder(images):  # of the same codes, but not to an attack by tanh
        return 1.01 * encode(images)

    for other in (slightly_other, louder, lambda images: 1000 * encode(images)):
        assert behavior_digest(other, IMAGES) != behavior_digest(encode, IMAGES)


def test_a_gradient_without_memory_is_not_one_that_is_lacking():
    @jax.custom_jvp
    def hungry(images):
        return encode(images)

    @hungry.defjvp
    def _no_room(primals, tangents):
        raise MemoryError

    with pytest.raises(MemoryError):
        behavior_digest(hungry, IMAGES)


def test_functions_with_one_code_for_each_photo_are_told_apart():
    """Records of the first were given as the second's."""
    np.testing.assert_array_equal(encode(IMAGES), rounded(IMAGES))
    np.testing.assert_array_equal(rounded(IMAGES), straight_through(IMAGES))
    functions = (encode, rounded, straight_through, without_gradient)
    assert len({behavior_digest(each, IMAGES) for each in functions}) == 4


def test_a_code_that_is_no_number_is_none():
    """NaN became the code 0, at half distance of all, a weak code like others."""
    signs = np.array([[1.0, -1.0], [np.nan, 1.0]])
    with pytest.raises(NonFiniteError, match="cgat: logits are not finite"):
        as_codes(signs, np.array([True, True]), "cgat")
    found = as_codes(signs, np.array([True, False]), "cgat")
    assert found.dtype == np.int8 and found.tolist() == [[1, -1]]
