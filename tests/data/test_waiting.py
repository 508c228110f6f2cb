"""Who has to wait for a prepared folder is told for whom."""

import os
import threading

import pytest

from cgat_jax.config import Data
from cgat_jax.data import SCANS, DataError, load_dataset
from cgat_jax.data.prepare import prepared, provenance
from cgat_jax.files.locks import locked
from cgat_jax.files.ownership import claim_folder
from tests.data.sources import small_lists

ENOUGH = 60.0  # seconds, never waited for unless nothing is said


@pytest.fixture
def source(tmp_path):
    return small_lists(tmp_path / "source")


def load(source, root):
    settings = Data(name="lists", source=str(source), image_size=8)
    return load_dataset(settings, root, progress=False)


def told_while_held(root, work, monkeypatch):
    """What ``work`` says while another holds ``root``, who lets go when it is told."""
    lines, held, told = [], threading.Event(), threading.Event()

    def hold():
        with locked(root):
            held.set()
            told.wait(ENOUGH)

    def tell(line):
        lines.append(line)
        told.set()

    for module in (prepared, provenance):
        monkeypatch.setattr(module._log, "warning", tell)
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(ENOUGH)
        work()
    finally:
        told.set()
        holder.join()
    return lines


def check(lines, root):
    assert len(lines) == 1
    assert lines[0].startswith(f"{root}: in use by process {os.getpid()} on ")
    assert lines[0].endswith("; waiting for it")


def test_a_preparation_that_waits_says_for_whom(tmp_path, source, monkeypatch):
    root = tmp_path / "root"
    claim_folder(root, "data")
    check(told_while_held(root, lambda: load(source, root), monkeypatch), root)
    assert prepared.is_prepared(root)


def test_tidying_that_waits_says_for_whom(tmp_path, source, monkeypatch):
    root = tmp_path / "root"
    load(source, root)
    claim_folder(root / "incomplete", "work")
    check(told_while_held(root, lambda: load(source, root), monkeypatch), root)
    assert not (root / "incomplete").exists()


def test_a_comparison_that_waits_says_for_whom(tmp_path, source, monkeypatch):
    root = tmp_path / "root"
    load(source, root)
    moved = source.rename(tmp_path / "moved")
    os.utime(moved / "train_label.txt", (1, 1))
    check(told_while_held(root, lambda: load(moved, root), monkeypatch), root)


def test_who_does_not_have_to_wait_is_told_nothing(tmp_path):
    lines = []
    with locked(tmp_path, patience=ENOUGH, waiting=lines.append):
        assert not lines


def test_who_waited_while_another_source_was_prepared_is_refused(
    tmp_path, source, monkeypatch
):
    root, other = tmp_path / "root", small_lists(tmp_path / "other")
    labels = other / "database_label.txt"
    rows = labels.read_text().splitlines()
    labels.write_text("\n".join([*rows[1:], rows[0]]) + "\n")
    load(source, root)
    real, first = prepared.is_prepared, iter([False])
    monkeypatch.setattr(
        prepared, "is_prepared", lambda r: next(first, True) and real(r)
    )
    with pytest.raises(DataError, match="label"):
        prepared.prepare(
            SCANS["lists"], other, root, image_size=8, threads=1, progress=False
        )
