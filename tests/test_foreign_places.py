"""Every program, every place it writes to: what is not ours there keeps its bytes."""

import re

import pytest

from cgat_jax.files import locks, ownership
from tests.data.sources import bytes_below, small_lists
from tests.programs import ROOT, run_program

MAIN = ["--config=tests/tiny_config.py", "--workdir={here}/run"]
LISTS = ["--config.data.name=lists", "--config.data.num_queries=5000"]
LISTS += ["--config.data.num_train=10000", "--config.data.num_database=0"]
LISTS += ["--config.data.source={here}/source"]
PREPARE = ["--dataset=lists", "--source={here}/source", "--image_size=8"]
STUDY = ["--study=tests/tiny_study.py", "--workdir={here}/cells"]
REPRODUCE = ["--table=4", "--dataset=quickstart", "--workdir={here}/cells"]
PLACES = {
    "main": {
        "workdir": (MAIN, ["run"]),
        "report": (MAIN, ["run/report"]),
        "data": ([*MAIN, *LISTS], ["run/data"]),
        "data.root": ([*MAIN, *LISTS, "--config.data.root={here}/root"], ["root"]),
        "the source": ([*MAIN, *LISTS, "--config.data.root={here}/source"], []),
        "in the source": ([*MAIN, *LISTS, "--config.data.root={here}/source/p"], []),
        "around the source": ([*MAIN, *LISTS, "--config.data.root={here}"], []),
        "the source as workdir": (
            [MAIN[0], *LISTS, "--workdir={here}/source"],
            [],
        ),
        "the source in the workdir": (
            [*MAIN, *LISTS, "--config.data.source={here}/run/data"],
            ["run/data", "run/data/images"],
        ),
    },
    "prepare": {
        "out": ([*PREPARE, "--out={here}/out"], ["out", "out/images"]),
        "the source": ([*PREPARE, "--out={here}/source"], []),
        "in the source": ([*PREPARE, "--out={here}/source/images"], []),
        "around the source": ([*PREPARE, "--out={here}"], []),
    },
    "report": {
        "report": (["--workdir={here}/run"], ["run/report"]),
        "report-together": (
            ["--workdir={here}/run", "--workdir={here}/source"],
            ["run/report-together"],
        ),
        "out": (["--workdir={here}/run", "--out={here}/out"], ["out"]),
        "the run as out": (["--workdir={here}/run", "--out={here}/run"], []),
        "a file as out": (["--workdir={here}/run", "--out={here}/a.md"], ["a.md"]),
    },
    "study": {
        "workdir": (STUDY, ["cells", "cells/compiled"]),
        "out": ([*STUDY, "--out={here}/a.md"], ["a.md"]),
        "the picture of out": ([*STUDY, "--out={here}/a.md"], ["a_tiny.svg"]),
        "out, tables alone": ([*STUDY, "--out={here}/a.md", "--render-only"], ["a.md"]),
        "workdir, tables alone": ([*STUDY, "--render-only"], ["cells"]),
    },
    "reproduce": {
        "workdir": (REPRODUCE, ["cells", "cells/table4"]),
        "workdir, tables alone": ([*REPRODUCE, "--render-only"], ["cells"]),
        "result": (
            [*REPRODUCE[:2], "--workdir={here}/runs", "--render-only"],
            ["runs/table4"],
        ),
    },
    "convert_weights": {
        "out": (
            ["--torch={here}/source/a.pth", "--out={here}/a.safetensors"],
            ["a.safetensors"],
        ),
    },
    "export": {
        "out": (["--workdir={here}/run", "--out={here}/a.onnx"], ["a.onnx"]),
        "out of StableHLO": (
            ["--workdir={here}/run", "--out={here}/a.stablehlo"],
            ["a.stablehlo"],
        ),
    },
    "claim": {
        "out": (
            ["make", "--workdir={here}/run", "--title=a", "--authors=b"]
            + ["--out={here}/out"],
            ["out"],
        ),
        "out of the page": (["page", "--out={here}/a.md"], ["a.md"]),
    },
    "index": {
        "out": (
            ["--workdir={here}/run", "--images={here}/source", "--out={here}/out"],
            ["out"],
        ),
        "the photos": (
            ["--workdir={here}/run", "--images={here}/source", "--out={here}/source"],
            [],
        ),
        "among the photos": (
            ["--workdir={here}/run", "--images={here}/source", "--out={here}/source/i"],
            [],
        ),
        "the run as out": (["--workdir={here}/run", "--out={here}/run"], ["run"]),
    },
    "search": {
        "html": (
            ["--index={here}/run", "--html={here}/a.html", "{here}/source/a.jpg"],
            ["a.html"],
        ),
    },
    "make_quickstart_photos": {
        "out": (["--source={here}/source", "--out={here}/a.npz"], ["a.npz"]),
        "the source": (["--source={here}/source", "--out={here}/source"], []),
    },
    "benchmarks.step": {"out": (["--out={here}/a.md"], ["a.md"])},
    "benchmarks.training": {"out": (["--out={here}/a.md"], ["a.md"])},
    "benchmarks.evaluation": {"out": (["--out={here}/a.md"], ["a.md"])},
    "benchmarks.search": {"out": (["--out={here}/a.md"], ["a.md"])},
    "benchmarks.scale": {"out": (["--out={here}/a.md"], ["a.md"])},
    "benchmarks.serve": {"out": (["--out={here}/a.md"], ["a.md"])},
    "benchmarks.input": {"out": (["--out={here}/a.md"], ["a.md"])},
    "benchmarks.alarm": {
        "out": (["--workdir={here}/run", "--out={here}/a.md"], ["a.md"])
    },
    "benchmarks.attack_steps": {
        "out": (["--run={here}/run", "--out={here}/a.md"], ["a.md"])
    },
    "benchmarks.stored_images": {
        "out": (["--images={here}/source", "--out={here}/a.md"], ["a.md"])
    },
    "tests.faults": {
        "out": (["--out={here}/a.md"], ["a.md"]),
        "records": (["--out={here}/b.md", "--records={here}/a.json"], ["a.json"]),
        "records of out": (["--out={here}/a.md"], ["a.json"]),
    },
}
WRITES_NOTHING = {
    *("check_data", "serve", "benchmarks.step_jax"),
    *("benchmarks.average_precision", "benchmarks.torch_peer"),
    "benchmarks.retrieval_growth",
}
REASONS = "not empty|not made by this program|choose|expected a folder"
CASES = [(program, place) for program, places in PLACES.items() for place in places]


