import subprocess
import sys

import pytest
from absl import flags

from experiments import prepare
from tests.data.sources import small_coco, small_lists


def values(**given):
    parsed = flags.FlagValues()
    prepare.define_flags(parsed)
    parsed(["prepare", *(f"--{name}={value}" for name, value in given.items())])
    return parsed


def test_it_prepares_once_and_says_what_there_is(tmp_path, capsys):
    source, out = small_coco(tmp_path / "source"), tmp_path / "out"
    given = values(dataset="coco", source=source, out=out, image_size=30)
    assert prepare.main(given) == 0
    first = capsys.readouterr().out.splitlines()
    assert first == [
        "coco: 4 images, 4 classes, 1.50 labels per image",
        "2 of 6 images have no annotation, left out",
        f"prepared: {out}",
    ]
    assert prepare.main(given) == 0
    again = capsys.readouterr().out.splitlines()
    assert again == [*first[:2], f"was prepared: {out}"]


def test_it_describes_the_split_of_lists(tmp_path, capsys):
    source, out = small_lists(tmp_path / "source"), tmp_path / "out"
    assert prepare.main(values(dataset="lists", source=source, out=out)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lists: 8 images, 3 classes, 1.50 labels per image"
    assert lines[1].startswith(
        "split lists: 3 train, 2 query, 6 database images; sha256 "
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"source": ""}, "--source is missing: expected the folder of"),
        ({"dataset": "list"}, "unknown data set 'list'; known: ['coco', 'lists']"),
        ({"source": "/nowhere"}, "/nowhere: no such folder"),
    ],
)
def test_it_refuses_in_a_line(tmp_path, capsys, changes, message):
    given = {"dataset": "lists", "source": tmp_path, "out": tmp_path / "out"}
    assert prepare.main(values(**given | changes)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_it_runs_as_a_program(tmp_path):
    source, out = small_lists(tmp_path / "source"), tmp_path / "out"
    (source / "images/d1.jpg").write_bytes(b"<html>")
    command = [sys.executable, "-W", "error", "-m", "experiments.prepare"]
    given = ["--dataset=lists", f"--source={source}", f"--out={out}"]
    done = subprocess.run([*command, *given], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "prepare: 1 images are not usable:",
        "images/d1.jpg: not a readable image; starts b'<html>'",
    ]
    done = subprocess.run([*command, "--nothing"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "prepare: Unknown command line flag 'nothing'\n"
