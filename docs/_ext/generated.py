"""What pages say about the code is taken from the code when the site is built.

A line ``<!-- generated: NAME -->`` of a page becomes what ``PARTS[NAME]`` returns, as
Markdown; a line in italics above it, for readers of the checkout, goes.
"""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cgat_jax
from cgat_jax.attacks import ATTACKS
from cgat_jax.config import Config
from cgat_jax.config.settings import free_settings, settings
from cgat_jax.data import DATASETS
from cgat_jax.defenses import DEFENSES
from cgat_jax.evaluation.sanity import CHECKS
from cgat_jax.losses import LOSSES
from cgat_jax.models import BACKBONES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MARK = re.compile(r"^(?:_.*_\n\n)?<!-- generated: (\w+) -->$", re.MULTILINE)
MODULES = (
    *("attacks", "losses", "centers", "retrieval", "device_retrieval", "search"),
    *("alarm", "data", "data.crops", "models", "models.network_file", "defenses"),
    *("types", "report", "errors"),
)
"""Public modules beside the names of ``cgat_jax`` itself."""
TABLES = {
    "losses": ("LOSSES", LOSSES),
    "attacks": ("ATTACKS", ATTACKS),
    "defenses": ("DEFENSES", DEFENSES),
    "models": ("BACKBONES", BACKBONES),
    "data": ("DATASETS", DATASETS),
}
"""Tables of names that a setting can have."""


def settings_page() -> str:
    """Every setting with its default, what it allows and its help text."""
    sections: dict[str, list[str]] = {}
    free = free_settings()
    for (key, value, text), field in zip(settings(Config()), _fields(), strict=True):
        entry = f"`{key}` = `{value!r}`\n: {sentence(text)} {_allowed(value, field)}"
        entry += " _A begun run may change it._" if key in free else ""
        sections.setdefault(key.rpartition(".")[0], []).append(entry)
    parts = []
    for name, entries in sections.items():
        owner = getattr(Config(), name) if name else Config()
        about = inspect.getdoc(owner).split("\n\n")[0]
        title = f"`{name}`" if name else "The run"
        parts += [f"## {title}", about, *entries]
    return "\n\n".join(parts)


def _fields(part=None) -> Iterator[dataclasses.Field]:
    part = Config() if part is None else part
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        yield from _fields(value) if dataclasses.is_dataclass(value) else [field]


def _allowed(value, field: dataclasses.Field) -> str:
    choices, (low, high) = field.metadata["choices"], field.metadata["bounds"]
    if choices:
        return "One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    if isinstance(value, bool):
        return "`true` or `false`."
    if isinstance(value, str):
        return ""
    return f"{low} to {high}." if high < float("inf") else f"{low} or more."


def sentence(text: str) -> str:
    """A setting's help text as Markdown."""
    text = text.replace("*", "\\*").replace("<", "&lt;")
    return text[:1].upper() + text[1:] + "."


def checks() -> str:
    """The sanity checks, each with what it measures and its threshold."""
    head = "| check | passes up to | what is measured |\n| --- | ---: | --- |\n"
    rows = (f"| {k} | {most:.3g} | {text} |" for k, (_, most, text) in CHECKS.items())
    return head + "\n".join(rows)


def public_names() -> str:
    """The names of ``import cgat_jax``."""
    found = (getattr(cgat_jax, name) for name in cgat_jax.__all__)
    return "\n\n".join(
        _entry("cgat_jax", name, value)
        for name, value in zip(cgat_jax.__all__, found, strict=True)
        if not inspect.ismodule(value)
    )


def public_modules() -> str:
    """The modules of pure functions, each with what it offers."""
    return "\n\n".join(_module(f"cgat_jax.{name}") for name in MODULES)


def _module(name: str) -> str:
    module = importlib.import_module(name)
    parts = [f"## `{name}`", _rst(f".. automodule:: {name}\n   :no-members:")]
    short = name.removeprefix("cgat_jax.")
    if short in TABLES:
        table, known = TABLES[short]
        parts.append(f"`{table}`: " + ", ".join(f"`{key}`" for key in known) + ".")
    names = getattr(module, "__all__", [x for x in vars(module) if x[:1] != "_"])
    for inner in names:
        value = getattr(module, inner)
        own = getattr(value, "__module__", "").startswith(name)
        if inspect.isclass(value) and inner in cgat_jax.__all__:
            parts.append(f"`{inner}`: see above, `cgat_jax.{inner}`.")
        elif own and (inspect.isfunction(value) or inspect.isclass(value)):
            parts.append(_entry(name, inner, value))
    return "\n\n".join(parts)


def _entry(module: str, name: str, value) -> str:
    if not inspect.isclass(value):
        return _rst(f".. autofunction:: {module}.{name}")
    return _rst(f".. autoclass:: {module}.{name}\n   :members:")


def _rst(text: str) -> str:
    return f"```{{eval-rst}}\n{text}\n```"


PARTS = {
    "checks": checks,
    "settings": settings_page,
    "names": public_names,
    "modules": public_modules,
}


def _keep_equations(app, what, name, obj, options, lines: list[str]) -> None:
    """Indented blocks of a docstring's description are literal, as in the terminal."""
    found: list[str] = []
    for line, before, above in zip(lines, ["", *lines], ["", "", *lines], strict=False):
        starts = line.startswith("    ") and not before.strip() and above[:1].strip()
        if starts and not above.rstrip().endswith("::"):
            found += ["::", ""]
        found.append(line)
    lines[:] = found


def _fill(app: "Sphinx", page: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda found: PARTS[found[1]](), source[0])


def setup(app: "Sphinx") -> dict[str, bool]:
    """Fills the marked lines of each page that is read."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _keep_equations, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
