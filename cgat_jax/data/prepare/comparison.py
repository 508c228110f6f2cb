"""What differs between prepared data and a source, down to the images' contents."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare.manifest import Manifest, read_contents, read_manifest
from cgat_jax.data.prepare.opened import open_prepared
from cgat_jax.data.prepare.stored import reader
from cgat_jax.data.sources.source_file import some
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.progress import watched


def differences(
    root: Path, listing: SourceIndex, threads: int, progress: bool
) -> list[str]:
    """Clauses on what of a source is not as it is in ``root``; empty: all is equal.

    Images are compared only where the lists are equal.

    Raises:
        DataError: the prepared data are damaged, or of another data set.
    """
    manifest = read_manifest(root)
    stored = open_prepared(root, listing.name, manifest.image_size)
    if lines := differing_lists(stored, listing):
        return lines
    changed = _changed_images(root, manifest, listing, threads, progress)
    if changed:
        return [f"the contents of {len(changed):,} images ({some(changed)})"]
    return []


def differing_lists(stored: SourceIndex, found: SourceIndex) -> list[str]:
    """Clauses on images, classes, labels and splits that differ."""
    lines = []
    if stored.class_names != found.class_names:
        lines.append("the classes or their order")
    here, there = set(stored.image_ids), set(found.image_ids)
    added = [name for name in found.image_ids if name not in here]
    removed = [name for name in stored.image_ids if name not in there]
    for word, names in (("more", added), ("fewer", removed)):
        if names:
            lines.append(f"{len(names):,} images {word} ({some(names)})")
    if not lines and stored.image_ids != found.image_ids:
        lines.append("the order of the images")
    if stored.labels.shape[1] == found.labels.shape[1]:
        names = _relabeled(stored, found)
        if names:
            lines.append(f"the labels of {len(names):,} images ({some(names)})")
    if not lines and not _same_parts(stored, found):
        lines.append("who is query, database and training image")
    return lines


def _relabeled(stored: SourceIndex, found: SourceIndex) -> list[str]:
    rows = {name: row for row, name in enumerate(found.image_ids)}
    return [
        name
        for row, name in enumerate(stored.image_ids)
        if name in rows and (stored.labels[row] != found.labels[rows[name]]).any()
    ]


def _same_parts(stored: SourceIndex, found: SourceIndex) -> bool:
    return set(stored.parts) == set(found.parts) and all(
        np.array_equal(rows, found.parts[part]) for part, rows in stored.parts.items()
    )


def _changed_images(
    root: Path, manifest: Manifest, listing: SourceIndex, threads: int, progress: bool
) -> Sequence[str]:
    contents = read_contents(root, manifest)
    if contents is None:
        return []
    by_pixels = manifest.format == 1 and listing.pixels is not None
    read = reader(root, manifest) if by_pixels else None

    def changed(position: int) -> bool:
        name = listing.image_ids[position]
        try:
            data = listing.read(position)
            if read is None:
                found = int(listing.content(position, data), 16)
                return found != int(contents[position])
            # These digests were of what a PNG encoder made of the pixels.
            again = images.store(data, name, manifest.image_size)
            return not np.array_equal(images.decode(again, name), read(position))
        except (DataError, OSError):
            return True

    with ThreadPoolExecutor(threads) as pool:
        count = len(listing.image_ids)
        flags = pool.map(changed, range(count))
        flags = watched(flags, "comparing images", count, unit="img", shown=progress)
        return [listing.image_ids[i] for i, flag in enumerate(flags) if flag]
