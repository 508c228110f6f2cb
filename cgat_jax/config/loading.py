"""Configurations from Python files and from the ``config.json`` of a run.

The one place that runs other people's Python files: whatever is wrong with one is a
line that names the file, and where in it.
"""

import dataclasses
import itertools
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cgat_jax.config import Config
from cgat_jax.config.settings import from_json
from cgat_jax.errors import InputError, Stopped, nearest
from cgat_jax.files.io import read_text

ROOT = Path(__file__).parents[2]
"""Where the package lies: relative names are looked for here as well."""
_YES, _NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_count = itertools.count()


def find_file(name: str | Path) -> Path:
    """A file below the current folder, or else below the package's.

    Raises:
        InputError: there is none.
    """
    path = Path(name)
    for candidate in (path, ROOT / path):
        if candidate.is_file():
            return candidate
        if candidate.is_dir():
            raise InputError(f"{candidate}: is a folder; expected a file")
    places = "" if path.is_absolute() else f" in {Path.cwd()} or {ROOT}"
    raise InputError(f"no file {str(path)!r}{places}")


def load_config(name: str | Path) -> Config:
    """The configuration of a Python file with ``get_config()``, or of a run's JSON.

    Raises:
        InputError: one line on what is wrong with the file, and where in it.
    """
    path = find_file(name)
    if path.suffix == ".json":
        return from_json(read_text(path), path)
    if path.suffix != ".py":
        raise InputError(
            f"{path}: expected a Python file (.py), or a run's config.json"
        )
    config = call(path, "get_config", "a Config")
    if not isinstance(config, Config):
        raise InputError(
            f"{path}: get_config() must return a Config, not {_short(config)}"
        )
    _check_part(path, config, Config(), "")
    return config


def override(config: Config, settings: Mapping[str, Any]) -> None:
    """Changes settings of a configuration, as ``--config.key=value`` does.

    Args:
        config: changed in place.
        settings: values, or their text, by dotted key.

    Raises:
        InputError: there is no such setting, or the value is of another type.
    """
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        part = getattr(config, section, None) if section else config
        fields = {f.name for f in dataclasses.fields(part)} if part else set()
        if name not in fields or dataclasses.is_dataclass(getattr(part, name)):
            raise InputError(f"unknown setting {key!r}{nearest(name, fields)}")
        setattr(part, name, _parsed(key, str(value), type(getattr(part, name))))


def call(path: Path, function: str, wanted: str) -> Any:
    """What a function of a Python file returns; the file is run for it.

    Args:
        path: of the file.
        function: its name; called without arguments.
        wanted: what it must return, for the error where it is not there.

    Raises:
        InputError: the file cannot be run, or lacks or fails in the function.
    """
    module = types.ModuleType(f"file_{path.stem}_{next(_count)}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        code = _guarded(path, lambda: compile(path.read_bytes(), str(path), "exec"))
        _guarded(path, lambda: exec(code, module.__dict__))
        if not callable(found := getattr(module, function, None)):
            raise InputError(
                f"{path}: {function}() is missing; it must return {wanted}"
            )
        return _guarded(path, found)
    finally:
        del sys.modules[module.__name__]


def _guarded(path: Path, action: Callable[[], Any]) -> Any:
    """What an action returns; its failure as one line with the place in the file."""
    try:
        return action()
    except (Stopped, OSError) as error:
        if isinstance(error, OSError) and error.filename != str(path):
            raise InputError(_failure(path, error)) from error
        raise
    except (Exception, SystemExit) as error:
        raise InputError(_failure(path, error)) from error


def _failure(path: Path, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    where = f", line {lines[-1]}" if lines and lines[-1] else ""
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{path}{where}: {type(error).__name__}: {' '.join(str(what).split())}"


def _check_part(path: Path, part: Any, default: Any, prefix: str) -> None:
    """Checks names and types, which plain dataclasses let pass.

    Raises:
        InputError: names the setting.
    """
    known = [field.name for field in dataclasses.fields(default)]
    for name in vars(part):
        if name not in known:
            hint = nearest(name, known)
            raise InputError(f"{path}: unknown setting {prefix}{name}{hint}")
    for name in known:
        value, wanted = getattr(part, name), getattr(default, name)
        if type(value) is int and type(wanted) is float:
            setattr(part, name, float(value))
        elif type(value) is not type(wanted):
            kind = type(wanted).__name__
            raise InputError(
                f"{path}: {prefix}{name}: expected {kind}, got {_short(value)}"
            )
        elif dataclasses.is_dataclass(wanted):
            _check_part(path, value, wanted, f"{prefix}{name}.")


def _parsed(key: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {word: word in _YES for word in (*_YES, *_NO)}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise InputError(f"{key}: expected {kind.__name__}, got {text!r}") from error


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
