"""What the programs share: flags whose mistakes end in one line and exit code 2."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from cgat_jax.config import Config
from cgat_jax.launch import LOG
from cgat_jax.settings import nearest, settings

EXIT_FAILED, EXIT_REFUSED = 1, 2


def define_config(values: flags.FlagValues) -> None:
    """Declares ``--config=FILE.py`` and the overrides ``--config.key=value``."""
    config_flags.DEFINE_config_file(
        "config", None, "file of the configuration", flag_values=values
    )


def settings_help() -> str:
    """A line a setting: how to override it, its default and its meaning."""
    rows = [
        (f"--config.{key}={value!r}", text) for key, value, text in settings(Config())
    ]
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"  {left:<{width}}  {text}" for left, text in rows)


def refuse(program: str, error: object, *, keep_lines: bool = False) -> int:
    """Prints one line on stderr, or the error's own; the exit code of a refusal."""
    text = str(error) if keep_lines else " ".join(str(error).split())
    print(f"{program}: {text}", file=sys.stderr)
    return EXIT_REFUSED


def failures(program: str, failed: dict[str, str], root: Path) -> int:
    """Prints a line for each failed job; the exit code."""
    for job, why in failed.items():
        print(f"{program}: {job}: {why} (log: {root / job / LOG})", file=sys.stderr)
    return EXIT_FAILED if failed else 0


def check_overrides(arguments: Sequence[str]) -> None:
    """Refuses ``--config.key`` that is no setting.

    Raises:
        ValueError: names the key and the nearest known one.
    """
    known = [key for key, _, _ in settings(Config())]
    sections = [key.split(".")[0] for key in known if "." in key]
    for argument in arguments:
        name = argument.lstrip("-").split("=", 1)[0]
        for prefix in ("config.", "noconfig."):
            key = name.removeprefix(prefix)
            if name.startswith(prefix) and key not in known:
                hint = nearest(key, known) or f"; sections: {sorted(set(sections))}"
                raise ValueError(f"unknown setting {key!r}{hint}")


def _underscored(argument: str) -> str:
    """``--dry-run`` as ``--dry_run``; values and ``--config.`` stay as they are."""
    name, equals, value = argument.partition("=")
    if not name.startswith("--") or name.startswith("--config."):
        return argument
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def run(program: str, main: Callable[[], int]) -> None:
    """Parses the flags, runs ``main`` and exits with its code."""

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            check_overrides(arguments)
            rest = flags.FLAGS([_underscored(argument) for argument in arguments])
        except (flags.Error, ValueError, KeyError, TypeError) as error:
            sys.exit(refuse(program, error))
        if len(rest) > 1:
            sys.exit(refuse(program, f"unexpected argument {rest[1]!r}"))
        return rest

    app.run(lambda _: main(), flags_parser=parse)
