"""A prepared folder as it is used: its listing, and the data set with a split."""

import functools
from pathlib import Path

from cgat_jax.config import Data
from cgat_jax.data.checks.sizes import read_sizes
from cgat_jax.data.dataset import DataError, Dataset, Split
from cgat_jax.data.digest import digest_contents, digest_data
from cgat_jax.data.prepare.manifest import (
    AGAIN,
    is_prepared,
    read_arrays,
    read_contents,
    read_manifest,
)
from cgat_jax.data.prepare.stored import reader, sizes_of
from cgat_jax.data.prepare.unchanged import check_unchanged
from cgat_jax.data.sources.source_index import SourceIndex


def open_prepared(root: Path, name: str, image_size: int) -> SourceIndex:
    """What ``prepare`` put into ``root``, as it was listed.

    Raises:
        DataError: not prepared, damaged, or prepared with other settings.
    """
    if not is_prepared(root):
        raise DataError(f"{root}: no prepared data; run python -m experiments.prepare")
    manifest = read_manifest(root)
    for key, value in {"name": name, "image_size": image_size}.items():
        if (found := getattr(manifest, key)) != value:
            raise DataError(f"{root}: {key} is {found!r}, not {value!r}; {AGAIN}")
    arrays = read_arrays(root, manifest)
    arrays.pop("sizes", None)
    return SourceIndex(
        name=name,
        class_names=manifest.class_names,
        image_ids=manifest.image_ids,
        labels=arrays.pop("labels"),
        parts=arrays,
        notes=manifest.notes,
    )


def dataset_of(
    root: Path, stored: SourceIndex, split: Split, settings: Data
) -> Dataset:
    """The data set in a prepared folder, with a split.

    Images smaller than ``image_size`` are enlarged to it when read, as the published
    preprocessing does, unless the settings say not to.

    Raises:
        DataError: damaged.
    """
    manifest = read_manifest(root)
    check_unchanged(root, manifest)
    contents = read_contents(root, manifest)
    enlarge_to = settings.image_size if settings.enlarge else 0
    kept = read_arrays(root, manifest).get("sizes")
    how = digest_contents(
        contents,
        image_size=manifest.image_size,
        storage=manifest.storage,
        enlarge=settings.enlarge,
    )
    return Dataset(
        name=stored.name,
        class_names=stored.class_names,
        labels=stored.labels,
        image_ids=stored.image_ids,
        read=reader(root, manifest, enlarge_to=enlarge_to),
        split=split,
        sizes=functools.cache(
            lambda: read_sizes(sizes_of(root, manifest, kept), enlarge_to)
        ),
        contents=contents,
        digest=digest_data(stored.labels, stored.image_ids, split.sha256, how),
    )
