"""The form of a claim: what is none is said in a line each; its numbers must agree."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cgat_jax import load_network
from cgat_jax.benchmarking.benchmark import BenchmarkSettings
from cgat_jax.claims import form
from cgat_jax.claims.checking import Sample, check_claim, drawn
from cgat_jax.claims.consistency import Finding
from cgat_jax.claims.page import claims_page
from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.io import write_sealed
from cgat_jax.zoo import zoo_folder

SIZES = {"num_queries": 4, "num_train": 8, "num_database": 8}


@pytest.fixture(scope="module")
def dataset():
    """Another one than the claim's: nothing is measured again."""
    data = Data(name="quickstart", image_size=40, crop_size=32, **SIZES)
    return load_dataset(data, Path("unused"), progress=False)


@pytest.fixture
def claimed(tmp_path):
    """A copy of a claim of the zoo to lie in: its folder and its content."""
    folder = tmp_path / "claim"
    shutil.copytree(zoo_folder("quickstart-cgat"), folder)
    return folder, form.read_claim(folder)


def rewrite(folder, claim):
    write_sealed(folder / "claim.json", claim)


def arithmetic(folder, dataset) -> Finding:
    claim = form.read_claim(folder)
    config = form.config_of(claim)
    return next(check_claim(folder, claim, dataset, config, Sample()))


def blind_to_gradients(claim):
    """As a network whose layers are scaled until its gradients vanish, with reasons."""
    for check in claim["measured"]["sanity"]["checks"]:
        if check["name"] in ("zero gradients", "black box"):
            check |= {"value": 1.5, "passed": False, "reason": "It is robust."}


def no_better_than_noise(claim):
    (check,) = (
        x for x in claim["measured"]["sanity"]["checks"] if x["name"] == "noise"
    )
    check |= {"value": 1e-6, "passed": False, "reason": "It is robust."}


def narrower(claim):
    interval = claim["measured"]["attacks"]["clean"]["interval"]
    interval[0] = interval[1] - 0.01


def above(claim):
    claim["measured"]["components"][2]["map"] = 0.0


def more_than_all(claim):
    claim["measured"]["components"][0]["share"] = 1.0


def without_a_component(claim):
    del claim["measured"]["components"][-1]


def without_a_check(claim):
    del claim["measured"]["sanity"]["checks"][3]


def a_check_as_passed(claim):
    (check,) = (x for x in claim["measured"]["sanity"]["checks"] if "reason" in x)
    check["passed"] = True


def another_threshold(claim):
    (check,) = (x for x in claim["measured"]["sanity"]["checks"] if "reason" in x)
    check |= {"passed": True, "threshold": 9.0}


def a_check_as_unmade(claim):
    check = claim["measured"]["sanity"]["checks"][3]
    claim["measured"]["sanity"]["checks"][3] = check | {"passed": None, "value": None}


LIES_OF_ARITHMETIC = (
    *(blind_to_gradients, no_better_than_noise),
    *(narrower, above, more_than_all, without_a_component),
    *(without_a_check, a_check_as_passed, another_threshold, a_check_as_unmade),
)


@pytest.mark.parametrize("lie", LIES_OF_ARITHMETIC, ids=lambda lie: lie.__name__)
def test_numbers_that_do_not_agree_are_found(lie, claimed, dataset):
    folder, claim = claimed
    assert arithmetic(folder, dataset).holds
    lie(claim)
    rewrite(folder, claim)
    assert arithmetic(folder, dataset).holds is False


@pytest.mark.parametrize(("queries", "most"), [(500, 32), (12, 32), (12, 0), (40, 40)])
def test_the_sample_is_of_different_queries_in_order(queries, most):
    rows = drawn(queries, Sample(queries=most, seed=7))
    assert len(rows) == min(queries, most) and (np.diff(rows) > 0).all()
    assert ((rows >= 0) & (rows < queries)).all()
    np.testing.assert_array_equal(rows, drawn(queries, Sample(most, 7)))


def test_another_seed_draws_other_queries():
    draws = {tuple(drawn(500, Sample(queries=32, seed=n))) for n in range(20)}
    assert len(draws) == 20


