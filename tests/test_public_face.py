"""The names of ``import cgat_jax``: there when they are used, and nothing before."""

import subprocess
import sys
from pathlib import Path

import pytest

import cgat_jax

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
