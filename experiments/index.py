r"""Builds a search index: a network's database, or any folder of photos.

    python -m experiments.index --workdir=runs/quickstart --network=cgat --out=index
    python -m experiments.index --workdir=runs/quickstart --network=cgat \
        --images=~/photos --out=index
    python -m experiments.index --workdir=net.safetensors --images=~/photos --out=index

Without --images, the index holds the run's database, and comes with some of its
queries and with what center codes are made of, for the page of experiments.serve.
Photos are found in the folder and in all below it, and are known by their paths; those
that cannot be used are named and left out. The same command again goes on where it was
interrupted, and brings the index up to a folder that changed.

By default FAISS searches, or NumPy where FAISS is not installed: as exact, and slower
in large indexes. --engine is faiss (exact to 4 million images, then the fastest of
FAISS's structures for the size; faiss-flat, faiss-hnsw and faiss-ivf choose one),
numpy, or milvus with --uri=http://HOST:19530 or --uri=FILE.db. An index keeps the
engine it was made for: another name is refused.

Exit codes: 0 done, 2 refused (a line on what and where); 130, 143 and 129: stopped by
Ctrl-C, SIGTERM or SIGHUP; what was added stays. Others: docs/runs.md.
"""

import contextlib
import dataclasses
import sys
from pathlib import Path

from absl import flags, logging

from experiments import cli
from experiments.xla import prefer_fast_cpu_convolutions

_MAX_SHOWN = 20  # files that are named


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    define = flags.DEFINE_string
    define("workdir", None, "a run, or a .safetensors network", flag_values=values)
    define("network", None, "of the run: none, or a defense", flag_values=values)
    define("images", None, "folder of photos; else the database", flag_values=values)
    define("out", None, "folder of the index; created", flag_values=values)
    define("engine", "auto", "what searches", flag_values=values)
    define("uri", "", "of Milvus: http://HOST:PORT or FILE.db", flag_values=values)
    flags.DEFINE_bool(
        "label_by_folder",
        False,
        "the uppermost folder of a photo is its class",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "queries",
        200,
        "of the run's queries, to come with its index",
        lower_bound=0,
        flag_values=values,
    )


def main(values: flags.FlagValues) -> int:
    """Checks the places, then encodes what is not there yet."""
    logging.set_verbosity(logging.WARNING)
    for name in ("workdir", "out"):
        if not getattr(values, name):
            return cli.refuse("index", f"--{name} is missing: expected a folder")
    prefer_fast_cpu_convolutions()
    with cli.stop().deferred(), opened(values) as index:
        say_engine(index)
        built = fill(values, index)
        index.engine.settle()
        say(values, index, built)
    return 0


@contextlib.contextmanager
def opened(values: flags.FlagValues):
    """The index, ours and of no other process.

    Raises:
        ValueError, OSError: what is wrong with the network or the places.
    """
    from cgat_jax.evaluation.trained_networks import load_network
    from cgat_jax.files.locks import locked
    from cgat_jax.files.ownership import check_apart, check_folder
    from cgat_jax.search import EngineSettings, Index
    from cgat_jax.search.folder import check_engine, create_folder, is_index
    from cgat_jax.search.items import check_same_network
    from cgat_jax.search.pictures import find_photos

    out, uri = Path(values.out), values.uri
    if uri.endswith(".db"):
        uri = str(Path(uri).absolute())
    engine = EngineSettings(values.engine, uri)
    if values.images:
        photos = Path(values.images).expanduser()
        check_apart(out, photos, "the index")
        find_photos(photos)
    check_folder(out, "index")
    network = load_network(values.workdir, values.network)
    if is_index(out):
        check_engine(out, engine)
    else:
        create_folder(out, network, engine)
    with locked(out):
        index = Index.load(out)
        try:
            check_same_network(index.network, network)
            yield index
        finally:
            index.close()


def fill(values: flags.FlagValues, index):
    """Adds what is missing; what came of it."""
    from cgat_jax.data import load_dataset
    from cgat_jax.evaluation.other_runs import check_same_data, read_config
    from cgat_jax.search.building import add_dataset, add_photos

    check_stop = cli.stop().check
    if values.images:
        return add_photos(
            index,
            Path(values.images).expanduser(),
            label_by_folder=values.label_by_folder,
            check_stop=check_stop,
        )
    workdir = Path(values.workdir)
    settings = read_config(workdir).data
    root = Path(settings.root) if settings.root else workdir / "data"
    settings = dataclasses.replace(settings, source="", splits="")
    dataset = load_dataset(settings, root, progress=True)
    check_same_data(workdir, "--workdir", dataset)
    return add_dataset(index, dataset, queries=values.queries, check_stop=check_stop)


def say_engine(index) -> None:
    """Prints what searches in the place of what is missing, before the work."""
    from cgat_jax.search.engines import lacks_faiss

    if index.settings.name == "auto" and (text := lacks_faiss()):
        print(f"index: {text}", file=sys.stderr, flush=True)


def say(values: flags.FlagValues, index, built) -> None:
    """Prints what was done, and names what was left out."""
    for path, why in list(built.failed.items())[:_MAX_SHOWN]:
        print(f"index: left out: {why or path}", file=sys.stderr)
    if (more := len(built.failed) - _MAX_SHOWN) > 0:
        print(f"index: left out: {more} more", file=sys.stderr)
    done = [f"{built.added:,} images added"]
    done += [f"{built.changed:,} changed"] if built.changed else []
    done += [f"{built.removed:,} gone"] if built.removed else []
    done += [f"{len(built.failed):,} left out"] if built.failed else []
    done += [f"{built.others:,} files are no photos"] if built.others else []
    engine = f"{index.engine}{f' at {uri}' if (uri := index.settings.uri) else ''}"
    print(f"{values.out}: {len(index):,} images ({', '.join(done)}); {engine}")


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("index", lambda: main(flags.FLAGS))
