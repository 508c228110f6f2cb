"""Tables of many runs: which runs, and what is made of their records."""

import json
import shutil

import pytest

from cgat_jax.config.settings import to_json
from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.report.plotting import draw
from cgat_jax.reproduction.front import (
    check_front_files,
    front_chart,
    front_file,
)
from cgat_jax.reproduction.progress import is_done
from cgat_jax.reproduction.study import (
    Study,
    cells_of,
    check_new_cells,
    check_study,
    config_of,
)
from cgat_jax.reproduction.tables import study_table
from cgat_jax.workdir import remember_network

ROWS = {
    "DPSH, undefended": {"loss.name": "dpsh", "defense.epochs": 0},
    "DPSH, CgAT": {"loss.name": "dpsh", "defense.name": "cgat"},
    "DPSH, weight 2": {"loss.name": "dpsh", "defense.weight": 2.0},
    "CSQ, redrawn": {"loss.name": "csq", "loss.redraw": True},
}


def _study(**changes):
    settings = {"title": "T", "text": "About.", "config": "c.py", "rows": ROWS}
    return Study(**settings | changes)


def _write(folder, seed, value, defense="cgat", attack="cgat", **more):
    record = {"dataset": "d", "backbone": "small", "bits": 8, "loss": "dpsh"}
    record |= {"defense": defense, "seed": seed, "chance": 0.25, "commit": "abc"}
    record |= {"versions": {"jax": "1"}, "device": "cpu x1"} | more
    records = [
        record | {"attack": "clean", "map": value},
        record | {"attack": attack, "map": value / 2},
    ]
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"records": records}))


def test_rows_that_differ_in_the_defense_share_a_pretrained_network():
    cells = {cell.folder: cell for cell in cells_of(_study(seeds=(0, 1)))}
    dpsh, csq = "pretrained-loss.name-dpsh-seed0", "pretrained-loss.name-csq-seed0"
    assert [name for name in cells if name.endswith("seed0")] == [
        dpsh,
        "dpsh-cgat-seed0",
        "dpsh-weight-2-seed0",
        csq,
        "csq-redrawn-seed0",
    ]
    assert len(cells) == 10
    assert cells["dpsh-weight-2-seed0"].pretrained == dpsh
    assert dict(cells[dpsh].overrides) == {"loss.name": "dpsh", "defense.epochs": 0}
    assert ("loss.redraw", True) in cells["csq-redrawn-seed0"].overrides


def test_titles_that_make_the_same_folder_are_refused():
    rows = {"a b": {"defense.weight": 1}, "a, b": {"defense.weight": 2}}
    with pytest.raises(ValueError, match="a, b"):
        cells_of(_study(rows=rows))


LISTS = {"data.split": "released", "data.splits": "lists"}


def test_a_pretrained_cell_has_the_lists_of_those_that_defend_it():
    rows = {"CgAT": LISTS, "undefended": LISTS | {"defense.epochs": 0}}
    study = _study(rows=rows, config="tests/tiny_config.py")
    check_study(study)
    alone, defended = cells_of(study)
    assert dict(alone.overrides) == LISTS | {"defense.epochs": 0}
    assert alone.folder == "pretrained-data.split-released-seed0" == defended.pretrained
    other = {"a": LISTS, "b": LISTS | {"data.splits": "others"}}
    with pytest.raises(InputError, match="'b' and another row would share pretrained-"):
        cells_of(_study(rows=other))
    free = {"a": {"data.threads": 4}, "b": {}}
    assert [cell.folder for cell in cells_of(_study(rows=free))] == [
        *("pretrained-seed0", "a-seed0", "b-seed0")
    ]


def test_options_that_do_nothing_are_refused_before_the_first_cell_runs(tmp_path):
    """But for cells that have begun with them, which go on and are shown."""
    rows = {"b": {}, "a": {"defense.name": "standard", "defense.awp": 0.005}}
    study = _study(rows=rows, config="tests/tiny_config.py")
    check_study(study)
    with pytest.raises(InputError, match="T, a-seed0: defense.awp=0.005 is not used"):
        check_new_cells(study, tmp_path)
    (tmp_path / "a-seed0" / "defend" / "checkpoints" / "1").mkdir(parents=True)
    check_new_cells(study, tmp_path)
    loss = _study(rows={"c": {"loss.name": "csq", "loss.eta": 0.5}}, config=TINY)
    with pytest.raises(InputError, match="loss.eta=0.5 is not used by csq"):
        check_new_cells(loss, tmp_path)


TINY = "tests/tiny_config.py"


