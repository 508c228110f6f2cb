"""What attacks minimize: one number an image, of its relaxed codes."""

import functools

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
        At a whole distance, the gradient is that towards larger ones.

    References:
        Cakir et al., Deep Metric Learning to Rank, CVPR 2019 (FastAP); He et al.,
        Hashing as Tie-Aware Learning to Rank, CVPR 2018. There it is raised; here an
        attack lowers it.
    """
    distances = (codes.shape[1] - codes @ bank.codes.T) / 2
    relevant = similarity(labels, bank.labels)
    return _average_precision_by_distance(distances, relevant, codes.shape[1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _average_precision_by_distance(
    distances: Float[Array, "B N"], relevant: Float[Array, "B N"], bits: int
) -> PerImage:
    """AP of items by relaxed distance; its gradient takes two bins an item, not all."""
    return _forward(distances, relevant, bits)[0]


def _forward(distances, relevant, bits):
    bins = jax.lax.platform_dependent(
        distances,
        relevant,
        cpu=functools.partial(_bins_item_by_item, bits=bits),
        default=functools.partial(_bins_one_by_one, bits=bits),
    )
    found, of_bins = jax.vjp(_average_precision_of_bins, *bins)
    return found, (distances, relevant, of_bins)


def _backward(bits, kept, cotangent):
    distances, relevant, of_bins = kept
    of_items, of_hits = of_bins(cotangent)
    tables = jnp.concatenate([of_items, of_items + of_hits], axis=1)
    outside = jnp.pad(tables.reshape(-1, 2, bits + 1), ((0, 0), (0, 0), (1, 1)))
    slopes = jnp.diff(outside, axis=2).reshape(len(tables), -1)
    nearer, _ = _place(distances, bits)
    places = jnp.where(relevant > 0, nearer + bits + 2, nearer)
    gradient = jnp.take_along_axis(slopes, places, axis=1)
    return gradient, jnp.zeros_like(relevant)


_average_precision_by_distance.defvjp(_forward, _backward)


def _average_precision_of_bins(
    items: Float[Array, "B D"], hits: Float[Array, "B D"]
) -> PerImage:
    precision = hits.cumsum(axis=1) / jnp.maximum(items.cumsum(axis=1), _SMALL)
    return (hits * precision).sum(axis=1) / jnp.maximum(hits.sum(axis=1), 1)


def _place(distances: Float[Array, "B N"], bits: int):
    """From 0, which bin of d = -1, ..., K is below, and the share of the next."""
    below = jnp.clip(jnp.floor(distances), -1, bits)
    return below.astype(jnp.int32) + 1, jnp.clip(distances - below, 0, 1)


def _bins_item_by_item(distances, relevant, *, bits: int):
    """Sums by a scatter, which a CPU does in order, and fast."""
    nearer, share = _place(distances, bits)

    def of_image(nearer, share, kind):
        bins = jnp.zeros((2, bits + 3), distances.dtype)  # d = -1, ..., K + 1
        return bins.at[kind, nearer].add(1 - share).at[kind, nearer + 1].add(share)

    bins = jax.vmap(of_image)(nearer, share, (relevant > 0).astype(jnp.int32))
    bins = bins[:, :, 1:-1]
    return bins.sum(axis=1), bins[:, 1]


def _bins_one_by_one(distances, relevant, *, bits: int):
    """Sums bin by bin: the same every time, where a scatter adds in any order."""

    def count(distance):
        share = jnp.maximum(1 - jnp.abs(distances - distance), 0)
        return share.sum(axis=1), (share * relevant).sum(axis=1)

    items, hits = jax.lax.map(count, jnp.arange(bits + 1, dtype=distances.dtype))
    return items.T, hits.T


def _smooth_distance(codes, sign):
    gate = jax.nn.sigmoid(SHARPNESS * codes * sign)
    return jnp.abs(codes - sign) / 2 * gate + 1 - gate
