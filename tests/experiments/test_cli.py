"""Programs end in one line with the right code: bad files, bad settings, signals."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from cgat_jax.config import Config
from cgat_jax.config.loading import call, load_config, override
from cgat_jax.config.settings import to_json
from cgat_jax.errors import InputError, Stopped
from experiments import cli
from experiments.configs import coco
from tests.programs import ROOT, run_program

IMPORT = "from cgat_jax.config import Config, Defense\n"
SET = IMPORT + "def get_config():\n    c = Config()\n    {}\n    return c\n"
NUL = "x = '" + chr(0) + "'\n"


def _environment(**more):
    return os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | more


def _run(arguments, cwd=ROOT):
    return run_program(*arguments, cwd=cwd)


BAD_FILES = {
    "a syntax error": ("def get_config(:\n", "line 1: SyntaxError"),
    "an error when run": (IMPORT + "\n1 / 0\n", "line 3: ZeroDivisionError"),
    "an error in get_config": (
        "def get_config():\n    raise KeyError('no')\n",
        "line 2: KeyError: 'no'",
    ),
    "an exit": ("raise SystemExit('bye')\n", "line 1: SystemExit: bye"),
    "a missing import": ("import nowhere_at_all\n", "line 1: ModuleNotFoundError"),
    "an unreadable file": ("open('/nowhere/at/all')\n", "line 1: FileNotFoundError"),
    "endless recursion": (
        "def get_config():\n    return get_config()\n",
        "line 2: RecursionError",
    ),
    "no get_config": ("config = 3\n", "get_config() is missing; it must return"),
    "another type": (
        "def get_config():\n    return {'seed': 1}\n",
        "must return a Config, not {'seed': 1}",
    ),
    "nothing returned": ("def get_config():\n    pass\n", "not None"),
    "a misspelled argument": (
        IMPORT + "def get_config():\n    return Config(sead=1)\n",
        "line 3: TypeError",
    ),
    "a misspelled attribute read": (
        IMPORT + "def get_config():\n    return Config().sead\n",
        "line 3: AttributeError",
    ),
    "a misspelled attribute set": (
        SET.format("c.defense.epoch = 3"),
        "unknown setting defense.epoch; did you mean 'epochs'?",
    ),
    "a value of another type": (
        SET.format("c.seed = 'one'"),
        "seed: expected int, got 'one'",
    ),
    "another section": (
        SET.format("c.pretrain = Defense()"),
        "pretrain: expected Training, got Defense",
    ),
    "binary junk": (NUL, "SyntaxError|ValueError"),
    "other encodings": (b"\xff\xfe\x00", "SyntaxError|ValueError"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_configuration_file_is_one_line_with_its_place(tmp_path, name):
    content, said = BAD_FILES[name]
    path = tmp_path / "bad.py"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        load_config(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text
    assert said in text or re.search(said, text), text


def test_what_is_no_configuration_file_is_named(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        load_config(tmp_path)
    with pytest.raises(InputError, match="no file 'nowhere.py' in .* or .*"):
        load_config("nowhere.py")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="expected a Python file"):
        load_config(tmp_path / "notes.txt")


def test_whole_numbers_become_fractions_where_a_setting_is_one(tmp_path):
    path = tmp_path / "whole.py"
    path.write_text(SET.format("c.defense.weight = 2"))
    weight = load_config(path).defense.weight
    assert weight == 2.0 and isinstance(weight, float)


def test_a_runs_own_configuration_is_a_configuration_file(tmp_path):
    config = coco.get_config()
    config.defense.weight = 3.0
    path = tmp_path / "config.json"
    path.write_text(to_json(config))
    assert load_config(path) == config
    path.write_text('{"seed": 5}')
    assert load_config(path) == dataclasses.replace(Config(), seed=5)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=re.escape(str(path))):
        load_config(path)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", "3", 3),
        ("defense.weight", 2, 2.0),
        ("defense.augment", "False", False),
        ("defense.augment", "0", False),
        ("loss.redraw", True, True),
        ("loss.name", "csq", "csq"),
    ],
)
def test_settings_are_overridden_by_their_text(key, value, expected):
    config = Config()
    override(config, {key: value})
    section, _, name = key.rpartition(".")
    found = getattr(getattr(config, section) if section else config, name)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", "one", "seed: expected int, got 'one'"),
        ("defense.augment", "perhaps", "expected bool, got 'perhaps'"),
        ("defense.weigth", 1, "did you mean 'weight'"),
        ("defense", 1, "unknown setting 'defense'"),
        ("nowhere.weight", 1, "unknown setting 'nowhere.weight'"),
    ],
)
def test_a_wrong_override_is_named(key, value, said):
    with pytest.raises(InputError, match=said):
        override(Config(), {key: value})


def test_a_file_for_studies_goes_through_the_same_loader(tmp_path):
    path = tmp_path / "study.py"
    path.write_text("def get_studies():\n    return 1 / 0\n")
    with pytest.raises(InputError, match="study.py, line 2: ZeroDivisionError"):
        call(path, "get_studies", "Study records")


MAIN = "experiments.main"
REFUSED = {
    "broken, with override": (
        [MAIN, "--config={tmp}/bad.py", "--config.seed=1"],
        "main: {tmp}/bad.py, line 1: Syntax",
    ),
    "wrong type": (
        [MAIN, "--config=experiments/configs/coco.py", "--config.seed=one"],
        "main: flag --config.seed=one",
    ),
    "no file": ([MAIN, "--config.seed=one"], "main: --config is missing"),
    "misspelled": (
        [MAIN, "--config=experiments/configs/coco.py", "--config.sead=1"],
        "main: unknown setting 'sead'; did you mean 'seed'?",
    ),
    "study": (
        ["experiments.study", "--study={tmp}/bad.py", "--workdir={tmp}/w"],
        "study: {tmp}/bad.py, line 1: Syntax",
    ),
    "a study's cell": (
        ["experiments.study", "--study={tmp}/study.py", "--workdir={tmp}/w"],
        "study: T, row 'a': {tmp}/bad.py, line 1: Syntax",
    ),
    "report": (
        ["experiments.report", "--workdir={tmp}"],
        "report: {tmp}/config.json: damaged, not valid JSON",
    ),
}
STUDY = """
from cgat_jax.reproduction.study import Study

