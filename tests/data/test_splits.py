import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets import splits
from cgat_jax.data.sources.source_index import SourceIndex


def listing(names, labels=None, name="coco"):
    labels = np.ones((len(names), 1), np.uint8) if labels is None else labels
    classes = tuple(str(i) for i in range(labels.shape[1]))
    return SourceIndex(
        name=name, class_names=classes, image_ids=names, labels=labels, parts={}
    )


NAMES = tuple(f"image {i}" for i in range(100))


def draw_split(names, settings):
    return splits.draw_split(listing(names), settings)


def test_the_split_is_disjoint_and_complete():
    split = draw_split(NAMES, Data(num_queries=20, num_train=30))
    assert [len(split.query), len(split.database), len(split.train)] == [20, 80, 30]
    both = np.concatenate([split.query, split.database])
    np.testing.assert_array_equal(np.sort(both), np.arange(100))
    assert set(split.train) <= set(split.database)
    assert len(set(split.train)) == 30
    assert split.name == "coco-20q-30t-seed0"


def test_the_split_is_a_function_of_its_seed():
    first, again, other = (
        draw_split(NAMES, Data(num_queries=20, num_train=30, split_seed=seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.query, again.query)
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256
    assert set(first.query) != set(other.query)


def test_the_digest_says_who_is_in_the_split():
    settings = Data(num_queries=20, num_train=30)
    renamed = ("another", *NAMES[1:])
    first, other = draw_split(NAMES, settings), draw_split(renamed, settings)
    assert first.sha256 != other.sha256


def test_smaller_databases_are_part_of_larger_ones():
    whole = draw_split(NAMES, Data(num_queries=20, num_train=10))
    part = draw_split(NAMES, Data(num_queries=20, num_train=10, num_database=40))
    assert len(part.database) == 40
    assert set(part.train) <= set(part.database) <= set(whole.database)
    np.testing.assert_array_equal(part.query, whole.query)
    assert part.name == "coco-20q-10t-40d-seed0"


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"num_queries": 90, "num_train": 20}, "needs 110 images .*there are 100"),
        ({"num_queries": 101, "num_train": 0}, "needs 10. images .*there are 100"),
        ({"num_queries": 50, "num_train": 5, "num_database": 51}, "needs 101 images"),
        (
            {"num_queries": 50, "num_train": 9, "num_database": 8},
            "at most the database",
        ),
        ({"num_queries": 0, "num_train": 9}, "no query images"),
        ({"num_queries": 9, "num_train": 0}, "no train images"),
        ({"num_queries": 100, "num_train": 0}, "no train images"),
    ],
)
def test_impossible_splits_are_refused(sizes, message):
    with pytest.raises(DataError, match=message):
        draw_split(NAMES, Data(**sizes))


def one_label(train=60, test=40, classes=4):
    names = [f"train/{i:05d}" for i in range(train)]
    names += [f"test/{i:05d}" for i in range(test)]
    labels = np.eye(classes, dtype=np.uint8)[np.arange(train + test) % classes]
    return listing(tuple(names), labels, "cifar10")


def test_the_balanced_split_has_as_many_of_each_class():
    stored = one_label()
    split = splits.draw_balanced(stored, Data(num_queries=12, num_train=20))
    assert [len(split.query), len(split.database), len(split.train)] == [12, 88, 20]
    np.testing.assert_array_equal(stored.labels[split.query].sum(axis=0), [3] * 4)
    np.testing.assert_array_equal(stored.labels[split.train].sum(axis=0), [5] * 4)
    assert {stored.image_ids[i].split("/")[0] for i in split.query} == {"test"}
    assert {stored.image_ids[i].split("/")[0] for i in split.train} == {"train"}
    assert set(split.train) <= set(split.database)
    both = np.concatenate([split.query, split.database])
    np.testing.assert_array_equal(np.sort(both), np.arange(100))
    assert split.name == "cifar10-12q-20t-seed0"


def test_the_balanced_split_of_all_is_the_official_one():
    settings = Data(num_queries=40, num_train=60, num_database=60)
    split = splits.draw_balanced(one_label(), settings)
    np.testing.assert_array_equal(np.sort(split.query), np.arange(60, 100))
    np.testing.assert_array_equal(split.database, np.arange(60))
    np.testing.assert_array_equal(np.sort(split.train), np.arange(60))


def test_the_balanced_split_is_a_function_of_its_seed():
    first, again, other = (
        splits.draw_balanced(
            one_label(), Data(num_queries=12, num_train=20, split_seed=seed)
        ).sha256
        for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"num_queries": 10, "num_train": 20}, "num_queries=10: expected a multiple"),
        ({"num_queries": 12, "num_train": 21}, "num_train=21: expected a multiple of"),
        ({"num_queries": 44, "num_train": 4}, "11 a class, and one has only 10"),
        ({"num_queries": 12, "num_train": 64}, "16 a class, and one has only 15"),
        ({"num_queries": 0, "num_train": 20}, "no query images"),
        ({"num_queries": 40, "num_train": 64}, "needs 104 images"),
    ],
)
def test_impossible_balanced_splits_are_refused(sizes, message):
    with pytest.raises(DataError, match=message):
        splits.draw_balanced(one_label(), Data(**sizes))
