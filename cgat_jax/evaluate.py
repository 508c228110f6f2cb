"""Clean and attacked retrieval of each network, as records that are kept."""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from cgat_jax import devices, measures
from cgat_jax.attacking import Attacked, Attacker, Network, Victim
from cgat_jax.attacks import ATTACKS, WORST_CASE, parse_attacks
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.loader import eval_batches
from cgat_jax.gallery import write_gallery
from cgat_jax.generators import Generators
from cgat_jax.probing import NetworkSubject
from cgat_jax.references import References
from cgat_jax.retrieval import code_usage
from cgat_jax.sanity import examine
from cgat_jax.scoring import Scorer, aimed_at
from cgat_jax.types import HashModel
from cgat_jax.workdir import save_array, write_json
from cgat_jax.worst_case import Worst, standard_v1

PARTS = ("train", "database", "query")
Record = dict[str, Any]


class Evaluator:
    """Evaluates networks on one data set; finished attacks are read, not repeated."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        mesh: Mesh,
        workdir: Path,
        check_stop: Callable[[], None],
    ):
        """Compiles nothing yet; ``check_stop`` is called between batches."""
        self.config, self.dataset, self.mesh = config, dataset, mesh
        self.workdir, self.check_stop = workdir, check_stop
        self.references = References(config, dataset, workdir, check_stop)
        self.scorer = Scorer(self.references)
        generators = Generators(config, dataset, mesh, workdir, check_stop)
        self.attacker = Attacker(
            config, mesh, self.references, generators, self._batches
        )
        self._folder = workdir / "evaluate"

    def victim(self, name: str, model: HashModel, network: Network) -> Victim:
        """A network with its codes, which are made once and kept under its name."""
        folder = self.workdir / "codes" / name
        self._check_origin(folder, network)
        rows, whole = devices.by_row(self.mesh), devices.replicated(self.mesh)

        def encode(network, pixels):
            return jnp.sign(model.apply(*network, devices.to_images(pixels))[0])

        program = jax.jit(encode, in_shardings=(whole, rows), out_shardings=whole)
        encode_one = functools.partial(program, network)
        codes = {part: self._codes(folder, part, encode_one) for part in PARTS}
        return Victim(name, model, network, codes)

    def attacks(self, defense: str, victim: Victim) -> list[Record]:
        """Records of the clean queries and of each attack of the list, in order."""
        records = []
        for attack in ["clean", *parse_attacks(self.config.evaluate.attacks)]:
            folder = self._folder / f"{defense}-{attack}"
            if not (folder / "record.json").is_file():
                self._measure(folder, defense, attack, victim)
            records.append(_read(folder / "record.json"))
        return records

    def transfers(
        self, victims: Mapping[str, Victim], sources: Mapping[str, Victim]
    ) -> list[Record]:
        """Records of every network under images that were made on every source."""
        records, names = [], parse_attacks(self.config.evaluate.transfer)
        for attack in names:
            for source in sources:
                paths = {
                    defense: self._folder / f"{defense}-{attack}@{source}/record.json"
                    for defense in victims
                    if defense != source
                }
                if not all(path.is_file() for path in paths.values()):
                    self._transfer(paths, attack, source, sources[source], victims)
                records += [_read(path) for path in paths.values()]
        return records

    def examine(
        self, victims: Mapping[str, Victim], sources: Mapping[str, Victim]
    ) -> list[Record]:
        """The sanity checks of every network, each with another one as its twin."""
        if not self.config.evaluate.sanity_queries:
            return []
        found = []
        for defense, victim in victims.items():
            path = self._folder / f"{defense}-sanity" / "sanity.json"
            if not self._has_examined(path):
                twins = [v for name, v in sources.items() if name != defense]
                twin = twins[0] if twins else None
                began = time.monotonic()
                subject = NetworkSubject(self.attacker, self.scorer, victim, twin)
                checks, curve = examine(subject)
                content = {
                    "defense": defense,
                    "seed": self.config.seed,
                    "num_queries": len(subject.codes),
                    "checks": [check._asdict() for check in checks],
                    "curve": curve._asdict(),
                    "seconds": round(time.monotonic() - began, 2),
                }
                self._write(path, content)
            found.append(_read(path))
        return found

    def _has_examined(self, path: Path) -> bool:
        """Whether as many queries as are wanted have been examined."""
        wanted = self.config.evaluate.sanity_queries
        wanted = min(wanted, len(self.references.positions))
        return path.is_file() and _read(path)["num_queries"] == wanted

    def _check_origin(self, folder: Path, network: Network) -> None:
        """Notes whose codes a folder holds.

        Raises:
            ValueError: it holds those of another network or split.
        """
        digest = hashlib.sha256(self.dataset.split.sha256.encode())
        for array in jax.tree.leaves(network):
            digest.update(np.asarray(array).tobytes())
        path, origin = folder / "origin.json", {"sha256": digest.hexdigest()}
        if path.is_file() and _read(path) != origin:
            raise ValueError(
                f"{folder} holds codes of another network or split: remove it and "
                f"{self._folder / f'*{folder.name}*'}, or rename the source"
            )
        self._write(path, origin)

    def _codes(self, folder: Path, part: str, encode: Callable) -> np.ndarray:
        """Binary codes of a part, int8 [n, K]; encoded once and kept."""
        path = folder / f"{part}.npy"
        if path.is_file():
            return np.load(path)
        positions = getattr(self.dataset.split, part)
        codes = [
            np.asarray(encode(batch.images))
            for batch in self._batches(positions, f"encode {part}")
        ]
        codes = np.concatenate(codes)[: len(positions)].astype(np.int8)
        save_array(path, codes)
        return codes

    def _batches(self, positions: np.ndarray, title: str, size: int = 0):
        size = size or self.config.evaluate.batch_size
        batches = eval_batches(
            self.dataset,
            positions,
            crop_size=self.config.data.crop_size,
            batch_size=size,
            threads=self.config.data.threads,
            rows=devices.process_rows(size),
        )
        total = -(-len(positions) // size)
        for batch in tqdm(batches, total=total, desc=title, disable=None):
            self.check_stop()
            yield devices.put_rows(self.mesh, batch)

    def _measure(self, folder: Path, defense, attack, victim: Victim) -> None:
        began = time.monotonic()
        clean = victim.codes["query"][: len(self.references.positions)]
        before = self.scorer.scores(clean, victim.codes)
        record = self._describe(defense, attack)
        if attack == "clean":
            record |= measures.retrieval_measures(before)
            record["code_usage"] = code_usage(victim.codes["database"])._asdict()
        else:
            if attack == WORST_CASE:
                left, special, aim = *self._worst_case(defense, victim), None
            else:
                left, special, aim = self._attack(attack, victim)
            after = self.scorer.scores(left.codes, victim.codes)
            record |= measures.retrieval_measures(after)
            record |= measures.change_measures(left, clean) | special
            save_array(folder / "codes.npy", left.codes)
            galleries = (clean, left, before, after, aim)
            write_gallery(folder, self.config, self.dataset, victim.codes, *galleries)
        record["seconds"] = round(time.monotonic() - began, 2)
        self._write(folder / "record.json", record)

    def _attack(
        self, attack: str, victim: Victim
    ) -> tuple[Attacked, Record, np.ndarray | None]:
        """The worst of the restarts, how far it could go, and the codes aimed at."""
        settings = self.config.evaluate
        given = self.attacker.given(attack, victim)
        worst = Worst(len(given.rows))
        for restart in range(settings.restarts):
            left = self.attacker.run(
                attack,
                victim,
                given=given,
                restart=restart,
                keep=settings.gallery,
            )
            if settings.restarts == 1:
                break
            worst.add(restart, left, self.scorer.precision(left.codes, victim.codes))
        left = worst.left or left
        aim = aimed_at(attack, given.rows, self.config.model.bits)
        return left, self.scorer.bound(attack, aim, victim.codes, left.codes), aim

    def _worst_case(self, defense: str, victim: Victim) -> tuple[Attacked, Record]:
        """The ensemble's result, compared with the attacks that ran before it."""
        settings, given = self.config.evaluate, {}

        def attack(name, budget, rows, restart):
            if name not in given:
                given[name] = self.attacker.given(name, victim)
            return self.attacker.run(
                name,
                victim,
                given=given[name],
                rows=rows,
                budget=dataclasses.replace(budget, epsilon=settings.epsilon),
                restart=restart,
                keep=settings.gallery,
            )

        def score(codes, rows):
            return self.scorer.precision(codes, victim.codes, rows)

        found = standard_v1(attack, score, self.scorer.chances())
        compared = {}
        for name in parse_attacks(settings.attacks)[:-1]:
            if not ATTACKS[name].bounded:
                continue
            codes = np.load(self._folder / f"{defense}-{name}" / "codes.npy")
            compared[name] = self.scorer.precision(codes, victim.codes)
        return found.worst.left, measures.ensemble_measures(found, compared)

    def _transfer(self, paths, attack, source, crafted_on: Victim, victims) -> None:
        began = time.monotonic()
        others = {defense: victims[defense] for defense in paths}
        left = self.attacker.run(attack, crafted_on, others=others)
        seconds = round(time.monotonic() - began, 2)
        for defense, path in paths.items():
            codes, victim = left.elsewhere[defense], victims[defense]
            clean = victim.codes["query"][: len(codes)]
            record = self._describe(defense, attack) | {"source": source}
            record |= measures.retrieval_measures(
                self.scorer.scores(codes, victim.codes)
            )
            record |= measures.change_measures(left._replace(codes=codes), clean)
            if ATTACKS[attack].targeted:
                targets = self.references.targets()
                record["t_map"] = self.scorer.scores(codes, victim.codes, targets).map
            if settings := record["attack_settings"]:
                settings["restarts"] = 1
                if "queries_per_image" in settings:
                    settings["queries_per_image"] = settings["steps"]
            self._write(path, record | {"seconds": seconds})

    def _describe(self, defense: str, attack: str) -> Record:
        count = len(self.references.positions)
        return measures.describe(self.config, self.dataset, defense, attack, count)

    def _write(self, path: Path, content: Record) -> None:
        if jax.process_index() == 0:
            write_json(path, content)


def _read(path: Path) -> Record:
    return json.loads(path.read_text(encoding="utf-8"))
