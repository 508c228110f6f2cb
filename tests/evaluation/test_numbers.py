"""Every number of a record, again in loops over what the evaluation left on disk."""

import numpy as np
import pytest
from PIL import Image

from cgat_jax.attacks import ATTACKS
from cgat_jax.evaluation.scoring import goal_codes
from tests.evaluation import linear
from tests.reference import centers as center_reference
from tests.reference import retrieval as reference

LIST = ("noise", "cgat", "saat_targeted")
TOP_K, SHOWN = 5, 8


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("linear")
    return linear.evaluate(folder, attacks=",".join(LIST), gallery=3)


def _precisions(evaluated, codes, labels=None, top_k=TOP_K):
    """AP@5 of each query by loops; relevant is what shares its own or other labels."""
    labels = linear.labels_of("query") if labels is None else labels
    database = evaluated.codes_of("database"), linear.labels_of("database")
    return reference.all_average_precisions(codes, labels, *database, top_k)


def _goals(evaluated, attack):
    """What a perfect attack would find, by the papers' sums over training images."""
    bank = evaluated.codes_of("train"), linear.labels_of("train")
    if attack == "cgat":
        own = linear.labels_of("query")
        return np.array([-center_reference.center_code(y, *bank) for y in own])
    sums = [
        center_reference.weighted_difference(y, *bank, "cosine")
        for y in evaluated.targets
    ]
    assert np.abs(sums).min() > 1e-6  # no tie, which rounding would decide
    return np.sign(sums)


@pytest.mark.parametrize("attack", ["clean", *LIST])
def test_map_is_the_mean_of_average_precisions_by_loops(evaluated, attack):
    record, codes = evaluated.records[attack], evaluated.codes(attack)
    first, whole = (
        _precisions(evaluated, codes, top_k=k).mean() for k in (TOP_K, None)
    )
    assert record["map"] == pytest.approx(first, abs=1e-12)
    assert record["map_all"] == pytest.approx(whole, abs=1e-12)
    assert abs(first - whole) > 0.01 and record["map_at"] == TOP_K


def _ranked(evaluated, attack):
    """Relevance by rank, and distances, of each query."""
    database = evaluated.codes_of("database"), linear.labels_of("database")
    codes, labels = evaluated.codes(attack), linear.labels_of("query")
    relevance = [
        reference.ranked_relevance(code, label, *database)
        for code, label in zip(codes, labels, strict=True)
    ]
    distances = [reference.distances(code, database[0]) for code in codes]
    return relevance, np.array(distances)


@pytest.mark.parametrize("attack", ["clean", "cgat"])
def test_the_other_measures_of_the_rankings_are_those_of_loops(evaluated, attack):
    record = evaluated.records[attack]
    relevance, distances = _ranked(evaluated, attack)
    curve, precision = record["pr_curve"], record["precision_at"]
    levels = [reference.precision_at_recall(query, 100) for query in relevance]
    levels = [level for level in levels if level]
    ties = (distances[:, :, None] == distances[:, None]).sum(axis=2)
    at = [[reference.precision_at(q, n) for q in relevance] for n in (100, 110, 120)]
    assert precision["n"] == [100, 110, 120]
    np.testing.assert_allclose(precision["precision"], np.mean(at, axis=1))
    np.testing.assert_allclose(curve["precision"], np.mean(levels, axis=0))
    assert curve["recall"][::50] == [0.01, 0.51]
    assert record["chance"] == pytest.approx(np.mean(relevance))
    assert record["num_without_relevant"] == len(relevance) - len(levels)
    assert record["ceiling"] == len(levels) / len(relevance)
    assert record["tie_size"] == pytest.approx(ties.mean())
    low, high = record["map_interval"]
    assert 0 < low < record["map"] < high < 1


@pytest.mark.parametrize("attack", ["clean", "cgat"])
def test_the_expected_map_is_that_of_random_orders_of_ties(evaluated, rng, attack):
    """Within four standard errors, and MAP in the database's order is without."""
    record, own = evaluated.records[attack], linear.labels_of("query").astype(int)
    database = evaluated.codes_of("database")
    relevant = own @ linear.labels_of("database").T > 0
    samples = [
        reference.sampled_orders(reference.distances(code, database), hits, 5, rng, 400)
        for code, hits in zip(evaluated.codes(attack), relevant, strict=True)
    ]
    error = np.sqrt(np.var(samples, axis=1).sum() / 400) / len(samples)
    assert record["map_expected"] == pytest.approx(np.mean(samples), abs=4 * error)
    for other in ("map", "map_all"):
        assert record[other] != pytest.approx(np.mean(samples), abs=8 * error)


def test_an_untargeted_attack_has_the_bound_of_codes_opposite_to_the_centers(evaluated):
    record, goals = evaluated.records["cgat"], _goals(evaluated, "cgat")
    values = {
        "bound": _precisions(evaluated, goals).mean(),
        "opposite": _precisions(evaluated, -goals).mean(),
        "map": _precisions(evaluated, evaluated.codes("cgat")).mean(),
        "clean": _precisions(evaluated, evaluated.codes("clean")).mean(),
    }
    assert record["bound"] == pytest.approx(values["bound"], abs=1e-12)
    assert record["t_map"] is None and "t_map_bound" not in record
    assert min(np.diff(sorted(values.values()))) > 0.005  # none passes for another


