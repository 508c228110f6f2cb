import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from cgat_jax.attacks import prototypes
from cgat_jax.attacks.prototypes import (
    fit_prototypes,
    prototype_codes,
    prototype_optimizer,
    train_prototypes,
)
from cgat_jax.models import prototype
from cgat_jax.models.prototype import make_prototype_net
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


@pytest.mark.slow
def test_training_brings_prototypes_to_the_codes_of_their_class(bank, monkeypatch):
    monkeypatch.setattr(prototype, "HIDDEN", 64)
    before, after = (_agreement(bank, _codes(bank, steps)) for steps in (0, 600))
    assert after > 0.5 > before
    codes = np.asarray(_codes(bank, 3))
    assert set(np.unique(codes)) <= {-1.0, 0.0, 1.0} and codes.shape == (3, 16)


@pytest.mark.slow
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


def _fitted(bank, steps, check_stop=lambda: None, each_step=lambda: None):
    """Parameters after some steps; ``each_step`` is called on the host as they run."""
    network = make_prototype_net(16)

    def step(tx, params, opt_state, labels):
        def called():
            each_step()
            return np.float32(0)

        nothing = io_callback(called, jax.ShapeDtypeStruct((), jnp.float32))
        params = jax.tree.map(lambda leaf: leaf + nothing, params)
        mask = jnp.ones(8, bool)
        return train_prototypes(
            network, tx, (params, opt_state), labels, bank, mask, triangle=False
        )

    return fit_prototypes(
        jax.random.key(0),
        network,
        step,
        np.eye(3, dtype=np.uint8),
        steps=steps,
        batch_size=8,
        check_stop=check_stop,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "most"), [(0.01, 100), (0.3, 8), (5.0, 8)])
def test_a_stop_waits_for_about_a_second_of_steps(bank, monkeypatch, seconds, most):
    """By a clock that the steps themselves move; no step is queued beyond the check."""
    monkeypatch.setattr(prototype, "HIDDEN", 8)
    done, at_checks = [], []
    clock = types.SimpleNamespace(monotonic=lambda: seconds * len(done))
    monkeypatch.setattr(prototypes, "time", clock, raising=False)
    _fitted(
        bank,
        600 if seconds < 0.1 else 40,
        check_stop=lambda: at_checks.append(len(done)),
        each_step=lambda: done.append(1),
    )
    gaps = np.diff([*at_checks, len(done)])
    assert at_checks[0] == 0 and (gaps > 0).all() and gaps.max() <= most
    lasting = gaps[len(gaps) // 2 : -1] * seconds
    assert (lasting >= min(0.5, lasting.max())).all() and lasting.max() <= max(
        2, seconds
    )


@pytest.mark.slow
def test_a_stop_ends_the_training_there(bank, monkeypatch):
    monkeypatch.setattr(prototype, "HIDDEN", 8)
    done = []

    def check_stop():
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fitted(bank, 600, check_stop, each_step=lambda: done.append(1))
    assert len(done) == 8


@pytest.mark.slow
def test_the_length_of_the_blocks_changes_no_bit(bank, monkeypatch):
    monkeypatch.setattr(prototype, "HIDDEN", 8)
    found = []
    for length in (1, 7, 1000):
        monkeypatch.setattr(prototypes, "_FIRST_BLOCK", length)
        found.append(_fitted(bank, 50))
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[0], other)
