"""The whole command on a user's own photos: what is chosen, kept and refused."""

import json
import signal

import pytest

from cgat_jax.errors import Stopped
from cgat_jax.evaluation import chosen
from cgat_jax.training.interrupts import StopSignal
from experiments.configs import photos
from tests.data.sources import bytes_below, write_images
from tests.programs import run_program
from tests.runs import without_progress

SETTINGS = [
    *("--config.model.bits=8", "--config.pretrain.epochs=1"),
    *("--config.backbone.epochs=1", "--config.defense.epochs=1"),
    *("--config.defense.steps=1", "--config.evaluate.steps=2"),
    *("--config.evaluate.sanity_queries=0", "--config.evaluate.gallery=1"),
]


def run(workdir, source, cache, *more):
    return run_program(
        "experiments.main",
        "--config=experiments/configs/photos.py",
        f"--workdir={workdir}",
        f"--config.data.source={source}",
        f"--config.compilation_cache={cache}",
        *SETTINGS,
        *more,
    )


@pytest.mark.slow
def test_what_is_chosen_is_printed_and_kept(tmp_path, cache):
    source, workdir = tmp_path / "photos", tmp_path / "run"
    names = [f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(20)]
    write_images(source, names, size=(40, 50))
    done = run(workdir, source, cache)
    assert (done.returncode, without_progress(done.stderr)) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "photos: 36 train, 36 are the database, 4 are queries; median short side 40 "
        "pixels"
    )
    assert lines[1].startswith("network: small at 32 pixels (stored at 32), from noth")
    assert lines[2].startswith("training: 1 + 1 + 1 epochs")
    assert lines[3].startswith("time: about ")
    kept = json.loads((workdir / "config.json").read_text())
    assert kept["model"]["name"] == "small"
    assert kept["data"]["image_size"] == kept["data"]["crop_size"] == 32
    assert kept["pretrain"]["batch_size"] == kept["defense"]["batch_size"] == 32
    before = bytes_below(workdir / "defend")
    again = run(workdir, source, cache)
    assert again.stdout.startswith(f"chosen before, see {workdir}/config.json\n")
    assert (again.returncode, bytes_below(workdir / "defend")) == (0, before)
    other = run(workdir, source, cache, "--config.data.crop_size=24")
    assert other.returncode == 2
    assert "data.crop_size: 32 -> 24" in other.stderr


def test_bad_photos_are_refused_before_anything_is_written(tmp_path, cache):
    source, workdir = tmp_path / "photos", tmp_path / "run"
    write_images(source, ["cat/1.jpg"])
    done = run(workdir, source, cache)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"main: {source}: one class alone, cat (")
    assert done.stderr.count("\n") == 1
    assert not workdir.exists()


def test_settings_are_checked_before_an_archive_is_opened(tmp_path, cache):
    source, workdir = tmp_path / "photos.zip", tmp_path / "run"
    source.write_bytes(b"no archive")
    done = run(workdir, source, cache, "--config.evaluate.attacks=noise,cgta")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown attack 'cgta'" in done.stderr and "zip" not in done.stderr
    workdir.mkdir()
    (workdir / "thesis.tex").write_text("mine")
    done = run(workdir, source, cache)
    assert done.returncode == 2 and str(workdir) in done.stderr
    assert "zip" not in done.stderr


def test_a_signal_ends_the_look_at_the_photos(monkeypatch, tmp_path):
    """An archive is unpacked for it, and removed again: minutes, with no JAX."""
    stop, after = StopSignal("main"), []

    def unpack(config, workdir):
        signal.raise_signal(signal.SIGTERM)
        after.append("went on")

    monkeypatch.setattr(chosen, "look", unpack)
    before = signal.signal(signal.SIGTERM, stop._ask)
    try:
        with pytest.raises(Stopped), stop.deferred():
            chosen.settle(photos.get_config(), tmp_path / "run", stop.raised)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not after
