"""The whole command, as a user runs it: results, resume, refusals, exit codes."""

import html
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import cgat_jax
from cgat_jax.attacks import ATTACKS
from cgat_jax.attacks.references import GENERATED
from cgat_jax.data import load_dataset
from tests import tiny_config
from tests.runs import newest_step, read_curve, read_records, run_main, start

pytestmark = pytest.mark.slow

NAMES = ["none-clean", "none-noise", "none-cgat", "cgat-clean", "cgat-noise"]
NAMES += ["cgat-cgat"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache):
    workdir = tmp_path_factory.mktemp("finished")
    done = run_main(workdir, cache)
    assert done.returncode == 0, done.stderr
    return workdir, done


def _final_states(workdir):
    """Bytes of each stage's last checkpoint, by its digest of every array."""
    states = {}
    for stage in ("backbone", "pretrain", "defend"):
        folder = workdir / stage / "checkpoints"
        step = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        meta = next((folder / str(step) / "meta").rglob("metadata"))
        states[stage] = step, json.loads(meta.read_text())["sha256"]
    return states


def test_a_run_leaves_records_checkpoints_and_a_report(finished):
    workdir, done = finished
    assert "undefended" in done.stdout and "chance" in done.stdout
    page = workdir / "report" / "index.html"
    assert str(page) in done.stdout and page.stat().st_size > 10_000
    records = read_records(workdir)
    assert [f"{r['defense']}-{r['attack']}" for r in records] == NAMES
    for record in records:
        assert 0 <= record["map"] <= record["ceiling"] <= 1
        assert 0 < record["chance"] < 1
        if record["attack"] != "clean":
            assert 0 < record["perturbation"]["linf"] <= 8 / 255 + 1e-6
    steps = {stage: step for stage, (step, _) in _final_states(workdir).items()}
    assert steps == {"backbone": 6, "pretrain": 12, "defend": 12}


def test_the_same_command_again_changes_nothing(finished, cache):
    workdir, _ = finished
    before = read_records(workdir), _final_states(workdir)
    done = run_main(workdir, cache)
    assert done.returncode == 0, done.stderr
    assert (read_records(workdir), _final_states(workdir)) == before


def test_another_configuration_is_refused_with_the_difference(finished, cache):
    workdir, _ = finished
    done = run_main(workdir, cache, "--config.defense.weight=2")
    assert done.returncode == 2
    assert "defense.weight: 1.0 -> 2.0" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_leaves_its_networks_with_what_was_measured_on_them(finished):
    workdir, _ = finished
    results = json.loads((workdir / "results.json").read_text())
    for defense in ("none", "cgat"):
        net = cgat_jax.load_network(workdir, defense)
        own = [r for r in results["records"] if r["defense"] == defense]
        assert net.card["records"] == own and len(own) == 3
        assert net.card["versions"] == own[0]["versions"]


@pytest.mark.long
@pytest.mark.parametrize("source", ["", "pretrain/network.safetensors"])
def test_the_network_of_another_run_is_defended_as_if_it_were_its_own(
    finished, cache, tmp_path, source
):
    (workdir, _), own = finished, tmp_path / "own"
    done = run_main(own, cache, f"--config.pretrained={workdir / source}")
    assert done.returncode == 0, done.stderr
    folder = own / "defend" / "checkpoints"
    meta = next((folder / "12" / "meta").rglob("metadata"))
    assert json.loads(meta.read_text())["sha256"] == _final_states(workdir)["defend"][1]
    expected = [r for r in read_records(workdir) if r["defense"] == "cgat"]
    assert read_records(own) == expected
    moved = tmp_path / "moved"
    shutil.copytree(workdir, moved)
    done = run_main(own, cache, f"--config.pretrained={moved / source}")
    assert done.returncode == 0 and read_records(own) == expected, done.stderr
    config = (own / "config.json").read_bytes()
    other = moved / "defend" / "network.safetensors"
    other = run_main(own, cache, f"--config.pretrained={other}")
    assert other.returncode == 2 and "other pretrained network" in other.stderr
    assert (own / "config.json").read_bytes() == config


@pytest.mark.long
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--config.model.bits=16"], "model.bits: 8 -> 16"),
        (["--config.pretrained=nowhere"], "nowhere/config.json does not exist"),
        (["--config.pretrained=no.safetensors"], "no weights file: no.safetensors"),
        (
            ["--config.loss.name=csq", "--config.model.bits=12"],
            "power of two from 2 on, got 12",
        ),
        (["--config.loss.name=dch", "--config.defense.batch_size=1"], "at least 2"),
    ],
)
def test_what_cannot_be_defended_is_refused(
    finished, cache, tmp_path, overrides, message
):
    workdir, _ = finished
    if not any("csq" in override for override in overrides):
        overrides = [f"--config.pretrained={workdir}", *overrides]
    done = run_main(tmp_path, cache, *overrides)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.long
