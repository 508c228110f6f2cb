"""What attacks minimize: one number an image, of its relaxed codes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cgat_jax.precision import full_precision
from cgat_jax.types import Bank, Codes, Labels, similarity

PerImage = Float[Array, " B"]
_SMALL = 1e-8
SHARPNESS, EXPONENT, WEIGHT = 5.0, 0.5, 25.0


def agreement(codes: Codes, references: Codes) -> PerImage:
    """mean_k(u_k * reference_k): 1 where a code is its reference, -1 where opposite."""
    return (codes * references).mean(axis=1)


def disagreement(codes: Codes, references: Codes) -> PerImage:
    """Minus the agreement: what a targeted attack minimizes."""
    return -agreement(codes, references)


def masked_quadratic(codes: Codes, references: Codes) -> PerImage:
    """SAAT's attack: mean of s (s + 2) over the bits with s = u * reference > -0.5.

    Bits that are lost already are left alone, and the others count the more, the more
    they agree.

    References:
        Yuan et al., SAAT, IEEE TIFS 2023, and its released code, which divides by the
        batch's count; here each image has its own.
    """
    product = codes * references
    chosen = jax.lax.stop_gradient((product > -0.5).astype(codes.dtype))
    total = (chosen * product * (product + 2)).sum(axis=1)
    return total / jnp.maximum(chosen.sum(axis=1), 1)


def masked_quadratic_targeted(codes: Codes, references: Codes) -> PerImage:
    """SAAT's targeted attack: minus the mean of s (s + 2) over bits with s < 0.5."""
    product = codes * references
    chosen = jax.lax.stop_gradient((product < 0.5).astype(codes.dtype))
    total = (chosen * product * (product + 2)).sum(axis=1)
    return -total / jnp.maximum(chosen.sum(axis=1), 1)


def hag(codes: Codes, own: Codes) -> PerImage:
    """HAG: away from the own clean code, and balanced, on the bits not flipped yet.

        (sum_k m_k^2 u_k h_k / (sum_k m_k) + 1)^2 + (mean_k m_k u_k)^2,

    m_k = 1 where |u_k - sign h_k| < 1.5, 1/2 at equality, else 0.

    Args:
        codes: relaxed codes u of the adversarial images.
        own: relaxed codes h of the clean images.

    References:
        Yang et al., Adversarial Examples for Hamming Space Search, IEEE Transactions
        on Cybernetics 2020; form of SAAT's released code, one image at a time.
    """
    distance = jnp.abs(codes - jnp.sign(own))
    mask = jax.lax.stop_gradient((1 + jnp.sign(1.5 - distance)) / 2)
    count = mask.sum(axis=1) + _SMALL
    away = (mask**2 * codes * own).sum(axis=1) / count + 1
    return away**2 + (mask * codes).mean(axis=1) ** 2


@full_precision
def sdha(codes: Codes, own: Codes, labels: Labels, bank: Bank) -> PerImage:
    """SDHA: minus the mean smooth distance to the codes of all relevant images.

    With s the logistic function, the distance to a code r is

        d = sum_k(|u_k - r_k| / 2 * s(5 u_k r_k) + 1 - s(5 u_k r_k)),

    weighted by (Hamming distance + 1e-8)^(-1/2), a constant. It takes two products with
    the bank: a bit of r has two values, so d = sum_k(f+ + f-)/2 + r . (f+ - f-)/2.

    Args:
        codes: relaxed codes u of the adversarial images.
        own: relaxed codes of the clean images; its signs are the only relevant code of
            an image that shares a label with none.
        labels: true labels of the images.
        bank: binary codes and labels of the training images.

    References:
        Lu et al., A Smart Adversarial Attack on Deep Hashing Based Image Retrieval,
        ICMR 2021 (SDHA); form of SAAT's released code. A code at distance 0 weighs
        10^4, as there.
    """
    bits = codes.shape[1]
    plus, minus = (_smooth_distance(codes, sign) for sign in (1.0, -1.0))
    middle = ((plus + minus) / 2).sum(axis=1, keepdims=True)
    half = (plus - minus) / 2

    def weighted(others):
        hamming = (bits - jnp.sign(codes) @ others.T) / 2
        weights = jax.lax.stop_gradient((hamming + _SMALL) ** -EXPONENT)
        return weights * (middle + half @ others.T)

    relevant = similarity(labels, bank.labels)
    count = relevant.sum(axis=1)
    mean = (relevant * weighted(bank.codes)).sum(axis=1) / jnp.maximum(count, 1)
    alone = jnp.diagonal(weighted(jnp.sign(own)))
    return -jnp.where(count > 0, mean, alone)


@full_precision
def relaxed_average_precision(codes: Codes, labels: Labels, bank: Bank) -> PerImage:
    """Average precision over the bank with ties expected and distances relaxed.

    Items are counted by Hamming distance in bins d = 0, ..., K, each item in the two
    bins beside its distance (K - u . b) / 2, in shares that sum to 1. With h(d) items
    and h+(d) relevant ones in a bin, H and H+ their running sums,

        AP = sum_d h+(d) * H+(d) / H(d) / sum_d h+(d).

    Args:
        codes: relaxed codes u, with |u_k| around 1.
        labels: true labels of the images.
        bank: binary codes and labels of what is searched.

    Returns:
        In [0, 1]; 0, without a gradient, for an image that shares a label with none.

    References:
        Cakir et al., Deep Metric Learning to Rank, CVPR 2019 (FastAP); He et al.,
        Hashing as Tie-Aware Learning to Rank, CVPR 2018. There it is raised; here an
        attack lowers it.
    """
    bits = codes.shape[1]
    distances = (bits - codes @ bank.codes.T) / 2
    relevant = similarity(labels, bank.labels)

    @jax.checkpoint  # else the gradient keeps K + 1 tables of the distances' size
    def add_bin(sums, distance):
        items, hits, total = sums
        share = jnp.maximum(1 - jnp.abs(distances - distance), 0)
        found = (share * relevant).sum(axis=1)
        items, hits = items + share.sum(axis=1), hits + found
        return (items, hits, total + found * hits / jnp.maximum(items, _SMALL)), None

    zero = jnp.zeros(len(codes), codes.dtype)
    bins = jnp.arange(bits + 1, dtype=codes.dtype)
    (_, hits, total), _ = jax.lax.scan(add_bin, (zero, zero, zero), bins)
    return total / jnp.maximum(hits, 1)


def _smooth_distance(codes, sign):
    gate = jax.nn.sigmoid(SHARPNESS * codes * sign)
    return jnp.abs(codes - sign) / 2 * gate + 1 - gate
