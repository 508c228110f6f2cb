"""What a data set is, as digests: another folder or process gives the same ones."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from cgat_jax.errors import InputError
from cgat_jax.files.arrays import digest_of

_PARTS = ("labels", "image_ids", "split", "contents")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataDigest:
    """SHA-256 of a data set's parts, hexadecimal.

    ``labels`` are the label rows and ``image_ids`` the names, in their order; ``split``
    is who is in which list; ``contents`` are the original images' contents with all
    that decides what ``read`` makes of them.
    """

    labels: str
    image_ids: str
    split: str
    contents: str

    @property
    def whole(self) -> str:
        """One digest of all."""
        text = json.dumps([getattr(self, name) for name in _PARTS])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, str]:
        """The digests by name, with ``whole``."""
        return dataclasses.asdict(self) | {"whole": self.whole}

    @classmethod
    def from_json(cls, content: Any) -> "DataDigest":
        """What ``to_json`` gave.

        Raises:
            InputError: it is something else, or does not agree with its ``whole``.
        """
        try:
            found = cls(**{name: str(content[name]) for name in _PARTS})
            sound = content["whole"] == found.whole
        except (KeyError, TypeError):
            sound = False
        if not sound:
            raise InputError("the digest of the data is damaged or incomplete")
        return found


def digest_data(
    labels: np.ndarray, image_ids: Sequence[str], split: str, contents: str
) -> DataDigest:
    """The digests of a data set.

    Args:
        labels: uint8 [M, C].
        image_ids: the M names.
        split: digest of the split's members, ``Split.sha256``.
        contents: as ``digest_contents`` makes it.
    """
    names = json.dumps(list(image_ids), ensure_ascii=True)
    return DataDigest(
        labels=digest_of(np.asarray(labels, np.uint8)),
        image_ids=hashlib.sha256(names.encode()).hexdigest(),
        split=split,
        contents=contents,
    )


def digest_contents(contents: np.ndarray | None, **how: str | int | bool) -> str:
    """Digest of the images: of the originals, and of what is done with them.

    Args:
        contents: uint64 [M], digests of the original images; None where unknown.
        how: what decides the pixels besides, such as the stored size.
    """
    values = "" if contents is None else digest_of(np.asarray(contents, np.uint64))
    text = json.dumps([values, how], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