def foreign(path):
    """A user's file, or a folder with files of names that ours have as well."""
    if path.suffix == ".json":
        path.write_text('{"a": 1}\n')
    elif path.suffix:
        path.write_text("mine\n")
    else:
        for name in (
            *("index.html", "results.csv", "results.md", "table.md", "table.csv"),
            *("table.json", "results.json", "config.json", "prepared.json", "a.jpg"),
            *("arrays.npz", "images/a.jpg", "codes/none/train.npy"),
        ):
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("mine\n")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """(exit code, stderr, what lay there before and lies there now) of each case."""
    found = {}
    for program, place in CASES:
        arguments, names = PLACES[program][place]
        here = tmp_path_factory.mktemp("here")
        small_lists(here / "source")
        for name, kind in (("run", "run"), ("runs", "runs")):
            if program == "report" or any(n.startswith(f"{name}/") for n in names):
                ownership.claim_folder(here / name, kind)
        for name in names:
            foreign(here / name)
        if place == "the source in the workdir":
            small_lists(here / "run" / "data")
        before = everything(here)
        module = program if "." in program else f"experiments.{program}"
        done = run_program(module, *(text.format(here=here) for text in arguments))
        result = done.returncode, done.stderr
        found[program, place] = *result, before, everything(here)
    return found


def everything(folder):
    """Files and folders with what is in them; but not the locks, which stay."""
    found = bytes_below(folder).items()
    return {path: content for path, content in found if locks.LOCK not in path}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=": ".join)
def test_what_is_not_ours_is_refused_in_a_line_and_stays(outcomes, case):
    code, errors, before, after = outcomes[case]
    assert code == 2 and re.search(REASONS, errors), errors
    lines = errors.strip().splitlines()
    options = case[0].startswith(("benchmarks.", "tests."))  # argparse says how to
    assert "Traceback" not in errors and (len(lines) == 1 or options), errors
    assert after == before


def programs():
    for folder in ("experiments", "benchmarks"):
        for path in sorted((ROOT / folder).glob("*.py")):
            if '__name__ == "__main__"' in path.read_text():
                yield path.stem if folder == "experiments" else f"{folder}.{path.stem}"


def test_every_program_and_each_place_it_is_told_is_among_them():
    found = {*programs(), "tests.faults"}
    assert found == {*PLACES, *WRITES_NOTHING}
    for program in found:
        module = program if "." in program else f"experiments.{program}"
        path = ROOT / module.replace(".", "/")
        path = path.with_suffix(".py") if not path.is_dir() else path / "__main__.py"
        flags = r'"(?:--)?(out|workdir)"|"--(records)"'
        told = {a or b for a, b in re.findall(flags, path.read_text())}
        assert told <= {"workdir", *PLACES.get(program, ())}, program
        if program in WRITES_NOTHING:
            assert not re.search(r"write_|\.save|mkdir|open\(", path.read_text())
