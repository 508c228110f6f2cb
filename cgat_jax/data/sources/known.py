"""What is known of the data sets: sizes, label counts, and chance of their splits.

References:
    Counts of the released split files and of NUS-WIDE's labels as measured on them;
    sizes of the paper's splits: Wang et al., CgAT, WWW 2023, Sec. 4.1. Chance levels
    of NUS-WIDE and MS-COCO are of the released test against the released train list,
    because their database lists were not released.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetStats:
    """Published facts on a data set; None where nothing is published.

    ``paper`` and ``released`` are sizes of the query, database and training list;
    ``counts`` are images with each label, in the order of the columns; ``unlabeled``
    the images without any; ``released_unlabeled`` those of the three released lists;
    ``released_distinct`` is the number of different images in the training list.
    """

    images: int
    paper: tuple[int, int, int]
    released: tuple[int, int | None, int] | None = None
    released_unlabeled: tuple[int, int | None, int] | None = None
    released_distinct: int | None = None
    chance: float | None = None
    unlabeled: int = 0
    counts: tuple[int, ...] | None = None


KNOWN: Mapping[str, DatasetStats] = {
    "flickr25k": DatasetStats(
        images=25_000,
        paper=(1_000, 24_000, 5_000),
        released=(1_700, 23_300, 5_000),
        released_unlabeled=(38, 381, 95),
        released_distinct=4_496,
        chance=0.533,
        unlabeled=419,
    ),
    "nus_wide": DatasetStats(
        images=195_834,
        paper=(2_100, 193_734, 10_500),
        released=(2_100, None, 10_500),
        released_unlabeled=(0, None, 0),
        released_distinct=10_500,
        chance=0.364,
        counts=(
            *(74190, 54087, 51577, 35264, 33887, 22561, 17835, 15051, 14345, 13392),
            *(11307, 9524, 8605, 8418, 7875, 6327, 6099, 5404, 5352, 5239, 5099),
        ),
    ),
    "coco": DatasetStats(
        images=122_218,
        paper=(5_000, 117_218, 10_000),
        released=(5_000, None, 10_000),
        released_unlabeled=(0, None, 0),
        released_distinct=10_000,
        chance=0.353,
    ),
    "cifar10": DatasetStats(
        images=60_000, paper=(1_000, 59_000, 5_000), chance=0.1, counts=(6_000,) * 10
    ),
}
