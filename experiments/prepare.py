"""Prepares a data set once: reads the original files, checks and resizes all images.

    python -m experiments.prepare --source=DIR --dry-run
    python -m experiments.prepare --source=DIR --out=data/mine
    python -m experiments.prepare --dataset=coco --source=COCO2014 --out=data/coco

--source is what was downloaded: a folder with the archives (.zip, .tar, .tar.gz), or
with what was in them, anywhere in up to three folders below it. What each data set
needs to find there:

photos      your own: a folder a class (DIR/cat/1.jpg, deeper is fine), perhaps below
            train/, val/ and test/; or a CSV at the top with the columns path, labels
            (names with ; or | between them) and perhaps split; or a JSON lines file
            ({"path": ..., "labels": [...], "split": ...}); or the files of lists.
            classes.txt may name the classes and their order
lists       {train,test,database}_img.txt and _label.txt: an image path, or a row of 0
            and 1, a line; classes.txt with names may be added
coco        train2014/, val2014/ and instances_{train,val}2014.json
flickr25k   im1.jpg to im25000.jpg, and the 38 label files of the annotations v080,
            24 potential (clouds.txt) and 14 relevant (clouds_r1.txt)
nus_wide    Concepts81.txt; Imagelist.txt with Labels_<concept>.txt (AllLabels), or
            {Train,Test}Imagelist.txt with Labels_<concept>_{Train,Test}.txt; the
            images in the folders of the lists, or in one folder
cifar10     data_batch_1 to data_batch_5 and test_batch, of the binary or the python
            version

--splits=DIR adds the field's released split files of flickr25k, nus_wide or coco, also
to what was prepared before: {train,test}_img.txt and _label.txt, and the same of
database where it was released. A run uses them with --config.data.split=released.

--dry-run says in five lines what is there (layout, images, classes, the split that a
run draws by default, what would be left out or is wrong) and writes nothing.

--out is new, empty, or was prepared before, and lies beside the source, neither in it
nor around it. Images that are larger than --image_size are kept as JPEG of quality 95
with full chroma; others lose nothing.

A run finds the result with --config.data.root=OUT. Preparing again does nothing if the
source is still the same, and says what differs if not; after an interruption it goes on
where it was.

Of images that cannot be used the first 20 are named, and OUT/unusable.txt lists all, a
line each with the reason, until they are mended or removed.

Exit codes: 0 done, 2 refused (a line on what, or a line for each bad file). Others:
docs/runs.md.
"""

import textwrap
from pathlib import Path

import numpy as np
from absl import flags

from cgat_jax.config import Data
from cgat_jax.data import SCANS
from cgat_jax.data.checks.chance import chance_line
from cgat_jax.data.checks.contents import copies, describe_copies
from cgat_jax.data.checks.degenerate import leaks
from cgat_jax.data.dataset import describe_labels, describe_split
from cgat_jax.data.datasets.released import add_released, check_released, odd_labels
from cgat_jax.data.datasets.splits import splits_or_why
from cgat_jax.data.prepare.manifest import is_prepared, read_contents, read_manifest
from cgat_jax.data.prepare.opened import open_prepared
from cgat_jax.data.prepare.prepared import prepare
from cgat_jax.data.preview import preview
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.errors import lookup
from experiments import cli

_REQUIRED = {
    "source": "folder of the original files",
    "out": "folder for the prepared data; created",
}
_DATASETS = "data set: cifar10, coco, flickr25k, lists, nus_wide or photos"
_SIZES = {"cifar10": 32}


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    for name, text in _REQUIRED.items():
        flags.DEFINE_string(name, None, text, flag_values=values)
    flags.DEFINE_string("dataset", "photos", _DATASETS, flag_values=values)
    flags.DEFINE_bool(
        "dry_run",
        False,
        "say what is there, in five lines, and write nothing",
        flag_values=values,
    )
    flags.DEFINE_string(
        "splits", None, "folder of the released split files", flag_values=values
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "short side of the stored images, pixels; smaller images are not enlarged "
        f"(default: {Data().image_size}; cifar10: {_SIZES['cifar10']})",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "threads",
        Data().threads,
        "decoding threads",
        lower_bound=1,
        flag_values=values,
    )


def main(values: flags.FlagValues) -> int:
    """Prepares, unless that was done before, and prints what there is."""
    for name, text in _REQUIRED.items():
        needed = name != "out" or not values.dry_run
        if needed and not values[name].value:
            return cli.refuse("prepare", f"--{name} is missing: expected the {text}")
    if values.dry_run:
        return look(values)
    name, out = values.dataset, Path(values.out)
    size = values.image_size or _SIZES.get(name, Data().image_size)
    try:
        scan = lookup("data set", name, SCANS)
        if is_prepared(out):  # other settings are refused before the source is read
            open_prepared(out, name, size)
        if values.splits:  # so are lists that cannot be used
            check_released(name, out, values.splits)
        fresh = prepare(
            scan,
            Path(values.source),
            out,
            image_size=size,
            threads=values.threads,
            progress=True,
        )
        stored = open_prepared(out, name, size)
        if values.splits:
            fresh |= add_released(out, stored, Path(values.splits))
        lines = summary(stored, out)
    except (ValueError, OSError) as error:
        return cli.refuse("prepare", error, keep_lines=True)
    print("\n".join([*lines, f"{'prepared' if fresh else 'was prepared'}: {out}"]))
    return 0


def look(values: flags.FlagValues) -> int:
    """Prints what is there; the exit code says whether it can be prepared."""
    source = Path(values.source)
    try:
        seen = preview(values.dataset, source, threads=values.threads, progress=True)
    except (ValueError, OSError) as error:
        return cli.refuse("prepare", error, keep_lines=True)
    print("\n".join(seen.lines))
    return cli.EXIT_REFUSED if seen.unusable else 0


def summary(stored: SourceIndex, root: Path) -> list[str]:
    """Lines on a prepared folder: images, labels, what was left out, the splits."""
    lines = [describe_labels(stored.name, stored.labels), *_classes(stored)]
    bare = int((~stored.labels.any(axis=1)).sum())
    notes = stored.notes or ([f"{bare:,} images have no label, kept"] if bare else [])
    contents = read_contents(root, read_manifest(root))
    if contents is not None:
        notes = [*notes, describe_copies(copies(contents), stored.image_ids)]
    splits, why = splits_or_why(stored, root, contents)
    notes = [*notes, *why]
    for split in splits:
        notes = [*notes, *describe_split(stored.labels, split)]
        notes.append(f"split {split.name}: {chance_line(stored.labels, split)}")
        copied = [] if contents is None else leaks(split, contents)
        notes += [f"split {split.name}: {text}" for text in copied]
    return [*lines, *notes, *odd_labels(root)]


def _classes(stored: SourceIndex) -> list[str]:
    """Classes by name and with their number of images, in the order of the columns."""
    counts = stored.labels.sum(axis=0, dtype=np.int64)
    pairs = zip(stored.class_names, counts, strict=True)
    text = ", ".join(f"{name} {count:,}" for name, count in pairs)
    return textwrap.wrap(f"images a class: {text}", width=88, subsequent_indent="  ")


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("prepare", lambda: main(flags.FLAGS))
