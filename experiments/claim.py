r"""Claims of how robust a network is: made of a run, checked, and put on a page.

    python -m experiments.claim make --workdir=runs/quickstart --defense=cgat \
        --authors="A. Name" --title="CgAT on the quickstart" --out=claims/mine
    python -m experiments.claim check claims/mine [--queries=32] [--data-root=DIR]
    python -m experiments.claim page

make writes a folder of claim.json and the network, from a finished run (or the workdir
of a benchmark, with --network=FILE) that has measured noise, cgat, worst_case and the
sanity checks. A check that failed needs a --reason='NAME=TEXT'; --seeds=RUN,RUN are the
same recipe with other seeds. The data are loaded as the run's settings say, or as those
of --config=FILE do. With --out=cgat_jax/zoo/NAME the network comes with the package.

check compares digests of network, data and split, measures clean retrieval of all
queries again, noise, cgat and the whole ensemble on --queries of them, and the sanity
checks (unless --nosanity). The queries are drawn by --sample-seed, which is new each
time, so that nobody who makes a claim knows them; it is printed, to draw them again.
Data that are not packed need --data-root (prepared) or --data-source (originals).

page writes docs/zoo.md from the claims of the package (--out=FILE: another file).

Exit codes: 0 done, and the claim holds; 1 it does not hold; 2 refused (a line on what
and where); 130, 143 and 129: stopped by Ctrl-C, SIGTERM or SIGHUP. Others:
docs/runs.md.
"""

import secrets
import sys
from pathlib import Path

from absl import flags, logging

from experiments import cli
from experiments.xla import prefer_fast_cpu_convolutions

_STATES = {True: "holds", False: "DOES NOT HOLD", None: "-"}
_PAGE = "(`python -m experiments.claim page`)"
_MODES = "make --workdir=RUN --out=FOLDER, check FOLDER, or page"


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    define = flags.DEFINE_string
    define("workdir", None, "make: a run, or a benchmark's workdir", flag_values=values)
    define("defense", None, "make: which of a run's networks", flag_values=values)
    define("network", None, "make: its file, if no run's", flag_values=values)
    define("out", None, "make: folder of the claim; page: file", flag_values=values)
    define("title", None, "make: what the network is, in words", flag_values=values)
    define("authors", None, "make: who trained it", flag_values=values)
    define("link", "", "make: of a paper", flag_values=values)
    flags.DEFINE_multi_string(
        "reason", [], "make: NAME=TEXT of a failed check", flag_values=values
    )
    flags.DEFINE_list("seeds", [], "make: runs with other seeds", flag_values=values)
    for name in ("root", "source", "splits"):
        define(f"data_{name}", "", f"data.{name} of this machine", flag_values=values)
    flags.DEFINE_integer(
        "queries", 32, "check: attacked again", lower_bound=0, flag_values=values
    )
    flags.DEFINE_integer(
        "sample_seed", None, "check: draws them", lower_bound=0, flag_values=values
    )
    flags.DEFINE_bool("sanity", True, "check: the checks too", flag_values=values)


def main(values: flags.FlagValues, operands: list[str]) -> int:
    """Makes, checks or shows."""
    logging.set_verbosity(logging.WARNING)
    mode, *rest = operands or [""]
    modes = {"make": (make, 0), "check": (check, 1), "page": (page, 0)}
    if mode not in modes or len(rest) != modes[mode][1]:
        return cli.refuse("claim", f"expected {_MODES}")
    prefer_fast_cpu_convolutions()
    return modes[mode][0](values, *rest)


