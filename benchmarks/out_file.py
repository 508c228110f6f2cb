"""Where a benchmark writes: nowhere that something else is."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cgat_jax.files.io import write_text
from cgat_jax.files.ownership import check_out_file


def out_file(mark: str) -> Callable[[str], Path]:
    """The type of an ``--out`` option: a new file, or one with the benchmark's mark.

    Args:
        mark: text that every report of the benchmark begins with.
    """

    def parse(text: str) -> Path:
        path = Path(text)
        try:
            check_out_file(path, mark)
        except (ValueError, OSError) as error:  # before anything is timed
            raise argparse.ArgumentTypeError(str(error)) from error
        return path

    return parse


def write_out(path: Path | None, text: str) -> None:
    """Writes a report, whole or not at all, if a file is wanted."""
    if path is not None:
        write_text(path, text)
