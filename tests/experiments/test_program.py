"""What a user of the command meets: signals, locks, refusals, data of their own."""

import html
import shutil
import signal
import time

import pytest

from tests.data.sources import write_images, write_lists
from tests.programs import run_program
from tests.runs import newest_step, read_records, run_main, start, without_progress


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluate.sources=nowhere", "nowhere: no config.json"),
        ("evaluate.transfer=worst_case", "worst_case is no single attack"),
        ("evaluate.transfer=cgta", "did you mean 'cgat'"),
    ],
)
def test_wrong_transfers_are_refused_before_training(
    cache, tmp_path, override, message
):
    done = run_main(tmp_path, cache, f"--config.{override}")
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not tmp_path.joinpath("backbone").exists()


def test_wrong_attack_settings_are_refused_before_training(cache, tmp_path):
    wrong = {
        "evaluate.attacks=noise,cgta": "did you mean",
        "evaluate.preset=fats": "did you mean",
        "data.crop_size=40": "multiple of 16: data.crop_size is 40",
    }
    for override, message in wrong.items():
        overrides = ["--config.evaluate.attacks=prosgan", f"--config.{override}"]
        done = run_main(tmp_path, cache, *overrides)
        assert done.returncode == 2 and message in done.stderr
        assert not tmp_path.joinpath("backbone").exists()


@pytest.mark.long
def test_a_study_runs_its_cells_once_and_writes_their_table(tmp_path):
    flags = ["--study=tests/tiny_study.py", f"--workdir={tmp_path / 'cells'}"]
    flags.append(f"--out={tmp_path / 'table.md'}")
    done = run_program("experiments.study", *flags)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "table.md").read_text()
    assert "| undefended | " in table and "| AT-self | " in table
    assert "cell 2 of 2" in done.stdout
    again = run_program("experiments.study", *flags)
    assert "cell" not in again.stdout and "| AT-self | " in again.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--study is missing"),
        (["--study=nowhere.py", "--workdir=x"], "no file 'nowhere.py'"),
        (["--study=tests/tiny_config.py", "--workdir=x"], "must return Study records"),
        (["--stduy=x"], "stduy"),
    ],
)
def test_a_study_that_cannot_run_is_one_line_and_exit_code_2(flags, message):
    done = run_program("experiments.study", *flags)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_each_signal_saves_and_exits_with_one_line(cache, tmp_path):
    """SIGINT, SIGTERM and SIGHUP, one after the other in one run."""
    overrides = ["--config.pretrain.epochs=5000", "--config.checkpoint_seconds=1000"]
    folder, step = tmp_path / "pretrain" / "checkpoints", 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (1, 129)):
        process = start(tmp_path, cache, *overrides)
        log = tmp_path / "pretrain" / "metrics.jsonl"
        size = log.stat().st_size if log.is_file() else 0
        deadline = time.monotonic() + 600
        while not (log.is_file() and log.stat().st_size > size + 500):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        name = signal.Signals(number).name
        last = f"main: stopped by {name}; the same command goes on from here\n"
        assert errors.endswith(last) and without_progress(errors) == last
        assert "stage 2 of 4, pretrain: " in errors
        assert newest_step(folder) > step
        step = newest_step(folder)


@pytest.mark.slow
def test_a_second_process_is_told_who_holds_the_workdir(cache, tmp_path):
    overrides = ["--config.pretrain.epochs=5000"]
    first = start(tmp_path, cache, *overrides)
    try:
        deadline = time.monotonic() + 600
        while not (tmp_path / "pretrain").is_dir():
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.1)
        done = run_main(tmp_path, cache, *overrides)
        assert done.returncode == 2
        assert f"in use by process {first.pid} on " in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    finally:
        first.kill()
        first.communicate()


