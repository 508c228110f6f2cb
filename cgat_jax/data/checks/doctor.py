"""What is wrong with a data set's labels and split; see ``doctor_files`` for files.

Every check returns findings; a defect is what makes a number wrong, incomparable or
impossible, a note is what a reader of the number should know.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cgat_jax.data.checks.chance import map_bounds
from cgat_jax.data.checks.contents import copies
from cgat_jax.data.checks.degenerate import degeneracies
from cgat_jax.data.dataset import Split, parts_of
from cgat_jax.data.sources.known import KNOWN, DatasetStats
from cgat_jax.data.sources.source_file import some
from cgat_jax.data.sources.source_index import SourceIndex

CHANCE_TOLERANCE = 0.002
_TIMES = {2: "twice", 3: "three times", 4: "four times"}


class Finding(NamedTuple):
    """A line, and whether it is a defect."""

    defect: bool
    text: str


def check_labels(listing: SourceIndex, known: DatasetStats | None) -> Iterator[Finding]:
    """Constant and unlabeled images, and counts against the known ones."""
    labels, names = listing.labels, listing.class_names
    counts = labels.sum(axis=0, dtype=np.int64)
    for value, column in ((0, counts == 0), (1, counts == len(labels))):
        if column.any():
            kinds = some([names[i] for i in np.flatnonzero(column)])
            yield Finding(
                True, f"{column.sum()} labels are {value} in all images: {kinds}"
            )
    bare = int((~labels.any(axis=1)).sum())
    if bare and (known is None or bare != known.unlabeled):
        yield Finding(True, f"{bare:,} images without any label")
    elif bare:
        yield Finding(False, f"{bare:,} images without any label, as is known")
    if known is not None:
        yield from _against_known(listing, counts, known)


def _against_known(
    listing: SourceIndex, counts: np.ndarray, known: DatasetStats
) -> Iterator[Finding]:
    found = len(listing.image_ids)
    if found != known.images:
        yield Finding(True, f"{found:,} images, and {known.images:,} are known")
    if known.counts is None:
        return
    if len(counts) != len(known.counts):
        yield Finding(True, f"{len(counts)} labels, and {len(known.counts)} are known")
        return
    pairs = zip(listing.class_names, counts, known.counts, strict=True)
    wrong = [f"{name} {n:,} ({k:,})" for name, n, k in pairs if n != k]
    if wrong:
        yield Finding(True, f"label counts differ from the known ones: {some(wrong)}")
    else:
        yield Finding(False, "the label counts are the known ones")


def check_split(
    labels: np.ndarray, split: Split, known: DatasetStats | None
) -> Iterator[Finding]:
    """Repeated lines, overlap, unlabeled rows, sizes, chance and ceiling of MAP."""
    for part, rows in parts_of(split).items():
        yield from _repeated(part, rows)
    for part in ("database", "train"):
        if shared := len(np.intersect1d(split.query, parts_of(split)[part])):
            text = f"{shared:,} query images are also in the {part} list"
            yield Finding(True, text)
    if outside := len(np.setdiff1d(split.train, split.database)):
        yield Finding(True, f"{outside:,} training images are not in the database")
    for part, rows in parts_of(split).items():
        if bare := int((~labels[rows].any(axis=1)).sum()):
            text = f"{part} list: {bare:,} of {len(rows):,} rows without any label"
            yield Finding(True, text)
    yield from _constant(labels, split)
    for text in degeneracies(labels, split):
        yield Finding(True, text)
    if known is not None:
        yield from _sizes(labels, split, known)
    yield from _bounds(labels, split, known)


def _repeated(part: str, rows: np.ndarray) -> Iterator[Finding]:
    _, times = np.unique(rows, return_counts=True)
    if len(times) < len(rows):
        many = sorted(collections.Counter(times[times > 1].tolist()).items())
        words = [f"{n:,} {_TIMES.get(k, f'{k} times')}" for k, n in many]
        text = f"{len(times):,} different images in {len(rows):,} lines"
        yield Finding(True, f"{part} list: {text} ({', '.join(words)})")


def _constant(labels: np.ndarray, split: Split) -> Iterator[Finding]:
    for part, rows in parts_of(split).items():
        counts = labels[rows].sum(axis=0, dtype=np.int64)
        if constant := int(((counts == 0) | (counts == len(rows))).sum()):
            yield Finding(True, f"{part} list: {constant} labels are constant")


def _sizes(labels: np.ndarray, split: Split, known: DatasetStats) -> Iterator[Finding]:
    """Differences from the paper's sizes, and whether they are the released lists'."""
    sizes = (len(split.query), len(split.database), len(split.train))
    names = ("query", "database", "training")
    for name, size, paper in zip(names, sizes, known.paper, strict=True):
        if size != paper:
            text = f"{size:,} {name} images, and the paper says {paper:,}"
            yield Finding(True, text)
    if known.released is None or not split.name.endswith("released"):
        return
    bare = [
        int((~labels[rows].any(axis=1)).sum())
        for rows in (split.query, split.database, split.train)
    ]
    found = (*sizes, *bare, len(np.unique(split.train)))
    facts = (*known.released, *known.released_unlabeled, known.released_distinct)
    same = all(fact in (None, mine) for mine, fact in zip(found, facts, strict=True))
    verb = "are" if same else "are not"
    text = "lines, rows without label and repeats"
    yield Finding(not same, f"{text} {verb} those of the lists as released")


def _bounds(
    labels: np.ndarray, split: Split, known: DatasetStats | None
) -> Iterator[Finding]:
    bounds = map_bounds(labels[split.query], labels[split.database])
    text = f"chance MAP {bounds.chance:.4f}, ceiling {bounds.ceiling:.4f}"
    yield Finding(False, text)
    if bounds.unanswerable:
        text = (
            f"{bounds.unanswerable:,} queries share no label with the database: no "
            f"ranking can score over {100 * bounds.ceiling:.1f} %"
        )
        yield Finding(True, text)
    if known is not None and known.chance is not None:
        far = abs(bounds.chance - known.chance) > CHANCE_TOLERANCE
        released = known.released is not None and split.name.endswith("released")
        comparable = released and None not in known.released
        text = f"chance is {'not ' * far}the known {known.chance}"
        yield Finding(far and comparable, text)


def check_copies(
    contents: np.ndarray,
    labels: np.ndarray,
    image_ids: Sequence[str],
    splits: Sequence[Split],
) -> Iterator[Finding]:
    """Images with equal content, their labels, and copies of queries elsewhere."""
    groups = copies(contents)
    if not groups:
        yield Finding(False, "no two images have the same content")
        return
    extra = sum(len(group) - 1 for group in groups)
    if extra == len(contents) - 1:
        yield Finding(
            True, "all images have the same content: no code tells them apart"
        )
    names = some([" = ".join(image_ids[i] for i in group[:3]) for group in groups])
    yield Finding(True, f"{extra:,} images are copies of others: {names}")
    if torn := sum((labels[group] != labels[group[0]]).any() for group in groups):
        yield Finding(True, f"{torn:,} groups of copies have different labels")
    for split in splits:
        for part in ("database", "train"):
            rows = parts_of(split)[part]
            twins = np.isin(contents[split.query], contents[rows])
            if leaks := int((twins & ~np.isin(split.query, rows)).sum()):
                text = f"{leaks:,} queries have a copy in the {part} list"
                yield Finding(True, f"split {split.name}: {text}")


def known_of(name: str) -> DatasetStats | None:
    """What is known of a data set by that name, if anything."""
    return KNOWN.get(name)
