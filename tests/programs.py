"""Programs in processes of their own, forked from one that has loaded all libraries.

Loading them takes seconds of a core, and the tests run programs hundreds of times. A
process is forked before any device is started in it, so that it is a new one in all
that a program can see but its command line.
"""

import atexit
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

from cgat_jax.training.interrupts import PARENT

ROOT = Path(__file__).parents[1]
PATIENCE = 3600  # seconds until a program counts as hung, on however busy a machine
_LOADED = (
    *("cgat_jax.data", "cgat_jax.training.stages", "cgat_jax.evaluation.evaluator"),
    *("cgat_jax.evaluation.measurement", "cgat_jax.evaluation.preflight"),
    *("cgat_jax.report", "cgat_jax.reproduction.study", "tests.programs"),
)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*_LOADED])


class Program:
    """``python -m module arguments``, as ``subprocess.Popen`` has it."""

    def __init__(self, module: str, *arguments, cwd: Path = ROOT, env=None):
        """Starts it; ``env`` are variables besides those of the tests."""
        folder = tempfile.mkdtemp(prefix="cgat_jax-program-")
        self._files = [Path(folder, name) for name in ("stdout", "stderr")]
        for file in self._files:
            file.touch()
        weakref.finalize(self, shutil.rmtree, folder)
        self._process = _CONTEXT.Process(
            target=_become,
            args=(
                module,
                [str(argument) for argument in arguments],
                str(cwd),
                dict(os.environ) | {"JAX_PLATFORMS": "cpu"} | (env or {}),
                [str(file) for file in self._files],
            ),
        )
        self._process.start()
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.kill()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self.written()

    def written(self) -> tuple[str, str]:
        """All that it has written to stdout and stderr until now."""
        return tuple(file.read_text() for file in self._files)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()


def run_program(module: str, *arguments, timeout: float = PATIENCE, **how):
    """Runs it to its end, as ``subprocess.run`` does."""
    program = Program(module, *arguments, **how)
    try:
        out, errors = program.communicate(timeout)
    finally:
        program.kill()
    return subprocess.CompletedProcess(
        [module, *arguments], program.returncode, out, errors
    )


def _become(module: str, arguments: list[str], cwd: str, env: dict, outputs: list[str]):
    """What a forked process does; ends as the interpreter would."""
    for number, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if PARENT in env:  # it ends with this one
        os.environ[PARENT] = str(os.getppid())
    sys.path[:] = [cwd, *(path for path in sys.path if path)]  # the root among them
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
