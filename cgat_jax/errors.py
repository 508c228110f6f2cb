"""What this package raises about files, folders and settings: one line each.

A message says what is wrong, where (the path), and what to do. Programs print it and
exit with code 2; any other exception is a mistake of ours and keeps its traceback.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """A file, a folder or a setting that cannot be used."""


class DamagedFileError(InputError):
    """A file that this package wrote is not as it was written."""


class ForeignFilesError(InputError):
    """A place to write to holds files that this package did not make."""


class InUseError(InputError):
    """Another process works in a folder; the message says which."""


class EngineError(OSError):
    """What searches an index failed; strangers may read it: it names no address."""


class ToldElsewhere(InputError):
    """Another process of the run cannot go on; it says why itself."""


class Stopped(SystemExit):
    """The program was asked to stop; ``code`` is 128 and the signal's number."""


class NonFiniteError(ArithmeticError):
    """A number is not finite; the message says which and where."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device (or the host, where it is one) has no memory for more."""
    if isinstance(error, MemoryError):
        return True
    text = str(error) if type(error).__name__ == "JaxRuntimeError" else ""
    return "RESOURCE_EXHAUSTED" in text or "ut of memory" in text


def install(extra: str) -> str:
    """How an extra of this package is installed, for an error message.

    >>> from cgat_jax.errors import install
    >>> install("serve")
    "pip install 'cgat-jax[serve]', or in a checkout pip install -e '.[serve]'"
    """
    return (
        f"pip install 'cgat-jax[{extra}]', or in a checkout pip install -e '.[{extra}]'"
    )


def check_all(checks: Iterable[Callable[[], object]]) -> None:
    """Runs every check, and raises what all of them found as one error.

    Raises:
        InputError: their messages in order, each once.
    """
    wrong: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except (ValueError, FileNotFoundError) as error:
            wrong.setdefault(str(error))
    if wrong:
        raise InputError("; ".join(wrong))


def nearest(word: str, known: Iterable[str]) -> str:
    """The clause ``; did you mean 'x'?`` or nothing, for an error message."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """``table[name]``.

    Raises:
        InputError: naming the kind, the known names and the nearest one.
    """
    if name not in table:
        hint = nearest(name, table)
        raise InputError(f"unknown {kind} {name!r}; known: {sorted(table)}{hint}")
    return table[name]


def typed(key: str, value: Any, default: Any) -> Any:
    """The value, if it is of its default's type; a whole number may be a fraction.

    A number of NumPy's or JAX's becomes Python's.

    Raises:
        InputError: it is not.
    """
    if getattr(value, "shape", None) == ():
        value = value.item()
    if type(value) is int and type(default) is float:
        return float(value)
    if type(value) is not type(default):
        kind = type(default).__name__
        raise InputError(f"{key}: expected {kind}, got {value!r}")
    return value
