"""The losses of ProS-GAN's generator and discriminator, least squares both.

References:
    Wang et al., Prototype-supervised Adversarial Network for Targeted Attack of Deep
    Hashing, CVPR 2021; weights of its released code.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from cgat_jax.types import Codes, Images, Labels, Mask, Metrics, Scalar, masked_mean

CODE_WEIGHT = 5.0
_SCALED = 4  # a mean square of images in [-1, 1] over that of the same in [0, 1]


def discriminator_loss(
    original: Float[Array, "B O"],
    generated: Float[Array, "B O"],
    labels: Labels,
    target_labels: Labels,
    mask: Mask,
) -> Scalar:
    """(MSE(D(x), [y, 0]) + MSE(D(G), [y_t, 1])) / 2.

    Args:
        original: the discriminator's C + 1 outputs of the original images.
        generated: those of the generated images.
        labels: y of the original images, multi-hot.
        target_labels: y_t of the generated images, multi-hot.
        mask: rows that count.
    """
    real = discriminator_error(original, labels, 0.0, mask)
    return (real + discriminator_error(generated, target_labels, 1.0, mask)) / 2


def discriminator_error(
    outputs: Float[Array, "B O"], labels: Labels, generated: float, mask: Mask
) -> Scalar:
    """MSE of a discriminator's C + 1 outputs against [labels, generated]."""
    flags = jnp.full_like(labels[:, :1], generated)
    wanted = jnp.concatenate([labels, flags], axis=1)
    return masked_mean((outputs - wanted) ** 2, mask)


def reconstruction(adversarial: Images, images: Images, mask: Mask) -> Scalar:
    """MSE of images in [0, 1], their pixels being scaled to [-1, 1]."""
    return _SCALED * masked_mean((adversarial - images) ** 2, mask)


def disagreement(codes: Codes, target_codes: Codes, mask: Mask) -> Scalar:
    """1 - mean(u * t): 0 where relaxed codes are the binary target codes, at most 2."""
    return 1 - masked_mean(codes * target_codes, mask)


def generator_loss(terms: Metrics, *, weight: float) -> Scalar:
    """Weight * reconstruction + 5 * disagreement + MSE(D(G), [y_t, 0]).

    Args:
        terms: these three as ``reconstruction``, ``code`` and ``class``.
        weight: r.
    """
    return (
        weight * terms["reconstruction"] + CODE_WEIGHT * terms["code"] + terms["class"]
    )
