"""A step for a GPU: the network as its precision says, all else in full float32."""

import jax
import pytest

from cgat_jax.config import Defense
from cgat_jax.defenses import DEFENSES, make_defense_step, start_defense
from cgat_jax.losses import make_loss
from cgat_jax.training.optimizer import make_optimizer
from tests.defenses import toy
from tests.lowering import products

PIXELS = 12  # an image's; the network's products have that side, no other has


@pytest.mark.slow
@pytest.mark.parametrize("bank", ["soft", "binary"])
@pytest.mark.parametrize("name", DEFENSES)
def test_only_the_network_is_left_to_the_default(name, bank):
    key, loss = jax.random.key(1), make_loss("dpsh")
    settings = Defense(name=name, bank=bank)
    tx = make_optimizer(settings, lambda step: 0.01)
    state = toy.state(tx, loss.init(key, toy.state(tx).bank))
    state = start_defense(key, state, settings, toy.LABELS)
    step = make_defense_step(toy.linear_model(), loss, tx, settings, 10)
    found = products(step, state, toy.batch(), key)
    network = [product for product in found if PIXELS in product.sides]
    others = [product for product in found if PIXELS not in product.sides]
    # Forward and backward in the step, and both in the loop that makes images; the
    # codes that AT-self moves away from take one more pass.
    count = {"standard": 2, "at_self": 5}.get(name, 4)
    assert len(network) == count
    assert not any(product.full for product in network)
    assert len(others) >= 3 and all(product.full for product in others)
