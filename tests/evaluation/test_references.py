"""What each attack is given, against loops over the codes that it is made of."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
import pytest

from cgat_jax.attacks import ATTACKS
from cgat_jax.attacks.references import GENERATED
from cgat_jax.data.dataset import Dataset
from cgat_jax.evaluation import references
from cgat_jax.evaluation.references import References
from cgat_jax.rng import device_stream, host_stream
from tests.evaluation import linear
from tests.reference import centers as center_reference
from tests.reference.retrieval import all_average_precisions

BITS, TOP_K, WITHOUT_LABEL = 24, 7, [0, 3, 7]


class Given(NamedTuple):
    """Random codes, each part's its own, so that none passes for another's."""

    references: References
    codes: dict
    dataset: Dataset
    targets: np.ndarray

    def labels(self, part):
        return self.dataset.labels[getattr(self.dataset.split, part)]

    @property
    def rows(self):
        """The attacked queries: those that have a label."""
        return np.delete(np.arange(20), WITHOUT_LABEL)

    @property
    def own_labels(self):
        return self.labels("query")[self.rows]

    def part(self, name):
        return self.codes[name], self.labels(name)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("references"), np.random.default_rng(9)
    config = linear.make_config(top_k=TOP_K, without_relevant="exclude")
    config = dataclasses.replace(config, seed=3)
    labels = linear.dataset().labels.copy()
    labels[linear.dataset().split.query[WITHOUT_LABEL]] = 0
    dataset = dataclasses.replace(linear.dataset(), labels=labels)
    sizes = {"train": 88, "database": 120, "query": 20}
    codes = {
        part: rng.choice([-1, 1], (size, BITS)).astype(np.int8)
        for part, size in sizes.items()
    }
    made = References(config, dataset, folder, lambda: None)
    made.targets()
    targets = np.delete(np.load(folder / "targets.npy"), WITHOUT_LABEL, axis=0)
    return Given(made, codes, dataset, targets)


def _nothing(given):
    return np.zeros((17, BITS))


def _own_labels(given):
    return given.own_labels


def _own_codes(given):
    return given.codes["query"][given.rows]


def _centers(given):
    bank = given.part("train")
    return [center_reference.center_code(label, *bank) for label in given.own_labels]


def _mainstays(labels, given):
    """Signs of SAAT's weighted sums; none ties, which rounding would decide."""
    bank = given.part("train")
    sums = [
        center_reference.weighted_difference(label, *bank, "cosine") for label in labels
    ]
    assert np.abs(sums).min() > 1e-6
    return np.sign(sums)


def _majority(codes):
    """Component-wise votes of codes, an odd number of them."""
    return [1 if sum(int(bit) for bit in column) > 0 else -1 for column in codes.T]


def _anchors(count, given):
    """Votes of database images of exactly the target's label set, drawn in order."""
    codes, labels = given.part("database")
    stream, found = host_stream(3, "anchors", count), []
    for target in given.targets:
        members = [row for row, own in enumerate(labels) if (own == target).all()]
        found.append(_majority(codes[stream.choice(members, count)]))
    return np.array(found)


def _hardest(given):
    """Of nine foreign sets' anchors, each from nine images, the lowest AP@7."""
    codes, labels = given.part("database")
    sets = np.array(sorted({tuple(row) for row in labels.tolist()}))
    found = []
    for row, own in enumerate(given.own_labels):
        stream = host_stream(3, "hardest anchors", row)
        foreign = [number for number, one in enumerate(sets) if not (one * own).any()]
        order = stream.permutation(foreign)
        anchors = []
        for number in [order[place % len(order)] for place in range(9)]:
            members = np.flatnonzero([(one == sets[number]).all() for one in labels])
            anchors.append(_majority(codes[stream.choice(members, 9)]))
        own = np.repeat(own[None], 9, axis=0)
        precision = all_average_precisions(np.array(anchors), own, codes, labels, TOP_K)
        found.append(anchors[precision.argmin()])
    return found


ORACLES = {
    "noise": _nothing,
    "hag": _nothing,  # it makes its own clean code
    "sdha": _own_labels,
    "apgd_ap": _own_labels,
    "apgd_opposite": _own_codes,
    "cgat": _centers,
    "apgd": _centers,
    "square": _centers,
    "saat": lambda given: _mainstays(given.own_labels, given),
    "saat_targeted": lambda given: _mainstays(given.targets, given),
    "p2p": lambda given: _anchors(1, given),
    "dhta": lambda given: _anchors(9, given),
    "nag": lambda given: _anchors(9, given),
    "apgd_anchor": _hardest,
}


@pytest.mark.parametrize("name", ORACLES)
def test_an_attack_is_given_what_its_paper_says(given, name):
    found = given.references.of(name, given.codes)
    np.testing.assert_array_equal(found.rows, ORACLES[name](given))
    assert found.rows.dtype == np.float32 and found.generator == ()


def test_every_attack_without_a_generator_has_an_oracle():
    trained = {name for name, e in ATTACKS.items() if e.references == GENERATED}
    assert {*ORACLES, "tha"} == set(ATTACKS) - trained


def test_no_two_kinds_of_references_are_alike(given):
    """So that a swap of two would be seen."""
    kinds = ["noise", "cgat", "saat", "saat_targeted", "p2p", "dhta", "apgd_opposite"]
    rows = [np.array(ORACLES[name](given)) for name in [*kinds, "apgd_anchor"]]
    for number, one in enumerate(rows):
        assert all((one != other).mean() > 0.05 for other in rows[:number])


def test_one_image_with_exactly_the_targets_labels_is_imitated(given):
    """P2P, by the property alone: a database code of that label set."""
    codes, labels = given.part("database")
    found = given.references.of("p2p", given.codes).rows
    for code, target in zip(found, given.targets, strict=True):
        assert (labels[(codes == code).all(axis=1)] == target).all(axis=1).any()
    assert not (given.targets * given.own_labels).any()


def test_prototypes_are_trained_on_training_codes_for_the_target_sets(
    given, monkeypatch
):
    asked, answer = {}, np.full((17, BITS), -1.0, np.float32)

    def prototype_codes(key, bank, label_sets, targets, **settings):
        asked.update(settings, key=key, bank=bank, sets=label_sets, targets=targets)
        return answer

    monkeypatch.setattr(references, "prototype_codes", prototype_codes)
    found = given.references.of("tha", given.codes)
    np.testing.assert_array_equal(found.rows, answer)
    for table, expected in zip(asked["bank"], given.part("train"), strict=True):
        np.testing.assert_array_equal(table, expected)
    sets = {tuple(row) for row in given.labels("database").tolist()}
    assert sorted(map(tuple, asked["sets"].tolist())) == sorted(sets)
    assert sets != {tuple(row) for row in given.labels("train").tolist()}
    np.testing.assert_array_equal(asked["targets"], given.targets)
    key = jax.random.key_data(device_stream(3, "prototypes"))
    np.testing.assert_array_equal(jax.random.key_data(asked["key"]), key)
    assert asked["steps"] == 30_000 and asked["triangle"]


def test_the_bank_that_attacks_search_is_the_training_images(given):
    """SDHA's relevant codes, and what APGD on average precision ranks."""
    bank = given.references.bank(given.codes)
    np.testing.assert_array_equal(bank.codes, given.codes["train"])
    np.testing.assert_array_equal(bank.labels, given.labels("train"))
