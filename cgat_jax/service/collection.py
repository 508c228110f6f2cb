"""All indexes of a service: held while they are served, with their queries."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import numpy as np
from PIL import Image

from cgat_jax.errors import InputError
from cgat_jax.files.locks import locked
from cgat_jax.search.folder import is_index
from cgat_jax.search.index import Index
from cgat_jax.search.rows import Query
from cgat_jax.service.limits import Limits, Refused
from cgat_jax.service.metrics import Metrics
from cgat_jax.service.served import Served
from cgat_jax.service.uploads import read_photo

T = TypeVar("T")
DECODING = 4
"""Photos that are decoded at the same time: what bounds the memory for pixels."""


class Collection:
    """All indexes of a service, by name."""

    def __init__(self, served: Mapping[str, Served], limits: Limits):
        """Of at least one."""
        self.served, self.limits = dict(served), limits
        self._decoding = anyio.CapacityLimiter(DECODING)

    def named(self, name: str) -> Served:
        """An index; the only one needs no name.

        Raises:
            Refused: there is none of that name, or several.
        """
        if not name and len(self.served) == 1:
            return next(iter(self.served.values()))
        if name not in self.served:
            raise Refused(422, f"index: expected one of {', '.join(self.served)}")
        return self.served[name]

    async def decode(self, photo: bytes, use: Callable[[np.ndarray], T]) -> T:
        """What a function makes of the pixels of an upload, which nothing else keeps.

        Args:
            photo: see ``read_photo``.
            use: gives no view of them.
        """

        def work() -> T:
            return use(read_photo(photo, self.limits))

        return await anyio.to_thread.run_sync(work, limiter=self._decoding)

    def query(self, number: int) -> Query:
        """A query that came with the first index.

        Raises:
            Refused: there is none.
        """
        first = next(iter(self.served.values()))
        if (found := first.index.catalogue.query(number)) is None:
            raise Refused(404, f"no query of number {number}")
        return found

    def queries(self) -> list[tuple[int, str | int, tuple[str, ...]]]:
        """Number, id and labels of each of them."""
        return next(iter(self.served.values())).index.catalogue.query_list()


def pixels_of(query: Query) -> np.ndarray:
    """What networks see of a query."""
    return np.asarray(Image.open(io.BytesIO(query.image)).convert("RGB"))


@contextlib.contextmanager
def opened(
    folders: Sequence[Path], limits: Limits, metrics: Metrics
) -> Iterator[Collection]:
    """The indexes of folders, which no other process has meanwhile.

    Raises:
        ValueError, OSError: one is none, or is another's.
    """
    named = {path.resolve().name: path for path in folders}
    if len(named) < len(folders):
        raise InputError("--index: the folders need different names")
    for path in folders:
        if path.exists() and not is_index(path):
            raise InputError(f"{path}: holds no index; make one: experiments.index")
    with contextlib.ExitStack() as stack:
        served = {}
        for name, path in named.items():
            if path.exists():  # else loading it says so
                stack.enter_context(locked(path))
            index = Index.load(path)
            served[name] = Served(name, index, metrics)
            stack.callback(served[name].close)
        yield Collection(served, limits)
