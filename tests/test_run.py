"""The whole command, as a user runs it: results, resume, refusals, exit codes."""

import html
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cgat_jax.attacks import ATTACKS
from cgat_jax.data import load_dataset
from tests import tiny_config
from tests.data.sources import write_images, write_lists

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "tests" / "tiny_config.py"
CACHE = "compilation_cache"
NAMES = ["none-clean", "none-noise", "none-cgat", "cgat-clean", "cgat-noise"]
NAMES += ["cgat-cgat"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp(CACHE)


def _command(workdir, cache, *overrides):
    command = [sys.executable, "-m", "experiments.main", f"--config={CONFIG}"]
    command += [f"--workdir={workdir}", f"--config.compilation_cache={cache}"]
    return [*command, *overrides]


def _run(workdir, cache, *overrides, devices=1):
    flag = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    if devices > 1:
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {flag}"
    return subprocess.run(
        _command(workdir, cache, *overrides),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache):
    workdir = tmp_path_factory.mktemp("finished")
    done = _run(workdir, cache)
    assert done.returncode == 0, done.stderr
    return workdir, done


def _records(workdir):
    records = json.loads((workdir / "results.json").read_text())["records"]
    for record in records:
        record.pop("seconds")
        record.pop("config_sha256")  # differs with checkpoint_seconds
        record.pop("commit")  # work may go on while the tests run
    return records


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
    records = _records(workdir)
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
    before = _records(workdir), _final_states(workdir)
    done = _run(workdir, cache)
    assert done.returncode == 0, done.stderr
    assert (_records(workdir), _final_states(workdir)) == before


def test_another_configuration_is_refused_with_the_difference(finished, cache):
    workdir, _ = finished
    done = _run(workdir, cache, "--config.defense.weight=2")
    assert done.returncode == 2
    assert "defense.weight: 1.0 -> 2.0" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_network_of_another_run_is_defended_as_if_it_were_its_own(
    finished, cache, tmp_path
):
    workdir, _ = finished
    done = _run(tmp_path, cache, f"--config.pretrained={workdir}")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "defend" / "checkpoints"
    meta = next((folder / "12" / "meta").rglob("metadata"))
    assert json.loads(meta.read_text())["sha256"] == _final_states(workdir)["defend"][1]
    expected = [r for r in _records(workdir) if r["defense"] == "cgat"]
    assert _records(tmp_path) == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--config.model.bits=16"], "model.bits: 8 -> 16"),
        (["--config.pretrained=nowhere"], "nowhere/config.json does not exist"),
        (["--config.loss.name=csq", "--config.model.bits=12"], "power of two, got 12"),
        (["--config.loss.name=dch", "--config.defense.batch_size=1"], "at least 2"),
    ],
)
def test_what_cannot_be_defended_is_refused(
    finished, cache, tmp_path, overrides, message
):
    workdir, _ = finished
    if not any("csq" in override for override in overrides):
        overrides = [f"--config.pretrained={workdir}", *overrides]
    done = _run(tmp_path, cache, *overrides)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_every_attack_runs_and_tells_what_it_reached(finished, cache, tmp_path):
    workdir, _ = finished
    names = ",".join(["worst_case", *ATTACKS])
    overrides = [f"--config.pretrained={workdir}", f"--config.evaluate.attacks={names}"]
    small = {"prototype_steps": 3, "prosgan_epochs": 1, "prosgan_width": 0.05}
    overrides += [f"--config.evaluate.{key}={value}" for key, value in small.items()]
    done = _run(tmp_path, cache, *overrides)
    assert done.returncode == 0, done.stderr
    records = {record["attack"]: record for record in _records(tmp_path)}
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
        generated = entry.references == "generated"
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
    done = _run(workdir, cache, *overrides, f"--config.evaluate.sources={other}")
    assert done.returncode == 0, done.stderr
    return workdir, done


def test_a_finished_run_goes_on_with_more_to_measure(finished, doubted):
    workdir, done = doubted
    assert _records(workdir) == _records(finished[0])  # read, not measured again
    results = json.loads((workdir / "results.json").read_text())
    found = {(r["defense"], r["source"]): r["map"] for r in results["transfers"]}
    own = {r["defense"]: r["map"] for r in _records(workdir) if r["attack"] == "cgat"}
    assert set(found) == {
        *(("cgat", "none"), ("none", "cgat")),
        *((victim, f"other.{name}") for victim in own for name in own),
    }
    # The other run's networks are the same: made there, it is the white-box attack.
    for victim, value in own.items():
        assert found[victim, f"other.{victim}"] == value
    assert found["cgat", "none"] == found["cgat", "other.none"]


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
        "CgAT's attack by its budg",
    ):
        assert text in page
    assert "## Sanity checks: undefended" in (workdir / "report/results.md").read_text()


