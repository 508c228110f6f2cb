"""One step of ProS-GAN's training: its settings, its state, its order."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from cgat_jax.attacks.prosgan import Targets
from cgat_jax.attacks.prototypes import STEPS
from cgat_jax.losses import gan as losses
from cgat_jax.models.gan import Discriminator, Generator
from cgat_jax.types import Batch, Images, Logits, Metrics, PyTree, Scalar

BATCH_SIZE, BETA = 24, 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanSettings:
    """How the networks are trained; the paper's, but for the data's own.

    ``reconstruction`` r is 100 on FLICKR-25K, 50 on NUS-WIDE and MS-COCO. ``width``
    is the share of the paper's channels. The discriminator learns at the steps that
    ``discriminator_every`` divides, from step 0 on. The last two change no result.
    """

    image_size: int
    steps_per_epoch: int
    epochs: int = 100
    reconstruction: float = 50.0
    learning_rate: float = 1e-4
    width: float = 1.0
    discriminator_every: int = 3
    prototype_steps: int = STEPS
    log_steps: int = 20
    checkpoint_seconds: float = 300.0


class GanState(NamedTuple):
    """Everything that training changes: a checkpoint is exactly this.

    ``judgement`` is the discriminator's loss when it last learned.
    """

    step: Int[Array, ""]
    generator: PyTree
    discriminator: PyTree
    vectors: PyTree
    generator_opt: PyTree
    discriminator_opt: PyTree
    judgement: Scalar


def learning_rate(step: Int[Array, ""] | int, settings: GanSettings) -> Scalar:
    """Constant for half of the epochs, then linear; never 0.

    rate * (1 - max(0, e + 1 - n) / (m + 1)) in epoch e = 0, 1, ..., with n epochs in
    the first half and m in the second.
    """
    epoch = step // settings.steps_per_epoch
    first = settings.epochs // 2
    over = jnp.maximum(epoch + 1 - first, 0) / (settings.epochs - first + 1)
    return jnp.asarray(settings.learning_rate * (1 - over), jnp.float32)


class Networks(NamedTuple):
    """The three networks; ``encode(network, images) -> logits`` is the attacked one."""

    encode: Callable[[PyTree, Images], Logits]
    generator: Generator
    discriminator: Discriminator


def first_state(
    key: PRNGKeyArray, networks: Networks, images: Images, features
) -> GanState:
    """Fresh weights; the images and features give the shapes alone."""
    generator_key, discriminator_key = jax.random.split(key)
    generator = networks.generator.init(generator_key, images, features)
    discriminator, singular_vectors = networks.discriminator.init(
        discriminator_key, images
    )
    zero = jnp.zeros((), jnp.int32)
    states = adam().init(generator), adam().init(discriminator)
    return GanState(
        *(zero, generator, discriminator, singular_vectors, *states),
        jnp.zeros((), jnp.float32),
    )


def adam() -> optax.GradientTransformation:
    """Adam's direction; the rate follows the step, not the number of updates."""
    return optax.scale_by_adam(b1=BETA)


def make_gan_step(
    networks: Networks, settings: GanSettings
) -> Callable[..., tuple[GanState, Metrics]]:
    """Returns ``step(state, batch, key, network, sets) -> (state, metrics)``.

    Each image gets a target drawn uniformly from ``sets``, a ``Targets``; it may share
    classes with it. The discriminator learns first, where it is its turn, then the
    generator against it. ``network`` is what ``encode`` needs besides images.
    """

    def step(state: GanState, batch: Batch, key: PRNGKeyArray, network, sets: Targets):
        targets = _drawn(jax.random.fold_in(key, state.step), sets, len(batch.images))
        adversarial, pull_back = jax.vjp(
            lambda p: networks.generator.apply(p, batch.images, targets.features),
            state.generator,
        )
        state = jax.lax.cond(
            state.step % settings.discriminator_every == 0,
            lambda state: _discriminator_step(
                state, networks, settings, batch, adversarial, targets
            ),
            lambda state: state,
            state,
        )

        def objective(adversarial):
            terms, singular_vectors = _terms(
                state, networks, batch, adversarial, targets, network
            )
            total = losses.generator_loss(terms, weight=settings.reconstruction)
            return total, (terms, singular_vectors)

        gradient, (terms, singular_vectors) = jax.grad(objective, has_aux=True)(
            adversarial
        )
        (gradients,) = pull_back(gradient)
        rate = learning_rate(state.step, settings)
        generator, opt = _descend(gradients, state.generator_opt, state.generator, rate)
        state = state._replace(
            step=state.step + 1,
            generator=generator,
            generator_opt=opt,
            vectors=singular_vectors,
        )
        return state, _metrics(state, terms, settings)

    return step


def _drawn(key, sets: Targets, count: int) -> Targets:
    rows = jax.random.randint(key, (count,), 0, len(sets.labels))
    return jax.tree.map(lambda table: table[rows], sets)


def _discriminator_step(state, networks, settings, batch, adversarial, targets):
    """The state after the discriminator has learned from a batch."""

    def objective(params):
        apply = networks.discriminator.apply
        original, singular_vectors = apply(params, state.vectors, batch.images)
        generated, singular_vectors = apply(params, singular_vectors, adversarial)
        value = losses.discriminator_loss(
            original, generated, batch.labels, targets.labels, batch.mask
        )
        return value, singular_vectors

    descent = jax.value_and_grad(objective, has_aux=True)
    (value, singular_vectors), gradients = descent(state.discriminator)
    rate = learning_rate(state.step, settings)
    params, opt = _descend(
        gradients, state.discriminator_opt, state.discriminator, rate
    )
    return state._replace(
        discriminator=params,
        discriminator_opt=opt,
        vectors=singular_vectors,
        judgement=value,
    )


def _terms(state, networks, batch, adversarial, targets, network):
    """The terms of the generator's loss, and the discriminator's singular vectors."""
    outputs, singular_vectors = networks.discriminator.apply(
        state.discriminator, state.vectors, adversarial
    )
    codes = jnp.tanh(networks.encode(network, adversarial))
    terms = {
        "reconstruction": losses.reconstruction(adversarial, batch.images, batch.mask),
        "code": losses.disagreement(codes, targets.codes, batch.mask),
        "class": losses.discriminator_error(outputs, targets.labels, 0.0, batch.mask),
    }
    return terms, singular_vectors


def _descend(gradients, opt, params, rate):
    updates, opt = adam().update(gradients, opt)
    return jax.tree.map(lambda p, u: p - rate * u, params, updates), opt


def _metrics(state, terms, settings):
    total = losses.generator_loss(terms, weight=settings.reconstruction)
    parts = {f"loss/{name}": term for name, term in terms.items()}
    return parts | {"loss": total, "loss/discriminator": state.judgement}
