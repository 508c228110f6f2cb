"""The checks on real networks in JAX, honest and broken, through the real attacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.claims.form import blind
from cgat_jax.data import load_dataset
from cgat_jax.errors import NonFiniteError
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.sanity import CHECKS
from cgat_jax.evaluation.sanity_measures import Curve
from cgat_jax.evaluation.sanity_network import SanityNetwork
from cgat_jax.models import make_model
from cgat_jax.models.torch_bridge import from_torch
from cgat_jax.types import HashModel
from tests import tiny_config

BITS, SIDE = 8, 32


def _model(change_images=lambda x: x, scale=10.0, change_logits=lambda z: z):
    """A linear network, with something done to its input or its output."""
    rng = np.random.default_rng(0)
    weights = jnp.array(rng.normal(size=(SIDE * SIDE * 3, BITS)) / SIDE, jnp.float32)

    def apply(params, stats, images, *, key=None, mask=None):
        x = change_images(images).reshape(len(images), -1) - 0.5
        return change_logits(scale * (x @ params)), stats

    return HashModel(lambda key, images: (weights, {}), apply), weights


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    config, workdir = tiny_config.get_config(), tmp_path_factory.mktemp("probing")
    config.evaluate.sanity_queries = 10
    dataset = load_dataset(config.data, workdir, progress=False)
    mesh = sharding.make_mesh()
    return lambda name: Evaluator(config, dataset, mesh, workdir / name, lambda: None)


def _subject(evaluator, name, **changes):
    model, weights = _model(**changes)
    made = evaluator(name)
    encoded = made.encoded("none", model, (weights, {}))
    return SanityNetwork(made.attacker, made.scorer, encoded, None, 10)


def _value(subject, name):
    measure, threshold, _ = CHECKS[name]
    value = measure(subject, Curve([], [], []))
    return value, value <= threshold


QUICK = (
    "zero gradients",
    "deterministic",
    "batch",
    "zero budget",
    "noise",
    "saturation",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_an_honest_network_passes(evaluator, name):
    value, passed = _value(_subject(evaluator, "honest"), name)
    assert passed, value


@jax.custom_jvp
def _hidden(x):
    return x


@_hidden.defjvp
def _no_slope(primals, tangents):
    return primals[0], jnp.zeros_like(primals[0])


_DRAWN = np.random.default_rng(0)

BROKEN = [
    ("zero gradients", {"scale": 1e5}),
    ("zero gradients", {"change_images": lambda x: jnp.round(8 * x) / 8}),
    ("zero gradients", {"change_images": _hidden}),
    ("zero gradients", {"change_images": lambda x: x + jnp.sqrt(0 * x)}),
    ("batch", {"change_images": lambda x: x - 0.9 * x.mean(axis=0, keepdims=True)}),
    ("noise", {"change_images": _hidden}),
    ("saturation", {"scale": 1e5}),
    ("deterministic", {"change_logits": lambda z: z + _DRAWN.normal(size=z.shape)}),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(BROKEN)))
def test_a_broken_network_is_caught(evaluator, case):
    name, changes = BROKEN[case]
    value, passed = _value(_subject(evaluator, f"broken{case}", **changes), name)
    assert not passed, value


@pytest.mark.slow
def test_an_evaluation_whose_gradients_are_no_numbers_ends(evaluator):
    """APGD gave its random start, and the network passed for a robust one."""

    def one_pixel(images):
        return images.at[:, 0, 0, 0].add(jnp.sqrt(0 * images[:, 0, 0, 0]))

    made = evaluator("no gradient")
    model, weights = _model(change_images=one_pixel)
    encoded = made.encoded("none", model, (weights, {}))
    with pytest.raises(NonFiniteError, match="apgd: attacked images are not finite"):
        made.attacker.run("apgd", encoded)


@pytest.mark.slow
def test_layers_that_are_scaled_until_gradients_vanish_are_caught(evaluator):
    """By powers of two, which leave the codes as they are; no reason excuses it."""
    model = make_model("small", outputs=BITS)
    plain, _ = model.init(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))
    scaled, total = dict(plain), 0
    for name, power in (("conv1", 60), ("conv2", 60), ("conv3", -60), ("conv4", -60)):
        total += power
        kernel, bias = plain[name]["kernel"], plain[name]["bias"]
        scaled[name] = {"kernel": kernel * 2.0**power, "bias": bias * 2.0**total}
    values = []
    for name, params in (("plain", plain), ("scaled", scaled)):
        made = evaluator(name)
        encoded = made.encoded("none", model, (params, {}))
        subject = SanityNetwork(made.attacker, made.scorer, encoded, None, 10)
        values.append((subject.codes, _value(subject, "zero gradients")))
    (codes, (honest, passed)), (same, (value, whole)) = values
    np.testing.assert_array_equal(codes, same)
    assert passed and not whole
    assert blind({"zero gradients": value}) and not blind({"zero gradients": honest})


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_of_a_torch_module_is_caught(evaluator, rate):
    """It draws the same numbers in each pass of an attack, and so in each program."""
    torch = pytest.importorskip("torch")

    class Module(torch.nn.Module):
        def forward(self, images):
            found = images.mean((2, 3)).repeat(1, 4)[:, :BITS] - 0.5
            return torch.nn.functional.dropout(found, rate, training=True)

    encode = from_torch(Module())

    def apply(params, stats, images, *, key=None, mask=None):
        return encode(images), stats

    made = evaluator(f"dropout{rate}")
    model = HashModel(lambda key, images: ({}, {}), apply)
    encoded = made.encoded("none", model, ({}, {}))
    subject = SanityNetwork(made.attacker, made.scorer, encoded, None, 10)
    assert _value(subject, "deterministic")[1] == (rate == 0)
