"""The paper's tables as runs: the right cells, shared runs, honest numbers."""

import csv
import json
import shutil

import numpy as np
import pytest

from cgat_jax.config.settings import to_json
from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.files import ownership
from cgat_jax.report.paper import paper_rows
from cgat_jax.reproduction import paper_cells
from cgat_jax.reproduction.comparison import compare_cells, measured
from cgat_jax.reproduction.orderings import orderings, paper_layout
from cgat_jax.reproduction.page import is_result, write_reproduction
from cgat_jax.reproduction.progress import is_done
from cgat_jax.reproduction.study import cells_of, config_of
from tests.programs import ROOT, run_program
from tests.report.synthetic import make_record, write_sanity

CSV = ROOT / "cgat_jax" / "report" / "paper_results.csv"


def _printed():
    with CSV.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_printed_differences_are_those_of_the_rows_but_for_the_known_errata():
    rows = _printed()
    keys = ("table", "dataset", "bits", "hash_method", "attack")
    values = {(*(r[k] for k in keys), r["defense"]): float(r["map"]) for r in rows}
    printed = {k: v for k, v in values.items() if k[-1] == "printed_delta"}
    wrong = {
        (key[0], key[2], key[4])
        for key, value in printed.items()
        if abs(values[*key[:-1], "CgAT"] - values[*key[:-1], "ATRDH"] - value) > 0.005
    }
    assert len(printed) == 63
    assert wrong == {("1", "16", a) for a in ("DHTA", "ProS-GAN", "THA", "HAG")}
    twice = [
        r["map"]
        for r in rows
        if r["attack"] == "THA"
        and r["bits"] == "32"
        and r["dataset"] == "MS-COCO"
        and r["defense"] == "none"
    ]
    assert twice == ["27.41", "43.88"]


@pytest.mark.parametrize(
    ("table", "cells", "runs"),
    [
        (1, 63, 9),
        (2, 63, 9),
        (3, 63, 9),
        (4, 72, 9),
        (5, 105, 15),
    ],
)
def test_every_printed_number_is_a_cell_once(table, cells, runs):
    found = paper_cells.cells_of_table(table)
    assert len(found) == len(set(found)) == cells
    assert [cell.paper for cell in found] == [row.map for row in paper_rows(table)]
    studies = paper_cells.studies(found, (0,), {})
    assert sum(len(study.rows) for study in studies.values()) == runs


def test_tables_share_their_runs():
    tables = [paper_cells.cells_of_table(n) for n in (1, 2, 3, 4)]
    together = paper_cells.studies([c for cells in tables for c in cells], (0,), {})
    alone = [paper_cells.studies(cells, (0,), {}) for cells in tables]
    for dataset, study in together.items():
        assert len(study.rows) == 9  # table 4 adds none
        for each in alone:
            if dataset in each:
                assert set(cells_of(each[dataset])) <= set(cells_of(study))


def test_the_quickstart_stands_in_for_all_data_and_is_not_compared():
    cells = paper_cells.cells_of_table(4, "quickstart")
    assert len(cells) == 24 and {cell.dataset for cell in cells} == {"quickstart"}
    assert all(cell.paper is None for cell in cells)
    study = paper_cells.studies(cells, (0,), {})["quickstart"]
    atrdh = study.rows["dpsh 32 bits atrdh"]
    assert atrdh == {"loss.name": "dpsh", "model.bits": 32, "defense.name": "atrdh"}


def test_published_atrdh_has_its_own_training():
    cells = paper_cells.cells_of_table(3, "coco", 32)
    rows = paper_cells.studies(cells, (0,), {})["coco"].rows
    assert rows["dpsh 32 bits atrdh"]["defense.epochs"] == 100
    assert rows["dpsh 32 bits atrdh"]["defense.optimizer"] == "adam"
    assert "defense.epochs" not in rows["dpsh 32 bits cgat"]


