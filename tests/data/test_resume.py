"""A killed preparation goes on where it was, and the files are the same."""

import errno
import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from cgat_jax.data import SCANS
from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare import builder, prepared, shards
from cgat_jax.files.locks import LOCK
from experiments import prepare as program
from tests.data.sources import encode, small_lists, write_lists

COUNT, STEP = 60, 8
LAST_FILES = 6
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from cgat_jax.data import SCANS, images
from cgat_jax.data.prepare import prepared, shards
from cgat_jax.training.interrupts import StopSignal
source, root, kind, after, number = sys.argv[1:]
if int(number) != signal.SIGKILL:
    StopSignal("prepare").listen()
shards._MOST_IMAGES = {step}
lock, seen = threading.Lock(), 0
def counted(function, name):
    def called(*arguments):
        global seen
        with lock:
            seen += name == kind
            if seen == int(after):
                os.kill(os.getpid(), int(number))
        return function(*arguments)
    return called
images.store = counted(images.store, "image")
os.replace = counted(os.replace, "file")
os.rename = counted(os.rename, "file")
prepared.remove_work = counted(prepared.remove_work, "end")
prepared.prepare(SCANS["lists"], Path(source), Path(root), image_size=6, threads=2,
    progress=False)
"""


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(shards, "_MOST_IMAGES", STEP)


@pytest.fixture
def encoded(monkeypatch):
    """Names of the images that are encoded, as it happens."""
    names, store = [], builder.images.store

    def noted(data, name, size):
        names.append(name)
        return store(data, name, size)

    monkeypatch.setattr(builder.images, "store", noted)
    return names


def source_of(folder, count=COUNT, side=9):
    names = [f"{i:03d}.png" for i in range(count)]
    rows = [(name, "1") for name in names]
    write_lists(folder, {"train": rows, "test": rows[:1], "database": rows})
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (side, 8, 3), dtype=np.uint8)
        (folder / name).write_bytes(encode(pixels, "PNG"))
    return folder


def fill(root, source):
    return prepared.prepare(
        SCANS["lists"], source, root, image_size=6, threads=2, progress=False
    )


def digests(root):
    """Of all files but the lock, which says who held it last."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != LOCK
    }


def interrupt(root, source, monkeypatch, after):
    """Stops the work in this process when ``after`` parts are complete."""
    mark, count = builder.write_marker, 0

    def stopping(*arguments):
        nonlocal count
        mark(*arguments)
        count += 1
        if count == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(builder, "write_marker", stopping)
        with pytest.raises(KeyboardInterrupt):
            fill(root, source)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [pytest.param("killed", marks=pytest.mark.long), "killed once", "stopped"]
)
def test_ends_at_random_points_change_nothing(tmp_path, small_parts, rng, how):
    """Reference: the files of a preparation that was never interrupted."""
    source = source_of(tmp_path / "source")
    fill(tmp_path / "whole", source)
    code, root = KILLED.format(step=STEP), tmp_path / "root"
    first, second = rng.integers(1, 25, 2)
    ends = [("file", 2), ("image", first), ("file", LAST_FILES), ("end", 1)]
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
    if how == "killed once":
        ends, numbers = [("image", first), ("file", LAST_FILES)], [signal.SIGKILL] * 2
    elif how == "killed":  # and once the parts are there, each file that comes then
        files = [("file", after) for after in rng.permutation(LAST_FILES) + 1]
        ends = [("file", 1), *ends[:2], ("image", second), *files, ends[-1]]
        numbers = [signal.SIGKILL] * len(ends)
    for (kind, after), number in zip(ends, numbers, strict=True):
        done = run(code, source, root, kind, after, int(number))
        code_of = 128 + number if how == "stopped" else -number
        assert done.returncode == code_of, done.stderr
        assert not done.stderr
    assert run(code, source, root, "none", 1, 9).returncode == 0
    assert digests(root) == digests(tmp_path / "whole")


