"""What a run that goes on says is done, and what it says is left."""

import pytest

from cgat_jax.data import load_dataset
from cgat_jax.evaluation import workload
from cgat_jax.evaluation.generators import generator_passes, generator_steps
from cgat_jax.training.loop import epoch_steps
from experiments import opening
from tests import tiny_config


@pytest.fixture
def run(tmp_path):
    config = tiny_config.get_config()
    dataset = load_dataset(config.data, tmp_path / "data", progress=False)
    workdir = tmp_path / "run"
    workdir.mkdir()
    return config, dataset, workdir, opening.costs(config, dataset)


def told(run):
    words = {line.split()[0]: line for line in opening.lines(*run)}
    return words["workdir"], words["cost"]


def left_of(config, dataset, workdir, costs):
    """What is left of the evaluation, below 0 where too much was taken off."""
    more = costs | {"evaluate": costs["evaluate"] + 1e9}
    return opening.costs_left(config, dataset, workdir, more)["evaluate"] - 1e9


def test_a_new_run_has_all_of_its_cost_before_it(run):
    done, cost = told(run)
    assert done.endswith(": new") and " left" not in cost
    assert opening.costs_left(*run) == run[-1]


def test_a_stage_at_its_last_step_is_done_and_costs_no_more(run):
    config, dataset, workdir, costs = run
    total = config.backbone.epochs * epoch_steps(dataset, config.backbone)
    (workdir / "backbone/checkpoints" / str(total)).mkdir(parents=True)
    half = config.pretrain.epochs * epoch_steps(dataset, config.pretrain) // 2
    (workdir / "pretrain/checkpoints" / str(half)).mkdir(parents=True)
    done, cost = told(run)
    assert "goes on (backbone done, pretrain at step" in done
    assert "forward passes left: pretrain" in cost and "backbone" not in cost
    left = opening.costs_left(*run)
    assert left == costs | {"backbone": 0.0, "pretrain": costs["pretrain"] / 2}


def test_a_finished_run_has_nothing_left(run):
    """With transfers from one network to the other, and a generator for each."""
    config, dataset, workdir, _ = run
    config.evaluate.attacks, config.evaluate.transfer = "noise,cgat,prosgan", "cgat"
    config.evaluate.sanity_queries, config.evaluate.worst_case_queries = 4, 4
    costs = opening.costs(config, dataset)
    networks = ("none", "cgat")
    total = generator_steps(config, dataset)
    for name, other in zip(networks, reversed(networks), strict=True):
        made = [f"{name}-{attack}" for attack in ("noise", "cgat", "prosgan")]
        for folder in (*made, f"{name}-cgat@{other}", f"{name}-sanity"):
            (workdir / "evaluate" / folder).mkdir(parents=True)
            kind = "sanity" if folder.endswith("sanity") else "record"
            (workdir / "evaluate" / folder / f"{kind}.json").write_text("{}")
        (workdir / f"evaluate/{name}-worst_case").mkdir()
        (workdir / f"evaluate/{name}-worst_case/worst_case.json").write_text("{}")
        (workdir / "codes" / name).mkdir(parents=True)
        last = workdir / "prosgan" / name / "checkpoints" / str(total)
        last.mkdir(parents=True)
    assert left_of(config, dataset, workdir, costs) == pytest.approx(0, abs=1)


def test_a_finished_run_on_anothers_network_has_nothing_left(run):
    """Its images are made on the other network alone: its own has nobody else."""
    config, dataset, workdir, _ = run
    config.pretrained = str(workdir.parent / "other")
    config.evaluate.attacks, config.evaluate.transfer = "noise", "cgat"
    config.evaluate.sanity_queries, config.evaluate.worst_case_queries = 0, 0
    costs = opening.costs(config, dataset)
    for folder in ("cgat-noise", "cgat-cgat@pretrained.none"):
        (workdir / "evaluate" / folder).mkdir(parents=True)
        (workdir / "evaluate" / folder / "record.json").write_text("{}")
    for name in ("cgat", "pretrained.none"):
        (workdir / "codes" / name).mkdir(parents=True)
    assert left_of(config, dataset, workdir, costs) == pytest.approx(0, abs=1)
    assert costs["evaluate"] > 0


def test_a_generator_half_trained_is_half_done(run):
    config, dataset, workdir, _ = run
    config.evaluate.attacks, config.evaluate.prosgan_epochs = "prosgan", 2
    costs = opening.costs(config, dataset)
    saved = workdir / "prosgan/cgat/checkpoints"
    saved.mkdir(parents=True)
    assert opening.costs_left(config, dataset, workdir, costs) == costs
    (saved / str(generator_steps(config, dataset) // 2)).mkdir()
    left = opening.costs_left(config, dataset, workdir, costs)["evaluate"]
    whole = generator_passes(config, len(dataset.split.train))
    assert left == pytest.approx(costs["evaluate"] - whole / 2)


def test_what_is_measured_costs_no_more(run):
    config, dataset, workdir, costs = run
    for name in ("none-clean", "none-cgat", "cgat-noise"):
        (workdir / "evaluate" / name).mkdir(parents=True)
        (workdir / "evaluate" / name / "record.json").write_text("{}")
    each = [workload.attack_passes(name, config) for name in ("cgat", "noise")]
    queries = opening._sizes(config, dataset).query
    left = opening.costs_left(*run)["evaluate"]
    assert left == pytest.approx(costs["evaluate"] - sum(each) * queries)
    assert left > 0