def test_what_a_table_does_not_have_is_refused_with_what_it_has():
    with pytest.raises(
        ValueError, match=r"table 1 is about \['flickr25k'\], not 'coco'"
    ):
        paper_cells.cells_of_table(1, "coco")
    with pytest.raises(ValueError, match=r"codes of \[32\] bits, not of 16"):
        paper_cells.cells_of_table(5, "", 16)


def _record(value, interval=(0.3, 0.5)):
    record = {"map": value, "chance": 0.2, "map_interval": list(interval)}
    return record | {"budget": 8 / 255, "map_at": 5000, "attack_settings": {}}


def test_numbers_stand_beside_the_papers_with_an_interval():
    cell, other, bare = paper_cells.cells_of_table(1)[:3]
    rows = compare_cells(
        {
            cell: [_record(0.4)],
            other: [_record(0.30), _record(0.36), _record(0.42)],
            bare: [],
        }
    )
    assert rows[0].difference == pytest.approx(40 - cell.paper)
    assert (rows[0].low, rows[0].high) == pytest.approx((30, 50))
    # Student's t for three values: mean +- 4.303 * s / sqrt(3), s = 6.
    assert rows[1].ours == pytest.approx(36)
    assert rows[1].high - 36 == pytest.approx(4.303 * 6 / np.sqrt(3), rel=1e-4)
    assert rows[2].ours is None and rows[2].seeds == 0


def test_seeds_that_agree_have_an_interval_without_width():
    cell = paper_cells.cells_of_table(1)[0]
    row = compare_cells({cell: [_record(0.5), _record(0.5)]})[0]
    assert row.low == row.high == row.ours == 50


def test_a_result_is_written_in_every_form(tmp_path):
    records = {c: [_record(0.4)] for c in paper_cells.cells_of_table(1)[:2]}
    rows = compare_cells(records)
    page = write_reproduction(tmp_path, "Table", records, {}, ["A note <with signs>."])
    assert "A note &lt;with signs&gt;." in page.read_text()
    plain = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert plain[0]["ours"] == 40 and plain[0]["paper"] == rows[0].paper
    assert plain[0]["runs"][0]["map"] == 0.4
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert float(lines[1]["ours"]) == 40 and lines[1]["attack"] == "p2p"
    assert (
        "| FLICKR-25K | DPSH | 16 | undefended | clean |"
        in (tmp_path / "table.md").read_text()
    )


def test_the_paper_keeps_its_orderings_but_where_it_says():
    rows = [
        row._replace(ours=row.paper)
        for row in compare_cells({cell: [] for cell in paper_cells.cells_of_table(5)})
    ]
    lines = orderings(rows)
    printed = [row for row in _printed() if row["table"] == "5"]
    value = {
        (r["hash_method"], r["attack"], r["defense"]): float(r["map"]) for r in printed
    }
    attacked = {(loss, attack) for loss, attack, _ in value if attack != "Clean"}
    holds = sum(value[*key, "ATRDH"] > value[*key, "none"] for key in attacked)
    assert holds < len(attacked) == 30  # the paper's own numbers do not always
    assert lines[0].startswith(f"ATRDH above undefended under attack: {holds} of 30")
    assert "DCH, 32 bits, ProS-GAN (\N{MINUS SIGN}4.66)" in lines[0]
    holds = sum(value[*key, "CgAT"] > value[*key, "ATRDH"] for key in attacked)
    assert lines[1].startswith(f"CgAT above ATRDH under attack: {holds} of 30")
    assert "CSQ, 32 bits, ProS-GAN" in lines[1] and len(lines) == 4
    assert orderings([row for row in rows if row.cell.defense == "cgat"]) == []


def test_the_papers_layout_has_a_network_a_row_and_an_attack_a_column():
    cells = paper_cells.cells_of_table(4, "flickr25k")
    rows = compare_cells({cells[0]: [_record(0.5)]} | {cell: [] for cell in cells[1:]})
    table = paper_layout(rows)
    assert list(table)[4:6] == ["clean", "P2P"] and len(table) == 3
    *_, defense, clean, p2p = table.iloc[0, :6]
    assert (defense, clean) == ("undefended", f"50.00 ({cells[0].paper:.2f})")
    assert p2p.startswith("- (")