def get_studies():
    rows = {"a": {"defense.epochs": 0}}
    return [Study(title="T", text="", config="%s", rows=rows)]
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_every_program_refuses_a_bad_file_in_one_line(tmp_path, name):
    (tmp_path / "bad.py").write_text("def get_config(:\n")
    (tmp_path / "study.py").write_text(STUDY % (tmp_path / "bad.py"))
    (tmp_path / "config.json").write_text("{")
    arguments, said = REFUSED[name]
    if "a study's cell" in name:  # a cell that may be done is compared with its file
        cell = tmp_path / "w" / "pretrained-seed0"
        cell.mkdir(parents=True)
        (cell / "results.json").write_text("{}")
        (cell / "config.json").write_text("{}")
    done = _run([a.format(tmp=tmp_path) for a in arguments], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert said.format(tmp=tmp_path) in done.stderr, done.stderr


def test_a_configuration_of_the_package_is_found_from_any_folder(tmp_path):
    """Past the flags, what is refused is what the file and the overrides say."""
    arguments = [MAIN, "--config=experiments/configs/coco.py", "--workdir=run"]
    done = _run([*arguments, "--config.data.crop_size=300"], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "data.crop_size exceeds data.image_size: 300 > 256" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_runs_configuration_takes_overrides(tmp_path):
    (tmp_path / "config.json").write_text(to_json(coco.get_config()))
    arguments = [MAIN, "--config=config.json", "--config.data.crop_size=300"]
    done = _run([*arguments, "--workdir=run"], cwd=tmp_path)
    assert done.returncode == 2 and "crop_size: 300 > 256" not in done.stderr
    assert "data.crop_size exceeds data.image_size: 300 > 256" in done.stderr


_PROGRAM = """
import json, sys, time
from experiments import cli

def main():
    {body}

sys.argv = ["program"]
cli.run("program", main)
"""


def _program(body, through=()):
    return subprocess.Popen(
        [*through, sys.executable, "-c", _PROGRAM.format(body=body)],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("open('/nowhere/at/all')", 2, "program: /nowhere/at/all: No such file"),
        ("raise OSError('odd')", 2, "program: odd"),
        ("raise ValueError('two\\nlines')", 2, "program: two lines"),
        ("raise MemoryError", 2, "program: out of memory"),
        (
            "from cgat_jax.errors import NonFiniteError; raise NonFiniteError('a\\nb')",
            *(3, "program: a b"),
        ),
        ("return 7", 7, ""),
    ],
)
def test_what_reaches_the_top_is_one_line(body, code, said):
    with _program(body) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error.startswith(said) and error.count("\n") == bool(said), error


@pytest.mark.parametrize(
    ("rank", "code", "said"),
    [(0, 2, "program: process 1: no memory\n"), (1, 2, "")],
)
def test_what_ended_another_process_is_said_by_the_first(rank, code, said):
    body = "from cgat_jax import errors, processes; "
    body += f"processes.is_first = lambda: {not rank}; "
    body += "raise errors.ToldElsewhere('process 1: no memory')"
    with _program(body) as process:
        _, error = process.communicate(timeout=600)
    assert (process.returncode, error) == (code, said)


def test_a_signal_while_flags_are_parsed_is_no_help(monkeypatch):
    def stopped(arguments):
        raise Stopped(143)

    monkeypatch.setattr(cli, "check_overrides", stopped)
    with pytest.raises(Stopped) as caught:
        cli._parser("program", None)(["program"])
    assert caught.value.code == 143


def test_only_flags_are_overrides():
    cli.check_overrides(["program", "config.jpg", "noconfig.txt", "--config.seed=1"])
    for flag in ("-config.sead=1", "--config.sead=1"):
        with pytest.raises(ValueError, match="unknown setting 'sead'"):
            cli.check_overrides([flag])


def test_a_name_that_is_no_utf8_is_printed_with_escapes():
    body = "print(__import__('os').fsdecode(b'caf' + bytes([233])))"
    with _program(body) as process:
        out, error = process.communicate(timeout=600)
    assert (process.returncode, out, error) == (0, "caf\\udce9\n", "")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("{}['nothing']", "KeyError"),
        ("__import__('numpy').zeros(2).reshape(3)", "ValueError"),
        ("json.loads('{')", "ValueError"),
    ],
)
def test_a_mistake_of_ours_keeps_its_traceback(body, kind):
    """Also a ValueError that a library raised: no file or setting is to blame."""
    with _program(body) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" in error, error
    assert kind in error or "JSONDecodeError" in error


