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

from absl import flags, logging

from cgat_jax.config import Data
from cgat_jax.data.diagnosis import diagnose
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
    options = {"threads": values.threads, "crop_size": values.crop_size}
    try:
        found = list(diagnose(values.data, values.dataset, **options))
    except (ValueError, OSError) as error:
        return cli.refuse("check_data", error)
    defects = [finding for finding in found if finding.defect]
    for finding in found:
        print(f"{'defect' if finding.defect else 'note'}: {finding.text}")
    print(f"{len(defects)} defects" if defects else "no defects")
    return EXIT_DEFECTS if defects else 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("check_data", lambda: main(flags.FLAGS))