def _run(*arguments):
    """Runs the program in a folder that is not the repository."""
    env = {"PYTHONPATH": str(ROOT)}
    return run_program("tests.tiny_reproduce", *arguments, cwd=ROOT.parent, env=env)


TINY = ["--dataset=quickstart", "--preset=fast", "--set=evaluate.attacks=noise,dhta"]


@pytest.mark.long
def test_a_figure_is_run_once_with_failures_named_and_rendered_again(tmp_path):
    arguments = ["--figure=2", *TINY, f"--workdir={tmp_path}", "--bits=8"]
    planned = _run(*arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "quickstart/dpsh-8-bits-cgat-seed0: 0.000 PFLOP" in planned.stdout
    assert "TFLOP/s, measured here on the training of 'small'" in planned.stdout
    assert not any(tmp_path.iterdir())
    foreign = tmp_path / "quickstart" / "dpsh-8-bits-atrdh-seed0"
    ownership.claim_folder(tmp_path, "runs")
    foreign.mkdir(parents=True)
    (foreign / "config.json").write_text("{}")
    done = _run(*arguments, "--jobs=2")
    assert done.returncode == 1
    assert "quickstart/dpsh-8-bits-atrdh-seed0: not started: " in done.stderr
    assert [p.name for p in foreign.iterdir()] == ["config.json"]
    assert "done: quickstart/dpsh-8-bits-cgat-seed0" in done.stdout
    assert "2 of 6 numbers are not measured yet" in done.stdout
    shutil.rmtree(foreign)
    done = _run(*arguments, "--jobs=2")
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "figure2" / "table.md").read_text()
    assert table.count("| quickstart | DPSH | 8 |") == 3 + 6 and "| - |" in table
    assert (tmp_path / "figure2" / "figure2_quickstart.svg").stat().st_size > 10_000
    again = _run(*arguments, "--render-only")
    assert again.stdout.splitlines()[-8:] == done.stdout.splitlines()[-8:]
    assert (tmp_path / "figure2" / "table.md").read_text() == table
    assert ": done" in _run(*arguments, "--dry-run").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table=6"], "no table 6"),
        (["--figure=7"], "no figure 7"),
        (["--table=1", "--figure=2"], "give one of"),
        (["--table=1", "--dataset=cocoa"], "did you mean 'coco'"),
        (
            ["--table=1", "--set=defence.epochs=1", "--workdir=x"],
            "unknown setting 'defence.epochs'",
        ),
        (["--table=1"], "--workdir is missing"),
        (
            ["--table=1", "--set=evaluate.steps=few", "--workdir=x"],
            "evaluate.steps: expected int, got 'few'",
        ),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(arguments, message):
    done = _run(*arguments)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_speed_that_a_plan_assumes_can_be_given(tmp_path):
    flags = ["--table=4", "--dataset=quickstart", f"--workdir={tmp_path}", "--dry-run"]
    done = _run(*flags, "--tflops=0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("at 0.5 TFLOP/s, as given")
    assert " min, at" in done.stdout or " h, at" in done.stdout
    assert _run(*flags, "--gpu=h100").stdout.endswith(
        "at 148 TFLOP/s, an estimate: 30% of the published 494.7 of one h100, not "
        "measured\n"
    )
    for wrong, said in ((["--gpu=h10"], "known: ["), (["--gpu=t4"], "give one of")):
        refused = _run(*flags, *wrong, *(["--tflops=1"] if "t4" in wrong[0] else []))
        assert refused.returncode == 2 and said in refused.stderr


def _write_finished(root, cells, overrides):
    """What finished runs of the cells leave that tells that they are done."""
    (dataset,) = {cell.dataset for cell in cells}
    study = paper_cells.studies(cells, (0,), {"evaluate.preset": "paper"})[dataset]
    attacks = ["clean", *study.overrides["evaluate.attacks"].split(",")]
    for run in cells_of(study):
        config = config_of(study, dict(run.overrides) | overrides)
        folder = root / dataset / run.folder
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(to_json(config))
        rng = np.random.default_rng(0)
        records = [make_record("cgat", "cgat", 0, rng) | {"attack": a} for a in attacks]
        (folder / "results.json").write_text(json.dumps({"records": records}))
        if queries := config.evaluate.sanity_queries:
            write_sanity(folder, num_queries=min(queries, 500) if queries > 0 else 64)
    return len(cells_of(study))


def test_cells_with_given_weights_are_done_when_they_are(tmp_path):
    cells = paper_cells.cells_of_table(1, "flickr25k", 16)
    made = {"model.weights": "w/alexnet.safetensors", "data.root": "elsewhere"}
    count = _write_finished(tmp_path, cells, made)
    flags = ["--table=1", "--bits=16", f"--workdir={tmp_path}", "--dry-run"]
    done = _run(*flags, "--tflops=1", "--weights=w")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": done") == len(done.stdout.splitlines()) == count
    overrides = {"model.weights": "v/alexnet.safetensors"}
    study = paper_cells.studies(cells, (0,), overrides)["flickr25k"]
    folder = tmp_path / "flickr25k"
    assert not any(is_done(study, run, folder) for run in cells_of(study))