def test_restarts_keep_each_querys_worst_result(finished, cache, tmp_path):
    workdir, _ = finished
    overrides = [f"--config.pretrained={workdir}", "--config.evaluate.restarts=3"]
    done = _run(tmp_path, cache, *overrides)
    assert done.returncode == 0, done.stderr
    once, thrice = (
        {r["attack"]: r["map"] for r in _records(folder) if r["defense"] == "cgat"}
        for folder in (workdir, tmp_path)
    )
    assert thrice["clean"] == once["clean"]
    assert thrice["cgat"] <= once["cgat"] and thrice["noise"] <= once["noise"]
    assert _records(tmp_path)[-1]["attack_settings"]["restarts"] == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluate.sources=nowhere", "nowhere: no config.json"),
        ("evaluate.transfer=worst_case", "worst_case is no single attack"),
        ("evaluate.transfer=cgta", "did you mean 'cgat'"),
    ],
)
def test_wrong_transfers_are_refused_before_training(
    cache, tmp_path, override, message
):
    done = _run(tmp_path, cache, f"--config.{override}")
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not tmp_path.joinpath("backbone").exists()


def test_networks_on_other_data_are_no_sources(finished, cache, tmp_path):
    workdir, _ = finished
    overrides = [f"--config.evaluate.sources={workdir}", "--config.data.num_train=40"]
    done = _run(tmp_path, cache, *overrides)
    assert done.returncode == 2 and "data.num_train: 88 -> 40" in done.stderr


def test_wrong_attack_settings_are_refused_before_training(cache, tmp_path):
    wrong = {
        "evaluate.attacks=noise,cgta": "did you mean",
        "evaluate.preset=fats": "did you mean",
        "data.crop_size=40": "multiple of 16: data.crop_size is 40",
    }
    for override, message in wrong.items():
        overrides = ["--config.evaluate.attacks=prosgan", f"--config.{override}"]
        done = _run(tmp_path, cache, *overrides)
        assert done.returncode == 2 and message in done.stderr
        assert not tmp_path.joinpath("backbone").exists()


def test_an_unfinished_network_is_not_defended(finished, cache, tmp_path):
    workdir, _ = finished
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text((workdir / "config.json").read_text())
    done = _run(tmp_path / "run", cache, f"--config.pretrained={source}")
    assert done.returncode == 2 and "finish that run first" in done.stderr


def test_a_study_runs_its_cells_once_and_writes_their_table(tmp_path):
    command = [sys.executable, "-m", "experiments.study"]
    command += ["--study=tests/tiny_study.py", f"--workdir={tmp_path / 'cells'}"]
    command.append(f"--out={tmp_path / 'table.md'}")
    run = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(command, **run)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "table.md").read_text()
    assert "| undefended | " in table and "| AT-self | " in table
    assert "cell 2 of 2" in done.stdout
    again = subprocess.run(command, **run)
    assert "cell" not in again.stdout and "| AT-self | " in again.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--study is missing"),
        (["--study=nowhere.py", "--workdir=x"], "no file 'nowhere.py'"),
        (["--study=tests/tiny_config.py", "--workdir=x"], "must return Study records"),
        (["--stduy=x"], "stduy"),
    ],
)
def test_a_study_that_cannot_run_is_one_line_and_exit_code_2(flags, message):
    command = [sys.executable, "-m", "experiments.study", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


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


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_sigkill_at_random_moments_changes_no_byte(finished, cache, tmp_path, seed):
    """Kills fall anywhere, saving included: a checkpoint is written every step."""
    rng, kills = np.random.default_rng(seed), 0
    for _ in range(6):
        process = subprocess.Popen(
            _command(tmp_path, cache),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
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
    done = _run(tmp_path, cache)
    assert done.returncode == 0, done.stderr
    workdir, _ = finished
    assert _final_states(tmp_path) == _final_states(workdir)
    assert _records(tmp_path) == _records(workdir)
    for name in NAMES:
        path = Path("evaluate") / name / "codes.npy"
        if (workdir / path).is_file():
            assert (tmp_path / path).read_bytes() == (workdir / path).read_bytes()
    for stage in ("backbone", "pretrain", "defend"):
        path = Path(stage) / "metrics.jsonl"
        assert (tmp_path / path).read_bytes() == (workdir / path).read_bytes()


def _start(workdir, cache, *overrides):
    return subprocess.Popen(
        _command(workdir, cache, *overrides),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _newest(folder):
    steps = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    return max(steps, default=0)


def test_each_signal_saves_and_exits_with_one_line(cache, tmp_path):
    """SIGINT, SIGTERM and SIGHUP, one after the other in one run."""
    overrides = ["--config.pretrain.epochs=5000", "--config.checkpoint_seconds=1000"]
    folder, step = tmp_path / "pretrain" / "checkpoints", 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (1, 129)):
        process = _start(tmp_path, cache, *overrides)
        log = tmp_path / "pretrain" / "metrics.jsonl"
        size = log.stat().st_size if log.is_file() else 0
        deadline = time.monotonic() + 120
        while not (log.is_file() and log.stat().st_size > size + 500):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        name = signal.Signals(number).name
        assert (
            errors == f"main: stopped by {name}; the same command goes on from here\n"
        )
        assert _newest(folder) > step
        step = _newest(folder)


def test_a_second_process_is_told_who_holds_the_workdir(cache, tmp_path):
    overrides = ["--config.pretrain.epochs=5000"]
    first = _start(tmp_path, cache, *overrides)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "pretrain").is_dir():
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.1)
        done = _run(tmp_path, cache, *overrides)
        assert done.returncode == 2
        assert f"in use by process {first.pid} on " in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    finally:
        first.kill()
        first.communicate()