def test_every_attack_runs_and_tells_what_it_reached(finished, cache, tmp_path):
    workdir, _ = finished
    names = ",".join(["worst_case", *ATTACKS])
    overrides = [f"--config.pretrained={workdir}", f"--config.evaluate.attacks={names}"]
    small = {"prototype_steps": 3, "prosgan_epochs": 1, "prosgan_width": 0.05}
    overrides += [f"--config.evaluate.{key}={value}" for key, value in small.items()]
    done = run_main(tmp_path, cache, *overrides)
    assert done.returncode == 0, done.stderr
    records = {record["attack"]: record for record in read_records(tmp_path)}
    assert list(records) == ["clean", *ATTACKS, "worst_case"]
    queries = load_dataset(tiny_config.get_config().data, tmp_path, progress=False)
    labels = queries.labels[queries.split.query]
    targets = np.load(tmp_path / "targets.npy")
    assert targets.shape == labels.shape and not (targets & labels).any()
    for name, entry in ATTACKS.items():
        record = records[name]
        low, high = record["map_interval"]
        assert low <= record["map"] <= high
        inside = record["perturbation"]["linf"] <= 8 / 255 + 1e-6
        assert inside == entry.bounded == (record["budget"] is not None)
        made = record["attack_settings"]
        generated = entry.references == GENERATED
        assert made.get("prosgan_epochs" if generated else "steps") == 3 - 2 * generated
        assert (record["t_map"] is not None) == entry.targeted
        if entry.targeted:
            assert 0 <= record["t_map_clean"] <= 1 and 0 <= record["t_map_bound"] <= 1
    assert 0 < records["clean"]["code_usage"]["unique"] <= 1
    worst = records["worst_case"]
    bounded = [name for name, entry in ATTACKS.items() if entry.bounded]
    assert worst["version"] == "standard-v1" and worst["others"] == bounded
    assert worst["map_with_others"] <= worst["map"]
    assert worst["map"] <= min(part["map"] for part in worst["components"])
    assert worst["map_with_others"] <= min(records[name]["map"] for name in bounded)
    assert sum(part["share"] for part in worst["components"]) == pytest.approx(1)
    assert worst["perturbation"]["linf"] <= 8 / 255 + 1e-6


@pytest.fixture(scope="module")
def doubted(finished, cache, tmp_path_factory):
    """The finished run, gone on with: checks, transfers, restarts in another run."""
    source, _ = finished
    workdir = tmp_path_factory.mktemp("doubted")
    shutil.copytree(source, workdir, dirs_exist_ok=True)
    other = workdir / "other"
    shutil.copytree(source, other)
    overrides = [
        "--config.evaluate.sanity_queries=6",
        "--config.evaluate.transfer=cgat",
    ]
    done = run_main(workdir, cache, *overrides, f"--config.evaluate.sources={other}")
    assert done.returncode == 0, done.stderr
    return workdir, done


@pytest.mark.long
def test_a_finished_run_goes_on_with_more_to_measure(finished, doubted):
    workdir, done = doubted
    assert read_records(workdir) == read_records(finished[0])
    results = json.loads((workdir / "results.json").read_text())
    found = {(r["defense"], r["source"]): r["map"] for r in results["transfers"]}
    own = {
        r["defense"]: r["map"] for r in read_records(workdir) if r["attack"] == "cgat"
    }
    assert set(found) == {
        *(("cgat", "none"), ("none", "cgat")),
        *((encoded, f"other.{name}") for encoded in own for name in own),
    }
    # The other run's networks are the same: made there, it is the white-box attack.
    for encoded, value in own.items():
        assert found[encoded, f"other.{encoded}"] == value
    assert found["cgat", "none"] == found["cgat", "other.none"]


@pytest.mark.long
def test_the_checks_of_each_network_are_printed_kept_and_reported(doubted):
    workdir, done = doubted
    results = json.loads((workdir / "results.json").read_text())
    for entry, name in zip(results["sanity"], ("undefended", "CgAT"), strict=True):
        checks = {check["name"]: check for check in entry["checks"]}
        assert len(checks) == 14 and entry["num_queries"] == 6
        assert all(check["passed"] is not None for check in checks.values())
        for sure in ("zero budget", "deterministic", "ball"):
            assert checks[sure]["passed"], checks[sure]
        assert f"sanity of {name}: " in done.stdout
    page = html.unescape((workdir / "report" / "index.html").read_text())
    for text in (
        "Sanity checks: CgAT",
        "Transfer of CgAT",
        "MAP by budget",
    ):
        assert text in page
    assert "## Sanity checks: undefended" in (workdir / "report/results.md").read_text()


