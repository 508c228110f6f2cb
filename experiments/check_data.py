"""The data doctor: says what is wrong with a data set before it costs a training.

    python -m experiments.check_data --data=data/flickr
    python -m experiments.check_data --data=DIR [--dataset=flickr25k]

--data is a prepared folder, a folder with the field's split files and their images,
or, with --dataset, the original files that experiments.prepare reads. It finds missing,
unreadable, truncated and oversized files, copies by content, images with two different
label rows, queries in the database, repeated lines, rows without a label, labels that
are the same in all images, sizes and label counts that are not the known ones of the
data set, data on which a number says nothing (no labels, one class, all images equal),
and prints chance and ceiling of MAP. Images smaller than --crop_size are named; a run
enlarges them when it reads them (data.enlarge). Nothing is changed.

--dataset with a folder of split files says what they are of, for the known numbers.

Exit codes: 0 nothing is wrong, 1 defects were found, 2 refused (a line on what).
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags, logging

from cgat_jax.config import Data
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
from cgat_jax.data.dataset import DataError, describe_labels, make_split
from cgat_jax.data.datasets.lists import merge, read_rows
from cgat_jax.data.datasets.splits import splits_of
from cgat_jax.data.prepare.manifest import (
    check_files,
    is_prepared,
    read_contents,
    read_manifest,
)
from cgat_jax.data.prepare.opened import open_prepared
from cgat_jax.data.prepare.stored import reader
from cgat_jax.data.sources.archives import read_source
from cgat_jax.data.sources.source_file import SourceFile, search, some
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.errors import lookup
from experiments import cli

EXIT_DEFECTS = 1


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    flags.DEFINE_string(
        "data", None, "prepared folder, or original files", flag_values=values
    )
    flags.DEFINE_string(
        "dataset",
        None,
        "cifar10, coco, flickr25k, lists or nus_wide; a prepared folder says it itself",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "threads",
        Data().threads,
        "decoding threads",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "crop_size",
        Data().crop_size,
        "images with a smaller side are named, pixels",
        lower_bound=1,
        flag_values=values,
    )


def main(values: flags.FlagValues) -> int:
    """Prints the findings; the exit code says whether there are defects."""
    logging.set_verbosity(logging.WARNING)
    if not values.data:
        return cli.refuse("check_data", "--data is missing: expected a folder")
    folder = Path(values.data)
    try:
        if is_prepared(folder):
            found = list(check_prepared(folder, values.threads, values.crop_size))
        else:
            found = list(
                check_source(folder, values.dataset, values.threads, values.crop_size)
            )
    except (ValueError, OSError) as error:
        return cli.refuse("check_data", error)
    defects = [finding for finding in found if finding.defect]
    for finding in found:
        print(f"{'defect' if finding.defect else 'note'}: {finding.text}")
    print(f"{len(defects)} defects" if defects else "no defects")
    return EXIT_DEFECTS if defects else 0


def check_prepared(root: Path, threads: int, crop_size: int) -> Iterator[Finding]:
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
    yield from small_images(sizes, names, crop_size)
    yield from check_labels(stored, known)
    splits = splits_of(stored, root)
    for split in splits:
        yield from _about(split, check_split(stored.labels, split, known))
    contents = read_contents(root, manifest)
    if contents is not None:
        yield from check_copies(contents, stored.labels, names, splits)


def check_source(
    source: Path, name: str | None, threads: int, crop_size: int
) -> Iterator[Finding]:
    """Findings on original files: as for a prepared folder, and on each file.

    Raises:
        DataError: what cannot be read at all, or a data set that is not named.
    """
    with tempfile.TemporaryDirectory(prefix="check_data-") as unpacked:
        listing, conflicts = read_source(
            lambda places: _read(places, name), source, Path(unpacked), progress=True
        )
        if conflicts:
            text = f"{len(conflicts):,} images have two different label rows"
            yield Finding(True, f"{text}: {some(conflicts)}")
        splits = []
        if listing.parts:
            label = f"{name}-released" if known_of(name or "") else "lists"
            splits = [make_split(label, listing.image_ids, **listing.parts)]
        label = name or "lists"
        yield from _check_listing(listing, label, splits, threads, crop_size)


def _read(
    places: Sequence[SourceFile], name: str | None
) -> tuple[SourceIndex, list[str]]:
    """What a source lists, and images with two label rows."""
    if (lists := search(places, "train_img.txt")) is not None:
        return merge(lists.parent, read_rows(lists.parent))
    if name is None:
        raise DataError(
            f"{places[0]}: neither prepared nor a folder of split files; name the data "
            "set with --dataset"
        )
    return lookup("data set", name, SCANS)(places), []


def _check_listing(
    listing: SourceIndex, name: str, splits: list, threads: int, crop_size: int
) -> Iterator[Finding]:
    known = known_of(name)
    yield Finding(False, describe_labels(name, listing.labels))
    problems, contents, sizes = check_originals(listing, threads, progress=True)
    yield from findings(problems)
    yield from small_images(sizes, listing.image_ids, crop_size)
    yield from check_labels(listing, known)
    for split in splits:
        yield from _about(split, check_split(listing.labels, split, known))
    sound = np.array([not kind for kind, _ in problems])
    unique = np.where(sound, contents, np.arange(len(contents), dtype=np.uint64))
    yield from check_copies(unique, listing.labels, listing.image_ids, splits)


def _about(split, found: Iterator[Finding]) -> Iterator[Finding]:
    for finding in found:
        yield Finding(finding.defect, f"split {split.name}: {finding.text}")


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("check_data", lambda: main(flags.FLAGS))
