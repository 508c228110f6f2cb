"""The data doctor: says what is wrong with a data set before it costs a training.

    python -m experiments.check_data --data=data/flickr
    python -m experiments.check_data --data=DIR [--dataset=flickr25k]

--data is a prepared folder, a folder of photos as experiments.prepare reads them (a
folder a class, a CSV or JSON lines file, the field's split files) or, with --dataset,
the original files of a known data set. Every image is decoded. Nothing is changed.

Defects are what makes numbers wrong: missing, unreadable, truncated and oversized
files, images with two different label rows, queries that are in the database or have a
copy there, queries repeated, without a label or without a label in common with the
database, copies with different labels, data on which a number says nothing (no labels,
one class, all images equal), and label counts that are not the known ones of the data
set. Notes are the rest: copies, labels that no query, no image or every image has,
classes of a single image, images without a label, labels joined by commas, columns that
are not used, sizes other than the paper's, chance and ceiling of MAP, and images
smaller than --crop_size, which a run enlarges when it reads them (data.enlarge); for
photos, experiments/configs/photos.py chooses a size that fits them.

--dataset with a folder of split files says what they are of, for the known numbers.

Exit codes: 0 no defects, 1 defects were found, 2 refused (a line on what). Others:
docs/runs.md.
"""

from absl import flags, logging

from cgat_jax.config import Data
from cgat_jax.data.diagnosis import diagnose
from cgat_jax.data.sources.source_file import counted
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
        "cifar10, coco, flickr25k, lists, nus_wide or photos; neither photos nor a "
        "prepared folder need it",
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
    options = {"threads": values.threads, "crop_size": values.crop_size}
    try:
        found = list(diagnose(values.data, values.dataset, **options))
    except (ValueError, OSError) as error:
        return cli.refuse("check_data", error)
    defects = [finding for finding in found if finding.defect]
    for finding in found:
        print(f"{'defect' if finding.defect else 'note'}: {finding.text}")
    print(counted(len(defects), "defect") if defects else "no defects")
    return EXIT_DEFECTS if defects else 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("check_data", lambda: main(flags.FLAGS))