def test_a_foreign_workdir_is_refused_and_keeps_its_bytes(cache, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("mine")
    (tmp_path / "results.json").write_text("mine")
    done = run_main(tmp_path, cache)
    assert done.returncode == 2 and "not empty, and not a run" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "index.html",
        "report",
        "results.json",
    ]
    assert (tmp_path / "results.json").read_text() == "mine"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The lists and images of 24 photos of two classes."""
    return listed_photos(tmp_path_factory.mktemp("photos") / "source")


def listed_photos(folder, size=(40, 40)):
    names = [f"images/p{i:02d}.jpg" for i in range(24)]
    rows = [(name, ("1 0", "0 1")[i % 2]) for i, name in enumerate(names)]
    write_lists(folder, {"test": rows[:4], "database": rows[4:], "train": rows[8:]})
    write_images(folder, names, size=size)
    return folder


_LISTS = [
    *("--config.data.name=lists", "--config.data.num_queries=5000"),
    *("--config.data.num_train=10000", "--config.data.num_database=0"),
    *("--config.evaluate.attacks=", "--config.defense.epochs=0"),
]


@pytest.mark.slow
def test_a_run_belongs_to_its_data(photos, cache, tmp_path):
    source, root, run = tmp_path / "source", tmp_path / "root", tmp_path / "run"
    shutil.copytree(photos, source)
    flags = [*_LISTS, f"--config.data.source={source}", f"--config.data.root={root}"]
    done = run_main(run, cache, *flags)
    assert done.returncode == 0, done.stderr
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}

    def unchanged():
        locks = (".cgat_jax.lock",)
        after = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
        names = {p for p in before.keys() | after.keys() if p.name not in locks}
        return {p: before.get(p) for p in names} == {p: after.get(p) for p in names}

    labels = source / "train_label.txt"
    both = labels, source / "database_label.txt"
    for path in both:  # corrected in place
        path.write_text(path.read_text().replace("1 0", "1 1"))
    done = run_main(run, cache, *flags)
    assert done.returncode == 2 and "labels" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and unchanged()

    other = [*_LISTS, f"--config.data.source={source}"]
    other.append(f"--config.data.root={tmp_path / 'other'}")
    done = run_main(run, cache, *other)  # prepared anew, and put under the old run
    assert done.returncode == 2 and "was made of other data (labels" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and unchanged()

    root.rename(tmp_path / "moved")
    moved = [*_LISTS, f"--config.data.root={tmp_path / 'moved'}"]
    done = run_main(run, cache, *moved)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("root", ["elsewhere", "in the workdir"])
def test_what_cannot_work_is_refused_and_the_corrected_command_goes_on(
    cache, tmp_path, root
):
    """All at once; the workdir is not claimed, or for the prepared data alone."""
    source, run = listed_photos(tmp_path / "source", size=(20, 50)), tmp_path / "run"
    flags = [*_LISTS, f"--config.data.source={source}"]
    if root == "elsewhere":
        flags.append(f"--config.data.root={tmp_path / 'root'}")
    wrong = ["--config.data.enlarge=false", "--config.pretrain.drop_last=true"]
    wrong.append("--config.pretrain.batch_size=64")
    done = run_main(run, cache, *flags, *wrong)
    assert done.returncode == 2, done.stderr
    assert "24 of 24 images are smaller than data.crop_size=32" in done.stderr
    assert "p08.jpg (50 x 20)" in done.stderr
    assert "drop_last" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert run.exists() == (root == "in the workdir")
    done = run_main(run, cache, *flags, "--config.pretrain.epochs=0")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_degenerate_data_are_named_before_any_number(photos, cache, tmp_path):
    source, run = tmp_path / "source", tmp_path / "run"
    shutil.copytree(photos, source)
    for path in source.glob("*_label.txt"):
        path.write_text(path.read_text().replace("1", "0"))
    flags = [*_LISTS, f"--config.data.source={source}"]
    done = run_main(run, cache, *flags, "--config.pretrain.epochs=1")
    assert done.returncode == 0, done.stderr
    text = "no image has a label, so that every MAP is 0"
    assert text in done.stderr
    assert done.stdout.index(text) < done.stdout.index("MAP, %")
    assert text in read_records(run)[0]["warnings"]
    page = html.unescape((run / "report" / "index.html").read_text())
    assert text in page


@pytest.mark.slow
def test_a_number_that_is_not_finite_stops_the_run(cache, tmp_path):
    done = run_main(tmp_path, cache, "--config.backbone.learning_rate=1e30")
    assert done.returncode == 3, done.stderr
    assert "stage backbone, step" in done.stderr
    assert "not finite" in done.stderr and "database/0000" in done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.defense.wieght=2", "did you mean 'defense.weight'"),
        ("--config.defense.weight=much", "much"),
        ("--config.loss.name=dpshh", "did you mean 'dpsh'"),
        ("--config.evaluate.attacks=noise,cgta", "did you mean 'cgat'"),
        ("--config.model.bits=0", "model.bits"),
        ("--config.defense.epsilon=8", "defense.epsilon"),
        ("--config.model.weights=nowhere.safetensors", "nowhere.safetensors"),
        ("--config.data.num_train=500", "data.num_train=500"),
        ("--config.data.name=coco", "data.source"),
        ("--config.defense.batch_size=0", "defense.batch_size"),
        ("--config.data.source=x", "data.source=x is not used with quickstart"),
        ("--config.model.name=alexnet", "alexnet expects images of 224 x 224"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    cache, tmp_path, override, message
):
    done = run_main(tmp_path / "run", cache, override)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()


def test_all_wrong_settings_are_named_at_once(cache, tmp_path):
    """Ranges, names of parts, what the data ignore, other runs, weights: a line."""
    wrong = {
        "log_steps=0": "log_steps: expected a number from 1",
        "defense.epsilon=8": "defense.epsilon",
        "loss.name=dpshh": "did you mean 'dpsh'",
        "defense.name=cgta": "unknown defense 'cgta'",
        "pretrain.optimizer=sdg": "did you mean 'sgd'",
        "pretrain.schedule=cosinus": "did you mean 'cosine'",
        "evaluate.attacks=cgta,hog": "did you mean 'cgat'",
        "evaluate.transfer=saatt": "did you mean 'saat'",
        "evaluate.sources=nowhere": "nowhere: no config.json",
        "model.weights=no.safetensors": "no weights file: no.safetensors",
        "data.source=x": "data.source=x is not used with quickstart",
    }
    done = run_main(tmp_path / "run", cache, *(f"--config.{key}" for key in wrong))
    assert done.returncode == 2, done.stderr
    for message in [*wrong.values(), "did you mean 'hag'"]:
        assert message in done.stderr, message
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()


def test_help_shows_every_setting_with_its_default():
    done = run_program("experiments.main", "--help")
    assert "--config.defense.weight=1.0" in done.stdout
    assert "--config.evaluate.steps=0" in done.stdout
