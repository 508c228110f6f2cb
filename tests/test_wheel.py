"""What is packed: the wheel holds the package alone, and all that it needs."""

import fnmatch
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.test_docs import blocks

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cgat_jax"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("cgat_jax", "experiments", "benchmarks", "tests", "docs")
UNPACKED = {"cgat_jax/data/assets/README.md"}  # on how the photos were made
PINS = ("requirements.txt", "requirements-test.txt")
NEEDED = {"build": 1, "setuptools": 77}
IS_JUNK = shutil.ignore_patterns("__pycache__", "*.py[cod]", ".*_cache")


def files_of(folder: Path) -> set[str]:
    found = {path.relative_to(ROOT) for path in folder.rglob("*") if path.is_file()}
    return {
        path.as_posix()
        for path in found
        if "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def test_only_the_package_is_found():
    assert SETTINGS["tool"]["setuptools"]["packages"]["find"] == {
        "include": ["cgat_jax*"]
    }


def test_every_module_lies_in_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert not [str(x) for x in folders if not (x / "__init__.py").is_file()]


def test_every_file_that_is_no_module_is_package_data():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["cgat_jax"]
    names = [pattern.removeprefix("**/") for pattern in patterns]
    left_out = {
        path
        for path in files_of(PACKAGE) - UNPACKED
        if not path.endswith(".py")
        and not any(fnmatch.fnmatch(Path(path).name, name) for name in names)
    }
    assert not left_out, left_out


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source archive, built without network."""
    for name, least in NEEDED.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
        if int(version.split(".")[0]) < least:
            pytest.skip(f"{name} {version} is too old: {least} is needed")
    source = tmp_path_factory.mktemp("source")
    out = tmp_path_factory.mktemp("dist")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=IS_JUNK)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    command = [sys.executable, "-m", "build", "--no-isolation", f"--outdir={out}"]
    done = subprocess.run([*command, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


@pytest.mark.long
def test_the_wheel_holds_the_package_alone_and_all_of_it(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == files_of(PACKAGE) - UNPACKED
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.long
def test_the_source_archive_is_the_whole_checkout(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = set().union(*(files_of(ROOT / folder) for folder in FOLDERS))
    wanted |= {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"}
    wanted |= {"requirements.txt", "requirements-test.txt", "Makefile"}
    wanted |= {"requirements-docs.txt"}
    assert not wanted - names, wanted - names


@pytest.mark.long
def test_from_the_wheel_the_package_works_where_no_checkout_is(built, tmp_path):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path[:] = [{str(tmp_path / 'site')!r}, *(p for p in sys.path "
        f"if p not in ('', {str(ROOT)!r}))]; "
        "import cgat_jax as cj; print(cj.__file__); "
        "from cgat_jax.config.loading import load_config\n"
        "try: load_config('experiments/configs/quickstart.py')\n"
        "except cj.errors.InputError as error: print(error)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(str(tmp_path / "site"))
    assert second.startswith("no file 'experiments/configs/quickstart.py' in ")


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Python of a new environment with the wheel and what it asks for.

    With the extra that one of the examples needs. The versions are the pinned ones,
    from where pip finds packages; with PyTorch, which two of the examples use, if these
    tests have it.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = [f"{next(built.glob('*.whl'))}[export]"]
    wanted += ["torch"] * (importlib.util.find_spec("torch") is not None)
    pins = [f"--constraint={ROOT / name}" for name in PINS]
    command = [python, "-m", "pip", "install", "--quiet", *pins, *wanted]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("pip finds no packages")
    assert done.returncode == 0, done.stderr[-2000:]
    return python


@pytest.mark.long
@pytest.mark.parametrize(("heading", "code"), blocks())
def test_an_example_of_the_page_runs_where_the_wheel_is_installed(
    installed, heading, code, tmp_path
):
    if "import torch\n" in code:
        pytest.importorskip("torch")
    code += "\nimport cgat_jax; print(cgat_jax.__file__)\n"
    command = [installed, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, f"{heading}: {done.stderr[-2000:]}"
    environment = str(installed.parents[1])
    assert done.stdout.splitlines()[-1].startswith(environment)
