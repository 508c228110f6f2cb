"""All findings on a data set, prepared or as its original files."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cgat_jax.data import SCANS
from cgat_jax.data.checks.doctor import (
    Finding,
    check_copies,
    check_labels,
    check_split,
    known_of,
)
from cgat_jax.data.checks.doctor_files import (
    check_originals,
    check_stored,
    findings,
    small_images,
)
from cgat_jax.data.dataset import Split, describe_labels, make_split
from cgat_jax.data.datasets.lists import merge, read_rows
from cgat_jax.data.datasets.splits import splits_or_why
from cgat_jax.data.prepare.manifest import (
    check_files,
    is_prepared,
    read_contents,
    read_manifest,
)
from cgat_jax.data.prepare.opened import open_prepared
from cgat_jax.data.prepare.stored import reader
from cgat_jax.data.sources.archives import read_source
from cgat_jax.data.sources.source_file import SourceFile, counted, search, some
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.errors import lookup


def diagnose(
    folder: str | os.PathLike,
    name: str | None = None,
    *,
    threads: int = 2,
    crop_size: int = 224,
) -> Iterator[Finding]:
    """What is wrong with a data set, and what is to be known of it, line by line.

    Every image is decoded. A bar on stderr shows how far it is, where that is a
    terminal.

    Args:
        folder: a prepared folder, photos in a layout of
            ``cgat_jax.data.datasets.photos``, or original files of a known data set.
        name: of the known data set, a key of ``cgat_jax.data.SCANS``; split files are
            compared with what is known of it.
        threads: that decode.
        crop_size: images with a smaller side, in pixels, are named.

    Raises:
        DataError: what cannot be read at all.
    """
    if is_prepared(Path(folder)):
        yield from _check_prepared(Path(folder), threads, crop_size)
    else:
        yield from _check_source(Path(folder), name, threads, crop_size)


def _check_prepared(root: Path, threads: int, crop_size: int) -> Iterator[Finding]:
    """Findings on a prepared folder: its images, its labels, and its splits."""
    manifest = read_manifest(root)
    name, names = manifest.name, manifest.image_ids
    stored, known = open_prepared(root, name, manifest.image_size), known_of(name)
    yield Finding(False, describe_labels(name, stored.labels))
    for line in check_files(root, manifest):
        yield Finding(True, line)
    read = reader(root, manifest)
    problems, sizes = check_stored(read, names, threads, progress=True)
    yield from findings(problems)
    yield from small_images(sizes, names, crop_size, name)
    yield from check_labels(stored, known)
    contents = read_contents(root, manifest)
    splits, why = splits_or_why(stored, root, contents)
    for text in why:
        yield Finding(True, text)
    for split in splits:
        yield from _about(split, check_split(stored, split, known))
    if contents is not None:
        yield from check_copies(contents, stored.labels, names, splits)


def _check_source(
    source: Path, name: str | None, threads: int, crop_size: int
) -> Iterator[Finding]:
    """Findings on original files: as for a prepared folder, and on each file.

    Raises:
        DataError: what cannot be read at all.
    """
    with tempfile.TemporaryDirectory(prefix="check_data-") as unpacked:
        listing, conflicts = read_source(
            lambda places: _read(places, name), source, Path(unpacked), progress=True
        )
        if conflicts:
            text = f"{counted(len(conflicts), 'image')} with two different label rows"
            yield Finding(True, f"{text}: {some(conflicts)}")
        yield from _check_listing(listing, name, threads, crop_size)


def _read(
    places: Sequence[SourceFile], name: str | None
) -> tuple[SourceIndex, list[str]]:
    """What a source lists, and images with two label rows."""
    if (lists := search(places, "train_img.txt")) is not None:
        return merge(lists.parent, read_rows(lists.parent))
    return lookup("data set", name or "photos", SCANS)(places), []


def _check_listing(
    listing: SourceIndex, name: str | None, threads: int, crop_size: int
) -> Iterator[Finding]:
    known = known_of(name or "")
    yield Finding(False, describe_labels(name or listing.name, listing.labels))
    if listing.layout:
        for text in (f"layout: {listing.layout}", *listing.notes):
            yield Finding(False, text)
    problems, contents, sizes = check_originals(listing, threads, progress=True)
    yield from findings(problems)
    yield from small_images(sizes, listing.image_ids, crop_size, listing.name)
    yield from check_labels(listing, known)
    sound = np.array([not kind for kind, _ in problems])
    unique = np.where(sound, contents, np.arange(len(contents), dtype=np.uint64))
    splits, why = [], []
    if listing.parts:
        label = listing.name if known is None else f"{name}-released"
        splits = [make_split(label, listing.image_ids, **listing.parts)]
    elif listing.name == "photos":
        splits, why = splits_or_why(listing, None, unique)
    for text in why:
        yield Finding(True, text)
    for split in splits:
        yield from _about(split, check_split(listing, split, known))
    yield from check_copies(unique, listing.labels, listing.image_ids, splits)


def _about(split: Split, found: Iterator[Finding]) -> Iterator[Finding]:
    for finding in found:
        yield Finding(finding.defect, f"split {split.name}: {finding.text}")