def test_a_targeted_attack_is_measured_by_its_targets_as_well(evaluated):
    attack, targets = "saat_targeted", evaluated.targets
    record, goals = evaluated.records[attack], _goals(evaluated, attack)
    found, clean = evaluated.codes(attack), evaluated.codes("clean")
    expected = {
        "map": _precisions(evaluated, found).mean(),
        "bound": _precisions(evaluated, goals).mean(),
        "t_map": _precisions(evaluated, found, targets).mean(),
        "t_map_clean": _precisions(evaluated, clean, targets).mean(),
        "t_map_bound": _precisions(evaluated, goals, targets).mean(),
    }
    assert {k: record[k] for k in expected} == pytest.approx(expected, abs=1e-12)
    assert not (targets & linear.labels_of("query")).any()
    opposite = _precisions(evaluated, -goals, targets).mean()
    assert min(np.diff(sorted([*expected.values(), opposite]))) > 0.005


@pytest.mark.parametrize("attack", LIST)
def test_changes_of_bits_and_pixels_are_those_of_codes_and_images(evaluated, attack):
    record, clean = evaluated.records[attack], evaluated.codes("clean")
    result = evaluated.evaluator.attacker.run(attack, evaluated.encoded, keep=20)
    images, original = np.asarray(result.images, np.float64), linear.pixels()
    codes = evaluated.codes(attack)
    np.testing.assert_array_equal(np.sign(linear.logits(images)), codes)
    np.testing.assert_array_equal(np.sign(linear.logits(original)), clean)
    change = images - original
    rmse = np.sqrt(np.mean([np.mean(one**2) for one in change]))
    expected = {"linf": np.abs(change).max(), "rmse": rmse}
    assert record["perturbation"] == pytest.approx(expected, rel=1e-4)
    flipped = np.mean(codes != clean)
    assert record["bits_flipped"] == pytest.approx(flipped)
    assert 0 < flipped < 1 and rmse < 0.95 * expected["linf"]


AWAY = ("saat", "cgat", "apgd", "apgd_opposite", "square")
WITHOUT_A_CODE = ("noise", "hag", "sdha", "apgd_ap")


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_goal_is_the_code_or_its_opposite(attack):
    """Of a generator the row goes on behind the code."""
    rows = np.array([[1.0, -1.0, 0.0, 0.25], [-1.0, -1.0, 1.0, -0.5]])
    goals = goal_codes(attack, rows, 3)
    if attack in WITHOUT_A_CODE:
        assert goals is None
    else:
        sign = -1 if attack in AWAY else 1
        np.testing.assert_array_equal(goals, sign * rows[:, :3])


def _answers(evaluated, code, position):
    """The eight nearest database images by loops, as a gallery shows them."""
    data = linear.dataset()
    distances = reference.distances(code, evaluated.codes_of("database"))
    nearest = sorted(range(len(distances)), key=lambda row: (distances[row], row))
    found = []
    for row in nearest[:SHOWN]:
        other = data.split.database[row]
        shared = [a and b for a, b in zip(*data.labels[[position, other]], strict=True)]
        found.append((data.image_ids[other], distances[row], any(shared)))
    return found


def _shown(entries):
    return [(entry["id"], entry["distance"], entry["relevant"]) for entry in entries]


@pytest.mark.parametrize("attack", ["cgat", "saat_targeted"])
def test_a_gallery_shows_what_the_saved_codes_retrieve(evaluated, attack):
    data, clean = linear.dataset(), evaluated.codes("clean")
    codes, entries = evaluated.codes(attack), evaluated.gallery(attack)
    before, after = (_precisions(evaluated, found) for found in (clean, codes))
    assert len(entries) == 3
    for row, entry in enumerate(entries):
        position = data.split.query[row]
        assert entry["id"] == data.image_ids[position]
        assert _shown(entry["before"]) == _answers(evaluated, clean[row], position)
        assert _shown(entry["after"]) == _answers(evaluated, codes[row], position)
        found = entry["average_precision_before"], entry["average_precision_after"]
        assert found == pytest.approx((before[row], after[row]))
        assert entry["before"] != entry["after"]
    relevant = [answer["relevant"] for e in entries for answer in e["before"]]
    assert 0 < sum(relevant) < len(relevant)


@pytest.mark.parametrize("attack", LIST)
def test_a_gallery_writes_codes_and_labels_out(evaluated, attack):
    data, names = linear.dataset(), np.array(linear.dataset().class_names)
    rows = {"clean": evaluated.codes("clean"), "adversarial": evaluated.codes(attack)}
    if attack != "noise":
        rows["aim"] = _goals(evaluated, attack)
    ids = list(data.image_ids)
    for row, entry in enumerate(evaluated.gallery(attack)):
        strips = {
            name: "".join({-1: "-", 0: "0", 1: "+"}[int(bit)] for bit in codes[row])
            for name, codes in rows.items()
        }
        assert entry["codes"] == strips
        for shown in (entry, *entry["before"], *entry["after"]):
            labels = data.labels[ids.index(shown["id"])]
            assert shown["labels"] == names[labels > 0].tolist()


def test_a_gallerys_pictures_are_the_images(evaluated):
    folder = evaluated.folder / "evaluate" / "none-cgat"
    result = evaluated.evaluator.attacker.run("cgat", evaluated.encoded, keep=3)
    ids, data = list(linear.dataset().image_ids), linear.dataset()

    def picture(name):
        return np.asarray(Image.open(folder / name))

    for row, entry in enumerate(evaluated.gallery("cgat")):
        for shown in (*entry["before"], *entry["after"]):
            whole = data.read(ids.index(shown["id"]))
            np.testing.assert_array_equal(picture(shown["image"]), whole[4:36, 4:36])
        clean, adversarial = linear.pixels()[row], np.asarray(result.images[row])
        np.testing.assert_array_equal(picture(entry["clean"]), clean * 255)
        np.testing.assert_allclose(
            picture(entry["adversarial"]), adversarial * 255, atol=0.501
        )
        gray = 255 * np.clip(0.5 + 16 * (adversarial - clean) / 2, 0, 1)
        np.testing.assert_allclose(picture(entry["difference"]), gray, atol=0.502)
