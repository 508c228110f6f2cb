"""Each part of a drawn split has its share of every label."""

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import degeneracies
from cgat_jax.data.datasets.stratified import draw_stratified, stratified
from cgat_jax.data.sources.source_index import SourceIndex


def listing(labels):
    names = tuple(f"{row}.jpg" for row in range(len(labels)))
    classes = tuple(str(column) for column in range(labels.shape[1]))
    return SourceIndex(
        name="photos", class_names=classes, image_ids=names, labels=labels, parts={}
    )


def one_hot(rng, sizes):
    return np.eye(len(sizes), dtype=np.uint8)[
        rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    ]


@pytest.mark.parametrize(
    "sizes", [[300] * 10, [1000, 100, 10, 3], [7, 5], [50] + [2] * 40]
)
@pytest.mark.parametrize("share", [0.05, 0.1, 0.33, 0.5])
def test_with_one_label_each_is_less_than_one_from_its_share(rng, sizes, share):
    labels = one_hot(rng, sizes)
    everyone = rng.permutation(len(labels))
    count = round(share * len(labels))
    taken = stratified(labels, everyone, count, rng)
    assert len(taken) == len(set(taken.tolist())) == count
    shares = np.array(sizes) * count / len(labels)
    assert (np.abs(labels[taken].sum(axis=0) - shares) < 1).all()


def test_with_many_labels_it_is_nearer_to_the_shares_than_chance(rng):
    frequencies = np.geomspace(0.5, 0.01, 40)
    labels = (rng.random((2_000, 40)) < frequencies).astype(np.uint8)
    everyone = rng.permutation(2_000)
    shares = labels.sum(axis=0) / 10

    def distance(rows):
        return np.abs(labels[rows].sum(axis=0) - shares).mean()

    drawn = [distance(rng.permutation(2_000)[:200]) for _ in range(50)]
    taken = stratified(labels, everyone, 200, rng)
    assert len(taken) == 200
    assert distance(taken) < min(drawn) / 4


@pytest.mark.parametrize("seed", range(5))
def test_every_query_can_be_answered_and_every_label_is_kept(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((60, 12)) < 0.1).astype(np.uint8)
    labels[np.arange(12), np.arange(12)] = 1
    labels[~labels.any(axis=1), 0] = 1
    labels = np.vstack([labels, np.eye(13, 12, dtype=np.uint8)[12:]])  # and one without
    labels[-1, 0] = 1
    stored = listing(labels)
    split = draw_stratified(stored, Data(num_queries=0, num_train=0, split_seed=seed))
    assert labels[split.database].any(axis=0).all()
    both = np.concatenate([split.query, split.database])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(labels)))
    shared = labels[split.query].astype(int) @ labels[split.database].T
    assert shared.any(axis=1).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_smaller_database_keeps_every_label(rng, seed):
    labels = one_hot(rng, [200, 150, 4, 2, 2])
    sizes = {"num_queries": 20, "num_database": 30, "num_train": 30}
    split = draw_stratified(listing(labels), Data(split_seed=seed, **sizes))
    assert len(split.database) == len(set(split.database.tolist())) == 30
    assert not set(split.database) & set(split.query)
    assert labels[split.database].any(axis=0).all()
    again = draw_stratified(listing(labels), Data(split_seed=seed, **sizes))
    assert split.sha256 == again.sha256


def test_where_no_label_is_lost_the_database_is_as_drawn(rng):
    """Reference: the sample itself, drawn after the queries."""
    labels = one_hot(rng, [60, 40])
    settings = Data(num_queries=10, num_database=40, num_train=40, split_seed=3)
    split = draw_stratified(listing(labels), settings)
    draws = np.random.default_rng(3)
    order = draws.permutation(100)
    query = stratified(labels, order, 10, draws)
    rest = stratified(labels, order[~np.isin(order, query)], 40, draws)
    np.testing.assert_array_equal(split.database, np.sort(rest))


def test_what_a_database_of_too_few_images_loses_is_said(rng):
    labels = one_hot(rng, [20] * 10)
    settings = Data(num_queries=20, num_database=4, num_train=4)
    split = draw_stratified(listing(labels), settings)
    assert labels[split.database].any(axis=0).sum() == 4
    line, weak = degeneracies(labels, split)
    assert line.startswith("12 of 20 queries with no label that a database image has")
    assert "queries with no label that a training image has, so that their" in weak


def test_it_is_a_function_of_its_seed(rng):
    stored = listing(one_hot(rng, [40, 40, 20]))
    first, again, other = (
        draw_stratified(stored, Data(num_queries=10, num_train=50, split_seed=seed))
        for seed in (0, 0, 1)
    )
    assert first.sha256 == again.sha256 != other.sha256
    assert first.name == "photos-10q-50t-seed0"
    assert stored.labels[first.query].sum(axis=0).tolist() == [4, 4, 2]
    assert stored.labels[first.train].sum(axis=0).tolist() == [20, 20, 10]
    assert set(first.train) <= set(first.database)


def test_copies_are_no_queries(rng):
    labels = one_hot(rng, [20, 20])
    contents = np.arange(40, dtype=np.uint64)
    contents[10:30] = 7
    for seed in range(10):
        settings = Data(num_queries=10, num_train=0, split_seed=seed)
        split = draw_stratified(listing(labels), settings, contents)
        assert not set(split.query) & set(range(10, 30))
