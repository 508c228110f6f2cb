"""The examples run: of docs/api.md, and of every public function's docstring."""

import doctest
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cgat_jax
from cgat_jax import attacks, centers, device_retrieval, losses, retrieval
from cgat_jax.config import Config
from cgat_jax.config.settings import settings
from cgat_jax.data import load_dataset
from cgat_jax.models.network_file import new_card
from tests.test_structure import FLOORS

ROOT = Path(__file__).parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"
API = ROOT / "docs" / "api.md"
FLAGS = re.MULTILINE | re.DOTALL
BLOCK = re.compile(r"^```python\n(.*?)^```$", FLAGS)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:cgat_jax|experiments|tests|docs|benchmarks)/[\w./]*)`")
PRIVATE = {"cgat_jax.centers.exact"}  # the arithmetic of center codes
FLOOR = re.compile(r"^\| (\d+) \| ((?:`\w+` )+)\|", re.MULTILINE)
RUN_IN = {
    "cgat_jax.attack": "tests/attacks/test_run.py",
    "cgat_jax.benchmark": "tests/benchmarking/test_benchmark.py",
}
"""Examples that take seconds, and the tests that run them."""
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
)
CODE = re.compile(r"^```.*?^```$", FLAGS)
MOST_OF_README = 120  # lines


def blocks() -> list[tuple[str, str]]:
    """(the heading that it stands under, code) of each example of docs/api.md."""
    text, found = API.read_text(), []
    for match in BLOCK.finditer(text):
        above = re.findall(r"^## (.*)$", text[: match.start()], re.MULTILINE)
        found.append((above[-1], match[1]))
    return found


def is_there(name: str) -> bool:
    module, _ = cgat_jax._PUBLIC[name]
    return importlib.util.find_spec(module) is not None


def exported(package) -> dict:
    """The public functions that a package offers and that are its own."""
    names = getattr(package, "__all__", dir(package))
    found = {name: getattr(package, name) for name in names if not name.startswith("_")}
    return {
        f"{package.__name__}.{name}": value
        for name, value in found.items()
        if inspect.isfunction(value)
        and value.__module__.startswith(package.__name__)
        and value.__module__ not in PRIVATE
    }


def public() -> dict:
    names = filter(is_there, cgat_jax.__all__)
    found = {f"cgat_jax.{name}": getattr(cgat_jax, name) for name in names}
    found = {name: x for name, x in found.items() if not inspect.ismodule(x)}
    for package in (attacks, centers, device_retrieval, losses, retrieval):
        found |= exported(package)
    for function in (load_dataset, new_card):  # that the page uses as well
        found[f"{function.__module__}.{function.__name__}"] = function
    return found


def methods() -> dict:
    """The public methods of the public classes."""
    return {
        f"{name}.{inner}": method
        for name, value in public().items()
        if inspect.isclass(value)
        for inner, method in vars(value).items()
        if inspect.isfunction(method) and not inner.startswith("_")
    }


PUBLIC, METHODS = public(), methods()


@pytest.fixture(scope="module")
def generated():
    """What the site takes from the code."""
    path = ROOT / "docs" / "_ext" / "generated.py"
    spec = importlib.util.spec_from_file_location("generated", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("heading", "code"), blocks(), ids=[h for h, _ in blocks()])
def test_an_example_of_the_page_runs(heading, code, tmp_path, monkeypatch):
    missing = [name for name in cgat_jax._PUBLIC if not is_there(name)]
    if needed := [name for name in missing if f"cj.{name}" in code]:
        pytest.skip(f"{needed} not in this version")
    if re.search(r"^import torch$", code, re.MULTILINE):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"{API.name}: {heading}", "exec"), {"__name__": "example"})


def test_the_page_shows_every_public_name():
    code = "\n".join(code for _, code in blocks())
    used = {*re.findall(r"\bcj\.(\w+)", code)}
    assert used <= {*cgat_jax.__all__}
    missing = {*cgat_jax.__all__} - used
    assert not missing, missing


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_has_an_example_that_runs(name):
    finder = doctest.DocTestFinder(recurse=False)
    examples = finder.find(PUBLIC[name], name, globs={})
    assert examples and examples[0].examples, f"{name}: no example in its docstring"
    if name in RUN_IN:
        assert "doctest.testmod(" in (ROOT / RUN_IN[name]).read_text()
        return
    if any(">>> import torch" in f">>> {x.source}" for x in examples[0].examples):
        pytest.importorskip("torch")
    failed, _ = doctest.DocTestRunner().run(examples[0])
    assert not failed


@pytest.mark.slow
def test_examples_of_methods_go_on_from_that_of_their_class():
    """So that ``net`` need not be made again in each."""
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    known = {}
    assert METHODS
    for name, method in METHODS.items():
        own = name.split(".")[1]
        if own not in known:
            (first,) = finder.find(getattr(cgat_jax, own), own, globs={})
            runner.run(first, clear_globs=False)
            known[own] = first.globs
        (example,) = finder.find(method, name, globs=dict(known[own]))
        assert example.examples, f"{name}: no example in its docstring"
        runner.run(example)
    assert not runner.summarize().failed


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    path = ROOT / page
    text = CODE.sub("", path.read_text())
    named = [path.parent / link for link in LINK.findall(text)]
    named += [ROOT / found for found in PATH.findall(text)]
    missing = [str(found) for found in named if not found.exists()]
    assert not missing, missing


def test_the_floors_of_the_page_are_those_that_are_tested():
    text = (ROOT / "docs" / "architecture.md").read_text()
    found = [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in FLOOR.findall(text)]
    assert found[::-1] == FLOORS
    numbers = [int(number) for number, _ in FLOOR.findall(text)]
    assert numbers == [*range(len(FLOORS), 0, -1)]


def test_the_site_has_every_page():
    """A page that no table of contents names is an orphan that nobody finds."""
    docs = ROOT / "docs"
    lists = [docs / "index.md", docs / "benchmarks" / "README.md"]
    listed = {
        (path.parent / f"{line}.md").relative_to(ROOT).as_posix()
        for path in lists
        for block in re.findall(r"^```{toctree}\n(.*?)^```$", path.read_text(), FLAGS)
        for line in block.split("\n\n")[1].split()
    }
    here = {page for page in PAGES if page.startswith("docs/")} - {"docs/index.md"}
    assert listed == here


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= MOST_OF_README


@pytest.mark.parametrize(
    ("page", "command"),
    [
        ("README.md", "python -m experiments"),
        ("docs/install.md", "python -m experiments"),
        ("docs/first_run.md", "python -m experiments"),
        ("CONTRIBUTING.md", "    python -m pytest"),
    ],
)
def test_the_environment_is_activated_before_the_first_command(page, command):
    before, found, _ = (ROOT / page).read_text().partition(command)
    assert "source .venv/bin/activate" in before or not found, page


def test_the_quickstart_ends_with_how_to_go_on():
    command = ["make", "-n", "--no-print-directory", "quickstart"]
    outer = {
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "VENV",
    }  # of a make that runs the tests
    own = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=own)
    assert "source .venv/bin/activate" in done.stdout.splitlines()[-1]


def test_make_refuses_an_old_python_before_it_makes_an_environment(tmp_path):
    old = tmp_path / "python3.10"
    said = "import sys; sys.version_info = (3, 10, 4); exec(sys.argv[1])"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{said}' \"$2\"\n")
    old.chmod(0o755)
    command = ["make", "quickstart", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    assert "3.11 or 3.12 is needed, and this is 3.10" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_what_the_site_makes_says_in_the_checkout_where_to_look(generated):
    for page in PAGES:
        text = (ROOT / page).read_text()
        for found in generated.MARK.finditer(text):
            assert found[0].startswith("_") and "`make docs`" in found[0], page
        assert "here in the checkout" not in generated.MARK.sub("", text), page


def test_notebooks_hold_no_outputs():
    """They are Markdown, which cannot; an .ipynb beside them could."""
    assert not [*(ROOT / "docs").rglob("*.ipynb")]
    for path in (ROOT / "docs" / "notebooks").glob("*.md"):
        assert path.read_text().startswith("---\nfile_format: mystnb\n"), path


def test_the_page_of_settings_has_each_with_its_default_and_help(generated):
    page = generated.settings_page()
    for key, value, text in settings(Config()):
        assert f"`{key}` = `{value!r}`\n: {generated.sentence(text)}" in page


def test_the_reference_has_every_public_function(generated):
    page = generated.public_names() + generated.public_modules()
    shown = set(re.findall(r"^\.\. auto(?:function|class):: (.*)$", page, re.MULTILINE))
    assert not {*PUBLIC} - shown


def test_the_version_stands_in_one_place():
    read = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in read["project"]["dynamic"] and "version" not in read["project"]
    where = read["tool"]["setuptools"]["dynamic"]["version"]
    assert where == {"attr": "cgat_jax.__version__"}
    version = re.escape(cgat_jax.__version__)
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {version}$", citation, re.MULTILINE)
    assert re.search(rf"\A# Changelog\n\n## {version} ", CHANGELOG.read_text())
