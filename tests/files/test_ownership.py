"""Folders are ours or they stay as they are."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from cgat_jax.errors import ForeignFilesError, InUseError
from cgat_jax.files import locks, ownership


def _content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_new_folder_is_claimed_once(tmp_path):
    folder = tmp_path / "a" / "b"
    assert ownership.claim_folder(folder, "run")
    assert not ownership.claim_folder(folder, "run")
    assert ownership.kind_of(folder) == "run"
    (folder / "results.json").write_text("{}")
    ownership.check_folder(folder, "run")


@pytest.mark.parametrize("name", ["photo.jpg", "images", ".hidden", "results.json"])
def test_a_folder_with_foreign_files_is_refused_and_untouched(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    before = _content(tmp_path)
    with pytest.raises(ForeignFilesError, match=f"{tmp_path}: not empty.*{name}"):
        ownership.claim_folder(tmp_path, "data")
    assert _content(tmp_path) == before


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "run").write_bytes(b"mine")
    with pytest.raises(ForeignFilesError, match="is a file"):
        ownership.claim_folder(tmp_path / "run", "run")


def test_a_folder_of_another_kind_is_refused(tmp_path):
    ownership.claim_folder(tmp_path, "data")
    with pytest.raises(ForeignFilesError, match="holds prepared data, expected a run"):
        ownership.claim_folder(tmp_path, "run")


@pytest.mark.parametrize("mark", ["", "null", "{", '{"made_by": "me"}'])
def test_a_mark_that_cannot_be_read_owns_nothing(tmp_path, mark):
    (tmp_path / ownership.MARK).write_text(mark)
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(ForeignFilesError, match="photo.jpg"):
        ownership.claim_folder(tmp_path, "run")


def test_a_folder_of_an_earlier_version_is_marked(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    own = {"is_own": lambda folder: (folder / "config.json").is_file()}
    assert ownership.claim_folder(tmp_path, "run", **own)
    assert ownership.kind_of(tmp_path) == "run"


def test_only_unfinished_work_of_ours_is_removed(tmp_path):
    work, foreign = tmp_path / "work", tmp_path / "foreign"
    ownership.claim_folder(work, "work")
    (work / "part" / "deep").mkdir(parents=True)
    (work / "part" / "deep" / "file").write_bytes(b"x")
    (work / "link").symlink_to(foreign)
    foreign.mkdir()
    (foreign / "photo.jpg").write_bytes(b"mine")
    ownership.remove_work(work)
    assert not work.exists() and _content(foreign) == {"photo.jpg": b"mine"}
    with pytest.raises(ForeignFilesError, match="not made by this program"):
        ownership.remove_work(foreign)
    assert _content(foreign) == {"photo.jpg": b"mine"}
    ownership.remove_work(tmp_path / "absent")


def test_a_linked_folder_is_not_removed(tmp_path):
    ownership.claim_folder(tmp_path / "work", "work")
    (tmp_path / "link").symlink_to(tmp_path / "work")
    with pytest.raises(ForeignFilesError):
        ownership.remove_work(tmp_path / "link")
    assert (tmp_path / "work").is_dir()


def test_a_claim_that_came_to_nothing_leaves_nothing(tmp_path):
    folder = tmp_path / "run"
    ownership.claim_folder(folder, "run")
    with locks.locked(folder):
        pass
    ownership.release_folder(folder)
    assert not folder.exists()
    ownership.claim_folder(folder, "run")
    (folder / "photo.jpg").write_bytes(b"mine")
    ownership.release_folder(folder)
    assert (folder / "photo.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("root", "how"),
    [
        ("photos", "is the source itself"),
        ("photos/run", "lies in the source"),
        ("", "holds the source"),
        ("link", "is the source itself"),
        ("link/run", "lies in the source"),
    ],
)
def test_a_root_that_meets_its_source_is_refused(tmp_path, root, how):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(ForeignFilesError, match=how):
        ownership.check_apart(tmp_path / root, tmp_path / "photos")
    ownership.check_apart(tmp_path / "photos2", tmp_path / "photos")


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(OSError, match="no locks.*local") as caught:
        with locks.locked(tmp_path):
            pass
    assert caught.value.filename == str(tmp_path)


def _hold(folder, ready):
    with locks.locked(folder):
        ready.set()
        time.sleep(60)


def test_a_second_process_is_told_who_holds_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InUseError, match=f"in use by process {holder.pid} on "):
            with locks.locked(tmp_path):
                pass
        os.kill(holder.pid, signal.SIGKILL)
        with locks.locked(tmp_path, patience=10.0):
            held = json.loads((tmp_path / locks.LOCK).read_text())
            assert held["pid"] == os.getpid()
    finally:
        holder.kill()
        holder.join()
