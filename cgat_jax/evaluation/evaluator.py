"""Clean and attacked retrieval of each network, as records that are kept."""

import contextlib
import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from cgat_jax import progress
from cgat_jax.attacks import ATTACKS, WORST_CASE, ordered_attacks
from cgat_jax.config import Config
from cgat_jax.data import degeneracies
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError
from cgat_jax.evaluation import records
from cgat_jax.evaluation.attack_runner import Attacker, AttackResult, EncodedNetwork
from cgat_jax.evaluation.encoder import Encoder
from cgat_jax.evaluation.gallery import Shown, write_gallery
from cgat_jax.evaluation.generators import Generators
from cgat_jax.evaluation.records import is_named, is_of
from cgat_jax.evaluation.references import References
from cgat_jax.evaluation.scoring import Scorer, goal_codes
from cgat_jax.evaluation.workload import Sizes, attack_passes, worst_case_queries
from cgat_jax.evaluation.worst_case import WorstCase, attack_first
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
        self.folder, split = workdir / "evaluate", dataset.split
        attacked = len(self.references.positions)
        self.sizes = Sizes(len(split.train), len(split.database), attacked)
        self.worst_case_queries = worst_case_queries(config, self.sizes)

    @property
    def attacks_named(self) -> list[str]:
        """The attacks of all queries, in their order.

        The worst case is among them where the settings name it, or leave it open and
        the run pays for it.
        """
        names = ordered_attacks(self.config.evaluate.attack_list)
        whole = self.worst_case_queries == len(self.references.positions)
        return [*names, WORST_CASE] if whole else names

    def attacks(self, defense: str, encoded: EncodedNetwork) -> list[Record]:
        """Records of the clean queries and of each attack of the list, in order."""
        self.references.check_kept()
        records, names = [], ["clean", *self.attacks_named]
        with progress.part(defense):
            for attack in names:
                with progress.part(*self._progress(attack)):
                    records.append(self._record(defense, attack, encoded))
        if names[-1] == WORST_CASE:
            records[-1] = self._compared(records[-1], defense, encoded)
        return records

    def _progress(self, attack: str) -> tuple[str, int]:
        """What a part of the run is called besides its bars, and what it costs."""
        each = 0 if attack == "clean" else attack_passes(attack, self.config)
        title = attack if attack == WORST_CASE else ""
        return title, each * len(self.references.positions)

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
                rows = np.arange(len(clean))
                found = attack_first(self.attacker, self.scorer, encoded, rows)
                result, goals = found.worst.result, None
                special = records.ensemble_measures(found)
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

    def precision(self, defense: str, attack: str, encoded: EncodedNetwork):
        """Average precision of each query, clean or as it was measured before."""
        if attack == "clean":
            return self.scorer.precision(
                self.references.own(encoded.codes), encoded.codes
            )
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
        names = [n for n in self.attacks_named if n != WORST_CASE]
        names = [name for name in names if ATTACKS[name].bounded]
        if record.get("others") == names:
            return record
        found = {
            name: self.precision(defense, name, encoded)
            for name in (*names, WORST_CASE)
        }
        record |= records.comparison_measures(found.pop(WORST_CASE), found)
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

    @functools.cached_property
    def _data_warnings(self) -> list[str]:
        data = self.dataset
        return degeneracies(data.labels, data.split, data.contents)

    def describe(self, defense, attack, encoded, count: int = 0) -> Record:
        """The head of a record, of all attacked queries or the first ``count``."""
        count = count or len(self.references.positions)
        record = records.describe(
            self.config, self.dataset, encoded, defense, attack, count
        )
        return record | {"warnings": [*self._data_warnings, *record["warnings"]]}

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
