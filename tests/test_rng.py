"""No two random streams of a run meet."""

import ast
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from cgat_jax import rng
from cgat_jax.attacks import ATTACKS
from tests.test_structure import calls

EPOCHS = range(12)
STAGES = ("backbone", "pretrain", "defend", "prosgan")


def _host_streams(seed):
    """Every host stream of a run, with the epochs and rows of a small one."""
    for kind, stage, epoch in itertools.product(("order", "crops"), STAGES, EPOCHS):
        yield (f"{kind}/{stage}", epoch)
    yield ("targets",)
    for count in (1, 9):
        yield ("anchors", count)
    for row in range(20):
        yield ("hardest anchors", row)
    yield ("bootstrap",)
    yield ("alarm",)
    yield ("training map",)


def test_the_table_lists_every_host_stream():
    assert {name for name, *_ in _host_streams(0)} == set(rng.HOST_STREAMS)


def _purposes(function, stages):
    """What the package calls a function of streams for; a variable by its file."""
    for path in sorted(Path(rng.__file__).parent.rglob("*.py")):
        for _, name, call in calls(path):
            words = [name, *map(ast.unparse, call.args)]
            if function not in words[:2]:  # called, or given to functools.partial
                continue
            word = words[words.index(function) + 2]
            if word.startswith("f"):
                before, _, after = word.partition("{stage")
                yield from (ast.literal_eval(f"{before[1:]}{s}'") for s in stages)
                assert before and after.endswith("}'")
            else:
                quoted = word.startswith("'")
                yield ast.literal_eval(word) if quoted else f"{path.name}: {word}"


@pytest.mark.slow
def test_the_package_draws_from_the_listed_streams_alone():
    """Each purpose in the code is of a list, and each of a list is in the code."""
    assert set(_purposes("host_stream", STAGES)) == set(rng.HOST_STREAMS)
    listed = {*rng.DEVICE_STREAMS, *rng.NAMED_DEVICE_STREAMS}
    of_attacks = {f"{file}.py: name" for file in ("attacking", "run")}
    of_attacks.add("attack_runner.py: purpose")
    assert set(_purposes("device_stream", STAGES[:3])) == listed | of_attacks


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5])
def test_no_two_host_streams_are_the_same(seed):
    streams = {
        name: rng.host_stream(seed, *name).integers(0, 2**63, 4).tobytes()
        for name in _host_streams(seed)
    }
    # What defines data is drawn from plain seeds: splits, and the quickstart's scenes.
    streams |= {
        plain: np.random.default_rng(list(plain)).integers(0, 2**63, 4).tobytes()
        for plain in itertools.product([seed], range(2), range(12))
    }
    split = np.random.default_rng(seed).integers(0, 2**63, 4).tobytes()
    assert split == streams[seed, 0, 0]  # NumPy pads with zeros: why names are needed
    assert len(set(streams.values())) == len(streams)


def test_a_seed_is_another_stream():
    draws = {rng.host_stream(s, "targets").integers(0, 2**63) for s in range(50)}
    assert len(draws) == 50


def test_numbers_are_not_run_together():
    pairs = [("x", 1, 2), ("x", 12), ("x", 1), ("x", 1, 0), ("x",), ("x", 0)]
    draws = {rng.host_stream(0, *pair).integers(0, 2**63) for pair in pairs}
    assert len(draws) == len(pairs)
    with pytest.raises(ValueError, match="out of range"):
        rng.host_stream(0, "x", 2**32)


def test_no_two_device_streams_are_the_same():
    names = [*rng.DEVICE_STREAMS, *rng.NAMED_DEVICE_STREAMS, *ATTACKS]
    names += [f"{name}/restart {number}" for name in ATTACKS for number in range(1, 9)]
    numbers = [rng.stream_number(name) for name in names]
    assert len(set(numbers)) == len(names)
    keys = [jax.random.key_data(rng.device_stream(0, name)) for name in names]
    keys.append(jax.random.key_data(jax.random.key(0)))
    assert len({np.asarray(key).tobytes() for key in keys}) == len(names) + 1