def make(values: flags.FlagValues) -> int:
    """Writes a claim, and says what it is."""
    needed = ("workdir", "out", "title", "authors")
    if missing := [f"--{name}" for name in needed if not values[name].value]:
        return cli.refuse("claim", f"make needs {', '.join(missing)}")
    from cgat_jax.claims import making
    from cgat_jax.claims.form import is_claim
    from cgat_jax.claims.measured import Measured
    from cgat_jax.evaluation.other_runs import read_config
    from cgat_jax.evaluation.trained_networks import load_network
    from cgat_jax.files.claimed import claimed_folder
    from cgat_jax.files.ownership import check_folder
    from cgat_jax.workdir import claim_workdir

    workdir, out, given = Path(values.workdir), Path(values.out), values["config"].value
    check_folder(out, "claim", is_own=is_claim)
    net = load_network(values.network or workdir, values.defense)
    Measured(workdir, net.sha256)
    reasons = dict(text.partition("=")[::2] for text in values.reason)
    about = making.About(
        name=out.absolute().name,
        title=values.title,
        authors=values.authors,
        link=values.link,
        reasons=reasons,
    )
    config = given or read_config(workdir)
    dataset = _data(config.data, _places(values), workdir / "data")
    seeds = {Path(run): load_network(run, net.card["defense"]) for run in values.seeds}
    with claimed_folder(workdir, claim_workdir):
        claim = making.make_claim(workdir, net, dataset, about, data=given, seeds=seeds)
    making.write_claim(out, claim, net)
    maps = {k: x["map"] for k, x in claim["measured"]["attacks"].items()}
    said = ", ".join(f"{name} {100 * value:.2f}" for name, value in maps.items())
    print(f"{out}: {net}: MAP in %: {said}")
    return 0


def check(values: flags.FlagValues, folder: str) -> int:
    """Prints a line for each part of a claim; whether it holds."""
    from cgat_jax.claims import form
    from cgat_jax.claims.checking import Sample, check_claim

    try:
        claim = form.read_claim(Path(folder))
        config = form.config_of(claim)
    except (ValueError, OSError) as error:
        return cli.refuse("claim", error, keep_lines=True)
    seed = values.sample_seed
    seed = secrets.randbelow(2**32) if seed is None else seed
    dataset = _data(config.data, _places(values), Path("data") / config.data.name)
    print(f"claim {claim['name']}, checked with --sample-seed={seed}", flush=True)
    sample, wrong, attacked = Sample(values.queries, seed, values.sanity), 0, 0
    for what, holds, text in check_claim(Path(folder), claim, dataset, config, sample):
        wrong += holds is False
        attacked += what in form.ATTACKS[1:] and holds is not None
        print(f"  {what:<24} {_STATES[holds]:<14} {text}", flush=True)
    said = "it holds" if attacked else "nothing that was looked at is wrong"
    print(f"the claim does not hold: {wrong} of its parts" if wrong else said)
    return cli.EXIT_FAILED if wrong else 0


def page(values: flags.FlagValues) -> int:
    """Writes the page of the zoo."""
    from cgat_jax import zoo
    from cgat_jax.claims.form import read_claim
    from cgat_jax.claims.page import HEAD, claims_page
    from cgat_jax.files.io import write_text
    from cgat_jax.files.ownership import check_out_file

    out = Path(values.out or "docs/zoo.md")
    head = HEAD.splitlines()
    check_out_file(out, head[0], next(line for line in head if _PAGE in line))
    claims = [read_claim(zoo.zoo_folder(name)) for name in zoo.zoo_names()]
    write_text(out, claims_page(claims) + "\n")
    print(f"{out}: networks of {len(claims)} claims")
    return 0


def _places(values: flags.FlagValues) -> dict[str, str]:
    """Where the data lie, as far as the flags say it."""
    given = {
        name: values[f"data_{name}"].value for name in ("root", "source", "splits")
    }
    return {name: place for name, place in given.items() if place}


def _data(settings, places: dict[str, str], usual: Path):
    """The data set that the settings name, from its places."""
    import dataclasses

    from cgat_jax.data import load_dataset

    settings = dataclasses.replace(settings, **places)
    root = Path(settings.root) if settings.root else usual
    return load_dataset(settings, root, progress=sys.stderr.isatty())


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.define_config(flags.FLAGS)
    words: list[str] = []
    cli.run("claim", lambda: main(flags.FLAGS, words), operands=words)
