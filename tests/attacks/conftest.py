import jax
import pytest


@pytest.fixture(autouse=True)
def adam_counts_its_steps_in_integers():
    with jax.numpy_dtype_promotion("standard"):
        yield
