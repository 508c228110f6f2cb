"""What is refused in a pickle before any of it is run.

A pickle is a program; one of a few bytes may ask for hours of work. It is run here
with sizes in place of objects, which takes a fixed time an opcode, and is refused where
its real run could cost far more than its length.
"""

import pickletools
from typing import Any

MAX_OPCODES, MAX_CALLS = 500_000, 100_000
"""The weights of a ResNet-50 take about 15,000 and 1,000, a batch of CIFAR-10 from
30,000 and 2 to 120,000 and 10,000, by the pickle's protocol."""
_DEEPEST = 16  # tuples in tuples
_WORK = 16  # objects that all calls together are given, for each byte
_LONGEST = 128  # bits of an integer
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_SETS = {"EMPTY_SET", "ADDITEMS", "FROZENSET"}
_CALLS = {
    *("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "BUILD"),
    *("PERSID", "BINPERSID"),
}
_GROWS = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD"}
_KEYED = {"SETITEM", "SETITEMS", "DICT"}
_TEXTS = {"str", "bytes", "bytes_or_str"}
_INTEGERS = {"BININT", "BININT1", "BININT2", "INT"}
_NUMBERS = 1 << 16


class Refused(ValueError):
    """A pickle holds what it need not; the message says what."""


def scan_pickle(raw: bytes, *, numbered: bool = False) -> int:
    """Reads the opcodes of the first pickle of ``raw``; the position of its end.

    With ``numbered``, keys of dictionaries may be integers from 0 to 65,535 as well;
    as few as these cannot be made to collide for long.

    Nothing is run. Refused is what costs far more memory or time than its length: a
    memo larger than the pickle (memory is taken for all of it); tuples in tuples (the
    time to hash one may double with each level); keys of dictionaries that are no text,
    and sets (they can be made to collide, each with all others); integers of any
    length; calls that are given the same large object again and again; and more opcodes
    or calls than any state of a network has.

    Raises:
        Refused: says why.
        Exception: it is damaged; ``pickletools`` raises whatever that leads to.
    """
    machine, end = _Machine(numbered), 0
    for count, (opcode, argument, end) in enumerate(pickletools.genops(raw)):
        if count >= MAX_OPCODES:
            raise Refused(f"it has more than {MAX_OPCODES:,} opcodes")
        machine.run(opcode, argument, end)
    return end


class _Item:
    """What is known of an object: whether it is text, and how much it may hold."""

    __slots__ = ("depth", "encodes", "number", "size", "text")

    def __init__(self, *, size: int, text: bool = False, depth: int = 0):
        self.size, self.text, self.depth = size, text, depth
        self.encodes = False  # it is the function that Python 3 makes old bytes with
        self.number = False  # it is a small integer


_MARK = _Item(size=0)


class _Machine:
    """The stack and the memo of an unpickler, holding items."""

    def __init__(self, numbered: bool):
        self.numbered = numbered
        self.stack: list[_Item] = []
        self.memo: dict[int, _Item] = {}
        self.calls = self.work = 0

    def run(self, opcode: Any, argument: Any, end: int) -> None:
        """Runs an opcode whose next byte is at ``end``."""
        name = opcode.name
        if name in _SETS or name == "DUP":
            what = "repeats what is on its stack" if name == "DUP" else "holds sets"
            raise Refused(f"it {what}")
        if isinstance(argument, int) and argument.bit_length() > _LONGEST:
            raise Refused(f"it has an integer of {argument.bit_length()} bits")
        if "PUT" in name or name == "MEMOIZE":
            self._remember(len(self.memo) if name == "MEMOIZE" else argument, end)
        elif "GET" in name:
            if argument not in self.memo:
                raise Refused("it asks for what it has not remembered")
            self.stack.append(self.memo[argument])
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "POP":
            self._pop(1, marks=True)
        else:
            self._usual(opcode, argument, end)

    def _usual(self, opcode: Any, argument: Any, end: int) -> None:
        """Takes items from the stack and puts one back, or none."""
        name = opcode.name
        below, above = self._taken(opcode.stack_before)
        if name in _KEYED:
            pairs = above if above is not None else below[1:]
            keys = pairs[::2]
            if not all(key.text or (self.numbered and key.number) for key in keys):
                raise Refused("a dictionary of it has a key that is no text")
        items = [*below, *(above or ())]
        if name in _CALLS:
            self._count_call(items, end)
        if not opcode.stack_after:
            return
        if name in _GROWS:
            below[0].size = self._bounded(sum(item.size for item in items), end)
            self.stack.append(below[0])
            return
        made = self._made(name, opcode.stack_after[0], argument, items)
        made.size = self._bounded(made.size, end)
        self.stack.append(made)

    def _made(self, name: str, kind: Any, argument: Any, items: list[_Item]) -> _Item:
        own = len(argument) if isinstance(argument, str | bytes) else 0
        made = _Item(size=1 + own + sum(item.size for item in items))
        made.text = kind.name in _TEXTS
        made.number = name in _INTEGERS and 0 <= argument < _NUMBERS
        if name == "REDUCE" and items[0].encodes:
            made.text = True
        made.encodes = name == "GLOBAL" and argument == "_codecs encode"
        if name in _TUPLES:
            made.depth = 1 + max((item.depth for item in items), default=0)
        if made.depth > _DEEPEST:
            raise Refused("its tuples hold each other")
        return made

    def _taken(self, before: list) -> tuple[list[_Item], list[_Item] | None]:
        """The items below the mark, and those above it, if the opcode takes a mark."""
        if pickletools.markobject not in before:
            return self._pop(len(before)), None
        above: list[_Item] = []
        while self.stack and self.stack[-1] is not _MARK:
            above.append(self.stack.pop())
        self._pop(1, marks=True)
        return self._pop(before.index(pickletools.markobject)), above[::-1]

    def _pop(self, count: int, *, marks: bool = False) -> list[_Item]:
        items = self.stack[len(self.stack) - count :] if count else []
        if len(self.stack) < count or (not marks and _MARK in items):
            raise Refused("it takes more from its stack than is there")
        del self.stack[len(self.stack) - count :]
        return items

    def _remember(self, place: int, end: int) -> None:
        if place > end:
            raise Refused("its memo is larger than its pickle")
        self.memo[place] = self._pop(1)[0]
        self.stack.append(self.memo[place])

    def _count_call(self, items: list[_Item], end: int) -> None:
        self.calls += 1
        self.work += sum(item.size for item in items)
        if self.calls > MAX_CALLS:
            raise Refused(f"it has more than {MAX_CALLS:,} calls")
        if self.work > self._bounded(self.work, end):
            raise Refused("its calls are given far more than it holds")

    def _bounded(self, size: int, end: int) -> int:
        """A size, or one that no call may be given: sizes can double with an opcode."""
        return min(size, _WORK * (end + 100))
