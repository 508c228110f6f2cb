"""What qualifies a robust number and takes two networks: transfers, checks."""

import functools
import time
from collections.abc import Mapping
from pathlib import Path

from cgat_jax import progress
from cgat_jax.attacks import ATTACKS, ordered_attacks
from cgat_jax.evaluation import records
from cgat_jax.evaluation.attack_runner import EncodedNetwork
from cgat_jax.evaluation.evaluator import Evaluator, Record
from cgat_jax.evaluation.records import is_named, is_of
from cgat_jax.evaluation.sanity import examine
from cgat_jax.evaluation.sanity_network import SanityNetwork
from cgat_jax.evaluation.workload import (
    attack_passes,
    sanity_passes,
    sanity_queries,
)
from cgat_jax.files.io import read_sealed
from cgat_jax.files.kept import read_kept
from cgat_jax.processes import from_first, is_first


class Doubts:
    """Transfers between networks, and their sanity checks; finished ones are read."""

    def __init__(self, evaluator: Evaluator):
        """Measures nothing yet."""
        self._evaluator = evaluator
        self.config = evaluator.config

    def transfers(
        self,
        networks: Mapping[str, EncodedNetwork],
        sources: Mapping[str, EncodedNetwork],
    ) -> list[Record]:
        """Records of every network under images that were made on every source."""
        records, names = [], ordered_attacks(self.config.evaluate.transfer_list)
        for attack in names:
            for source, crafted_on in sources.items():
                paths = {
                    defense: self._evaluator.folder
                    / f"{defense}-{attack}@{source}/record.json"
                    for defense in networks
                    if defense != source
                }
                has = functools.partial(
                    self._have_transferred,
                    paths,
                    attack,
                    (source, crafted_on),
                    networks,
                )
                attacked = len(self._evaluator.references.positions)
                cost = attacked * attack_passes(attack, self.config)
                title = f"transfer from {source}"
                with progress.part(title), progress.part(cost=cost):
                    if not from_first(has):
                        self._transfer(paths, attack, source, crafted_on, networks)
                records += from_first(functools.partial(_read_all, paths))
        return records

    def _have_transferred(self, paths, attack, made_on, networks) -> bool:
        """Whether records are there, of both networks and the data as they are now."""
        (source, crafted_on), data = made_on, self._evaluator.dataset.digest.whole
        records = {defense: read_kept(path) for defense, path in paths.items()}
        return all(
            record is not None
            and is_named(record, defense, attack, source)
            and record.get("source_sha256") == crafted_on.digest
            and is_of(record, network=networks[defense].digest, data=data)
            for defense, record in records.items()
        )

    def examine(
        self,
        networks: Mapping[str, EncodedNetwork],
        sources: Mapping[str, EncodedNetwork],
    ) -> list[Record]:
        """The sanity checks of every network, each with another one to transfer from.

        Made again where more queries are wanted, or the other network is another one.
        """
        queries = self._queries()
        if not queries:
            return []
        found = []
        for defense, encoded in networks.items():
            path = self._evaluator.folder / f"{defense}-sanity" / "sanity.json"
            others = [name for name in sources if name != defense]
            source = others[0] if others else None
            origin = {
                "network_sha256": encoded.digest,
                "twin": source,
                "twin_sha256": sources[source].digest if source else None,
            }
            if self.config.evaluate.sanity_queries > 0:  # else any number will do
                origin["num_queries"] = queries
            kept = from_first(functools.partial(read_kept, path))
            cost = sanity_passes(self.config) * queries
            with progress.part(defense), progress.part(cost=cost):
                if kept is None or any(kept.get(k) != v for k, v in origin.items()):
                    twin = sources.get(source)
                    kept = self._examine(defense, encoded, twin, queries) | origin
                    self._evaluator.write(path, kept)
            found.append(kept)
        return found

    def _queries(self) -> int:
        sizes = self._evaluator.sizes
        return min(sanity_queries(self.config, sizes), sizes.query)

    def _examine(
        self,
        defense: str,
        encoded: EncodedNetwork,
        source: EncodedNetwork | None,
        queries: int,
    ) -> Record:
        began, passes = time.monotonic(), sanity_passes(self.config) * queries
        shown = progress.bar("sanity", passes, unit="passes", shown=is_first())
        title = progress.titled("sanity")
        with shown as bar:
            network = SanityNetwork(
                self._evaluator.attacker,
                self._evaluator.scorer,
                encoded,
                source,
                queries,
                bar,
            )
            checks, curve = examine(
                network, lambda name: bar.rename(f"{title}, {name}")
            )
        return {
            "defense": defense,
            "seed": self.config.seed,
            "num_queries": queries,
            "checks": [check._asdict() for check in checks],
            "curve": curve._asdict(),
            "seconds": round(time.monotonic() - began, 2),
        }

    def _transfer(
        self, paths, attack, source, crafted_on: EncodedNetwork, networks
    ) -> None:
        began = time.monotonic()
        others = {defense: networks[defense] for defense in paths}
        result = self._evaluator.attacker.run(attack, crafted_on, others=others)
        seconds = round(time.monotonic() - began, 2)
        for defense, path in paths.items():
            codes, encoded = result.transfer_codes[defense], networks[defense]
            clean = self._evaluator.references.own(encoded.codes)
            record = self._evaluator.describe(defense, attack, encoded)
            record |= {"source": source, "source_sha256": crafted_on.digest}
            record |= records.retrieval_measures(
                self._evaluator.scorer.scores(codes, encoded.codes)
            )
            record |= records.change_measures(result._replace(codes=codes), clean)
            if ATTACKS[attack].targeted:
                targets = self._evaluator.references.targets()
                record["t_map"] = self._evaluator.scorer.scores(
                    codes, encoded.codes, targets
                ).map
            if settings := record["attack_settings"]:
                settings["restarts"] = 1
                if "queries_per_image" in settings:
                    settings["queries_per_image"] = settings["steps"]
            self._evaluator.write(path, record | {"seconds": seconds})


def _read_all(paths: Mapping[str, Path]) -> list[Record]:
    return [read_sealed(path) for path in paths.values()]