def test_networks_on_other_data_are_no_sources(finished, cache, tmp_path):
    workdir, _ = finished
    overrides = [f"--config.evaluate.sources={workdir}", "--config.data.num_train=40"]
    done = run_main(tmp_path, cache, *overrides)
    assert done.returncode == 2 and "data.num_train: 88 -> 40" in done.stderr


def test_an_unfinished_network_is_not_defended(finished, cache, tmp_path):
    workdir, _ = finished
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text((workdir / "config.json").read_text())
    done = run_main(tmp_path / "run", cache, f"--config.pretrained={source}")
    assert done.returncode == 2 and "finish that run first" in done.stderr


def test_logged_steps_are_strictly_increasing(finished):
    workdir, _ = finished
    for stage in ("backbone", "pretrain", "defend"):
        lines = (workdir / stage / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps)) and len(steps) > 2


def _events(workdir):
    """How much a run has written: logged steps and records, 21 in the end."""
    logs = workdir.glob("*/metrics.jsonl")
    lines = sum(len(log.read_bytes().splitlines()) for log in logs)
    return lines + len(list(workdir.glob("evaluate/*/record.json")))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_sigkill_at_random_moments_changes_no_byte(finished, cache, tmp_path, seed):
    """Kills fall anywhere, saving included: a checkpoint is written every step."""
    rng, kills = np.random.default_rng(seed), 0
    for _ in range(6):
        process = start(tmp_path, cache)
        target = _events(tmp_path) + rng.integers(1, 8)
        while process.poll() is None and _events(tmp_path) < target:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert kills > 0
    done = run_main(tmp_path, cache)
    assert done.returncode == 0, done.stderr
    workdir, _ = finished
    assert _final_states(tmp_path) == _final_states(workdir)
    assert read_records(tmp_path) == read_records(workdir)
    for name in NAMES:
        path = Path("evaluate") / name / "codes.npy"
        if (workdir / path).is_file():
            assert (tmp_path / path).read_bytes() == (workdir / path).read_bytes()
    for stage in ("backbone", "pretrain", "defend"):
        path = Path(stage) / "metrics.jsonl"
        assert read_curve(tmp_path / path) == read_curve(workdir / path)


def _flip(path):
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 8
        path.write_bytes(content)


def test_damaged_checkpoints_codes_and_weights_end_in_the_same_run(
    finished, cache, tmp_path
):
    """A flipped byte in every file of every stage's newest checkpoint, and beside."""
    workdir, _ = finished
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    networks = list(tmp_path.glob("*/network.*"))
    assert len(networks) == 4
    hurt = [tmp_path / "backbone.safetensors", *networks]
    hurt += tmp_path.glob("codes/*/*.npy")
    for stage in ("backbone", "pretrain", "defend"):
        folder = tmp_path / stage / "checkpoints"
        newest = folder / str(newest_step(folder))
        hurt += [path for path in newest.rglob("*") if path.is_file()]
    for path in hurt:
        _flip(path)
    done = run_main(tmp_path, cache)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert _final_states(tmp_path) == _final_states(workdir)
    assert read_records(tmp_path) == read_records(workdir)
    name = "backbone.safetensors"
    assert (tmp_path / name).read_bytes() == (workdir / name).read_bytes()
    for defense in ("none", "cgat"):
        cards = [cgat_jax.load_network(x, defense).card for x in (workdir, tmp_path)]
        for card in cards:
            del card["commit"]  # work may go on while the tests run
        assert cards[0] == cards[1]
    for path in workdir.glob("codes/*/*.npy"):
        copy = tmp_path / path.relative_to(workdir)
        assert copy.read_bytes() == path.read_bytes()
        assert copy.with_name(f"{copy.name}.damaged-1").is_file()
    for stage in ("backbone", "pretrain", "defend"):
        assert list((tmp_path / stage / "checkpoints").glob("*.damaged-1"))


@pytest.mark.parametrize("devices", [6, 8])
def test_several_devices_give_the_losses_of_one(devices, finished, cache, tmp_path):
    """Six cannot share batches of 16, which are padded for them."""
    workdir, _ = finished
    overrides = ["--config.defense.epochs=0", "--config.evaluate.attacks="]
    assert run_main(tmp_path, cache, *overrides, devices=devices).returncode == 0
    for stage in ("backbone", "pretrain"):
        logs = [folder / stage / "metrics.jsonl" for folder in (workdir, tmp_path)]
        one, several = (
            [json.loads(line)["loss"] for line in log.read_text().splitlines()]
            for log in logs
        )
        np.testing.assert_allclose(several, one, rtol=1e-5)
