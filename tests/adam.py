"""Optax's Adam under the strict promotion of the tests."""

import jax
import optax


def allow_adam(monkeypatch):
    """Lets optax's Adam, and nothing of ours, promote types as JAX does by default.

    It takes a float to the power of its count, an integer.
    """
    for name in ("adam", "scale_by_adam"):
        monkeypatch.setattr(optax, name, _lenient(getattr(optax, name)))


def _lenient(make):
    def made(*args, **kwargs):
        tx = make(*args, **kwargs)

        def update(*inputs):
            with jax.numpy_dtype_promotion("standard"):
                return tx.update(*inputs)

        return optax.GradientTransformation(tx.init, update)

    return made
