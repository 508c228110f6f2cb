"""What is refused in a pickle before any of it is run."""

import pickletools

_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_DEEPEST = 16


class Refused(ValueError):
    """A pickle holds what it need not; the message says what."""


def scan_pickle(raw: bytes) -> int:
    """Reads the opcodes of the first pickle of ``raw``; the position of its end.

    Nothing is run. Refused is what costs far more memory or time than its length: a
    memo larger than the pickle (memory is taken for all of it), and a long chain of
    tuples each of which may hold the one before twice (the time to hash one doubles
    with each).

    Raises:
        Refused: says why.
        Exception: it is damaged; ``pickletools`` raises whatever that leads to.
    """
    end, count, made, inside = 0, 0, 0, 0
    depths: dict[int, int] = {}  # of the remembered tuples, by their place in the memo
    for opcode, argument, end in pickletools.genops(raw):
        name = opcode.name
        if "PUT" in name or name == "MEMOIZE":
            place = count if name == "MEMOIZE" else argument
            if place > end:
                raise Refused("its memo is larger than its pickle")
            depths[place], count = made, count + 1
            continue
        if name == "DUP":
            raise Refused("it repeats what is on its stack")
        if "GET" in name:
            inside = max(inside, depths.get(argument, 0))
        made = inside + 1 if name in _TUPLES else 0
        if made > _DEEPEST:
            raise Refused("its tuples hold each other")
        inside = 0 if name in _TUPLES else inside
    return end
