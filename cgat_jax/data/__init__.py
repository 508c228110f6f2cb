"""Data sets: images on demand, multi-hot labels, splits. Nothing here imports jax.

``cgat_jax.data.loader``, which makes batches, is the exception.
"""

import dataclasses
from pathlib import Path

from cgat_jax.config import Data
from cgat_jax.data.cache import cached
from cgat_jax.data.checks.degenerate import degeneracies
from cgat_jax.data.checks.sizes import check_sizes
from cgat_jax.data.checks.unused import check_settings
from cgat_jax.data.dataset import DataError, Dataset, Split
from cgat_jax.data.datasets.cifar10 import load_cifar10, scan_cifar10
from cgat_jax.data.datasets.coco import load_coco, scan_coco
from cgat_jax.data.datasets.flickr25k import load_flickr25k, scan_flickr25k
from cgat_jax.data.datasets.lists import load_lists, scan_lists
from cgat_jax.data.datasets.nus_wide import load_nus_wide, scan_nus_wide
from cgat_jax.data.datasets.photos import load_photos, scan_photos
from cgat_jax.data.datasets.quickstart import load_quickstart
from cgat_jax.data.datasets.released import add_released, check_released
from cgat_jax.data.digest import DataDigest
from cgat_jax.data.prepare.prepared import is_prepared, open_prepared, prepare
from cgat_jax.errors import lookup

__all__ = [
    "DATASETS",
    "SCANS",
    "DataDigest",
    "DataError",
    "Dataset",
    "Split",
    "check_settings",
    "check_sizes",
    "degeneracies",
    "load_dataset",
]

DATASETS = {
    "photos": load_photos,
    "quickstart": load_quickstart,
    "lists": load_lists,
    "coco": load_coco,
    "flickr25k": load_flickr25k,
    "nus_wide": load_nus_wide,
    "cifar10": load_cifar10,
}
SCANS = {
    "photos": scan_photos,
    "lists": scan_lists,
    "coco": scan_coco,
    "flickr25k": scan_flickr25k,
    "nus_wide": scan_nus_wide,
    "cifar10": scan_cifar10,
}


def load_dataset(settings: Data, root: Path, *, progress: bool) -> Dataset:
    """The data set that the settings name, with its split.

    >>> from pathlib import Path
    >>> from cgat_jax.config import Data
    >>> from cgat_jax.data import load_dataset
    >>> sizes = {"num_queries": 10, "num_train": 20, "num_database": 30}
    >>> settings = Data(name="quickstart", image_size=40, **sizes)
    >>> data = load_dataset(settings, Path("data/quickstart"), progress=False)
    >>> data.labels.shape, len(data.split.query), data.read(0).shape
    ((40, 10), 10, (40, 40, 3))

    Args:
        settings: ``source`` is prepared into ``root`` unless that was done before; then
            it is compared with what was prepared.
        root: folder of the prepared data; the quickstart data need none. The released
            split of ``splits`` is added to it.
        progress: a bar on stderr while preparing, where that is a terminal.

    Raises:
        DataError: what is wrong with the files or the settings, and where.
        ForeignFilesError: ``root`` holds other files, or is not apart from the source.
        InputError: an unknown data set; lists the known ones.
    """
    check_settings(settings)
    load = lookup("data set", settings.name, DATASETS)
    if settings.name in SCANS:
        _prepare(settings, root, progress)
    dataset = load(settings, root)
    limit = int(settings.cache_gib * 2**30)  # one cache for all stages
    return dataclasses.replace(dataset, read=cached(dataset.read, limit))


def _prepare(settings: Data, root: Path, progress: bool) -> None:
    """Prepares the source, or finds that it is what was prepared; adds the split."""
    prepared = is_prepared(root)
    if not (settings.source or prepared):
        raise DataError(
            f"{root}: no prepared data; set data.source to the folder of the "
            "original files, or data.root to a folder that was prepared"
        )
    if prepared:  # other settings are refused before the source is read
        open_prepared(root, settings.name, settings.image_size)
    if settings.split == "released":  # so are lists that cannot be used
        check_released(settings.name, root, settings.splits)
    if settings.source:
        prepare(
            SCANS[settings.name],
            Path(settings.source),
            root,
            image_size=settings.image_size,
            threads=settings.threads,
            progress=progress,
        )
    if settings.splits:
        stored = open_prepared(root, settings.name, settings.image_size)
        add_released(root, stored, Path(settings.splits))