def run(code, *given):
    command = [sys.executable, "-c", code, *map(str, given)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_complete_parts_are_not_encoded_again(
    tmp_path, small_parts, encoded, monkeypatch
):
    source, root = source_of(tmp_path / "source"), tmp_path / "root"
    interrupt(root, source, monkeypatch, after=4)
    assert len(encoded) == 4 * STEP
    assert fill(root, source)
    assert len(encoded) == len(set(encoded)) == COUNT
    assert not (root / "incomplete").exists()


@pytest.mark.parametrize(
    "damage, again",
    [
        (lambda root, source: flip(next(root.rglob("*part_00001.array*"))), STEP),
        (lambda root, source: next(root.rglob("*part_00002.array*")).unlink(), STEP),
        (lambda root, source: (parts_of(root) / "part_00000.json").unlink(), STEP),
        (lambda root, source: flip(parts_of(root) / "part_00000.json"), STEP),
        (lambda root, source: (source / "009.png").write_bytes(PIXEL), STEP),
        (lambda root, source: relabel(source), 3 * STEP),
        (lambda root, source: (parts_of(root) / "part_00009").mkdir(), 0),
    ],
)
def test_parts_of_other_inputs_or_damaged_are_made_again(
    tmp_path, small_parts, encoded, monkeypatch, damage, again
):
    source, root = source_of(tmp_path / "source", 3 * STEP + 1), tmp_path / "root"
    interrupt(root, source, monkeypatch, after=3)
    damage(root, source)
    before = len(encoded)
    fill(root, source)
    assert len(encoded) - before == again + 1
    fill(tmp_path / "whole", source)
    assert digests(root) == digests(tmp_path / "whole")


def test_bad_images_cost_their_own_part_alone(tmp_path, small_parts, encoded):
    source, root = source_of(tmp_path / "source"), tmp_path / "root"
    good = (source / "020.png").read_bytes()
    (source / "020.png").write_bytes(b"")
    (source / "059.png").write_bytes(b"")
    with pytest.raises(DataError, match="2 images are not usable"):
        fill(root, source)
    for name in ("020.png", "059.png"):
        (source / name).write_bytes(good)
    before = len(encoded)
    assert fill(root, source)
    assert len(encoded) - before == STEP + COUNT % STEP
    assert set(encoded[before:]) >= {"020.png", "059.png"}


def test_a_full_disk_is_refused_in_a_line_and_preparing_goes_on_later(
    tmp_path, small_parts
):
    """The limit lets files grow to 8 kB, and a file of images is larger."""
    source, root = source_of(tmp_path / "source", side=32), tmp_path / "root"
    code = FULL.format(step=STEP)
    given = [sys.executable, "-c", code, str(source), str(root)]
    done = subprocess.run(given, capture_output=True, text=True)
    (line,) = done.stdout.splitlines()
    assert "images are not written" in line and "too large" in line, done.stderr
    assert fill(root, source)
    fill(tmp_path / "whole", source)
    assert digests(root) == digests(tmp_path / "whole")


FULL = """
import resource, signal, sys
from pathlib import Path
from cgat_jax.data import SCANS, DataError
from cgat_jax.data.prepare import prepared, shards
shards._MOST_IMAGES = {step}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, resource.RLIM_INFINITY))
try:
    prepared.prepare(SCANS["lists"], Path(sys.argv[1]), Path(sys.argv[2]),
        image_size=6, threads=2, progress=False)
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "name", ["arrays.npz", "contents.npy", "source.json", "prepared.json"]
)
def test_a_disk_that_is_full_at_the_end_costs_no_images(
    tmp_path, small_parts, encoded, monkeypatch, capsys, name
):
    source, root = source_of(tmp_path / "source"), tmp_path / "root"
    real = os.replace

    def full(old, new):
        if str(new).endswith(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(old, new)

    parsed = flags.FlagValues()
    program.define_flags(parsed)
    given = ["--dataset=lists", f"--source={source}", f"--out={root}", "--image_size=6"]
    parsed(["prepare", *given])
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert program.main(parsed) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "No space left" in error
    assert str(root / name) in error
    before = len(encoded)
    assert program.main(parsed) == 0
    assert len(encoded) == before == COUNT
    fill(tmp_path / "whole", source)
    assert digests(root) == digests(tmp_path / "whole")


def test_a_folder_refused_at_once_is_not_left_behind(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no train_img.txt there"):
        fill(tmp_path / "root", tmp_path / "empty")
    assert not (tmp_path / "root").exists()
    source = small_lists(tmp_path / "source")
    (tmp_path / "mine").mkdir()
    (source / "images/d0.jpg").unlink()
    with pytest.raises(DataError, match="1 of 8 listed images are missing"):
        fill(tmp_path / "mine", source)
    assert (tmp_path / "mine").is_dir()
    assert not list((tmp_path / "mine").iterdir())


def parts_of(root):
    return root / "incomplete" / "parts"


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def relabel(source):
    for path in source.glob("*_label.txt"):
        path.write_text(path.read_text().replace("1", "1 0"))


PIXEL = encode(np.zeros((3, 3, 3), np.uint8), "PNG")