def test_an_oserror_begins_with_its_path():
    error = OSError(28, "No space left on device", "/runs/a")
    assert cli.describe(error) == "/runs/a: No space left on device"
    error = OSError(17, "File exists", "/a", None, "/b")
    assert cli.describe(error) == "/a -> /b: File exists"
    assert cli.describe(OSError("plain")) == "plain"


BUSY = "print('go', flush=True)\n    while True: time.sleep(0.05)"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_ends_a_program_with_one_line_and_its_code(number, code):
    with _program(BUSY) as process:
        assert process.stdout.readline() == "go\n"
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == code
    name = signal.Signals(number).name
    line = f"program: stopped by {name}; the same command goes on from here\n"
    assert error == line


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_signal_ends_a_program_that_nobody_reads(closed, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with _program(BUSY.replace("\n", "; print('unread')\n")) as process:
        assert process.stdout.readline() == "go\n"
        getattr(process, closed).close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 143


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("code", [0, 1])
def test_work_that_is_done_keeps_its_code_though_nobody_reads(
    code, unbuffered, monkeypatch
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    body = "print('go', flush=True); sys.stdin.readline(); print('table')"
    with _program(f"{body}; cli.tell('line'); print('x' * 10**5); return {code}") as p:
        assert p.stdout.readline() == "go\n"
        p.stdout.close()
        p.stdin.write("\n")
        p.stdin.close()
        assert p.wait(600) == code
        assert p.stderr.read() == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("to", "body", "code"),
    [
        (">&-", "print('table'); cli.tell('line'); return 1", 1),
        (">/dev/full", "cli.tell('line'); cli.tell('line'); print('y'); return 0", 2),
    ],
)
def test_output_that_is_closed_ends_nothing_and_a_full_disk_is_said_at_the_end(
    to, body, code, unbuffered, monkeypatch
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with _program(body, through=("sh", "-c", f'exec "$@" {to}', "sh")) as process:
        _, error = process.communicate(timeout=600)
    assert process.returncode == code, error
    said = "" if code == 1 else "program: [Errno 28] No space left on device\n"
    assert error == said


SAVES = """with cli.stop().deferred(saving=True):
        print('go', flush=True)
        while not cli.stop().asked: time.sleep(0.05)
        print('saves', flush=True)
        time.sleep(60)"""


@pytest.mark.slow
def test_a_second_signal_ends_a_program_that_saves():
    """At once and without a line; within two seconds it would be the same request."""
    with _program(SAVES) as process:
        assert process.stdout.readline() == "go\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "saves\n"
        time.sleep(2.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 143


def test_a_connection_that_drops_does_not_stop_what_nohup_started():
    with _program(
        BUSY, through=("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")
    ) as process:
        assert process.stdout.readline() == "go\n"
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 143 and "SIGTERM" in error


_SLOW = """
import os, signal, sys, time
from pathlib import Path
if os.environ.get("SLOW_IMPORTS"):
    import importlib.abc
    class Slow(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "absl":
                print("go", flush=True)
                time.sleep(60)
    sys.meta_path.insert(0, Slow())
"""


def test_a_signal_while_modules_are_imported_is_one_line_as_well(tmp_path):
    """``sitecustomize`` makes the first import of a program's libraries wait."""
    (tmp_path / "sitecustomize.py").write_text(_SLOW)
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    with subprocess.Popen(
        [sys.executable, "-m", "experiments.report", "--workdir=x"],
        cwd=ROOT,
        env=_environment(PYTHONPATH=paths, SLOW_IMPORTS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "go\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "report: stopped by SIGINT before it began\n"


PROGRAMS = sorted(
    path.stem
    for path in (ROOT / "experiments").glob("*.py")
    if "cli.run(" in path.read_text() and path.stem != "cli"
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_is_no_failure_and_its_commands_are_as_they_are_typed(name):
    done = _run([f"experiments.{name}", "--help"])
    assert done.returncode == 0, done.stderr
    assert f"python -m experiments.{name}" in done.stdout
    assert "docs/runs.md" in done.stdout or "130, 143 and 129" in done.stdout
    for line in done.stdout.splitlines():
        if "python -m" in line:
            assert "  " not in line.strip(), line
