import collections
import pickle
import pickletools
import struct

import numpy as np
import pytest

from cgat_jax.files import pickles
from cgat_jax.files.pickles import MAX_CALLS, MAX_OPCODES, Refused, scan_pickle

BOMB = b"\x80\x02N" + b"r" + struct.pack("<I", 150_000_000) + b"."
DOUBLING = b"\x80\x02}N" + b"2\x86" * 40 + b"Ns."


def _long(number):
    """A number of any size, as protocol 2 writes it."""
    raw = pickle.encode_long(number)
    return b"\x8a" + bytes([len(raw)]) + raw


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


ORDERED = b"ccollections\nOrderedDict\n"
FULL_LIST = b"](" + b"K\x01" * 2_000 + b"eq\x00"  # of 2,000 numbers, remembered
COSTLY = {
    "colliding keys": (
        b"}(" + b"".join(_long((2**61 - 1) * i) + b"K\x01" for i in range(99)) + b"u.",
        "key that is no text",
    ),
    "one key at a time": (b"}K\x01K\x02s.", "key that is no text"),
    "a dictionary of protocol 0": (b"(I1\nI2\nd.", "key that is no text"),
    "keys from the memo": (b"K\x01q\x000}(h\x00K\x02u.", "key that is no text"),
    "keys that are tuples": (b"}X\x01\0\0\0a\x85K\x02s.", "key that is no text"),
    "a set": (b"\x8f(K\x01\x90.", "holds sets"),
    "a frozen set": (b"(K\x01\x91.", "holds sets"),
    "a long integer": (b"\x8b" + struct.pack("<I", 99) + b"\x7f" * 99 + b".", "bits"),
    "a long line": (b"L" + b"9" * 99 + b"L\n.", "bits"),
    "many calls": (b"](" + (ORDERED + b")R") * 301 + b"e.", "300 calls"),
    "many opcodes": (b"](" + b"K\x01" * 4_001 + b"e.", "4,000 opcodes"),
    "a list given often": (
        FULL_LIST + b"(" + (ORDERED + b"h\x00\x85R") * 200 + b"l.",
        "given far more",
    ),
    "a state given often": (
        FULL_LIST + ORDERED + b")R" + b"h\x00b" * 290 + b".",
        "given far more",
    ),
    "a reference of many parts": (
        b"(" + b"K\x01" * 2_000 + b"tq\x00(" + b"h\x00Q" * 290 + b"l.",
        "given far more",
    ),
    "a text encoded often": (
        b"X\x88\x13\0\0" + b"a" * 5_000 + b"q\x00X\x06\0\0\0latin1q\x01"
        b"c_codecs\nencode\nq\x02(" + b"h\x02h\x00h\x01\x86R" * 290 + b"l.",
        "given far more",
    ),
    "a list in itself": (
        b"]q\x00" + b"h\x00a" * 400 + (ORDERED + b"h\x00\x85R0") * 9 + b".",
        "given far more",
    ),
    "nothing to take": (b"s.", "takes more"),
    "a mark to take": (b"](a.", "takes more"),
    "no mark": (b"]e.", "takes more"),
    "nothing to remember": (b"q\x00.", "takes more"),
    "nothing remembered": (b"h\x07.", "not remembered"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_would_take_hours_is_refused_without_being_run(name, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 4_000)
    monkeypatch.setattr(pickles, "MAX_CALLS", 300)
    raw, message = COSTLY[name]
    with pytest.raises(Refused, match=message):
        scan_pickle(b"\x80\x02" + raw)


def test_a_refusal_reads_no_more_opcodes_than_allowed(monkeypatch):
    """Counted, not timed: a pickle of any length costs a fixed time at most."""
    read, genops = [], pickletools.genops

    def counted(raw):
        for operation in genops(raw):
            read.append(operation[0].name)
            yield operation

    monkeypatch.setattr(pickles.pickletools, "genops", counted)
    monkeypatch.setattr(pickles, "MAX_OPCODES", 1_000)
    with pytest.raises(Refused, match="1,000 opcodes"):
        scan_pickle(b"\x80\x02](" + b"K\x01" * 100_000 + b"e.")
    assert len(read) == 1_001


@pytest.mark.parametrize("protocol", range(5))
def test_the_largest_real_pickles_are_far_from_the_limits(protocol):
    """A batch of CIFAR-10: ten thousand labels and names, keys that are bytes."""

    def batch(size):
        content = {
            b"batch_label": b"training batch 1 of 5",
            b"labels": [i % 10 for i in range(size)],
            b"data": np.zeros((9, 3072), np.uint8),
            b"filenames": [b"name_s_%06d.png" % i for i in range(size)],
        }
        return pickle.dumps(content, protocol)

    raw = batch(100)
    assert scan_pickle(raw) == len(raw) - 1
    opcodes = [opcode.name for opcode, _, _ in pickletools.genops(batch(10_000))]
    assert 4 * len(opcodes) < MAX_OPCODES
    assert 9 * opcodes.count("REDUCE") < MAX_CALLS


@pytest.mark.parametrize("protocol", range(5))
def test_ordinary_pickles_pass_and_their_end_is_found(protocol):
    shapes = collections.OrderedDict(
        (f"w{i}", ((3, 3), ("storage", i))) for i in range(99)
    )
    for content in ([1, "two", {"three": (4, 5)}], shapes, np.arange(9)):
        raw = pickle.dumps(content, protocol)
        assert scan_pickle(raw + b"more") == len(raw) - 1
