"""Runs side by side: which are seeds of one setting, and what tells others apart."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from cgat_jax.config.settings import changed_settings, free_settings
from cgat_jax.errors import InputError
from cgat_jax.report import names
from cgat_jax.report.provenance import public
from cgat_jax.report.records import Record, Run, setting
from cgat_jax.workdir import GIVEN_FILE

_SEEDS_OWN = {"seed", "pretrained"}  # a run's, of the same settings and another seed
_FILE = ".safetensors"  # of a network; its own module needs JAX
_START = "start"  # a network's file that is defended, which is nobody's other seed
_MEASURES = ("data.", "evaluate.")  # what must be alike for numbers to compare
_WORDS = {
    "loss.name": lambda value: names.display(names.LOSSES, value),
    "model.name": lambda value: names.display(names.BACKBONES, value),
    "model.bits": "{} bits".format,
}

Settings = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _File:
    """A file that a run started from, known by its digest, whatever its place."""

    digest: str
    path: str = dataclasses.field(compare=False)

    def __str__(self) -> str:
        return f"{PurePath(self.path).name} ({self.digest[:8]})"


def tell_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs, each record with what tells its network from the others: ``variant``.

    Seeds of one setting have the same variant. A network that several runs hold, say
    an undefended one that each has trained alike, is kept once.

    Raises:
        InputError: the runs are of other data or measured otherwise, so that their
            numbers do not compare, or one adds nothing to the others.
    """
    settings = _differing(runs)
    networks = [(i, d) for i, run in enumerate(runs) for d in _defenses(run)]
    variants = {
        each: ", ".join(_words(each, networks, settings, runs)) for each in networks
    }
    for same in _clashes(networks, variants, runs):
        for number, defense in same:
            told = variants[number, defense], _folder(runs, number)
            variants[number, defense] = ", ".join(filter(None, told))
    seen: set[tuple] = set()
    return [_marked(run, i, variants, seen) for i, run in enumerate(runs)]


