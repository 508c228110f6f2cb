"""Runs programs one after the other in this process, which loads JAX once.

    python -m tests.run_programs < COMMANDS.json > RESULTS.json

Each command is a module and its arguments, each result its exit code and stderr.
"""

import contextlib
import io
import json
import runpy
import signal
import sys
import traceback

from absl import app, flags


def run(module: str, arguments: list[str]) -> tuple[int | None, str]:
    """Runs a program as ``python -m module`` does, up to its ``sys.exit``."""
    known, sys.argv = set(flags.FLAGS), [module, *arguments]
    errors, code = io.StringIO(), None
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc(file=errors)
    flags.FLAGS.unparse_flags()
    for name in set(flags.FLAGS) - known:  # the next program declares its own
        delattr(flags.FLAGS, name)
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        del sys.modules[name]
    return code, errors.getvalue()


if __name__ == "__main__":
    app.define_help_flags()  # once for all programs
    handlers = {number: signal.getsignal(number) for number in (1, 2, 15)}
    results = []
    for module, arguments in json.load(sys.stdin):
        results.append(run(module, arguments))
        for number, handler in handlers.items():
            signal.signal(number, handler)
    json.dump(results, sys.stdout)
