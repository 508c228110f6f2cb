"""Milvus: a server, or a cluster of them, or (Milvus Lite) a local file.

The codes lie in a collection of binary vectors, compared one by one (``BIN_FLAT``), and
the labels beside them as numbers. Milvus gives at most 16,384 items a query.
"""

import contextlib
import logging
import warnings

import numpy as np

from cgat_jax.errors import EngineError, InputError, install
from cgat_jax.search.engines import (
    EngineSettings,
    Labels,
    Neighbors,
    Numbers,
    Packed,
    new_collection,
)

MOST = 16_384
_MOST_LABELS, _AT_ONCE = 1024, 5000
_HAMMING = {"metric_type": "HAMMING"}
_log = logging.getLogger(__name__)


class MilvusEngine:
    """A collection of a Milvus server or file."""

    def __init__(self, bits: int, settings: EngineSettings):
        """Opens the collection, which is made if there is none.

        Raises:
            InputError: the library is missing, nothing answers, or the collection
                there is of codes of another length.
        """
        try:
            import pymilvus
        except ImportError as error:
            raise InputError(
                f"Milvus's client is not installed: {install('milvus')}"
            ) from error
        self._pymilvus, self._dim = pymilvus, -(-bits // 8) * 8
        self._name = settings.collection or new_collection()
        self._uri, self._is_kept = settings.uri, bool(settings.collection)
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # we say it ourselves
        self._failures = (pymilvus.exceptions.MilvusException, OSError)
        try:
            self._open()
        except self._failures as error:
            raise InputError(
                f"{self._uri}: Milvus does not answer: {_line(error)}"
            ) from error

    def __str__(self) -> str:
        return f"milvus, exact to {MOST:,} neighbors"

    def add(self, numbers: Numbers, codes: Packed, labels: Labels) -> None:
        """See ``Engine``."""
        rows = [
            {"number": number, "code": code.tobytes(), "labels": sorted(own)}
            for number, code, own in zip(numbers.tolist(), codes, labels, strict=True)
        ]
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            self._call(self._client.upsert, self._name, some)

    def remove(self, numbers: Numbers) -> None:
        """See ``Engine``."""
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE].tolist()
            self._call(self._client.delete, self._name, ids=some)

    def search(self, codes: Packed, k: int, label: int | None = None) -> Neighbors:
        """See ``Engine``.

        More than k are asked for until all that are as near as the k-th are there: in
        which order Milvus gives equal distances is not known.

        Raises:
            InputError: k is above what Milvus gives.
            EngineError: it does not answer.
        """
        if k > MOST:
            raise InputError(f"k: Milvus gives at most {MOST:,} items, asked for {k:,}")
        found = [self._nearest(code, k, label) for code in codes]
        distances, numbers = zip(*found, strict=True)
        return Neighbors(np.array(distances, np.int32), np.array(numbers, np.int64))

    def numbers(self) -> set[int]:
        """See ``Engine``: the collection may be of an earlier process."""
        iterator = self._call(
            self._client.query_iterator,
            self._name,
            filter="",
            output_fields=["number"],
            batch_size=_AT_ONCE,
            consistency_level="Strong",
        )
        held: set[int] = set()
        while rows := self._call(iterator.next):
            held.update(row["number"] for row in rows)
        self._call(iterator.close)
        return held

    def settle(self) -> None:
        """See ``Engine``."""

    def close(self) -> None:
        """See ``Engine``."""
        if not self._is_kept:
            with contextlib.suppress(EngineError):  # which the log has
                self._call(self._client.drop_collection, self._name)
        self._client.close()

    def _nearest(self, code: np.ndarray, k: int, label: int | None):
        asked = k + 100
        while True:
            asked = min(asked, MOST)
            (hits,) = self._call(
                self._client.search,
                self._name,
                data=[code.tobytes()],
                limit=asked,
                filter="" if label is None else f"ARRAY_CONTAINS(labels, {label})",
                search_params=_HAMMING,
                consistency_level="Strong",
            )
            distances = np.array([hit["distance"] for hit in hits], np.int32)
            numbers = np.array([hit.id for hit in hits], np.int64)
            order = np.lexsort((numbers, distances))[:k]
            complete = len(hits) < asked or distances.max() > distances[order[-1]]
            if complete or asked == MOST:
                return distances[order], numbers[order]
            asked *= 4

    def _open(self) -> None:
        with warnings.catch_warnings():  # Milvus Lite imports pkg_resources
            warnings.simplefilter("ignore")
            self._client = self._pymilvus.MilvusClient(self._uri, timeout=10)
        if self._client.has_collection(self._name):
            self._check_own()
        else:
            self._create()
        self._client.load_collection(self._name)

    def _create(self) -> None:
        kinds, client = self._pymilvus.DataType, self._client
        schema = client.create_schema(auto_id=False)
        schema.add_field("number", kinds.INT64, is_primary=True)
        schema.add_field("code", kinds.BINARY_VECTOR, dim=self._dim)
        schema.add_field(
            "labels",
            kinds.ARRAY,
            element_type=kinds.INT64,
            max_capacity=_MOST_LABELS,
        )
        params = client.prepare_index_params()
        params.add_index("code", index_type="BIN_FLAT", **_HAMMING)
        client.create_collection(
            self._name, schema=schema, index_params=params, consistency_level="Strong"
        )

    def _check_own(self) -> None:
        fields = self._client.describe_collection(self._name)["fields"]
        found = {x["name"]: x.get("params", {}).get("dim") for x in fields}
        if found != {"number": None, "code": self._dim, "labels": None}:
            raise InputError(
                f"{self._uri}: its collection {self._name!r} is no index of "
                f"{self._dim} bits of this program; name another, or none"
            )

    def _call(self, function, *arguments, **options):
        """What a call of the client gives; where and why it failed is logged.

        The error itself may go to strangers, and Milvus's own names its address.

        Raises:
            EngineError: it failed.
        """
        try:
            return function(*arguments, **options)
        except self._failures as error:
            _log.error("%s: Milvus does not answer: %s", self._uri, _line(error))
            raise EngineError(
                "Milvus, the index's engine, does not answer or refuses; the log says "
                "why; try again later"
            ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
