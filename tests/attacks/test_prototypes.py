import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks.prototypes import prototype_codes, prototype_optimizer
from cgat_jax.models import prototype
from cgat_jax.types import Bank


@pytest.fixture
def bank(rng):
    """Thirty images of each of three classes; a class is a code with some noise."""
    centers = np.sign(rng.normal(size=(3, 16)))
    labels = np.repeat(np.eye(3), 30, axis=0)
    noise = np.where(rng.random((90, 16)) < 0.1, -1, 1)
    codes = np.repeat(centers, 30, axis=0) * noise
    return Bank(jnp.array(codes, jnp.float32), jnp.array(labels, jnp.float32))


def _codes(bank, steps, key=0):
    sets = np.eye(3, dtype=np.uint8)
    return prototype_codes(jax.random.key(key), bank, sets, sets, steps=steps)


def _agreement(bank, codes):
    """Mean agreement with the class's own images, minus that with the others."""
    cosines = np.asarray(codes @ bank.codes.T) / 16
    own = np.asarray(bank.labels).T > 0
    return cosines[own].mean() - cosines[~own].mean()


def test_training_brings_prototypes_to_the_codes_of_their_class(bank, monkeypatch):
    monkeypatch.setattr(prototype, "HIDDEN", 64)
    before, after = (_agreement(bank, _codes(bank, steps)) for steps in (0, 600))
    assert after > 0.5 > before
    codes = np.asarray(_codes(bank, 3))
    assert set(np.unique(codes)) <= {-1.0, 0.0, 1.0} and codes.shape == (3, 16)


def test_the_same_key_gives_the_same_prototypes(bank, monkeypatch):
    monkeypatch.setattr(prototype, "HIDDEN", 64)
    np.testing.assert_array_equal(_codes(bank, 5), _codes(bank, 5))
    assert (_codes(bank, 5) != _codes(bank, 5, key=1)).any()


def test_the_learning_rate_falls_at_a_half_and_at_three_quarters():
    """Adam's first steps on a constant gradient are the learning rate itself."""
    tx, params = prototype_optimizer(8), jnp.zeros(())
    state, sizes = tx.init(params), []
    for _ in range(8):
        update, state = tx.update(jnp.ones(()), state)
        sizes.append(float(-update))
    expected = [1e-4] * 4 + [1e-5] * 2 + [1e-6] * 2
    np.testing.assert_allclose(sizes, expected, rtol=0.01)
