"""Prepares a data set once: reads the original files, checks and resizes all images.

    python -m experiments.prepare --dataset=coco --source=COCO2014 --out=data/coco
    python -m experiments.prepare --dataset=lists --source=DIR --out=data/mine

coco reads train2014/, val2014/ and annotations/instances_{train,val}2014.json; lists
reads {train,test,database}_{img,label}.txt: an image path, or a row of 0 and 1, a line.
A run finds the result with --config.data.root=OUT. Preparing again does nothing; what
an interrupted preparation left is removed first.

Exit codes: 0 done, 2 refused (a line on what, or a line for each bad file).
"""

from pathlib import Path

from absl import flags

from cgat_jax.config import Data
from cgat_jax.data import SCANS
from cgat_jax.data.dataset import describe
from cgat_jax.data.datasets.lists import open_lists
from cgat_jax.data.prepared import open_prepared, prepare
from cgat_jax.settings import lookup
from experiments import cli

_REQUIRED = {
    "dataset": "data set: coco or lists",
    "source": "folder of the original files",
    "out": "folder for the prepared data; created",
}


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    for name, text in _REQUIRED.items():
        flags.DEFINE_string(name, None, text, flag_values=values)
    flags.DEFINE_integer(
        "image_size",
        Data().image_size,
        "short side of the stored images, pixels; smaller images are not enlarged",
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
        if not values[name].value:
            return cli.refuse("prepare", f"--{name} is missing: expected the {text}")
    out = Path(values.out)
    try:
        fresh = prepare(
            lookup("data set", values.dataset, SCANS),
            Path(values.source),
            out,
            image_size=values.image_size,
            threads=values.threads,
            progress=True,
        )
        lines = summary(values.dataset, out, values.image_size)
    except (ValueError, OSError) as error:
        return cli.refuse("prepare", error, keep_lines=True)
    print("\n".join([*lines, f"{'prepared' if fresh else 'was prepared'}: {out}"]))
    return 0


def summary(name: str, root: Path, image_size: int) -> list[str]:
    """Lines on a prepared folder: counts of images, labels, and what was left out."""
    if name == "lists":
        return describe(open_lists(Data(name=name, image_size=image_size), root))
    stored = open_prepared(root, name, image_size)
    images, classes = stored.labels.shape
    mean = stored.labels.sum() / images
    return [
        f"{name}: {images:,} images, {classes} classes, {mean:.2f} labels per image",
        *stored.notes,
    ]


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("prepare", lambda: main(flags.FLAGS))
