"""The structure of the package: imports go one way, and nothing grows too large."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cgat_jax"
FLOORS = [
    {"errors", "precision", "progress", "rng", "zoo"},
    {"types", "retrieval"},
    {"files", "centers", "sharding", "device_retrieval"},
    {"processes"},
    {"config"},
    {"workdir", "data", "models", "losses"},
    {"attacks"},
    {"defenses"},
    {"training"},
    {"evaluation"},
    {"alarm"},
    {"report", "search"},
    {"benchmarking", "claims", "service"},
    {"reproduction"},
]
"""Rooms from the bottom up; a module imports from its own and from lower floors."""
KNOW_NO_RUN = (
    "attacks",
    "losses",
    "models",
    "retrieval",
    "device_retrieval",
    "centers",
)
DATA = [
    {"dataset", "images", "crops", "arrays", "digest", "stream", "cache"},
    {"sources"},
    {"checks"},
    {"prepare"},
    {"datasets"},
    {"loader", "diagnosis", "preview", "__init__"},
]
"""The same within ``data``."""
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_MODULES, MOST_LINES, MOST_OF_FUNCTION, MOST_PARAMETERS = 8, 250, 45, 6


def parts_of(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE).with_suffix("").parts


def imports(path: Path):
    """(line, dotted module, names) of every import, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module, tuple(alias.name for alias in node.names)


def own_imports(path: Path):
    """(line, parts below the package) of every import of our own modules."""
    for line, module, names in imports(path):
        first, *rest = module.split(".")
        if first != "cgat_jax":
            continue
        if rest:
            yield line, rest
        else:
            yield from ((line, [name]) for name in names if name != "__version__")


def floor_of(room: str, floors: list[set[str]]) -> int:
    return next(i for i, rooms in enumerate(floors) if room in rooms)


def test_every_room_has_a_floor():
    rooms = {parts_of(path)[0] for path in MODULES} - {"__init__"}
    assert rooms == set().union(*FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(parts_of(path)))
def test_imports_go_one_way(path):
    room, *inner = parts_of(path)
    if room == "__init__":
        return
    wrong = []
    for line, (target, *below) in own_imports(path):
        floor = floor_of(room, FLOORS)
        wrong_way = floor_of(target, FLOORS) >= floor and target != room
        if room == target == "data" and below:
            place = inner[0] if inner else "__init__"
            wrong_way = floor_of(below[0], DATA) > floor_of(place, DATA)
        if wrong_way:
            wrong.append(f"{path}:{line}: {room} imports {target}.{'.'.join(below)}")
        if room in KNOW_NO_RUN and target in ("config", "workdir"):
            wrong.append(f"{path}:{line}: {room} is to know no {target}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("flax.linen", {"models"}),
        ("orbax", {"training"}),
        ("matplotlib", {"report"}),
        ("pandas", {"report", "reproduction"}),
        ("jinja2", {"report", "search", "service"}),
        ("fastapi", {"service"}),
        ("starlette", {"service"}),
        ("uvicorn", {"service"}),
        ("prometheus_client", {"service"}),
        ("faiss", {"search"}),
        ("pymilvus", {"search"}),
        ("sqlite3", {"search"}),
        ("jsonschema", {"claims"}),
        ("tensorflow", set()),
        ("absl.flags", set()),
    ],
)
def test_a_library_is_imported_in_its_rooms_alone(library, rooms):
    wrong = [
        f"{path}:{line}: imports {module}"
        for path in MODULES
        for line, module, _ in imports(path)
        if f"{module}.".startswith(f"{library}.") and parts_of(path)[0] not in rooms
    ]
    assert not wrong, "\n".join(wrong)


def test_pytorch_is_imported_in_functions_alone():
    wrong = [
        f"{path}:{node.lineno}"
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "torch" in [getattr(node, "module", ""), *(a.name for a in node.names)]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ["data", "retrieval"])
def test_rooms_of_numpy_know_no_jax(room):
    wrong = [
        f"{path}:{line}: imports {module}"
        for path in MODULES
        for line, module, _ in imports(path)
        if parts_of(path)[0] == room
        and parts_of(path) != ("data", "loader")
        and module.split(".")[0] == "jax"
    ]
    assert not wrong, "\n".join(wrong)


def calls(path: Path):
    """(line, dotted name of what is called, the call) of every call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def test_the_package_prints_nothing_and_ends_nothing():
    """That is the programs' part; signals are ``training.interrupts``'s alone."""
    loud = ("print", "sys.exit", "os._exit", "sys.stdout.write", "sys.stderr.write")
    wrong = [
        f"{path}:{line}: {name}"
        for path in MODULES
        for line, name, _ in calls(path)
        if (name in loud or name.startswith("signal."))
        and parts_of(path) != ("training", "interrupts")
    ]
    assert not wrong, "\n".join(wrong)


def test_strict_promotion_is_switched_off_for_optax_alone():
    wrong = [
        f"{path}:{line}"
        for path in (ROOT / "tests").rglob("*.py")
        for line, name, _ in calls(path)
        if name.endswith("numpy_dtype_promotion") and path.name != "adam.py"
    ]
    assert not wrong, "\n".join(wrong)


def test_few_modules_lie_at_the_root():
    flat = [path.name for path in PACKAGE.glob("*.py")]
    assert len(flat) <= MOST_MODULES, flat


def test_no_module_is_long():
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    long = [f"{path}: {n} lines" for path, n in lengths.items() if n > MOST_LINES]
    assert not long, "\n".join(long)


def size_of(function: ast.FunctionDef) -> tuple[int, int]:
    """Lines without the docstring, and parameters that must be given."""
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= first.end_lineno - first.lineno + 1
    named = [*function.args.posonlyargs, *function.args.args]
    optional = len(function.args.defaults)
    needed = [arg.arg for arg in named[: len(named) - optional]]
    for arg, default in zip(
        function.args.kwonlyargs, function.args.kw_defaults, strict=True
    ):
        needed += [arg.arg] if default is None else []
    return lines, len([name for name in needed if name not in ("self", "cls")])


def test_no_function_is_long_or_needs_much():
    wrong = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines, count = size_of(node)
                if lines > MOST_OF_FUNCTION or count > MOST_PARAMETERS:
                    place = f"{path}:{node.lineno}: {node.name}"
                    wrong.append(f"{place}: {lines} lines, {count} parameters")
    assert not wrong, "\n".join(wrong)
