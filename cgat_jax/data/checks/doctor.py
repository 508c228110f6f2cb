"""What is wrong with a data set's labels and split; see ``doctor_files`` for files.

Every check returns findings; a defect is what makes a number wrong or impossible, or
the data other than the known ones; a note is what a reader of the number should know.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cgat_jax.data.checks.chance import map_bounds
from cgat_jax.data.checks.contents import copied_queries, copies
from cgat_jax.data.checks.degenerate import meaningless
from cgat_jax.data.dataset import Split, parts_of
from cgat_jax.data.sources.known import KNOWN, DatasetStats
from cgat_jax.data.sources.source_file import counted, some
from cgat_jax.data.sources.source_index import SourceIndex

CHANCE_TOLERANCE = 0.002
_WORDS = {"query": "query", "database": "database image", "train": "training image"}
_TIMES = {2: "twice", 3: "three times", 4: "four times"}


class Finding(NamedTuple):
    """A line, and whether it is a defect."""

    defect: bool
    text: str


def check_labels(listing: SourceIndex, known: DatasetStats | None) -> Iterator[Finding]:
    """Labels of no image and of all, unlabeled images, counts against known ones."""
    labels = listing.labels
    counts = labels.sum(axis=0, dtype=np.int64)
    yield from _constant(listing, counts, len(labels), "image")
    bare = np.flatnonzero(~labels.any(axis=1))
    if len(bare):
        as_known = known is not None and len(bare) == known.unlabeled
        words = ", as is known" if as_known else f": {_named(listing, bare)}"
        text = f"{counted(len(bare), 'image')} without any label{words}"
        yield Finding(known is not None and not as_known, text)
    for text in single_images(listing):
        yield Finding(False, text)
    if known is not None:
        yield from _against_known(listing, counts, known)


def single_images(listing: SourceIndex) -> list[str]:
    """A line on the classes that one image alone has, if there are."""
    counts = listing.labels.sum(axis=0, dtype=np.int64)
    if not len(single := np.flatnonzero(counts == 1)):
        return []
    text = f"{counted(len(single), 'class', 'classes')} with a single image, which "
    text += "finds nothing of its class as a query, or is never one"
    return [f"{text}: {some([listing.class_names[column] for column in single])}"]


def _against_known(
    listing: SourceIndex, counts: np.ndarray, known: DatasetStats
) -> Iterator[Finding]:
    found = len(listing.image_ids)
    if found != known.images:
        text = f"{counted(found, 'image')}, and {known.images:,} are known"
        yield Finding(True, text)
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
    listing: SourceIndex, split: Split, known: DatasetStats | None
) -> Iterator[Finding]:
    """Repeated lines, overlap, unlabeled rows, sizes, chance and ceiling of MAP."""
    labels = listing.labels
    for part, rows in parts_of(split).items():
        yield from _repeated(part, rows)
    for part in ("database", "train"):
        if len(shared := np.intersect1d(split.query, parts_of(split)[part])):
            text = f"{counted(len(shared), 'query image')} also in the {part} list"
            yield Finding(True, f"{text}: {_named(listing, shared)}")
    if len(outside := np.setdiff1d(split.train, split.database)):
        text = f"{counted(len(outside), 'training image')} not in the database"
        yield Finding(False, f"{text}: {_named(listing, outside)}")
    for part, rows in parts_of(split).items():
        if len(bare := rows[~labels[rows].any(axis=1)]):
            text = f"{part} list: {len(bare):,} of {counted(len(rows), 'row')} without "
            text += f"any label: {_named(listing, bare)}"
            yield Finding(part == "query", text)
    whole = labels.sum(axis=0, dtype=np.int64)
    varies = (whole > 0) & (whole < len(labels))  # else it was said of all images
    for part, word in _WORDS.items():
        rows = parts_of(split)[part]
        counts = labels[rows].sum(axis=0, dtype=np.int64)
        yield from _constant(listing, np.where(varies, counts, -1), len(rows), word)
    for text in meaningless(labels, split):
        yield Finding(True, text)
    if known is not None:
        yield from _sizes(labels, split, known)
    yield from _bounds(labels, split, known)


def _named(listing: SourceIndex, rows: np.ndarray) -> str:
    return some([listing.image_ids[row] for row in rows])


def _repeated(part: str, rows: np.ndarray) -> Iterator[Finding]:
    _, times = np.unique(rows, return_counts=True)
    if len(times) < len(rows):
        many = sorted(collections.Counter(times[times > 1].tolist()).items())
        words = [f"{n:,} {_TIMES.get(k, f'{k} times')}" for k, n in many]
        text = f"{counted(len(times), 'different image')} in {len(rows):,} lines"
        yield Finding(part != "train", f"{part} list: {text} ({', '.join(words)})")


def _constant(
    listing: SourceIndex, counts: np.ndarray, size: int, word: str
) -> Iterator[Finding]:
    """Notes on the labels that none or all of some images have."""
    for which, found in (("no", counts == 0), ("every", counts == size)):
        if len(columns := np.flatnonzero(found)):
            kinds = some([listing.class_names[column] for column in columns])
            text = f"{counted(len(columns), 'label')} that {which} {word} has: {kinds}"
            yield Finding(False, text)


def _sizes(labels: np.ndarray, split: Split, known: DatasetStats) -> Iterator[Finding]:
    """Differences from the paper's sizes, and whether they are the released lists'."""
    sizes = (len(split.query), len(split.database), len(split.train))
    names = ("query", "database", "training")
    for name, size, paper in zip(names, sizes, known.paper, strict=True):
        if size != paper:
            text = f"{counted(size, f'{name} image')}, and the paper says {paper:,}"
            yield Finding(False, text)
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
        queries = counted(bounds.unanswerable, "query", "queries")
        text = (
            f"{queries} without a label in common with the database: no ranking can "
            f"score over {100 * bounds.ceiling:.1f} %"
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
    text = f"{counted(extra, 'copy', 'copies')} of other images"
    yield Finding(False, f"{text}: {_equal(groups, image_ids)}")
    torn = [group for group in groups if (labels[group] != labels[group[0]]).any()]
    if torn:
        text = f"{counted(len(torn), 'group')} of copies with different labels"
        yield Finding(True, f"{text}: {_equal(torn, image_ids)}")
    for split in splits:
        for part, rows in copied_queries(split, contents).items():
            text = f"{counted(len(rows), 'query', 'queries')} with a copy in the "
            text += f"{part} list: {some([image_ids[row] for row in rows])}"
            yield Finding(True, f"split {split.name}: {text}")


def _equal(groups: Sequence[np.ndarray], image_ids: Sequence[str]) -> str:
    return some([" = ".join(image_ids[i] for i in group[:3]) for group in groups])


def known_of(name: str) -> DatasetStats | None:
    """What is known of a data set by that name, if anything."""
    return KNOWN.get(name)
