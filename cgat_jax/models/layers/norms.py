"""Instance normalization and the power iteration of spectral normalization."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def instance_norm(x: Float[Array, "B H W I"]) -> Float[Array, "B H W I"]:
    """Each channel of each image with mean 0 and variance 1; 1e-5 under the root."""
    centered = x - x.mean(axis=(1, 2), keepdims=True)
    variance = (centered**2).mean(axis=(1, 2), keepdims=True)
    return centered * jax.lax.rsqrt(variance + 1e-5)


def power_iteration(
    matrix: Float[Array, "M O"], u: Float[Array, " O"]
) -> tuple[Float[Array, ""], Float[Array, " M"], Float[Array, " O"]]:
    """One power iteration: (v^T matrix u, v, u), whose first nears the spectral norm.

    The gradient goes through the matrix, the vectors being constants.
    """
    fixed = jax.lax.stop_gradient(matrix)
    v = unit(fixed @ u)
    u = unit(v @ fixed)
    return v @ matrix @ u, v, u


def unit(vector: Float[Array, " M"]) -> Float[Array, " M"]:
    """The vector at length 1; one of zeros stays."""
    return vector / (jnp.linalg.norm(vector) + 1e-12)
