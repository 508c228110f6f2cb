import collections
import pickle
import struct

import numpy as np
import pytest

from cgat_jax.pickles import Refused, scan_pickle

BOMB = b"\x80\x02N" + b"r" + struct.pack("<I", 150_000_000) + b"."
DOUBLING = b"\x80\x02}N" + b"2\x86" * 40 + b"Ns."


def _shared_tuples(levels):
    """Each tuple holds the one before it twice, by way of the memo."""
    text = b"\x80\x02N\x85q\x00"
    for level in range(levels):
        text += (
            b"h"
            + bytes([level])
            + b"h"
            + bytes([level])
            + b"\x86q"
            + bytes([level + 1])
        )
    return text + b"."


def test_what_costs_more_than_its_length_is_refused():
    for raw, message in (
        (BOMB, "memo is larger"),
        (DOUBLING, "repeats"),
        (_shared_tuples(40), "hold each other"),
    ):
        with pytest.raises(Refused, match=message):
            scan_pickle(raw)


@pytest.mark.parametrize("protocol", range(5))
def test_ordinary_pickles_pass_and_their_end_is_found(protocol):
    shapes = collections.OrderedDict(
        (f"w{i}", ((3, 3), ("storage", i))) for i in range(99)
    )
    for content in ([1, "two", {"three": (4, 5)}], shapes, np.arange(9)):
        raw = pickle.dumps(content, protocol)
        assert scan_pickle(raw + b"more") == len(raw) - 1
