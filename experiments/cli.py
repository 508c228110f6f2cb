"""What the programs share: one line and an exit code for whatever ends them early.

A program ends with 0 done, 1 some of its parts failed, 2 refused (a line on what and
where), 3 a number was not finite (a line as well), or 130, 143 or 129 stopped by
Ctrl-C, SIGTERM or SIGHUP (a line as well).
"""

import contextlib
import dis
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from cgat_jax.config import Config
from cgat_jax.config.loading import load_config
from cgat_jax.config.settings import settings
from cgat_jax.errors import (
    InputError,
    NonFiniteError,
    Stopped,
    ToldElsewhere,
    nearest,
)
from cgat_jax.reproduction.launchers import LOG
from cgat_jax.training.interrupts import PATIENCE, StopSignal
from experiments.output import Output, write_nowhere

EXIT_FAILED, EXIT_REFUSED, EXIT_NOT_FINITE = 1, 2, 3
_arguments: list[str] = []  # where the overrides of --config are looked for
_signals: list[StopSignal] = []


def define_config(values: flags.FlagValues) -> None:
    """Declares ``--config=FILE`` and the overrides ``--config.key=value``."""
    config_flags.DEFINE_config_dataclass(
        "config",
        Config(),
        "file of the configuration: Python with get_config(), or a run's config.json",
        flag_values=values,
        sys_argv=_arguments,
        parse_fn=load_config,
    )


def settings_help() -> str:
    """A line a setting: how to override it, its default and its meaning."""
    rows = [
        (f"--config.{key}={value!r}", text) for key, value, text in settings(Config())
    ]
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"  {left:<{width}}  {text}" for left, text in rows)


def stop() -> StopSignal:
    """The signals of the program that runs; nobody asks it where none does."""
    return _signals[-1] if _signals else StopSignal()


def refuse(program: str, error: object, *, keep_lines: bool = False) -> int:
    """Prints one line on stderr, or the error's own; the exit code of a refusal."""
    text = describe(error)
    text = text if keep_lines else " ".join(text.split())
    print(f"{program}: {text}", file=sys.stderr)
    return EXIT_REFUSED


def describe(error: object) -> str:
    """What an error says, with the path first where it has one."""
    if isinstance(error, MemoryError):
        return f"out of memory; {error or 'a smaller batch or cache needs less'}"
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    names = [str(n) for n in (error.filename, error.filename2) if n is not None]
    return ": ".join([" -> ".join(names), error.strerror] if names else [str(error)])


def tell(text: str) -> None:
    """Prints a line of work that goes on even if it cannot be written."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def _flushed(program: str, code: int) -> int:
    """The exit code of a program, another one where its last words are not written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        write_nowhere(sys.stdout)
        return code or refuse(program, error)
    return code


def speaks() -> bool:
    """Whether this process prints for all of a run."""
    module = sys.modules.get("cgat_jax.processes")  # not to import JAX for it
    return module is None or module.is_first()


def _leave() -> None:
    """Waits for the other processes of a run, if there are any."""
    if module := sys.modules.get("cgat_jax.processes"):
        module.leave()


def failures(program: str, failed: dict[str, str], root: Path) -> int:
    """Prints a line for each failed job; the exit code."""
    for job, why in failed.items():
        log = root / job / LOG
        where = f" (log: {log})" if log.is_file() else ""
        print(f"{program}: {job}: {why}{where}", file=sys.stderr)
    return EXIT_FAILED if failed else 0


def check_overrides(arguments: Sequence[str]) -> None:
    """Refuses ``--config.key`` that is no setting.

    Raises:
        ValueError: names the key and the nearest known one.
    """
    known = [key for key, _, _ in settings(Config())]
    sections = [key.split(".")[0] for key in known if "." in key]
    for argument in arguments:
        name = argument.lstrip("-").split("=", 1)[0] if argument[:1] == "-" else ""
        for prefix in ("config.", "noconfig."):
            key = name.removeprefix(prefix)
            if name.startswith(prefix) and key not in known:
                hint = nearest(key, known) or f"; sections: {sorted(set(sections))}"
                raise ValueError(f"unknown setting {key!r}{hint}")


