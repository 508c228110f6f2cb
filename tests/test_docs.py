"""The examples run: of docs/api.md, and of every public function's docstring."""

import doctest
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import cgat_jax
from cgat_jax import attacks, centers, device_retrieval, losses, retrieval
from cgat_jax.data import load_dataset
from cgat_jax.models.network_file import new_card
from tests.test_structure import FLOORS

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:cgat_jax|experiments|tests|docs|benchmarks)/[\w./]*)`")
PRIVATE = {"cgat_jax.centers.exact"}  # the arithmetic of center codes
FLOOR = re.compile(r"^\| (\d+) \| ((?:`\w+` )+)\|", re.MULTILINE)
RUN_IN = {
    "cgat_jax.attack": "tests/attacks/test_run.py",
    "cgat_jax.benchmark": "tests/benchmarking/test_benchmark.py",
}
"""Examples that take seconds, and the tests that run them."""
PAGES = ["README.md", "CONTRIBUTING.md", "docs/api.md", "docs/architecture.md"]


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


def test_examples_of_methods_go_on_from_that_of_their_class():
    """So that ``net`` need not be made again in each."""
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (first,) = finder.find(cgat_jax.Network, "Network", globs={})
    runner.run(first, clear_globs=False)
    assert METHODS
    for name, method in METHODS.items():
        (example,) = finder.find(method, name, globs=dict(first.globs))
        assert example.examples, f"{name}: no example in its docstring"
        runner.run(example)
    assert not runner.summarize().failed


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    path = ROOT / page
    text = path.read_text()
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
