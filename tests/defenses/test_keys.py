"""One root key for all steps: what a step draws from it differs by its number."""

import jax
import jax.numpy as jnp
import pytest

from cgat_jax.config import Defense
from cgat_jax.defenses import make_classification_step, make_standard_step
from cgat_jax.defenses.atrdh import make_atrdh_step, start_atrdh
from cgat_jax.defenses.cgat import make_cgat_step
from cgat_jax.losses import make_loss
from cgat_jax.training.optimizer import make_optimizer
from tests.defenses import toy

SETTINGS = Defense()
TX = make_optimizer(SETTINGS, lambda step: 0.01)
STEPS = {
    "backbone": lambda model, loss, attack: make_classification_step(model, TX),
    "pretraining": lambda model, loss, attack: make_standard_step(model, loss, TX),
    "cgat": lambda *parts: make_cgat_step(*parts, TX, SETTINGS),
    "atrdh": lambda *parts: make_atrdh_step(*parts, TX, SETTINGS, 10),
}
COUNTS = {"backbone": 1, "pretraining": 2, "cgat": 5, "atrdh": 5}


def _noting(drawn, name):
    """A network of dropout, a loss and an attack that note what is drawn for them."""
    linear, dpsh = toy.linear_model(), make_loss("dpsh")

    def apply(params, stats, images, *, key=None, mask=None):
        kept = jax.random.bernoulli(key, 0.5, images.shape)
        drawn.append(kept)
        return linear.apply(params, stats, jnp.where(kept, images, 0.0))

    def value(*parts):
        drawn.append(jax.random.key_data(parts[-1]))
        return dpsh.apply(*parts)

    def attack(encode, images, references, keys):
        drawn.append(jax.random.key_data(keys))
        if name == "atrdh":  # codes of label sets that are drawn
            drawn.append(references)
        encode(images, jnp.array(0))
        return images

    return linear._replace(apply=apply), dpsh._replace(apply=value), attack


def _state(name):
    state = toy.state(TX)
    if name == "atrdh":
        return start_atrdh(jax.random.key(1), state, SETTINGS, toy.LABELS)
    if name == "backbone":  # as many outputs as classes
        net = {"weights": jnp.array(toy.WEIGHTS[:, :3]), "bias": jnp.zeros(3)}
        params = {"model": net, "loss": {}}
        return state._replace(params=params, opt_state=TX.init(params))
    return state


@pytest.mark.parametrize("name", STEPS)
def test_what_a_step_draws_with_the_same_key_is_its_own(name):
    state = _state(name)

    @toy.jit
    def drawn_by(number):
        drawn = []
        step = STEPS[name](*_noting(drawn, name))
        step(state._replace(step=number), toy.batch(), jax.random.key(0))
        return drawn

    third, fourth = (drawn_by(jnp.array(number)) for number in (3, 4))
    assert len(third) == COUNTS[name]
    for one, other in zip(third, fourth, strict=True):
        assert (one != other).any()
