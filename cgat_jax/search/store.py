"""Items in a catalogue and in an engine, which hold the same or are made to again."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from cgat_jax.errors import EngineError, InputError
from cgat_jax.search.catalogue import Catalogue
from cgat_jax.search.engines import Engine, EngineSettings, Neighbors, make_engine
from cgat_jax.search.rows import Item

T = TypeVar("T")


class Store:
    """A catalogue, which lasts, and an engine that holds what the catalogue does.

    An engine may fail in the middle of a change. The catalogue then stays, or is put
    back, as it was before, and the engine is made anew before it is used again. It is
    for one thread at a time.

    Attributes:
        catalogue: of the items.
        engine: that finds them.
    """

    def __init__(self, catalogue: Catalogue, bits: int, settings: EngineSettings):
        """Reads the codes of a catalogue into an engine.

        Raises:
            InputError: the engine cannot be had.
            DamagedFileError: an item is not as it was written.
            EngineError: the engine failed.
        """
        self.catalogue, self._bits, self._settings = catalogue, bits, settings
        self._agree = True
        self.engine: Engine = make_engine(bits, settings)
        with closed_on_failure(self.engine):
            fill(self.engine, catalogue)

    def add(self, items: Sequence[Item]) -> np.ndarray:
        """Adds items to both, or to none; their numbers.

        Raises:
            InputError: as ``Catalogue.add``.
            OSError: they cannot be written, or (EngineError) the engine failed.
        """
        self._mend()
        numbers = self.catalogue.add(items)
        if not items:
            return numbers
        try:
            with self._engine_changes():
                known = self.catalogue.label_numbers()
                codes = np.frombuffer(b"".join(item.code for item in items), np.uint8)
                named = [[known[name] for name in item.labels] for item in items]
                self.engine.add(numbers, codes.reshape(len(items), -1), named)
        except BaseException:
            self.catalogue.remove(numbers.tolist())
            raise
        return numbers

    def remove(self, numbers: Sequence[int]) -> None:
        """Removes items from both, or from none.

        Raises:
            OSError: as ``add``.
        """
        self._mend()
        with self._engine_changes():
            self.engine.remove(np.array(sorted(numbers), np.int64))
            self.catalogue.remove(numbers)

    def search(self, packed: np.ndarray, k: int, label: int | None) -> Neighbors:
        """As ``Engine.search``."""
        self._mend()
        return self.engine.search(packed, k, label)

    def close(self) -> None:
        """Closes both."""
        self.engine.close()
        self.catalogue.close()

    @contextlib.contextmanager
    def _engine_changes(self) -> Iterator[None]:
        """Notes a failure within, after which the engine may hold anything."""
        self._agree = False
        yield
        self._agree = True

    def _mend(self) -> None:
        if self._agree:
            return
        with contextlib.suppress(Exception):  # it failed before
            self.engine.close()
        try:
            self.engine = make_engine(self._bits, self._settings)
        except InputError as error:  # with its address, which is not for everyone
            raise EngineError(
                f"{self._settings.name}, the index's engine, failed and cannot be had "
                "again yet; try again later"
            ) from error
        fill(self.engine, self.catalogue)
        self._agree = True


@contextlib.contextmanager
def closed_on_failure(what: T) -> Iterator[T]:
    """Closes what nobody will have if what is done with it fails."""
    try:
        yield what
    except BaseException:
        what.close()
        raise


def fill(engine: Engine, catalogue: Catalogue) -> None:
    """Has an engine hold what the catalogue does, and nothing else.

    Raises:
        DamagedFileError: an item is not as it was written.
        EngineError: the engine failed.
    """
    held = engine.numbers()
    with contextlib.closing(catalogue.codes()) as blocks:
        for numbers, codes, labels in blocks:
            new = np.array([number not in held for number in numbers.tolist()])
            held.difference_update(numbers.tolist())
            if new.any():
                some = [own for own, is_new in zip(labels, new, strict=True) if is_new]
                engine.add(numbers[new], codes[new], some)
    if held:
        engine.remove(np.array(sorted(held), np.int64))
    engine.settle()
