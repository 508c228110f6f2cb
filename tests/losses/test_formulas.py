"""Each loss against golden numbers and against its loops in ``tests.reference``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.losses.csq import make_csq
from cgat_jax.losses.dch import make_dch
from cgat_jax.losses.dsdh import make_dsdh
from cgat_jax.losses.greedyhash import make_greedyhash
from cgat_jax.losses.pairwise import make_dph, make_dpsh, make_hashnet
from tests import golden
from tests.losses import toy
from tests.reference import losses as reference

_BITS, _CLASSES = np.arange(16), np.arange(5)[:, None]
TIES = {"ties": 2.0 * (_BITS % 2) - 1}
CLASSIFIER = {"classifier": np.sin(0.5 * _CLASSES + 0.3 * _BITS)}
FIXED = make_greedyhash(train_classifier=False)

GOLDEN = {  # loss, its tables, value, norm and first entry of the gradient by codes
    "dph": (make_dph(), {}, 0.9715922600, 0.0626398036, -0.0067949688),
    "dpsh": (make_dpsh(eta=0.001), {}, 0.7854110896, 0.1414617739, -0.0079358937),
    "eta 0": (make_dpsh(eta=0.0), {}, 0.7851753423, 0.1414969677, -0.0079279765),
    "hashnet": (make_hashnet(), {}, 1.3348109313, 0.0550478772, -0.0059365882),
    "dsdh": (make_dsdh(), {}, 0.8216884518, 0.1414969677, -0.0079279765),
    "dch": (make_dch(), {}, 1.8092349880, 0.2246096731, 0.0087335494),
    "multi": (make_csq(), TIES, 0.9416228658, 0.2779626009, -0.0089464893),
    "single": (make_csq(rule="single"), {}, 0.9714991180, 0.2783317535, -0.0089464893),
    "greedyhash": (
        make_greedyhash(),
        CLASSIFIER,
        2.2628816456,
        1.3046504270,
        0.1551024047,
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("pad", [0, 3])
def test_golden_value_and_gradient(x64, name, pad):
    loss, given, value, norm, first = GOLDEN[name]
    given = {name: jnp.array(table) for name, table in given.items()}
    start = toy.tables(loss, golden.bank(), **given)
    codes = jnp.array(np.pad(golden.CODES, ((0, pad), (0, 0))))
    batch = golden.batch(pad)
    bank = golden.bank().record(batch, codes)

    def by_codes(codes):
        return loss.apply(*start, jnp.arctanh(codes), batch, bank, toy.KEY)

    got, gradient = jax.jit(jax.value_and_grad(by_codes))(codes)
    assert got == pytest.approx(value, abs=1e-9)
    assert jnp.linalg.norm(gradient) == pytest.approx(norm, abs=1e-9)
    assert gradient[0, 0] == pytest.approx(first, abs=1e-9)
    np.testing.assert_array_equal(gradient[4:], 0)


def _pairwise(oracle, **settings):
    return lambda t, start: oracle(*t[:4], **settings)


def _dsdh(quantization):
    return lambda t, start: reference.dsdh(
        *t[:4], index=t.index, quantization=quantization
    )


def _csq(**settings):
    return lambda t, start: reference.csq(
        t.codes, t.labels, ties=start[1]["ties"], **settings
    )


def _greedyhash(t, start):
    table = start[0] or start[1]
    return reference.greedyhash(t.codes, t.labels, **table)


ORACLES = {  # loss, bits, oracle(toy, tables)
    "dpsh": (make_dpsh(eta=0.3), 7, _pairwise(reference.dpsh, eta=0.3)),
    "dpsh sum": (
        make_dpsh(eta=50.0, eta_form="sum"),
        7,
        _pairwise(reference.dpsh, eta=50.0, eta_form="sum"),
    ),
    "dph": (make_dph(), 7, _pairwise(reference.dph)),
    "hashnet": (make_hashnet(), 7, _pairwise(reference.hashnet)),
    "hashnet unseen": (
        make_hashnet(unseen="dissimilar"),
        7,
        _pairwise(reference.hashnet, unseen="dissimilar"),
    ),
    "dsdh": (make_dsdh(), 7, _dsdh(0.0)),
    "dsdh with the lost term": (make_dsdh(quantization=0.7), 7, _dsdh(0.7)),
    "dch": (make_dch(), 7, lambda t, start: reference.dch(t.codes, t.labels)),
    "csq": (make_csq(), 8, _csq()),
    "csq single": (make_csq(rule="single"), 8, _csq(rule="single")),
    "csq without the second term": (
        make_csq(quantization=0.0),
        8,
        _csq(quantization=0.0),
    ),
    "greedyhash": (make_greedyhash(), 7, _greedyhash),
    "greedyhash fixed": (FIXED, 7, _greedyhash),
}


def _computed(name, rng):
    """(toy, tables, value, gradient), the batch being padded."""
    loss, bits, _ = ORACLES[name]
    data = toy.random_toy(rng, bits)
    if "unseen" in name:
        data.bank_codes[1::2] = 0
    start = toy.tables(loss, data.bank())
    inputs = data.logits(3), data.batch(3), data.bank()
    value, gradient = toy.value_and_gradient(loss, start, *inputs)
    return data, jax.tree.map(np.asarray, start), value, gradient[: toy.ROWS]


@pytest.mark.parametrize("name", ORACLES)
def test_value_equals_the_loops(rng, x64, name):
    """Reference: the function of that name in ``tests.reference.losses``."""
    data, start, value, _ = _computed(name, rng)
    assert value == pytest.approx(ORACLES[name][2](data, start), rel=1e-11)


@pytest.mark.parametrize("name", [n for n in ORACLES if "greedyhash" not in n])
def test_gradient_equals_the_slope_of_the_loops(rng, x64, name):
    """Reference: central differences of ``tests.reference.losses``."""
    data, start, _, gradient = _computed(name, rng)
    step = 1e-6 * rng.normal(size=gradient.shape)
    ahead, behind = (
        ORACLES[name][2](
            data._replace(codes=np.tanh(np.arctanh(data.codes) + shift)), start
        )
        for shift in (step, -step)
    )
    assert (gradient * step).sum() * 2 == pytest.approx(ahead - behind, rel=1e-6)
