"""The names of ``import cgat_jax``: there when they are used, and nothing before."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cgat_jax
from cgat_jax.errors import InputError
from cgat_jax.models import make_model

ROOT = Path(__file__).parents[1]
HEAVY = ("jax", "jaxlib", "flax", "orbax", "torch", "tensorflow")


def _in_a_process(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_import_loads_nothing_heavy():
    code = "import sys, cgat_jax; dir(cgat_jax); cgat_jax.__version__; "
    loaded = _in_a_process(code + "print(*sys.modules)")
    assert "cgat_jax" in loaded and not set(HEAVY) & set(loaded)


def test_retrieval_alone_needs_no_jax():
    loaded = _in_a_process(
        "import sys, cgat_jax as cj; cj.evaluate_retrieval; print(*sys.modules)"
    )
    assert "cgat_jax.retrieval" in loaded and "jax" not in loaded


@pytest.mark.parametrize("name", cgat_jax.__all__)
def test_every_name_is_there(name):
    module, inside = cgat_jax._PUBLIC[name]
    found = getattr(cgat_jax, name)
    assert found is (
        getattr(sys.modules[module], inside) if inside else sys.modules[module]
    )
    assert name in dir(cgat_jax) and found.__doc__


def test_the_lists_of_names_agree():
    assert sorted(cgat_jax.__all__) == sorted(cgat_jax._PUBLIC)
    assert cgat_jax.__all__ == sorted(cgat_jax.__all__)


def test_what_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'atack'"):
        cgat_jax.atack  # noqa: B018
    assert not hasattr(cgat_jax, "nothing")


def test_all_can_be_imported_by_name():
    printed = _in_a_process(
        "from cgat_jax import Network, center_codes, load_network, losses, attacks; "
        "print(load_network.__name__, Network.__name__, center_codes.__name__, "
        "losses.__name__, attacks.__name__)"
    )
    assert printed == [
        *("load_network", "Network", "center_codes"),
        *("cgat_jax.losses", "cgat_jax.attacks"),
    ]


def _data(**changes):
    rng = np.random.default_rng(0)
    parts = {"query": 4, "database": 6}
    images = {f"{k}_images": rng.random((n, 8, 8, 3), "f4") for k, n in parts.items()}
    labels = {f"{k}_labels": np.ones((n, 1), np.uint8) for k, n in parts.items()}
    return cgat_jax.ArrayData(**images | labels | changes)


def _encode(images):
    return images.reshape(len(images), -1)[:, :8]


def _few(sanity_queries=0, **given):
    return cgat_jax.BenchmarkSettings(sanity_queries=sanity_queries, **given)


IMAGES = np.zeros((2, 8, 8, 3), np.float32)
MISTAKES = {
    "a network's file": lambda: cgat_jax.load_network(ROOT / "docs"),
    "a network's card": lambda: make_model("small", outputs=8, dtype="float8"),
    "an attack's name": lambda: cgat_jax.attack("cgta", _encode, IMAGES),
    "an attack's images": lambda: cgat_jax.attack("hag", _encode, IMAGES[0]),
    "an attack's settings": lambda: cgat_jax.attack(
        "hag", _encode, IMAGES, settings=cgat_jax.AttackSettings(batch_size=0)
    ),
    "data": lambda: cgat_jax.benchmark(_encode, _data(query_images=IMAGES)),
    "a setting": lambda: cgat_jax.benchmark(_encode, _data(), settings=_few(steps=-1)),
    "a function": lambda: cgat_jax.benchmark(lambda x: x, _data(), settings=_few()),
    "a module": lambda: cgat_jax.from_torch(_encode),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_an_input_error_of_one_line(name):
    with pytest.raises(InputError) as caught:
        MISTAKES[name]()
    assert caught.type in (InputError, *InputError.__subclasses__())
    assert len(str(caught.value).splitlines()) == 1


def test_codes_that_cannot_be_ranked_are_a_value_error_of_one_line():
    codes, labels = np.ones((2, 8)), np.ones((2, 1))
    with pytest.raises(ValueError, match="query_codes.*got 2.0 at") as caught:
        cgat_jax.evaluate_retrieval(2 * codes, labels, codes, labels)
    assert len(str(caught.value).splitlines()) == 1