@pytest.mark.slow
def test_a_table_of_two_data_sets_is_refused_with_both_folders(tmp_path, monkeypatch):
    monkeypatch.setitem(paper_cells.CONFIGS, "quickstart", "tests/tiny_config.py")
    cells = paper_cells.cells_of_table(4, "quickstart")
    _write_finished(tmp_path, cells, {})
    studies = paper_cells.studies(cells, (0,), {})
    first, second, *_ = sorted(tmp_path.glob("*/*/results.json"))
    for file, digest in ((first, "a" * 64), (second, "a" * 64)):
        _set_records(file, data_sha256=digest)
    assert all(measured(cells, studies, tmp_path).values())  # the third notes none
    _set_records(second, data_sha256="b" * 64)
    with pytest.raises(InputError, match="made of other data than") as caught:
        measured(cells, studies, tmp_path)
    assert str(first.parent) in str(caught.value)
    assert str(second.parent) in str(caught.value)
    flags = ["--table=4", "--dataset=quickstart", f"--workdir={tmp_path}"]
    for more in ([], ["--render-only"]):
        done = _run(*flags, *more)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "made of other data" in done.stderr and "cell 1" not in done.stdout
    assert not (tmp_path / "table4").exists()


def _set_records(file, **values):
    records = json.loads(file.read_text())["records"]
    file.write_text(json.dumps({"records": [r | values for r in records]}))


@pytest.mark.parametrize("seen", [{}, {"num_queries": 32}, {"num_queries": 500}])
def test_a_cell_without_its_sanity_checks_is_not_done(tmp_path, monkeypatch, seen):
    monkeypatch.setitem(paper_cells.CONFIGS, "quickstart", "tests/tiny_config.py")
    cells = paper_cells.cells_of_table(4, "quickstart")
    _write_finished(tmp_path, cells, {})
    study, folder = paper_cells.studies(cells, (0,), {})["quickstart"], tmp_path
    folder /= "quickstart"
    run = cells_of(study)[0]
    assert is_done(study, run, folder)
    if seen:
        write_sanity(folder / run.folder, **seen)
    seen_any = bool(seen)
    for wanted, done in (
        (64, False),
        (32, seen == {"num_queries": 32}),
        (0, True),
        (-1, seen_any),
    ):
        study.overrides["evaluate.sanity_queries"] = wanted
        assert is_done(study, run, folder) == done
    study.overrides["evaluate.sanity_queries"] = 1000  # there are 500
    assert is_done(study, run, folder) == (seen == {"num_queries": 500})


