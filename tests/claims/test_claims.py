"""Claims: an honest one holds, each lie is found, a wrong form is said in a line."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

from cgat_jax import Network
from cgat_jax.attacks import Budget
from cgat_jax.benchmarking.benchmark import BenchmarkSettings, benchmark
from cgat_jax.claims import checking, form, making
from cgat_jax.claims.checking import ATTACKED, Sample, check_claim
from cgat_jax.claims.measured import Measured, recipe_of, seeds_of, without_places
from cgat_jax.config import Config, Data
from cgat_jax.config.settings import to_json
from cgat_jax.data import load_dataset
from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.evaluation import transfer, worst_case
from cgat_jax.evaluation.sanity import CHECKS, Check
from cgat_jax.evaluation.sanity_measures import Curve
from cgat_jax.files.io import read_sealed, write_sealed
from cgat_jax.models.network_file import make_network, new_card
from cgat_jax.retrieval import bootstrap_interval
from cgat_jax.workdir import remember_network
from experiments import claim as program
from experiments import cli

pytestmark = pytest.mark.slow

SIZES = {"num_queries": 12, "num_train": 20, "num_database": 40}
DATA = Data(name="quickstart", image_size=40, crop_size=32, **SIZES)
ABOUT = making.About(
    name="mine",
    title="Random weights",
    authors="A. Name",
    reasons={"restarts": "Read the worst case."},
)
FAILED = ("restarts",)


def fake_checks(*failed):
    """Checks of which these fail, and that of a twin is not made."""

    def examine(network, on_check=None):
        checks = []
        for name, (_, threshold, meaning) in CHECKS.items():
            value = threshold + 1 if name in failed else threshold
            value = None if name == "order" else value
            passed = None if value is None else value <= threshold
            checks.append(Check(name, passed, value, threshold, meaning))
        return checks, Curve([0.1], [0.2], [0.3])

    return examine


@pytest.fixture(scope="module", autouse=True)
def short():
    """An ensemble of a few steps, and checks that are not made."""
    steps = {"_GRADIENTS": 3, "_SEARCH": 3}
    with pytest.MonkeyPatch.context() as patch:
        for name, count in steps.items():
            own = getattr(worst_case, name)
            budget = Budget(
                steps=count, random_start=own.random_start, relaxation=own.relaxation
            )
            patch.setattr(worst_case, name, budget)
        patch.setattr(worst_case, "RESTARTS", 1)
        patch.setattr(transfer, "examine", fake_checks(*FAILED))
        patch.setattr(checking, "examine", fake_checks(*FAILED))
        yield


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DATA, Path("unused"), progress=False)


def network(seed: int) -> Network:
    placed = dataclasses.replace(DATA, root="/home/somebody/photos")
    card = new_card(
        backbone="small",
        bits=16,
        image_size=40,
        crop_size=32,
        config=json.loads(to_json(Config(data=placed, seed=seed))),
    )
    model = make_network(card)
    init = jax.jit(model.init)
    params, stats = init(jax.random.key(seed), jnp.zeros((1, 32, 32, 3)))
    # Codes that differ from image to image, so that an attack's start decides some.
    logits, _ = model.apply(params, stats, scenes())
    head = params["head"] | {"bias": params["head"]["bias"] - logits.mean(axis=0)}
    return Network(params | {"head": head}, stats, card)


@functools.cache
def scenes():
    data = load_dataset(DATA, Path("unused"), progress=False)
    crops = np.stack([data.read(row)[:32, :32] for row in range(16)])
    return jnp.asarray(crops, jnp.float32) / 255


def benchmarked(folder, dataset, seed, sanity_queries):
    """A workdir of a benchmark, and its network."""
    workdir, net = folder / "run", network(seed)
    settings = BenchmarkSettings(
        sanity_queries=sanity_queries, batch_size=16, gallery=0
    )
    benchmark(net, dataset, workdir=workdir, settings=settings)
    return workdir, net


@pytest.fixture(scope="module")
def measured(dataset, tmp_path_factory):
    """A network of random weights, with sanity checks."""
    return benchmarked(tmp_path_factory.mktemp("measured"), dataset, 0, 12)


@pytest.fixture(scope="module")
def with_seed_1(dataset, tmp_path_factory):
    """The same recipe with another seed, without sanity checks."""
    return benchmarked(tmp_path_factory.mktemp("another"), dataset, 1, 0)


@pytest.fixture(scope="module")
def made(measured, dataset, tmp_path_factory):
    """The folder of an honest claim."""
    folder = tmp_path_factory.mktemp("claims") / "mine"
    claim = making.make_claim(*measured, dataset, ABOUT, data=Config(data=DATA))
    making.write_claim(folder, claim, measured[1])
    return folder


@pytest.fixture
def claimed(made, tmp_path):
    """A copy of the honest claim to lie in: its folder and its content."""
    folder = tmp_path / "claim"
    shutil.copytree(made, folder)
    return folder, form.read_claim(folder)


def found(folder, dataset, **sample):
    """Findings by what they are about."""
    claim = form.read_claim(folder)
    config = form.config_of(claim)
    told = check_claim(folder, claim, dataset, config, Sample(**sample))
    return {finding.what: finding for finding in told}


def rewrite(folder, claim):
    write_sealed(folder / "claim.json", claim)


def raised(claim, attack, by):
    """A claim that says more, and whose numbers agree with each other."""
    record = claim["measured"]["attacks"][attack]
    precision = np.clip(np.array(record["per_query"]) + by, 0, 1)
    low, high = bootstrap_interval(precision)
    record |= {"map": float(precision.mean()), "interval": [low, high]}
    record["per_query"] = precision.tolist()
    for part in claim["measured"]["components"]:
        part["map"] = max(part["map"], record["map"])


@pytest.fixture(scope="module")
def honest(made, dataset):
    """What is found of the honest claim."""
    return found(made, dataset, queries=5, seed=3)


def test_an_honest_claim_holds(honest):
    findings = honest
    assert not [x for x in findings.values() if x.holds is False]
    looked_at = {what for what, finding in findings.items() if finding.holds}
    assert looked_at == {
        *("its own arithmetic", "the network's file", "what the network is"),
        *("the data", "the split", "what the data are", "chance", "sanity checks"),
        *form.ATTACKS,
    }
    assert {*checking.STATED} <= {*findings}


def apart(finding) -> float:
    """By how many points the AP of one query differs at most."""
    return float(finding.text.rpartition("one query by ")[2].rstrip(")"))


def test_a_few_queries_have_the_very_numbers_of_all(made, dataset, honest):
    """By the same starts, each query is attacked as it was among all others."""
    alike = found(made, dataset, queries=5, seed=0, sanity=False)
    for name in ("noise", "cgat", "worst_case"):
        assert apart(alike[name]) == 0, name
    assert max(apart(honest[name]) for name in ("noise", "cgat", "worst_case")) > 0


def test_numbers_that_are_raised_everywhere_are_found(claimed, dataset):
    folder, claim = claimed
    for attack in form.ATTACKS:
        raised(claim, attack, by=3 * ATTACKED)
    rewrite(folder, claim)
    findings = found(folder, dataset, queries=5, seed=0)
    assert findings["its own arithmetic"].holds
    assert not any(findings[attack].holds for attack in form.ATTACKS)


def test_a_mean_alone_is_found_by_arithmetic(claimed, dataset):
    folder, claim = claimed
    claim["measured"]["attacks"]["worst_case"]["map"] += 0.001
    rewrite(folder, claim)
    findings = found(folder, dataset)
    assert findings["its own arithmetic"].holds is False
    assert "measured again" in findings and "worst_case" not in findings


def test_a_check_with_an_edited_value_is_found(claimed, dataset):
    folder, claim = claimed
    (check,) = (x for x in claim["measured"]["sanity"]["checks"] if "reason" in x)
    del check["reason"]
    check |= {"passed": True, "value": check["threshold"]}
    rewrite(folder, claim)
    finding = found(folder, dataset, queries=0)["sanity checks"]
    assert finding.holds is False and "restarts fails" in finding.text
    unlooked = found(folder, dataset, queries=0, sanity=False)
    for what in (*form.ATTACKS[1:], "sanity checks"):
        assert unlooked[what].holds is None


def test_a_failed_check_that_is_worse_than_claimed_is_found(claimed, dataset):
    """The checks of these tests fail by 1."""
    folder, claim = claimed
    (check,) = (x for x in claim["measured"]["sanity"]["checks"] if "reason" in x)
    check["value"] = check["threshold"] + 0.1
    rewrite(folder, claim)
    finding = found(folder, dataset, queries=0)["sanity checks"]
    assert finding.holds is False and "restarts fails" in finding.text


@pytest.mark.parametrize("key", ["split", "num_database", "num_train"])
def test_data_that_are_described_as_others_are_found(key, claimed, dataset):
    folder, claim = claimed
    claim["data"][key] = "another" if key == "split" else 7
    rewrite(folder, claim)
    finding = found(folder, dataset)["what the data are"]
    assert finding.holds is False and key in finding.text


def test_another_chance_is_found(claimed, dataset):
    folder, claim = claimed
    claim["measured"]["chance"] /= 2
    rewrite(folder, claim)
    assert found(folder, dataset, queries=0)["chance"].holds is False


def test_another_network_under_the_digest_is_found(claimed, dataset):
    folder, claim = claimed
    network(1).save(folder / "network.safetensors")
    assert found(folder, dataset)["the network's file"].holds is False
    claim["network"]["sha256"] = form.file_digest(folder / "network.safetensors")
    rewrite(folder, claim)
    assert found(folder, dataset)["what the network is"].holds is False
    claim["network"]["network_sha256"] = network(1).sha256
    rewrite(folder, claim)
    assert found(folder, dataset, queries=0)["clean"].holds is False


@pytest.mark.parametrize(
    ("key", "value"), [("bits", 32), ("parameters", 10), ("flops", 1e6)]
)
def test_a_network_that_is_described_as_another_is_found(key, value, claimed, dataset):
    folder, claim = claimed
    claim["network"][key] = value
    rewrite(folder, claim)
    finding = found(folder, dataset)["what the network is"]
    assert finding.holds is False and key in finding.text


def test_other_data_are_found(claimed):
    folder, claim = claimed
    for settings in (claim["data"]["settings"], claim["recipe"]["data"]):
        settings["split_seed"] = 1
    rewrite(folder, claim)
    settings = form.config_of(claim).data
    other = load_dataset(settings, Path("unused"), progress=False)
    findings = found(folder, other)
    assert findings["the data"].holds is False and "clean" not in findings


def test_a_failed_check_needs_a_reason(measured, dataset):
    about = making.About(name="mine", title="t", authors="a")
    with pytest.raises(InputError, match="--reason='restarts=...'"):
        making.make_claim(*measured, dataset, about)


def test_what_was_not_measured_is_named(measured, with_seed_1):
    workdir, net = with_seed_1
    with pytest.raises(InputError, match="network: the sanity checks on 64 queries"):
        Measured(workdir, net.sha256)
    with pytest.raises(InputError, match="not measured of this network: clean, noise"):
        Measured(measured[0], network(1).sha256)


def test_a_claim_has_the_numbers_of_other_seeds(measured, with_seed_1, dataset):
    other, net = with_seed_1
    claim = making.make_claim(
        *measured, dataset, ABOUT, data=Config(data=DATA), seeds={other: net}
    )
    records = {
        r["attack"]: r["map"]
        for r in Measured(other, net.sha256, doubted=False).records.values()
    }
    assert claim["seeds"] == [{"seed": 1, "maps": records}]


def test_seeds_measured_otherwise_or_twice_are_refused(measured, with_seed_1, dataset):
    other, net = with_seed_1
    claim = making.make_claim(*measured, dataset, ABOUT, data=Config(data=DATA))
    claim["measured"] |= {"epsilon": 2 / 255, "top_k": 100}
    budget = "evaluate.epsilon: 0.00.* -> 0.03.*; evaluate.top_k: 100 -> 5000"
    with pytest.raises(InputError, match=budget):
        seeds_of({other: net}, claim, measured[0])
    claim["measured"] |= {"epsilon": 8 / 255, "top_k": 5000}
    with pytest.raises(InputError, match="another run has the seed 1 as well"):
        seeds_of({other: net, other / ".." / other.name: net}, claim, measured[0])


@pytest.mark.parametrize(
    ("key", "digests", "why"),
    [
        ("weights", ("a" * 64, "b" * 64), "began with other weights"),
        ("pretrained", ("a" * 64, "a" * 64), "defends the very network that"),
    ],
)
def test_seeds_that_began_elsewhere_or_are_one_are_refused(
    key, digests, why, measured, with_seed_1, dataset, tmp_path
):
    runs = []
    for number, (workdir, digest) in enumerate(
        zip((measured[0], with_seed_1[0]), digests, strict=True)
    ):
        runs.append(shutil.copytree(workdir, tmp_path / str(number)))
        remember_network(runs[-1], key, digest)
    with pytest.raises(InputError, match=why):
        seeds_of({runs[1]: with_seed_1[1]}, _claim_of(measured, dataset), runs[0])


@pytest.mark.parametrize("digest", ["a" * 64, "b" * 64, ""])
def test_who_defends_a_network_began_with_that_ones_weights(
    digest, measured, with_seed_1, dataset, tmp_path
):
    """A run notes the weights that it read itself; what is not known is not other."""
    ours, theirs = (
        shutil.copytree(run, tmp_path / name)
        for name, run in (("ours", measured[0]), ("theirs", with_seed_1[0]))
    )
    remember_network(ours, "weights", "a" * 64)
    pretrained = tmp_path / "pretrained"
    pretrained.mkdir()
    if digest:
        remember_network(pretrained, "weights", digest)
    config = read_sealed(theirs / "config.json") | {"pretrained": str(pretrained)}
    write_sealed(theirs / "config.json", config)
    claim, seeds = _claim_of(measured, dataset), {theirs: with_seed_1[1]}
    if digest == "b" * 64:
        with pytest.raises(InputError, match="theirs: began with other weights"):
            seeds_of(seeds, claim, ours)
    else:
        assert len(seeds_of(seeds, claim, ours)) == 1


def _claim_of(measured, dataset):
    return making.make_claim(*measured, dataset, ABOUT, data=Config(data=DATA))


def test_a_network_that_was_given_is_no_pretraining_of_the_recipe(tmp_path):
    config = json.loads(to_json(Config(seed=3)))
    run = tmp_path / "run"
    run.mkdir()
    write_sealed(run / "config.json", config)
    assert recipe_of(config | {"pretrained": str(run)})["pretrained"] == ""
    assert recipe_of(config | {"pretrained": "nowhere"})["pretrained"] == "given"
    other = config | {"pretrained": str(run), "seed": 4}
    assert recipe_of(other)["pretrained"] == "given"
    file = network(3).save(tmp_path / "network.safetensors")
    mine = network(3).card["config"] | {"pretrained": str(file)}
    assert recipe_of(mine)["pretrained"] == ""
    longer = mine | {"pretrain": mine["pretrain"] | {"epochs": 7}}
    assert recipe_of(longer)["pretrained"] == "given"


@pytest.mark.parametrize(
    "card, why",
    [
        ({"seed": 0}, "seed: 0 as well"),
        ({"defense": {"epochs": 99}}, "defense.epochs: 30 -> 99"),
        ({"data": {"split_seed": 7}}, "data.split_seed: 0 -> 7"),
    ],
)
def test_another_recipe_is_no_other_seed(card, why, measured, with_seed_1, dataset):
    other, net = with_seed_1
    config = net.card["config"]
    for key, value in card.items():
        whole = config[key] | value if isinstance(value, dict) else value
        config = config | {key: whole}
    changed = dataclasses.replace(net, card=net.card | {"config": config})
    with pytest.raises(InputError, match=f"same recipe with another seed: {why}"):
        making.make_claim(
            *measured, dataset, ABOUT, data=Config(data=DATA), seeds={other: changed}
        )


def test_no_place_of_a_machine_is_claimed(made):
    claim = form.read_claim(made)
    assert not {*form.PLACES} & {*claim["data"]["settings"]}
    assert claim["recipe"]["data"]["root"] == ""
    assert "somebody" in network(0).card["config"]["data"]["root"]
    named = {"data": {"root": "photos"}, "model": {"weights": "w.pth", "name": "small"}}
    kept = {"data": {"root": ""}, "model": {"weights": "given", "name": "small"}}
    assert without_places(named | {"pretrained": "run"}) == kept | {"pretrained": ""}
    packed = {"model": {"weights": "packed"}}
    assert without_places(packed) == packed
    assert b"somebody" not in (made / "network.safetensors").read_bytes()


def test_a_folder_of_somebody_else_stays(made, measured, tmp_path):
    (tmp_path / "claim.json").write_text("{}")
    with pytest.raises(ForeignFilesError):
        making.write_claim(tmp_path, form.read_claim(made), measured[1])
    assert (tmp_path / "claim.json").read_text() == "{}"


def test_a_claim_whose_writing_was_stopped_is_written_again(made, measured, tmp_path):
    claim, net = form.read_claim(made), measured[1]
    unplaced = dataclasses.replace(net, card=net.card | {"config": {}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Network, "save", lambda *_: (_ for _ in ()).throw(OSError("full"))
        )
        with pytest.raises(OSError, match="full"):
            making.write_claim(tmp_path / "new", claim, unplaced)
    making.write_claim(tmp_path / "new", claim, unplaced)
    file = tmp_path / "new" / "network.safetensors"
    written = form.read_claim(tmp_path / "new")
    assert written["network"]["sha256"] == form.file_digest(file)


def test_images_of_another_size_are_refused(measured, dataset):
    other = Config(data=dataclasses.replace(DATA, crop_size=24))
    with pytest.raises(InputError, match="images of 32 pixels, not of 24"):
        making.make_claim(*measured, dataset, ABOUT, data=other)


def test_a_claim_of_a_wrong_form_is_not_written(made, measured, tmp_path):
    claim = form.read_claim(made) | {"title": ""}
    with pytest.raises(InputError, match="title"):
        making.write_claim(tmp_path / "new", claim, measured[1])
    assert not (tmp_path / "new").exists()


def run(*arguments):
    """The program on some arguments, in this process: its exit code."""
    values, words = flags.FlagValues(), [x for x in arguments if x[:1] != "-"]
    program.define_flags(values)
    cli.define_config(values)
    values(["claim", *(x for x in arguments if x[:1] == "-")])
    if not values["config"].present:
        values["config"].value = None
    return program.main(values, words)


CONFIG = """
from cgat_jax.config import Config
from tests.claims.test_claims import DATA
def get_config(): return Config(data=DATA)
"""


def test_the_program_makes_a_claim(made, measured, tmp_path, capsys):
    workdir, net = measured
    file = net.save(tmp_path / "network.safetensors")
    (tmp_path / "config.py").write_text(CONFIG)
    assert (
        run(
            "make",
            f"--workdir={workdir}",
            f"--network={file}",
            f"--config={tmp_path / 'config.py'}",
            f"--out={tmp_path / 'mine'}",
            "--title=Random weights",
            "--authors=A. Name",
            "--reason=restarts=Read the worst case.",
        )
        == 0
    )
    assert "MAP in %: clean" in capsys.readouterr().out
    again, claim = form.read_claim(tmp_path / "mine"), form.read_claim(made)
    assert again == claim


def test_the_program_checks_a_claim(made, claimed, capsys):
    assert run("check", str(made), "--queries=3", "--sample_seed=5") == 0
    told = capsys.readouterr().out
    assert "--sample-seed=5" in told and told.endswith("it holds\n")
    folder, claim = claimed
    raised(claim, "worst_case", by=0.2)
    rewrite(folder, claim)
    assert run("check", str(folder), "--queries=3") == cli.EXIT_FAILED
    assert "worst_case" in capsys.readouterr().out
    assert run("check", str(folder), "--queries=0", "--nosanity") == 0
    told = capsys.readouterr().out
    assert told.endswith("nothing that was looked at is wrong\n")


def test_the_page_replaces_its_own_alone(tmp_path, capsys):
    page = tmp_path / "zoo.md"
    assert run("page", f"--out={page}") == 0 and run("page", f"--out={page}") == 0
    page.write_text("# The zoo of Berlin\n\nMine.\n")
    with pytest.raises(ForeignFilesError):
        run("page", f"--out={page}")
    assert "Mine." in page.read_text()


def test_the_program_refuses_what_is_no_claim(tmp_path, capsys):
    assert run("check", str(tmp_path)) == cli.EXIT_REFUSED
    assert "no claim.json" in capsys.readouterr().err
    assert run("chekc") == cli.EXIT_REFUSED
    assert run("make") == cli.EXIT_REFUSED
    assert "make needs --workdir, --out" in capsys.readouterr().err
