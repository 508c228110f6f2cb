"""Workdirs of the version before the package was ordered into rooms (545ace0).

What is left of one in ``tests/run_of_545ace0`` is its JSON files. The slow tests make
whole ones with that version, taken out of the repository's history.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from cgat_jax.errors import InputError
from cgat_jax.report import terminal_table, write_report
from cgat_jax.report.records import read_run
from cgat_jax.workdir import check_workdir
from tests import tiny_config
from tests.digests import comparison, digests_of
from tests.programs import ROOT
from tests.runs import arguments, run_main

COMMIT = "545ace0"
KEPT = ROOT / "tests" / f"run_of_{COMMIT}"
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu"}
# A network that tells images apart, and a defense long enough to be stopped in.
SETTINGS = [
    *("--config.model.weights=packed", "--config.pretrain.epochs=5"),
    *("--config.defense.epochs=60", "--config.checkpoint_seconds=1000"),
]


@pytest.fixture
def kept(tmp_path):
    return shutil.copytree(KEPT, tmp_path / "run")


def test_its_settings_are_those_of_the_same_configuration(kept):
    config = tiny_config.get_config()
    config.model.weights, config.pretrain.epochs = "packed", 5
    check_workdir(kept, config)
    config.pretrain.epochs = 6
    with pytest.raises(InputError, match="pretrain.epochs: 5 -> 6"):
        check_workdir(kept, config)


def test_its_records_render_to_the_table_that_it_printed(kept):
    printed = (kept / "printed.txt").read_text()
    assert terminal_table(list(read_run(kept).records)) in printed
    page = write_report(kept).read_text()
    for record in json.loads((kept / "results.json").read_text())["records"]:
        assert f"{100 * record['map']:.2f}" in page


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """The checkout of that version."""
    folder = tmp_path_factory.mktemp("version")
    packed = folder / "version.tar"
    git = ["git", "-C", str(ROOT), "archive", f"--output={packed}", COMMIT]
    if (
        shutil.which("git") is None
        or subprocess.run(git, capture_output=True).returncode
    ):
        pytest.skip(f"needs git and a history that holds commit {COMMIT}")
    with tarfile.open(packed) as archive:
        archive.extractall(folder / "tree", filter="data")
    return folder / "tree"


def _start(version: Path, workdir: Path, cache: Path) -> subprocess.Popen:
    """That version's command for the same run."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given = [sys.executable, "-m", "experiments.main"]
    given += arguments(workdir, cache, *SETTINGS)
    return subprocess.Popen(given, cwd=version, env=ENVIRONMENT, **pipes)


@pytest.fixture(scope="module")
def finished(version, cache, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    process = _start(version, workdir, cache)
    out, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    return workdir, out


def _differences(before: Path, after: Path) -> list[str]:
    """What differs in two runs, but for what that version did not write yet."""
    _, lines = comparison("run", digests_of(before), digests_of(after))
    return [line for line in lines if "network.safetensors`, only after" not in line]


@pytest.mark.long
def test_its_finished_run_has_nothing_left_to_do_takes_attacks_and_renders(
    finished, cache, tmp_path
):
    source, printed = finished
    workdir = shutil.copytree(source, tmp_path / "run")
    done = run_main(workdir, cache, *SETTINGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace(str(workdir), str(source)).endswith(printed)
    assert not _differences(source, workdir)

    records = {p: p.read_bytes() for p in workdir.glob("evaluate/*/record.json")}
    more = "--config.evaluate.attacks=noise,cgat,hag,dhta"
    done = run_main(workdir, cache, *SETTINGS, more)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in records} == records
    assert len(list(workdir.glob("evaluate/*/record.json"))) == len(records) + 4

    render = [sys.executable, "-m", "experiments.report", f"--workdir={workdir}"]
    done = subprocess.run(render, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "HAG" in (workdir / "report" / "index.html").read_text()


@pytest.mark.long
def test_its_run_that_was_stopped_in_the_defense_ends_in_the_same_numbers(
    finished, version, cache, tmp_path
):
    process = _start(version, tmp_path, cache)
    curve = tmp_path / "defend" / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (curve.is_file() and curve.stat().st_size):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert not (tmp_path / "evaluate").exists()
    done = run_main(tmp_path, cache, *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert not _differences(finished[0], tmp_path)
