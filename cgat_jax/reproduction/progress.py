"""Whether a cell of a table has measured all that is wanted of it."""

from pathlib import Path

from cgat_jax.config import Config
from cgat_jax.errors import InputError
from cgat_jax.report.records import Run, read_run
from cgat_jax.reproduction.study import Study, StudyRun, config_of, other_settings
from cgat_jax.training.initial_state import has_weights_of
from cgat_jax.workdir import remembered


def is_done(study: Study, cell: StudyRun, root: Path) -> bool:
    """Whether a cell's run has finished with these settings and all that is wanted.

    A run with other settings counts as not done: started, it refuses with what differs.
    So does one that defends another network than is there now, and one with damaged
    records: started, it measures them anew. What is wanted are
    the attacks, the transfers from every source, and the sanity checks.
    """
    folder = root / cell.folder
    if not (folder / "results.json").is_file():
        return False
    wanted = config_of(study, dict(cell.overrides))
    try:
        found = read_run(folder)
        same = _defends(folder, root / cell.pretrained) if cell.pretrained else True
    except InputError:
        return False
    changed = other_settings(found.config, study, dict(cell.overrides), cell.seed)
    attacks = {record["attack"] for record in found.records}
    return (
        same
        and all(has_weights_of(folder, change) for change in changed)
        and attacks >= {"clean", *wanted.evaluate.attack_list}
        and _has_transfers(found, wanted, is_defense=bool(cell.pretrained))
        and _has_sanity(found, wanted.evaluate.sanity_queries)
    )


def _defends(folder: Path, source: Path) -> bool:
    """Whether a run defends the network that another one has, as far as both tell."""
    noted = remembered(folder, "pretrained")
    if noted is None or not (source / "results.json").is_file():
        return True
    records = read_run(source).records
    return noted in {record.get("network_sha256", noted) for record in records}


def _has_transfers(found: Run, wanted: Config, *, is_defense: bool) -> bool:
    """Whether each network was tried with images that were made on every other."""
    own = {record["defense"] for record in found.records}
    sources = own | ({"pretrained.none"} if is_defense else set())
    others = [f"{Path(name).name}." for name in wanted.evaluate.source_list]
    for attack in wanted.evaluate.transfer_list:
        for defense in own:
            have = {
                record["source"]
                for record in found.transfers
                if (record["defense"], record["attack"]) == (defense, attack)
            }
            from_others = (any(s.startswith(name) for s in have) for name in others)
            if not (have >= sources - {defense} and all(from_others)):
                return False
    return True


def _has_sanity(found: Run, queries: int) -> bool:
    """Whether each network was checked on as many queries, or all that there are.

    On however many, where the settings leave it open (-1).
    """
    if not queries:
        return True
    if queries < 0:
        checked = {entry["defense"] for entry in found.sanity}
        return checked >= {record["defense"] for record in found.records}
    checked = {(entry["defense"], entry["num_queries"]) for entry in found.sanity}
    wanted = {
        (record["defense"], min(queries, record.get("num_attacked") or queries))
        for record in found.records
    }
    return checked >= wanted