def test_the_table_has_means_ranges_and_what_is_missing(tmp_path):
    _write(tmp_path / "pretrained-loss.name-dpsh-seed0", 0, 0.8, "none")
    _write(tmp_path / "dpsh-cgat-seed0", 0, 0.6)
    _write(tmp_path / "dpsh-cgat-seed1", 1, 0.7)
    table = study_table(_study(seeds=(0, 1)), tmp_path)
    lines = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert "| MAP, % | clean | CgAT's attack | chance |" in table
    assert "65.00 (60.00 to 70.00) | 32.50 (30.00 to 35.00)" in lines["| DPSH, CgAT"]
    assert "80.00 [1 missing]" in lines["| DPSH, undefended"]
    assert lines["| DPSH, weight 2"].count(" - ") == 3
    assert "Seeds 0, 1: mean" in table and "commit abc" in table
    alone = study_table(_study(), tmp_path)
    assert "\nSeed 0. From the records of" in alone


def test_a_front_has_the_rows_that_were_measured_both_ways(tmp_path):
    rows = {name: {"defense.weight": float(name)} for name in ("1", "2", "4", "8")}
    fronts = {"CgAT": {f"w{name}": name for name in rows}, "none": {"w4": "4"}}
    study = _study(rows=rows, seeds=(0, 1), fronts=fronts)
    assert front_chart(study, tmp_path) is None
    for title, seed, value, attack in (
        *(("1", 0, 0.6, "worst_case"), ("1", 1, 0.8, "worst_case")),
        *(("2", 0, 0.5, "worst_case"), ("2", 1, 0.9, "sdha"), ("8", 0, 0.4, "sdha")),
    ):
        _write(tmp_path / f"{title}-seed{seed}", seed, value, attack=attack)
    chart = front_chart(study, tmp_path)
    (line,) = chart.lines
    assert (line.label, line.names, chart.level) == ("CgAT", ("w1", "w2"), 25)
    assert list(line.x) == pytest.approx([70, 50])
    assert list(line.ys[0]) == pytest.approx([35, 25])
    assert "clean" in chart.x_label and "worst case" in chart.y_label
    picture = draw(chart)
    assert all(f">{name}</text>" in picture for name in ("w1", "w2"))
    file = front_file(tmp_path / "results.md", study)
    assert file == tmp_path / "results_t.svg"
    file.write_text(picture)
    check_front_files(tmp_path / "results.md", [study])  # it may be replaced
    file.write_text(draw(chart._replace(title="Another")))
    with pytest.raises(ForeignFilesError, match="results_t.svg"):
        check_front_files(tmp_path / "results.md", [study])


@pytest.mark.parametrize("title", ["T", "t?"])
def test_two_fronts_of_one_picture_are_refused(tmp_path, title):
    fronts = {"CgAT": {"1": "DPSH, CgAT"}}
    studies = [_study(fronts=fronts), _study(title=title, fronts=fronts)]
    check_front_files(tmp_path / "page.md", [studies[0], _study(title=title)])
    with pytest.raises(InputError, match=r"'T' and .* one picture, page_t.svg: give"):
        check_front_files(tmp_path / "page.md", studies)


def test_a_front_of_a_row_that_is_none_is_refused():
    study = _study(rows={"a": {}}, fronts={"f": {"1": "aa"}}, config="tests/t.py")
    with pytest.raises(InputError, match="T, fronts: no row 'aa'; did you mean 'a'?"):
        check_study(study)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"defense.weigth": 2}, "T, row 'a': unknown setting 'defense.weigth'; did"),
        ({"seed": "one"}, "T, row 'a': seed: expected int, got 'one'"),
        ({"defense.epsilon": 8.0}, "T, row 'a': defense.epsilon: expected a number"),
        (
            {"defense.epochs": 0, "evaluate.epsilon": 0.01},
            "T, row 'a': evaluate.epsilon is of no effect with defense.epochs=0",
        ),
    ],
)
def test_rows_that_cannot_run_are_refused_before_any_runs(overrides, said):
    study = _study(rows={"b": {}, "a": overrides}, config="tests/tiny_config.py")
    with pytest.raises(InputError, match=said):
        check_study(study)
    check_study(_study(rows={"b": {}}, config="tests/tiny_config.py"))


def _write_run(folder, study, overrides, *, seed=0, network="n" * 64):
    """A finished run of settings, as far as tables read it."""
    _write(folder, seed, 0.9, network_sha256=network)
    config = config_of(study, overrides)
    config.seed = seed
    (folder / "config.json").write_text(to_json(config))