FORMS = {
    "form": ("$.form", lambda c: c.update(form="another")),
    "extra": ("$: Additional properties", lambda c: c.update(more=1)),
    "missing": ("$: 'authors' is a required", lambda c: c.pop("authors")),
    "no link": ("$.link", lambda c: c.update(link="javascript:alert(1)")),
    "long": (
        "$.title: 201 letters, at most 200",
        lambda c: c.update(title="x" * 201),
    ),
    "a long digest": (
        "does not match",
        lambda c: c["network"].update(sha256="0" * 500),
    ),
    "markup": ("$.title", lambda c: c.update(title="<script>")),
    "file": ("$.network.file", lambda c: c["network"].update(file="../../etc/passwd")),
    "digest": ("$.network.sha256", lambda c: c["network"].update(sha256="0x")),
    "a number": ("$.network.bits", lambda c: c["network"].update(bits="32")),
    "protocol": ("$.measured.protocol", lambda c: c["measured"].update(protocol="v2")),
    "epsilon": ("$.measured.epsilon", lambda c: c["measured"].update(epsilon=0)),
    "an AP": (
        "per_query[0]",
        lambda c: c["measured"]["attacks"]["clean"]["per_query"].__setitem__(0, 1.5),
    ),
    "too few": (
        "499 numbers, expected one for each of 500 queries",
        lambda c: c["measured"]["attacks"]["noise"]["per_query"].pop(),
    ),
    "a place": (
        "$.data.settings: 'root' should not be valid",
        lambda c: c["data"]["settings"].update(root="new"),
    ),
    "a path": ("$.recipe.data.root", lambda c: c["recipe"]["data"].update(root="../x")),
    "deep": (
        "$.recipe.data.more",
        lambda c: c["recipe"]["data"].update(more={"a": {"b": 1}}),
    ),
    "a crop": (
        "crop_size: 8, the network's is 48",
        lambda c: c["data"]["settings"].update(crop_size=8),
    ),
    "a size": (
        "image_size: 64, the network's is 54",
        lambda c: c["data"]["settings"].update(image_size=64),
    ),
    "another split": (
        "split_seed: 7, it was trained with 0",
        lambda c: c["data"]["settings"].update(split_seed=7),
    ),
    "a few that trained": (
        "num_train: 64, it was trained with 4000",
        lambda c: c["data"]["settings"].update(num_train=64),
    ),
    "a large batch": (
        "$.measured.batch_size: 2000000 is greater",
        lambda c: c["measured"].update(batch_size=2_000_000),
    ),
    "a huge number": (
        "$.network.flops",
        lambda c: c["network"].update(flops=10**400),
    ),
    "a huge value": (
        "$.measured.sanity.checks[3].value",
        lambda c: c["measured"]["sanity"]["checks"][3].update(value=-(10**400)),
    ),
    "a recipe": (
        "$.recipe: unknown setting note",
        lambda c: c["recipe"].update(note=1),
    ),
    "a device": (
        "$.measured.device",
        lambda c: c["measured"].update(device="x\n\n<script>"),
    ),
    "a line": ("$.authors", lambda c: c.update(authors="A. Name\n")),
    "a link": ("$.title", lambda c: c.update(title="[x](javascript:alert)")),
    "of seeds": (
        "$.seeds[0].maps",
        lambda c: c.update(seeds=[{"seed": 1, "maps": {"all": 0.9}}]),
    ),
    "few checked": (
        "num_queries: 63, expected 64 or more",
        lambda c: c["measured"]["sanity"].update(num_queries=63),
    ),
    "no reason": (
        "'reason' is a required",
        lambda c: [x.pop("reason", 0) for x in c["measured"]["sanity"]["checks"]],
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_fault_of_the_form_is_a_line(name, claimed):
    folder, claim = claimed
    text, change = FORMS[name]
    change(claim)
    rewrite(folder, claim)
    with pytest.raises(InputError) as caught:
        form.read_claim(folder)
    (line,) = str(caught.value).splitlines()
    assert text in line and line.startswith(f"{folder / 'claim.json'}: ")


def test_two_faults_are_two_lines(claimed):
    folder, claim = claimed
    claim["title"], claim["network"]["bits"] = "", 0
    rewrite(folder, claim)
    with pytest.raises(InputError) as caught:
        form.read_claim(folder)
    assert len(str(caught.value).splitlines()) == 2


def test_a_setting_that_is_none_is_refused(claimed):
    claim = claimed[1]
    claim["data"]["settings"]["colour"] = 1
    with pytest.raises(InputError, match="unknown setting data.colour"):
        form.config_of(claim)


def test_a_claim_that_was_edited_without_its_seal_is_damaged(claimed):
    path = claimed[0] / "claim.json"
    path.write_text(path.read_text().replace("defended", "trained"))
    with pytest.raises(DamagedFileError, match="damaged or edited"):
        form.read_claim(claimed[0])


def test_a_claim_without_its_seal_is_damaged(claimed):
    """Without it a number could be NaN, which is below every limit."""
    folder, claim = claimed
    claim["measured"]["components"][0]["map"] = float("nan")
    (folder / "claim.json").write_text(json.dumps(claim))
    with pytest.raises(DamagedFileError, match="its digest, 'sha256', is missing"):
        form.read_claim(folder)


def test_a_claim_that_is_too_large_is_not_read(claimed, monkeypatch):
    monkeypatch.setattr(form, "_LARGEST", 1000)
    with pytest.raises(InputError, match="bytes, at most 1,000"):
        form.read_claim(claimed[0])


def test_files_that_are_not_claimed_are_not_read(claimed, dataset):
    """Those beside the network: of records that are none, and of any size."""
    folder, claim = claimed
    (folder / "network.json").write_text('{"records": ["x"]}')
    config = form.config_of(claim)
    found = {x.what: x for x in check_claim(folder, claim, dataset, config, Sample())}
    assert found["what the network is"].holds
    assert load_network(folder).card["records"] == []
    (folder / "network.json").write_text('{"records": 7}')
    assert load_network(folder).card["records"] == []


def test_numbers_of_another_protocol_are_no_claim():
    settings = BenchmarkSettings(steps=3, round_images=True)
    with pytest.raises(InputError, match=r"steps=3, evaluate.round_images=True"):
        form.check_protocol(settings, "run")


def test_the_page_has_other_seeds_and_links_and_needs_no_recipe(claimed):
    claim = claimed[1] | {"link": "https://example.org/x", "recipe": {}}
    claim["seeds"] = [{"seed": 1, "maps": {"clean": 0.5, "worst_case": 0.25}}]
    page = claims_page([claim])
    assert "([cgat_jax](https://example.org/x))" in page
    assert "- **Seed 1:** clean 50.00, worst case 25.00." in page
    own = claim["measured"]["attacks"]
    clean, worst = (50 * own[name]["map"] for name in ("clean", "worst_case"))
    means = f"clean {25 + clean:.2f}, worst case {12.5 + worst:.2f}"
    assert f"- **Mean of 2 seeds:** {means}." in page
    assert "**Recipe:**" not in page


def test_the_page_says_how_the_backbone_was_trained(claimed):
    claim = claimed[1]
    text = "- **Recipe:** {} weights, 12 epochs of DPSH, 4 of CgAT, rate"
    page = claims_page([claim])
    assert text.format("the package's pretrained") in page
    assert "7 steps of 2/255, 36 passes forward and back of an image, seed 0." in page
    assert "| chance | 32.24 |" in page and "CgAT, 4 epochs, weight 1 |" in page
    for weights in ("given", "random"):
        claim["recipe"]["model"]["weights"] = weights
        assert text.format(weights) in claims_page([claim])
    claim["recipe"]["pretrained"] = "given"
    text = "- **Recipe:** a network that was given, of DPSH, 4 of CgAT, rate"
    assert text in claims_page([claim])
    claim["recipe"]["pretrained"] = claim["recipe"]["model"]["weights"] = ""
    claim["recipe"]["backbone"]["epochs"] = 3
    text = (
        "- **Recipe:** 3 epochs of classification, 12 epochs of DPSH, 4 of CgAT, rate"
    )
    assert text in claims_page([claim])


def test_the_page_ranks_what_can_be_compared(claimed):
    easy = json.loads(json.dumps(claimed[1])) | {"name": "easy"}
    easy["measured"]["attacks"]["worst_case"]["map"] = 0.9
    easy["measured"]["epsilon"] = 16 / 255
    low = json.loads(json.dumps(claimed[1])) | {"name": "low"}
    low["measured"]["attacks"]["worst_case"]["map"] = 0.1
    rows = [x for x in claims_page([easy, low, claimed[1]]).splitlines() if "](#" in x]
    assert [row[3 : row.index("](#")] for row in rows] == [
        "quickstart-cgat",
        "low",
        "easy",
    ]
    assert ", 5000 |" in rows[-1] and "| 16/255 |" in rows[-1]
