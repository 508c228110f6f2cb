"""A targeted attack whose images are meant to be moved to other networks."""

import jax
import jax.numpy as jnp

from cgat_jax.attacks import objectives
from cgat_jax.attacks.pgd import Budget, relax, sign_descent, start_of, uniform_noise
from cgat_jax.types import Attack

COPIES = 4


def nag(budget: Budget) -> Attack:
    """Towards the references with gradients averaged over noisy copies.

    Each iteration draws ``COPIES`` uniform noises of the budget's size for every image:
    what still works behind noise depends less on the network it was made on. The
    references are anchor codes.

    References:
        Xiao et al., You See What I Want You to See: Exploring Targeted Black-Box
        Transferability Attack for Hash-based Image Retrieval Systems, CVPR 2021 (NAG).
        The idea is theirs; number and size of the noises are ours.
    """

    def attack(encode, images, references, keys):
        wanted = jnp.concatenate([references] * COPIES)

        def of_images(x, iteration):
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, iteration + 1)
            each = jax.vmap(lambda key: jax.random.split(key, COPIES), out_axes=1)(now)
            copies = jnp.concatenate([x] * COPIES)
            noisy = uniform_noise(copies, each.reshape(-1), budget.epsilon)
            codes = relax(encode(noisy, iteration), iteration, budget)
            values = objectives.disagreement(codes, wanted)
            return values.reshape(COPIES, len(x)).mean(axis=0)

        first = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)  # iterations fold 1 on
        start = start_of(images, first, budget)
        return sign_descent(of_images, images, start, budget)

    return attack