def test_numbers_of_other_settings_are_no_rows(tmp_path, caplog):
    """A row that was edited, or a trial whose folder is shown in another table."""
    rows = {
        "bare": {"defense.epochs": 0, "defense.name": "saat"},
        "weight 2": {"defense.weight": 2.0},
    }
    study = _study(rows=rows, config="tests/tiny_config.py")
    bare, folder = tmp_path / "pretrained-seed0", tmp_path / "weight-2-seed0"
    _write_run(bare, study, {"defense.epochs": 0})
    _write_run(folder, study, rows["weight 2"] | {"model.weights": "elsewhere"})
    assert study_table(study, tmp_path).count("90.00") == 2 and not caplog.records
    shutil.rmtree(folder)
    _write_run(folder, study, {"defense.weight": 9.0, "pretrain.epochs": 1})
    assert study_table(study, tmp_path).count("90.00") == 1
    study_table(study, tmp_path)  # as after every cell
    (said,) = [record.getMessage() for record in caplog.records]
    assert "weight-2-seed0: left out of 'weight 2', as it was run with" in said
    assert "defense.weight: 9.0 -> 2.0" in said and "pretrain.epochs: 1 -> 2" in said


def test_a_cell_whose_network_was_trained_again_is_not_done(tmp_path):
    rows = {"weight 2": {"defense.weight": 2.0}}
    study = _study(rows=rows, config="tests/tiny_config.py")
    study.overrides["evaluate.attacks"] = "cgat"
    source, cell = cells_of(study)
    _write_run(tmp_path / source.folder, study, {"defense.epochs": 0})
    _write_run(tmp_path / cell.folder, study, rows["weight 2"])
    assert is_done(study, cell, tmp_path)  # neither tells
    remember_network(tmp_path / cell.folder, "pretrained", "n" * 64)
    assert is_done(study, cell, tmp_path)
    shutil.rmtree(tmp_path / source.folder)
    assert is_done(study, cell, tmp_path)
    _write_run(tmp_path / source.folder, study, {"defense.epochs": 0}, network="m" * 64)
    assert not is_done(study, cell, tmp_path)


def test_pretrained_networks_that_make_the_same_folder_are_refused():
    rows = {name: {"model.weights": name} for name in ("w/b", "w-b")}
    with pytest.raises(ValueError, match="'w-b' and another row would share pretrain"):
        cells_of(_study(rows=rows))


def test_a_tables_warnings_stand_before_it(tmp_path):
    _write(tmp_path / "dpsh-cgat-seed0", 0, 0.6)
    file = tmp_path / "dpsh-cgat-seed0" / "results.json"
    content = json.loads(file.read_text())
    for record in content["records"]:
        record["warnings"] = ["all images are equal"]
    file.write_text(json.dumps(content))
    table = study_table(_study(), tmp_path)
    assert table.count("Warning: all images are equal") == 1
    assert table.index("Warning: all images are equal") < table.index("60.00")


def test_a_damaged_record_names_its_file(tmp_path):
    folder = tmp_path / "dpsh-cgat-seed0"
    folder.mkdir()
    (folder / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"dpsh-cgat-seed0.*results.json"):
        study_table(_study(), tmp_path)


def test_one_table_has_one_data_set(tmp_path):
    first, second = tmp_path / "dpsh-cgat-seed0", tmp_path / "dpsh-weight-2-seed0"
    _write(first, 0, 0.6, data_sha256="a" * 64)
    _write(second, 0, 0.5, data_sha256="b" * 64)
    with pytest.raises(InputError, match="made of other data") as caught:
        study_table(_study(), tmp_path)
    assert str(first) in str(caught.value) and str(second) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_that_choose_other_data_may_have_them(tmp_path):
    rows = {"a": {"data.num_train": 10}, "b": {"data.num_train": 20}}
    for title, digest in (("a", "a" * 64), ("b", "b" * 64)):
        _write(tmp_path / f"{title}-seed0", 0, 0.6, data_sha256=digest)
    assert study_table(_study(rows=rows), tmp_path).count("60.00") == 2
    moved = {"a": {"data.root": "x"}, "b": {"data.root": "y"}}
    with pytest.raises(InputError, match="made of other data"):
        study_table(_study(rows=moved), tmp_path)


def test_a_record_of_an_earlier_version_notes_no_data_and_is_taken(tmp_path):
    _write(tmp_path / "dpsh-cgat-seed0", 0, 0.6)
    _write(tmp_path / "dpsh-weight-2-seed0", 0, 0.5, data_sha256="b" * 64)
    assert "60.00" in study_table(_study(), tmp_path)
