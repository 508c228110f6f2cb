"""Searches an index with photos, from the terminal.

    python -m experiments.search --index=index photo.jpg
    python -m experiments.search --index=index --k=20 --label=dog --html=a.html *.jpg

Prints a table for each photo: rank, Hamming distance, labels and id. --html writes the
same with pictures, as one file that needs no other; --json prints a line a photo.

Exit codes: 0 done, 2 refused (a line on what and where). Others: docs/runs.md.
"""

import json
import os
import sys
from pathlib import Path

from absl import flags, logging

from experiments import cli
from experiments.xla import prefer_fast_cpu_convolutions

_TIED = """\
       more images lie at the last distance than are shown (--k shows more);
       at one distance they come in the order in which they were added"""
_MARK = "<!-- Made by cgat_jax: experiments.search -->"


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    define = flags.DEFINE_string
    define("index", None, "folder of experiments.index", flag_values=values)
    define("label", "", "class that answers must have", flag_values=values)
    define("html", None, "file to write, with pictures", flag_values=values)
    flags.DEFINE_bool("json", False, "print JSON, a line a photo", flag_values=values)
    flags.DEFINE_integer("k", 10, "how many images", lower_bound=1, flag_values=values)


def main(values: flags.FlagValues, paths: list[str]) -> int:
    """Reads all photos, searches, and prints."""
    from cgat_jax.files.io import write_text
    from cgat_jax.files.ownership import check_out_file
    from cgat_jax.search import Index
    from cgat_jax.search.page import found_page
    from cgat_jax.search.pictures import check_size, read_photo

    logging.set_verbosity(logging.WARNING)
    if not values.index:
        return cli.refuse("search", "--index is missing: expected a folder")
    if not paths:
        return cli.refuse("search", "no photo: expected paths after the flags")
    if values.html:
        check_out_file(Path(values.html), _MARK)
    photos = [read_photo(Path(path)) for path in paths]
    prefer_fast_cpu_convolutions()
    index = Index.load(values.index)
    for path, photo in zip(paths, photos, strict=True):
        check_size(photo, Path(path), index.network.card)
    size = index.catalogue.count(values.label)
    k = min(values.k, max(size, 1))  # an index of none, or without the label, says so
    more = index.search(photos, k + (k < size), label=values.label)
    found = first(more, k)
    names = [os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths]
    for row, path in enumerate(names):
        say_json(path, found, row) if values.json else say(path, found, row)
        nearest = more.distances[row]
        if not values.json and (nearest[k:] == nearest[k - 1]).any():
            print(_TIED)
    if values.html:
        page = found_page(index, dict(zip(names, photos, strict=True)), found)
        write_text(Path(values.html), f"{_MARK}\n{page}")
        print(values.html, file=sys.stderr)
    return 0


def first(found, k: int):
    """The k nearest of what was found."""
    ids, labels = ([row[:k] for row in rows] for rows in (found.ids, found.labels))
    distances, numbers = found.distances[:, :k], found.numbers[:, :k]
    return found._replace(ids=ids, labels=labels, distances=distances, numbers=numbers)


def say(path: str, found, row: int) -> None:
    """A table of what a photo found."""
    print(path)
    columns = found.distances[row], found.labels[row], found.ids[row]
    for rank, (distance, labels, id_) in enumerate(zip(*columns, strict=True), 1):
        print(f"{rank:5}  {distance:3} bits  {', '.join(labels):24}  {id_}")


def say_json(path: str, found, row: int) -> None:
    """What a photo found as a line of JSON."""
    columns = found.ids[row], found.distances[row].tolist(), found.labels[row]
    names = ("id", "distance", "labels")
    items = [dict(zip(names, x, strict=True)) for x in zip(*columns, strict=True)]
    print(json.dumps({"photo": path, "found": items}))


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    photos: list[str] = []
    cli.run("search", lambda: main(flags.FLAGS, photos), operands=photos)