def settings_of(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs by setting: seeds together, in the order in which settings come."""

    def variants(run: Run) -> tuple:
        entries = (*run.records, *run.sanity)
        found = {(e["defense"], e.get("variant") or "") for e in entries}
        found -= {each for each in found if each[0] == "none" and len(found) > 1}
        return tuple(sorted(found))

    found: dict[tuple, list[Run]] = {}
    for run in runs:
        found.setdefault(variants(run), []).append(run)
    return list(found.values())


def title_of(runs: Sequence[Run]) -> str:
    """The defended networks of a setting's runs, or all that there are."""
    found = dict.fromkeys(
        names.network(e) for run in runs for e in run.records if e["defense"] != "none"
    )
    found = found or dict.fromkeys(names.network(e) for e in runs[0].records)
    return ", ".join(found)


def _weights_of(runs: Sequence[Run]) -> dict[str, set[str]]:
    """The digests that runs note of the weights of a name."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if digest := run.inputs.get("weights"):
            found.setdefault(setting(run.config, "model.weights"), set()).add(digest)
    return found


def _started(run: Run, noted: Mapping[str, set[str]]) -> Settings:
    """A run's settings, with the files that it started from in place of their paths.

    One that defends another's network notes no weights: they are those that all others
    mean by the same name.
    """
    config = dict(run.config)
    weights, given = setting(config, "model.weights"), config.get("pretrained")
    own = run.inputs.get("weights")
    meant = {own} if own else noted.get(weights, ())
    if weights and len(meant) == 1:
        (digest,) = meant
        config["model"] = config["model"] | {"weights": _File(digest, weights)}
    if given and (given.endswith(_FILE) or run.inputs.get(GIVEN_FILE)):
        config[_START] = _File(run.inputs.get("pretrained", given), given)
    return config


def _differing(runs: Sequence[Run]) -> list[Settings]:
    """The settings of each run in which not all agree."""
    noted = _weights_of(runs)
    first, *_ = started = [_started(run, noted) for run in runs]
    changes = [changed_settings(first, config) for config in started]
    common = {c.key: c.old for found in changes for c in found}
    for run, found in zip(runs, changes, strict=True):
        for key, old, new in found:
            if key.startswith(_MEASURES) and key not in free_settings():
                raise InputError(
                    f"workdirs differ in {key!r}: {old!r} in {str(runs[0].path)!r}, "
                    f"{new!r} in {str(run.path)!r}; expected the same data and "
                    "evaluation, without which numbers do not compare"
                )
    ignored = free_settings() | _SEEDS_OWN
    return [
        {key: old for key, old in common.items() if key not in ignored}
        | {key: new for key, _, new in found if key not in ignored}
        for found in changes
    ]


def _defenses(run: Run) -> list[str]:
    entries = (*run.records, *run.transfers, *run.sanity)
    return list(dict.fromkeys(entry["defense"] for entry in entries))


def _words(network, networks, settings: Sequence[Settings], runs) -> Iterator[str]:
    """What of a network's settings another network does not share.

    A defense's settings are compared with those of the same defense only, and a loss's
    with those of the same loss.
    """
    number, defense = network
    for key, value in settings[number].items():
        part = key.split(".")[0]
        others = [i for i, _ in networks]
        if part == "defense":
            others = [i for i, d in networks if d == defense != "none"]
        elif part == "loss" and key != "loss.name":
            name = setting(runs[number].config, "loss.name")
            others = [i for i in others if _loss(runs[i]) == name]
        if key != "defense.name" and any(settings[i][key] != value for i in others):
            last = key.split(".", 1)[-1]
            alike = sum(other.split(".", 1)[-1] == last for other in settings[number])
            word = _WORDS.get(key) or f"{key if alike > 1 else last} {{}}".format
            yield word(public(value))


def _loss(run: Run) -> Any:
    return setting(run.config, "loss.name")


def _clashes(networks, variants, runs) -> Iterator[list[tuple[int, str]]]:
    """Networks of one setting and seed that are not the same network."""

    def name(each: tuple[int, str]) -> tuple:
        return each[1], variants[each], str(_seed(runs[each[0]]))

    for _, own in itertools.groupby(sorted(networks, key=name), name):
        same = list(own)
        digests = {_digest(runs[i], defense) for i, defense in same} - {None}
        if len(digests) > 1:
            yield same


def _seed(run: Run) -> Any:
    seeds = [entry["seed"] for entry in run.records]
    return seeds[0] if seeds else setting(run.config, "seed")


def _digest(run: Run, defense: str) -> Any:
    """What tells a network from others; earlier versions' records have no digest."""
    own = [entry for entry in run.records if entry["defense"] == defense]
    found = [entry.get("network_sha256") for entry in own]
    clean = [entry["map"] for entry in own if entry["attack"] == "clean"]
    return next(iter([*filter(None, found), *clean]), None)


def _folder(runs: Sequence[Run], number: int) -> str:
    """The run's folder, with as much of its path as tells it from the others'."""
    parts = [run.path.resolve().parts for run in runs]
    for depth in range(1, len(parts[number]) + 1):
        tails = [part[-depth:] for part in parts]
        if tails.count(tails[number]) == 1:
            break
    return "/".join(tails[number])


def _marked(run: Run, number: int, variants, seen: set[tuple]) -> Run:
    """The run with variants in its records, without those that others hold."""

    def marked(entries: Sequence[Record], kind: str) -> tuple[Record, ...]:
        kept = []
        for entry in entries:
            more = {"variant": variants.get((number, entry["defense"]), "")}
            if source := entry.get("source"):
                more["source_variant"] = variants.get((number, source), "")
            keys = "defense", "attack", "budget", "source", "seed"
            name = kind, more["variant"], *(entry.get(key) for key in keys)
            if name not in seen:
                kept.append(entry | {k: text for k, text in more.items() if text})
                seen.add(name)
        return tuple(kept)

    found = {
        kind: marked(getattr(run, kind), kind)
        for kind in ("records", "transfers", "sanity", "first")
    }
    if run.records and not found["records"]:
        raise InputError(
            f"workdirs share a seed: {str(run.path)!r} holds nothing that another one "
            "does not hold"
        )
    return dataclasses.replace(run, **found)
