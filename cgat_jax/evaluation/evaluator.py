"""Clean and attacked retrieval of each network, as records that are kept."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from cgat_jax.attacks import ATTACKS, WORST_CASE, ordered_attacks
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError
from cgat_jax.evaluation import records
from cgat_jax.evaluation.attack_runner import Attacker, AttackResult, EncodedNetwork
from cgat_jax.evaluation.encoder import Encoder
from cgat_jax.evaluation.gallery import Shown, write_gallery
from cgat_jax.evaluation.generators import Generators
from cgat_jax.evaluation.references import References
from cgat_jax.evaluation.scoring import Scorer, goal_codes
from cgat_jax.evaluation.worst_case import WorstCase, standard_v1
from cgat_jax.files.io import read_sealed, set_aside, write_sealed
from cgat_jax.files.kept import read_kept
from cgat_jax.processes import from_first
from cgat_jax.retrieval import code_usage

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
        saving: Callable[[], AbstractContextManager] = contextlib.nullcontext,
    ):
        """Compiles nothing yet.

        Args:
            config: the run's settings.
            dataset: its data.
            mesh: the devices.
            workdir: where everything is kept.
            check_stop: called between batches; may raise ``Stopped``.
            saving: entered while something is trained that is saved when it is stopped.
        """
        self.config, self.dataset, self.mesh = config, dataset, mesh
        self.encoder = Encoder(config, dataset, mesh, workdir, check_stop)
        self.encoded = self.encoder.encoded
        self.references = References(config, dataset, workdir, check_stop)
        self.scorer = Scorer(self.references)
        generators = Generators(config, dataset, mesh, workdir, check_stop, saving)
        self.attacker = Attacker(
            config, mesh, self.references, generators, self.encoder.batches
        )
        self.folder = workdir / "evaluate"

    def attacks(self, defense: str, encoded: EncodedNetwork) -> list[Record]:
        """Records of the clean queries and of each attack of the list, in order."""
        self.references.check_kept()
        names = ["clean", *ordered_attacks(self.config.evaluate.attack_list)]
        records = [self._record(defense, attack, encoded) for attack in names]
        if names[-1] == WORST_CASE:
            records[-1] = self._compared(records[-1], defense, encoded)
        return records

    def _record(self, defense: str, attack: str, encoded: EncodedNetwork) -> Record:
        """What was measured, now or before.

        Raises:
            InputError: it was measured on another network, or on other data.
        """
        folder = self.folder / f"{defense}-{attack}"
        path = folder / "record.json"
        record = from_first(lambda: _read_record(path, defense, attack))
        if record is None:
            self._measure(folder, defense, attack, encoded)
            record = from_first(lambda: read_sealed(path))
        if not is_of(record, network=encoded.digest, data=self.dataset.digest.whole):
            raise InputError(
                f"{folder} holds a record of another network or other data: move it "
                "away to measure this one"
            )
        return record

    def _measure(
        self, folder: Path, defense, attack, encoded: EncodedNetwork
    ) -> np.ndarray:
        """Leaves the record and what belongs to it; the codes of the queries."""
        began = time.monotonic()
        clean = self.references.own(encoded.codes)
        before = self.scorer.scores(clean, encoded.codes)
        record = self.describe(defense, attack, encoded)
        codes, shown = clean, None
        if attack == "clean":
            record |= records.retrieval_measures(before)
            record["code_usage"] = code_usage(encoded.codes["database"])._asdict()
        else:
            if attack == WORST_CASE:
                result, special, goals = *self._worst_case(encoded), None
            else:
                result, special, goals = self._attack(attack, encoded)
            after = self.scorer.scores(result.codes, encoded.codes)
            record |= records.retrieval_measures(after)
            record |= records.change_measures(result, clean) | special
            codes = result.codes
            shown = Shown(encoded.codes, clean, result, before, after, goals)
        record["seconds"] = round(time.monotonic() - began, 2)

        def keep() -> None:
            if shown is not None:
                of = _codes_of(defense, attack, encoded)
                self.encoder.save_codes(folder / "codes.npy", codes, of)
                positions = self.references.positions
                write_gallery(folder, self.config, self.dataset, positions, shown)
            write_sealed(folder / "record.json", record)

        from_first(keep)
        return codes

    def _attacked_precision(self, defense: str, attack: str, encoded: EncodedNetwork):
        """Average precision of each query under an attack that was measured before."""
        folder = self.folder / f"{defense}-{attack}"

        again = functools.partial(self._measure, folder, defense, attack, encoded)
        shape = len(self.references.positions), encoded.codes["query"].shape[1]
        of = _codes_of(defense, attack, encoded)
        codes = self.encoder.kept_codes(folder / "codes.npy", shape, again, of)
        return self.scorer.precision(codes, encoded.codes)

    def _compared(
        self, record: Record, defense: str, encoded: EncodedNetwork
    ) -> Record:
        """The worst case's record, compared with the other attacks of the list."""
        names = ordered_attacks(self.config.evaluate.attack_list)
        names = [n for n in names if n != WORST_CASE and ATTACKS[n].bounded]
        if record.get("others") == names:
            return record
        precision = functools.partial(
            self._attacked_precision, defense, encoded=encoded
        )
        others = {name: precision(name) for name in names}
        record |= records.comparison_measures(precision(WORST_CASE), others)
        self.write(self.folder / f"{defense}-{WORST_CASE}" / "record.json", record)
        return record

    def _attack(
        self, attack: str, encoded: EncodedNetwork
    ) -> tuple[AttackResult, Record, np.ndarray | None]:
        """The worst of the restarts, how far it could go, and the codes aimed at."""
        settings = self.config.evaluate
        given = self.attacker.given(attack, encoded)
        worst = WorstCase(len(given.rows))
        for restart in range(settings.restarts):
            result = self.attacker.run(
                attack,
                encoded,
                given=given,
                restart=restart,
                keep=settings.gallery,
            )
            if settings.restarts == 1:
                break
            worst.add(
                restart, result, self.scorer.precision(result.codes, encoded.codes)
            )
        result = worst.result or result
        goals = goal_codes(attack, given.rows, self.config.model.bits)
        return (
            result,
            self.scorer.map_bound(attack, goals, encoded.codes, result.codes),
            goals,
        )

    def _worst_case(self, encoded: EncodedNetwork) -> tuple[AttackResult, Record]:
        """The ensemble's result."""
        settings, given = self.config.evaluate, {}

        def attack(name, budget, rows, restart):
            if name not in given:
                given[name] = self.attacker.given(name, encoded)
            return self.attacker.run(
                name,
                encoded,
                given=given[name],
                rows=rows,
                budget=dataclasses.replace(budget, epsilon=settings.epsilon),
                restart=restart,
                keep=settings.gallery,
            )

        def score(codes, rows):
            return self.scorer.precision(codes, encoded.codes, rows)

        found = standard_v1(attack, score, self.scorer.chances())
        return found.worst.result, records.ensemble_measures(found)

    def describe(self, defense: str, attack: str, encoded: EncodedNetwork) -> Record:
        """The head of a record."""
        count = len(self.references.positions)
        return records.describe(
            self.config, self.dataset, encoded, defense, attack, count
        )

    def write(self, path: Path, content: Record) -> None:
        """Writes a record, with its digest."""
        from_first(lambda: write_sealed(path, content))


def _read_record(path: Path, defense: str, attack: str) -> Record | None:
    """What was measured before, if it was; anything else there is set aside."""
    record = read_kept(path)
    if record is not None and not is_named(record, defense, attack):
        set_aside(path, "it is of another attack")
        return None
    return record


def _codes_of(defense: str, attack: str, encoded: EncodedNetwork) -> str:
    """What the codes of attacked queries are of."""
    return f"{defense}-{attack} {encoded.digest}"


def is_named(record: Record, defense: str, attack: str, source=None) -> bool:
    """Whether a record is of this attack on this network."""
    named = record.get("defense"), record.get("attack"), record.get("source")
    return named == (defense, attack, source)


def is_of(record: Record | None, **digests: str) -> bool:
    """Whether a record is there and of these networks, as far as it says."""
    return record is not None and all(
        record.get(f"{name}_sha256", digest) == digest
        for name, digest in digests.items()
    )