def run(
    program: str,
    main: Callable[[], int],
    *,
    patience: float = PATIENCE,
    operands: list[str] | None = None,
) -> None:
    """Parses the flags, runs ``main`` and exits with its code.

    Signals are listened to, and are ``stop()`` for the program; what is wrong with
    files, folders and settings ends in one line; other errors keep their traceback.

    Args:
        program: its name.
        main: returns the exit code.
        patience: seconds from a signal to the end, at most.
        operands: is filled with the arguments that are no flags; without it they are
            refused.
    """
    _signals.append(StopSignal(program))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that are bytes
        sys.stdout = Output(sys.stdout)
    try:
        stop().listen(patience=patience)
        app.run(
            lambda _: _flushed(program, _guarded(program, main)),
            flags_parser=_parser(program, operands),
        )
    except Stopped as stopped:
        if speaks():
            stop().say(stopped.code - 128)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()  # its reader may be gone, or it is closed
        _leave()
        # Not sys.exit: threads of a compilation may still run, and crash at the end.
        os._exit(stopped.code)


def _guarded(program: str, main: Callable[[], int]) -> int:
    try:
        code = main()
        stop().rest()
        return code
    except ToldElsewhere as error:  # the first says it for all: queues show its end
        return refuse(program, error) if speaks() else EXIT_REFUSED
    except (InputError, OSError, MemoryError) as error:
        return refuse(program, error)
    except NonFiniteError as error:
        refuse(program, error)
        return EXIT_NOT_FINITE
    except ValueError as error:
        if not _is_raised_by_us(error):
            raise
        return refuse(program, error)


def _is_raised_by_us(error: BaseException) -> bool:
    """Whether a ``raise`` of our own said that a value is wrong, and no library."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    code, module = trace.tb_frame.f_code, trace.tb_frame.f_globals.get("__name__", "")
    raised = code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raised and module.split(".")[0] in ("cgat_jax", "experiments", "__main__")


def _parser(
    program: str, operands: list[str] | None
) -> Callable[[Sequence[str]], list[str]]:
    def parse(arguments: Sequence[str]) -> list[str]:
        _arguments[:] = arguments
        try:
            check_overrides(arguments)
            _check_config(arguments)
            rest = flags.FLAGS([_underscored(argument) for argument in arguments])
        except Stopped:
            raise
        except SystemExit:  # absl has shown the help, and would exit with 1
            sys.exit(0)
        except (flags.Error, ValueError, KeyError, TypeError, OSError) as error:
            ours = isinstance(error.__context__, InputError)  # not absl's words on it
            sys.exit(refuse(program, error.__context__ if ours else error))
        if operands is not None:
            operands[:] = rest[1:]
        elif len(rest) > 1:
            sys.exit(refuse(program, f"unexpected argument {rest[1]!r}"))
        if "config" in flags.FLAGS and not flags.FLAGS["config"].present:
            flags.FLAGS["config"].value = None
        return rest

    return parse


def _check_config(arguments: Sequence[str]) -> None:
    """Refuses overrides of a configuration that is not given."""
    own = [a.lstrip("-") for a in arguments if a.startswith("-")]
    given = any(name.split("=", 1)[0] == "config" for name in own)
    if not given and any(n.startswith(("config.", "noconfig.")) for n in own):
        raise InputError(
            "--config is missing: expected a Python file, or a run's config.json"
        )


def _underscored(argument: str) -> str:
    """``--dry-run`` as ``--dry_run``; values and ``--config.`` stay as they are."""
    name, equals, value = argument.partition("=")
    if not name.startswith("--") or name.startswith("--config."):
        return argument
    return f"--{name[2:].replace('-', '_')}{equals}{value}"
