"""Requests that wait together are one batch of a size that is compiled."""

import threading

import numpy as np
import pytest

from cgat_jax.search import items
from cgat_jax.service.batching import Batcher
from tests.service.toy import network, photo

CROPS = [photo(i, (32, 32)) for i in range(100)]


def row_of(crop):
    return crop.reshape(-1)[:2]


def test_what_waits_is_encoded_together_and_answered_to_whom_asked():
    started, go_on, sizes = threading.Event(), threading.Event(), []

    def encode(crops):
        started.set()
        assert go_on.wait(10)
        return np.stack([row_of(crop) for crop in crops])

    batcher = Batcher(encode, sizes.append)
    futures = [batcher.submit(CROPS[0])]
    assert started.wait(10)
    futures += [batcher.submit(crop) for crop in CROPS[1:]]
    go_on.set()
    for future, crop in zip(futures, CROPS, strict=True):
        np.testing.assert_array_equal(future.result(10), row_of(crop))
    batcher.close()
    assert sizes == [1, 64, 35]


def test_one_that_fails_spoils_no_other():
    def encode(crops):
        if (crops == 255).all(axis=(1, 2, 3)).any():
            raise ArithmeticError("not finite")
        return np.stack([row_of(crop) for crop in crops])

    hold = threading.Event()

    def held(crops):
        hold.wait(10)
        return encode(crops)

    batcher = Batcher(held, lambda size: None)
    white = np.full_like(CROPS[0], 255)
    futures = [batcher.submit(crop) for crop in (CROPS[0], CROPS[1], white, CROPS[2])]
    hold.set()
    with pytest.raises(ArithmeticError):
        futures[2].result(10)
    for i in (0, 1, 3):
        assert futures[i].result(10) is not None
    batcher.close()


def test_those_who_wait_at_the_end_are_answered():
    batcher = Batcher(lambda crops: crops[:, 0, 0], lambda size: None)
    futures = [batcher.submit(crop) for crop in CROPS]
    batcher.close()
    assert all(future.done() for future in futures)


def test_the_size_of_a_batch_changes_no_code():
    net = network()
    alone = np.concatenate([items.packed_codes(net, [crop]) for crop in CROPS[:9]])
    for size in (3, 9):
        together = items.packed_codes(net, CROPS[:size])
        np.testing.assert_array_equal(together, alone[:size])
