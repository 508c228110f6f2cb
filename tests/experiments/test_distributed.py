"""A run of several processes: the numbers of one, and an end for all of them."""

import json
import signal
import time

import numpy as np
import pytest

from tests.runs import (
    newest_step,
    read_records,
    run_main,
    start_processes,
    wait_for,
    without_progress,
)

SHORT = ["--config.model.weights=packed", "--config.pretrain.epochs=1"]
SHORT += ["--config.checkpoint_seconds=1", "--config.log_steps=1"]
EVERY = "noise,cgat,p2p,dhta,tha,hag,sdha,saat,saat_targeted,nag,square,apgd"
LONG = [
    "--config.model.weights=packed",  # so that not all codes are the same
    f"--config.evaluate.attacks={EVERY},prosgan,worst_case",
    "--config.evaluate.transfer=cgat",
    "--config.evaluate.prototype_steps=20",
    "--config.evaluate.prosgan_epochs=1",
    "--config.evaluate.prosgan_width=0.05",
    "--config.evaluate.sanity_queries=4",
    "--config.evaluate.num_queries=8",
    "--config.log_steps=1",
]
CLOSE = {"perturbation", "map_expected", "curve"}


def _finish(workdir, cache, *overrides, **how):
    codes, outs, errors = wait_for(start_processes(workdir, cache, *overrides, **how))
    assert set(codes) == {0}, errors
    assert "chance" in outs[0] and not any(outs[1:])
    return outs[0]


def _losses(workdir):
    found = {}
    for path in sorted(workdir.glob("*/metrics.jsonl")):
        for line in map(json.loads, path.read_text().splitlines()):
            key = path.parent.name, line["step"]
            assert key not in found, f"logged twice: {key}"
            found[key] = line["loss"]
    return found


def _maps(workdir):
    return {(r["defense"], r["attack"]): r["map"] for r in read_records(workdir)}


def _check_equal(one, several):
    """Codes and MAP to the bit, losses to 1e-5, or 2e-5 of what is larger than 1."""
    paths = sorted(path.relative_to(one) for path in one.glob("codes/*/*.npy"))
    assert paths and paths == sorted(
        path.relative_to(several) for path in several.glob("codes/*/*.npy")
    )
    for path in paths:
        codes = np.load(one / path)
        np.testing.assert_array_equal(np.load(several / path), codes, str(path))
    assert len(np.unique(codes, axis=0)) > 1
    assert _maps(several) == _maps(one)
    losses = _losses(one), _losses(several)
    assert losses[0].keys() == losses[1].keys()
    for key in losses[0]:
        near = pytest.approx(losses[0][key], abs=1e-5, rel=2e-5)
        assert losses[1][key] == near, key


def _check_near(one, several):
    """As ``_check_equal`` before the defense, and after it where ties may have turned.

    A tie of SAAT's mainstay codes comes out as either sign, by the order of a sum. A
    bit that all images of a saturated network have is one.
    """
    for name in ("train", "database", "query"):
        path = f"codes/none/{name}.npy"
        np.testing.assert_array_equal(np.load(several / path), np.load(one / path))
    ours, theirs = _losses(one), _losses(several)
    assert ours.keys() == theirs.keys()
    for (stage, step), loss in ours.items():
        room = 1e-5 if stage == "pretrain" else 0.1
        assert theirs[stage, step] == pytest.approx(loss, abs=room), (stage, step)
    ours, theirs = _maps(one), _maps(several)
    assert theirs == pytest.approx(ours, abs=0.02)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(cache, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone = run_main(one, cache, *SHORT)
    assert alone.returncode == 0, alone.stderr
    printed = _finish(two, cache, *SHORT)
    found, expected = (text[text.index("MAP, %") :] for text in (printed, alone.stdout))
    assert found.replace("two/", "one/") == expected
    _check_equal(one, two)


@pytest.mark.slow
def test_one_line_says_what_is_wrong(cache, tmp_path):
    bad = "--config.evaluate.attacks=nosuch"
    codes, outs, errors = wait_for(start_processes(tmp_path / "w", cache, bad))
    assert codes == [2, 2] and not any(outs)
    assert errors[0].startswith("main: ") and "nosuch" in errors[0]
    assert [len(text.splitlines()) for text in errors] == [1, 1]
    assert not (tmp_path / "w").exists()


def test_flags_of_processes_alone_are_refused(cache, tmp_path):
    done = run_main(tmp_path / "w", cache, "--process_id=1")
    assert done.returncode == 2 and "are of --distributed" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("name", ["dpsh", "csq"])
def test_everything_is_the_same_with_two_processes(name, devices, cache, tmp_path):
    """All stages and attacks, worst case, sanity, ProS-GAN and transfers."""
    overrides = [*LONG, f"--config.loss.name={name}", "--config.defense.ema=0.9"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert run_main(one, cache, *overrides).returncode == 0
    _finish(two, cache, *overrides, devices=devices)
    _check_equal(one, two)


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, 4])
def test_the_attack_on_average_precision_alone(devices, cache, tmp_path):
    """It counts the database's items by distance, image by image, on each device."""
    overrides = [*SHORT, "--config.evaluate.attacks=apgd_ap"]
    overrides += ["--config.evaluate.num_queries=8", "--config.defense.epochs=0"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert run_main(one, cache, *overrides).returncode == 0
    _finish(two, cache, *overrides, devices=devices)
    _check_equal(one, two)


@pytest.mark.long
@pytest.mark.parametrize("loss", ["dsdh", "greedyhash", "hashnet", "dch"])
@pytest.mark.parametrize("defense", ["saat", "atrdh"])
def test_every_loss_and_defense_trains_in_two_processes(loss, defense, cache, tmp_path):
    overrides = [*SHORT, f"--config.loss.name={loss}"]
    overrides += [f"--config.defense.name={defense}", "--config.evaluate.attacks=noise"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert run_main(one, cache, *overrides).returncode == 0
    _finish(two, cache, *overrides)
    if defense == "saat":
        _check_near(one, two)
    else:
        _check_equal(one, two)


def _ended_at_once(workdir, cache, overrides, hit, number, rng):
    """Signals one or both processes of a run at a random moment, and waits."""
    processes = start_processes(workdir, cache, *overrides)
    deadline = time.monotonic() + 600
    begun = newest_step(workdir / "pretrain" / "checkpoints")
    while newest_step(workdir / "pretrain" / "checkpoints") == begun:
        assert time.monotonic() < deadline
        if any(process.poll() is not None for process in processes):
            break
        time.sleep(0.1)
    time.sleep(rng.uniform(0, 10))
    for place in hit:
        processes[place].send_signal(number)
    return wait_for(processes)


@pytest.mark.long
@pytest.mark.parametrize("hit", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_one_ends_all_and_the_run_goes_on(
    hit, number, cache, tmp_path, rng
):
    """Also with another number of processes and devices."""
    overrides = [*SHORT, "--config.pretrain.epochs=4", "--config.checkpoint_seconds=0"]
    one, workdir = tmp_path / "one", tmp_path / "hit"
    assert run_main(one, cache, *overrides).returncode == 0
    codes, _, errors = _ended_at_once(workdir, cache, overrides, hit, number, rng)
    if number == signal.SIGTERM and codes != [0, 0]:
        assert codes == [143, 143], errors
        last = without_progress(errors[0])
        assert last.count("\n") == 1 and "the same command goes on" in last
        assert "stage" not in errors[1]
    assert run_main(workdir, cache, *overrides, devices=2).returncode == 0
    _check_equal(one, workdir)