def test_a_foreign_workdir_is_refused_and_keeps_its_bytes(cache, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("mine")
    (tmp_path / "results.json").write_text("mine")
    done = _run(tmp_path, cache)
    assert done.returncode == 2 and "not empty, and not a run" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "index.html",
        "report",
        "results.json",
    ]
    assert (tmp_path / "results.json").read_text() == "mine"


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
    hurt = [tmp_path / "backbone.safetensors", *tmp_path.glob("codes/*/*.npy")]
    for stage in ("backbone", "pretrain", "defend"):
        folder = tmp_path / stage / "checkpoints"
        newest = folder / str(_newest(folder))
        hurt += [path for path in newest.rglob("*") if path.is_file()]
    for path in hurt:
        _flip(path)
    done = _run(tmp_path, cache)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert _final_states(tmp_path) == _final_states(workdir)
    assert _records(tmp_path) == _records(workdir)
    name = "backbone.safetensors"
    assert (tmp_path / name).read_bytes() == (workdir / name).read_bytes()
    for path in workdir.glob("codes/*/*.npy"):
        copy = tmp_path / path.relative_to(workdir)
        assert copy.read_bytes() == path.read_bytes()
        assert copy.with_name(f"{copy.name}.damaged-1").is_file()
    for stage in ("backbone", "pretrain", "defend"):
        assert list((tmp_path / stage / "checkpoints").glob("*.damaged-1"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The lists and images of 24 photos of two classes."""
    return listed_photos(tmp_path_factory.mktemp("photos") / "source")


def listed_photos(folder, size=(40, 40)):
    names = [f"images/p{i:02d}.jpg" for i in range(24)]
    rows = [(name, ("1 0", "0 1")[i % 2]) for i, name in enumerate(names)]
    write_lists(folder, {"test": rows[:4], "database": rows[4:], "train": rows[8:]})
    write_images(folder, names, size=size)
    return folder


_LISTS = [
    *("--config.data.name=lists", "--config.data.num_queries=5000"),
    *("--config.data.num_train=10000", "--config.data.num_database=0"),
    *("--config.evaluate.attacks=", "--config.defense.epochs=0"),
]


def test_a_run_belongs_to_its_data(photos, cache, tmp_path):
    source, root, run = tmp_path / "source", tmp_path / "root", tmp_path / "run"
    shutil.copytree(photos, source)
    flags = [*_LISTS, f"--config.data.source={source}", f"--config.data.root={root}"]
    done = _run(run, cache, *flags)
    assert done.returncode == 0, done.stderr
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}

    def unchanged():
        locks = (".cgat_jax.lock",)
        after = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
        names = {p for p in before.keys() | after.keys() if p.name not in locks}
        return {p: before.get(p) for p in names} == {p: after.get(p) for p in names}

    labels = source / "train_label.txt"
    both = labels, source / "database_label.txt"
    for path in both:  # corrected in place
        path.write_text(path.read_text().replace("1 0", "1 1"))
    done = _run(run, cache, *flags)
    assert done.returncode == 2 and "labels" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and unchanged()

    other = [*_LISTS, f"--config.data.source={source}"]
    other.append(f"--config.data.root={tmp_path / 'other'}")
    done = _run(run, cache, *other)  # prepared anew, and put under the old run
    assert done.returncode == 2 and "was made of other data (labels" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and unchanged()

    root.rename(tmp_path / "moved")
    moved = [*_LISTS, f"--config.data.root={tmp_path / 'moved'}"]
    done = _run(run, cache, *moved)
    assert done.returncode == 0, done.stderr


def test_what_cannot_work_is_refused_before_the_workdir_is_claimed(cache, tmp_path):
    source, run = listed_photos(tmp_path / "source", size=(20, 50)), tmp_path / "run"
    flags = [*_LISTS, f"--config.data.source={source}", "--config.data.enlarge=false"]
    flags.append(f"--config.data.root={tmp_path / 'root'}")
    done = _run(run, cache, *flags)
    assert done.returncode == 2, done.stderr
    assert "24 of 24 images are smaller than data.crop_size=32" in done.stderr
    assert "p08.jpg (50 x 20)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not run.exists()
    flags[-2] = "--config.data.enlarge=true"
    done = _run(run, cache, *flags, "--config.pretrain.epochs=0")
    assert done.returncode == 0, done.stderr


def test_degenerate_data_are_named_before_any_number(photos, cache, tmp_path):
    source, run = tmp_path / "source", tmp_path / "run"
    shutil.copytree(photos, source)
    for path in source.glob("*_label.txt"):
        path.write_text(path.read_text().replace("1", "0"))
    flags = [*_LISTS, f"--config.data.source={source}"]
    done = _run(run, cache, *flags, "--config.pretrain.epochs=1")
    assert done.returncode == 0, done.stderr
    text = "no image has a label, so that every MAP is 0"
    assert text in done.stderr
    assert done.stdout.index(text) < done.stdout.index("MAP, %")
    assert text in _records(run)[0]["warnings"]
    page = html.unescape((run / "report" / "index.html").read_text())
    assert text in page


def test_a_number_that_is_not_finite_stops_the_run(cache, tmp_path):
    done = _run(tmp_path, cache, "--config.backbone.learning_rate=1e30")
    assert done.returncode == 3, done.stderr
    assert "stage backbone, step" in done.stderr
    assert "not finite" in done.stderr and "database/0000" in done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.defense.wieght=2", "did you mean 'defense.weight'"),
        ("--config.defense.weight=much", "much"),
        ("--config.loss.name=dpshh", "did you mean 'dpsh'"),
        ("--config.evaluate.attacks=noise,cgta", "did you mean 'cgat'"),
        ("--config.model.bits=0", "model.bits"),
        ("--config.defense.epsilon=8", "defense.epsilon"),
        ("--config.model.weights=nowhere.safetensors", "nowhere.safetensors"),
        ("--config.data.num_train=500", "data.num_train=500"),
        ("--config.data.name=coco", "data.source"),
        ("--config.defense.batch_size=0", "defense.batch_size"),
        ("--config.data.source=x", "data.source=x is not used with quickstart"),
        ("--config.model.name=alexnet", "alexnet expects images of 224 x 224"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    cache, tmp_path, override, message
):
    done = _run(tmp_path / "run", cache, override)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()


def test_all_wrong_settings_are_named_at_once(cache, tmp_path):
    wrong = {
        "model.bits=0": "model.bits",
        "defense.epsilon=8": "defense.epsilon",
    }
    done = _run(tmp_path / "run", cache, *(f"--config.{key}" for key in wrong))
    assert done.returncode == 2 and all(m in done.stderr for m in wrong.values())
    wrong = {
        "evaluate.attacks=cgta": "did you mean 'cgat'",
        "loss.name=dpshh": "did you mean 'dpsh'",
        "evaluate.sources=nowhere": "nowhere: no config.json",
        "model.weights=nowhere": "nowhere",
    }
    done = _run(tmp_path / "run", cache, *(f"--config.{key}" for key in wrong))
    assert done.returncode == 2 and all(m in done.stderr for m in wrong.values())
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_help_shows_every_setting_with_its_default():
    command = [sys.executable, "-m", "experiments.main", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "--config.defense.weight=1.0" in done.stdout
    assert "--config.evaluate.steps=0" in done.stdout


def test_eight_devices_give_the_losses_of_one(finished, cache, tmp_path):
    workdir, _ = finished
    overrides = ["--config.defense.epochs=0", "--config.evaluate.attacks="]
    assert _run(tmp_path, cache, *overrides, devices=8).returncode == 0
    for stage in ("backbone", "pretrain"):
        logs = [folder / stage / "metrics.jsonl" for folder in (workdir, tmp_path)]
        one, eight = (
            [json.loads(line)["loss"] for line in log.read_text().splitlines()]
            for log in logs
        )
        np.testing.assert_allclose(eight, one, rtol=1e-5)
