"""Square attack: black-box random search, a square at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cgat_jax.attacks.objectives import agreement
from cgat_jax.attacks.pgd import Budget, ball, relax
from cgat_jax.types import Attack, Images

SHARE = 0.8
# The squares' area halves when this share of 10,000 queries is spent.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square_side(iteration: Array, budget: Budget, size: tuple[int, int]):
    """Side of the square of an iteration, in pixels, at least 1."""
    steps = max(budget.steps, 1)  # iteration * 10,000 would not be an int32 for many
    first = [-(-(share + 1) * steps // 10_000) for share in _HALVINGS]
    halvings = (iteration >= jnp.array(first)).sum().astype(jnp.float32)
    area = SHARE * 0.5**halvings * size[0] * size[1]
    largest = min(size) - 1
    return jnp.clip(jnp.round(jnp.sqrt(area)).astype(jnp.int32), 1, max(largest, 1))


def square(budget: Budget) -> Attack:
    """Lowers mean(u * reference) without gradients; ``budget.steps`` queries an image.

    It starts from vertical stripes of +-epsilon. Each query adds +-2 epsilon, a sign a
    channel, to a square at random, clipped to the ball, and keeps what has lowered the
    objective. It sees relaxed codes; references are center codes.

    References:
        Andriushchenko et al., Square Attack: a query-efficient black-box adversarial
        attack via random search, ECCV 2020, Algorithms 1 and 2, with the schedule of
        AutoAttack (initial share 0.8).
    """

    def attack(encode, images, references, keys):
        lower, upper = ball(images, budget.epsilon)
        height, width, channels = images.shape[1:]

        def value(x, iteration) -> Float[Array, " B"]:
            codes = relax(encode(x, iteration), iteration, budget)
            return agreement(codes, references)

        def stripes(key) -> Float[Array, "1 W C"]:
            return jax.random.rademacher(key, (1, width, channels), images.dtype)

        def one_square(key, side) -> Float[Array, "H W C"]:
            row_key, column_key, sign_key = jax.random.split(key, 3)
            row = jax.random.randint(row_key, (), 0, height - side + 1, jnp.int32)
            column = jax.random.randint(column_key, (), 0, width - side + 1, jnp.int32)
            rows, columns = (jnp.arange(n, dtype=jnp.int32) for n in (height, width))
            inside = ((rows >= row) & (rows < row + side))[:, None]
            inside = inside & ((columns >= column) & (columns < column + side))[None]
            signs = jax.random.rademacher(sign_key, (1, 1, channels), images.dtype)
            return inside.astype(images.dtype)[..., None] * signs

        def search(iteration, carry) -> tuple[Images, Float[Array, " B"]]:
            x, best = carry
            side = square_side(iteration, budget, (height, width))
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, iteration + 1)
            squares = jax.vmap(one_square, (0, None))(now, side)
            adversarial = jnp.clip(x + 2 * budget.epsilon * squares, lower, upper)
            found = value(adversarial, iteration)
            better = found < best
            x = jnp.where(better.reshape(-1, 1, 1, 1), adversarial, x)
            return x, jnp.where(better, found, best)

        if not budget.steps:
            return images
        first = jax.vmap(stripes)(jax.vmap(jax.random.fold_in, (0, None))(keys, 0))
        start = jnp.clip(images + budget.epsilon * first, lower, upper)
        carry = start, value(start, 0)
        return jax.lax.fori_loop(1, budget.steps, search, carry)[0]

    return attack
