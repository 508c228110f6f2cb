"""ProS-GAN: a generator that makes adversarial images in one pass.

Per attacked network: a prototype network makes a code and features of each label set,
then a generator learns to move images to the code, given the features, against a
discriminator. ``prosgan_training`` trains them; ``prosgan`` crafts.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cgat_jax.attacks.pgd import Radius, ball
from cgat_jax.attacks.prototypes import STEPS, descend_prototypes, fit_prototypes
from cgat_jax.losses.prototype import classified_prototype_loss
from cgat_jax.models.gan import Generator
from cgat_jax.models.prototype import make_prototype_net
from cgat_jax.types import Bank, Codes, Images, Labels, PyTree

PROTOTYPE_BATCH = 64


class Targets(NamedTuple):
    """Label sets, their binary prototype codes, and features to generate from."""

    labels: Labels
    codes: Codes
    features: Float[Array, "B F"]


def prosgan(
    generator: Generator,
    params: PyTree,
    images: Images,
    features: Float[Array, "B F"],
    epsilon: Radius | None = None,
) -> Images:
    """Adversarial images in [0, 1], whose codes are to be near the features' codes.

    As published there is **no budget**: only the reconstruction term of the training
    keeps the images similar, so a result is comparable to that of a bounded attack
    only together with its measured perturbation. With ``epsilon`` the images are
    clipped into the L-infinity ball of that radius, which the generator was not
    trained for.

    Each image depends on its own row alone.

    References:
        Wang et al., Prototype-supervised Adversarial Network for Targeted Attack of
        Deep Hashing, CVPR 2021. The clipped form is ours.
    """
    adversarial = generator.apply(params, images, features)
    if epsilon is not None:
        adversarial = jnp.clip(adversarial, *ball(images, epsilon))
    return jax.lax.stop_gradient(adversarial)


def train_target_network(
    key: jax.Array,
    bank: Bank,
    label_sets: np.ndarray,
    *,
    steps: int = STEPS,
    check_stop: Callable[[], None] = lambda: None,
) -> PyTree:
    """Parameters of the prototype network of ProS-GAN, for ``make_targets``.

    Args:
        key: of the weights and of the label sets drawn for each step.
        bank: binary codes of the training images, and their labels.
        label_sets: unique label sets of the database, multi-hot [T, C].
        steps: of ``prototype_optimizer``, each on 64 label sets.
        check_stop: called now and then.
    """
    network = make_prototype_net(bank.codes.shape[1], classifier=True)

    def step(tx, params, opt_state, labels):
        def objective(params):
            codes, _, classes = network.outputs(params, labels)
            return classified_prototype_loss(codes, classes, labels, bank)

        return descend_prototypes(objective, tx, params, opt_state)

    return fit_prototypes(
        key,
        network,
        step,
        label_sets,
        steps=steps,
        batch_size=PROTOTYPE_BATCH,
        check_stop=check_stop,
    )


def make_targets(params: PyTree, label_sets: np.ndarray) -> Targets:
    """What a trained prototype network makes of label sets, multi-hot [T, C]."""
    labels = jnp.asarray(label_sets, jnp.float32)
    bits = params["head"]["kernel"].shape[1]
    network = make_prototype_net(bits, classifier=True)
    codes, features, _ = network.outputs(params, labels)
    return Targets(labels, jnp.sign(codes), features)