def test_a_cell_without_its_transfers_is_not_done(tmp_path, monkeypatch):
    monkeypatch.setitem(paper_cells.CONFIGS, "quickstart", "tests/tiny_config.py")
    cells = paper_cells.cells_of_table(4, "quickstart")
    _write_finished(tmp_path, cells, {})
    study = paper_cells.studies(cells, (0,), {})["quickstart"]
    folder = tmp_path / "quickstart"
    run = next(run for run in cells_of(study) if run.pretrained)
    study.overrides["evaluate.transfer"] = "cgat,p2p"
    study.overrides["evaluate.sources"] = "elsewhere/other"
    sources = ["pretrained.none", "other.cgat"]
    wanted = [(attack, source) for attack in ("cgat", "p2p") for source in sources]
    rng = np.random.default_rng(0)
    for attack, source in wanted:
        assert not is_done(study, run, folder)
        record = make_record("cgat", "cgat", 0, rng)
        path = folder / run.folder / "evaluate" / f"cgat-{attack}@{source}"
        path.mkdir(parents=True)
        record |= {"attack": attack, "source": source}
        (path / "record.json").write_text(json.dumps(record))
    assert is_done(study, run, folder)


@pytest.mark.slow
def test_a_damaged_record_counts_as_not_done_so_that_it_is_made_anew(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(paper_cells.CONFIGS, "quickstart", "tests/tiny_config.py")
    cells = paper_cells.cells_of_table(4, "quickstart")
    count = _write_finished(tmp_path, cells, {})
    flags = ["--table=4", "--dataset=quickstart", f"--workdir={tmp_path}"]
    (first, *_) = sorted(tmp_path.glob("*/*/results.json"))
    first.write_text("{")
    planned = _run(*flags, "--dry-run", "--tflops=1")
    assert planned.stdout.count(": done") == count - 1
    shown = _run(*flags, "--render-only")
    assert shown.returncode == 2 and shown.stderr.count("\n") == 1
    assert str(first) in shown.stderr and "measure anew" in shown.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--slurm_gpus=1", "--nowait"], "--slurm_gpus, --wait: without effect where"),
        (["--gpu=h100"], "--gpu and --tflops are of the plan: add --dry-run"),
        (["--dry-run", "--status"], "--dry_run and --status: give one of them"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(tmp_path, flags, said):
    root = tmp_path / "root"
    done = _run("--table=4", "--dataset=quickstart", f"--workdir={root}", *flags)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not [*root.glob("*")]


def test_a_result_is_not_written_over_other_files(tmp_path):
    (tmp_path / "table1").mkdir()
    (tmp_path / "table1" / "table.md").write_text("my own table")
    records = {paper_cells.cells_of_table(1)[0]: [_record(0.4)]}
    with pytest.raises(ForeignFilesError):
        write_reproduction(tmp_path / "table1", "Table", records, {}, [])
    assert [p.name for p in (tmp_path / "table1").iterdir()] == ["table.md"]
    assert (tmp_path / "table1" / "table.md").read_text() == "my own table"


def test_a_result_without_a_mark_is_known_by_all_of_its_files(tmp_path):
    records = {paper_cells.cells_of_table(1)[0]: [_record(0.4)]}
    folder, title = tmp_path / "table1", "CgAT, WWW 2023: table 1"
    write_reproduction(folder, title, records, {}, [])
    (folder / ownership.MARK).unlink()
    assert is_result(folder)
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_text("mine")
        assert not is_result(folder), path.name
        with pytest.raises(ForeignFilesError):
            write_reproduction(folder, title, records, {}, [])
        assert path.read_text() == "mine"
        path.write_bytes(content)


def test_warnings_come_before_the_numbers_of_a_result(tmp_path):
    record = _record(0.4) | {"warnings": ["one class only"]}
    records = {cell: [record] for cell in paper_cells.cells_of_table(1)[:2]}
    page = write_reproduction(tmp_path / "table1", "Table", records, {}, []).read_text()
    text = (tmp_path / "table1" / "table.md").read_text()
    for written in (page, text):
        assert written.count("Warning: one class only") == 1
        assert written.index("Warning: one class only") < written.index("40.00")
