"""How many photos there are and how large, found without preparing them."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cgat_jax.config import Config
from cgat_jax.data import SCANS
from cgat_jax.data.dataset import Split
from cgat_jax.data.datasets.photos import split_photos
from cgat_jax.data.prepare.manifest import (
    is_prepared,
    read_arrays,
    read_contents,
    read_manifest,
)
from cgat_jax.data.prepare.opened import open_prepared
from cgat_jax.data.prepare.stored import sizes_of
from cgat_jax.data.preview import image_sizes
from cgat_jax.data.sources.source_index import list_source
from cgat_jax.errors import InputError
from cgat_jax.evaluation.workload import Sizes

_LOOKED_AT = 256


class Photos(NamedTuple):
    """What settings are chosen by.

    ``sizes`` are how many images train, are in the database and are queries; ``side``
    is the median short side in pixels; ``stored`` the short side of images that are
    prepared already, or 0.
    """

    sizes: Sizes
    side: int
    stored: int = 0


def look(config: Config, workdir: Path) -> Photos:
    """Looks at the photos, prepared ones or those of the source.

    Raises:
        InputError: there are none, or what is wrong with them or their split.
    """
    root = Path(config.data.root) if config.data.root else workdir / "data"
    if is_prepared(root):
        manifest = read_manifest(root)
        stored = open_prepared(root, config.data.name, manifest.image_size)
        sizes = sizes_of(root, manifest, read_arrays(root, manifest).get("sizes"))
        split = split_photos(stored, config.data, read_contents(root, manifest))
        return _photos(split, sizes, manifest.image_size)
    if not config.data.source:
        raise InputError("data.source is missing: expected the folder of your photos")
    scan, source = SCANS[config.data.name], Path(config.data.source)
    with tempfile.TemporaryDirectory(prefix="cgat_jax-") as unpacked:
        listing = list_source(scan, source, Path(unpacked), progress=True)
        count = len(listing.image_ids)
        rows = range(0, count, max(1, count // _LOOKED_AT))
        sizes, problems = image_sizes(listing, rows, config.data.threads, False)
        split = split_photos(listing, config.data)
    if not len(sizes):
        raise InputError(f"{source}: no image is readable: {problems[0]}")
    return _photos(split, sizes)


def _photos(split: Split, sizes: np.ndarray, stored: int = 0) -> Photos:
    counts = Sizes(*(len(part) for part in (split.train, split.database, split.query)))
    return Photos(counts, int(np.median(np.min(sizes, axis=1))), stored)
