"""Clean and attacked retrieval of each network, as records that are kept."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from cgat_jax import devices
from cgat_jax.attacking import Attacked, Attacker, Network
from cgat_jax.attacks import ATTACKS, budget_of, parse_attacks
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.loader import eval_batches
from cgat_jax.gallery import write_gallery
from cgat_jax.provenance import provenance
from cgat_jax.retrieval import (
    RetrievalScores,
    bootstrap_interval,
    code_usage,
    evaluate_retrieval,
)
from cgat_jax.settings import to_json
from cgat_jax.types import HashModel
from cgat_jax.workdir import save_array, write_json

PARTS = ("train", "database", "query")


class Evaluator:
    """Evaluates networks on one data set; finished attacks are read, not repeated."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        mesh: Mesh,
        workdir: Path,
        model: HashModel,
        check_stop: Callable[[], None],
    ):
        """Compiles nothing yet; ``check_stop`` is called between batches."""
        self.config, self.dataset, self.mesh = config, dataset, mesh
        self.workdir, self.check_stop = workdir, check_stop
        self._attacker = Attacker(config, dataset, mesh, model, workdir, check_stop)
        rows, whole = devices.by_row(mesh), devices.replicated(mesh)

        def encode(network, pixels):
            params, stats = network
            return jnp.sign(model.apply(params, stats, devices.to_images(pixels))[0])

        self._encode = jax.jit(encode, in_shardings=(whole, rows), out_shardings=whole)

    def names(self) -> list[str]:
        """The configured attacks."""
        return parse_attacks(self.config.evaluate.attacks)

    def evaluate(self, defense: str, network: Network) -> list[dict[str, Any]]:
        """Records of the clean queries and of each attack, in order."""
        folder = self.workdir / "codes" / defense
        codes = {part: self._codes(folder, part, network) for part in PARTS}
        records = []
        for attack in ["clean", *self.names()]:
            path = self.workdir / "evaluate" / f"{defense}-{attack}" / "record.json"
            if not path.is_file():
                self._measure(path, defense, attack, network, codes)
            records.append(json.loads(path.read_text(encoding="utf-8")))
        return records

    def _codes(self, folder: Path, part: str, network: Network) -> np.ndarray:
        """Binary codes of a part, int8 [n, K]; encoded once and kept."""
        path = folder / f"{part}.npy"
        if path.is_file():
            return np.load(path)
        positions = getattr(self.dataset.split, part)
        codes = [
            np.asarray(self._encode(network, batch.images))
            for batch in self._batches(positions, f"encode {part}")
        ]
        codes = np.concatenate(codes)[: len(positions)].astype(np.int8)
        save_array(path, codes)
        return codes

    def _batches(self, positions: np.ndarray, title: str):
        size = self.config.evaluate.batch_size
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

    def _measure(self, path, defense, attack, network, codes) -> None:
        began, attacker = time.monotonic(), self._attacker
        clean = codes["query"][: len(attacker.positions)]
        before = self._score(clean, codes, attacker.labels)
        record = self._describe(defense, attack)
        if attack == "clean":
            record |= _scores(before)
            record["code_usage"] = code_usage(codes["database"])._asdict()
        else:
            references = attacker.references(attack, codes)
            batches = self._batches(attacker.positions, f"attack {attack}")
            left = attacker.run(attack, network, codes, references, batches)
            after = self._score(left.codes, codes, attacker.labels)
            record |= _scores(after) | {
                "perturbation": {"linf": left.linf, "rmse": left.rmse},
                "bits_flipped": float((left.codes != clean).mean()),
            }
            record |= self._bound(attack, references, codes, left)
            save_array(path.with_name("codes.npy"), left.codes)
            galleries = (clean, left, before, after)
            write_gallery(path.parent, self.config, self.dataset, codes, *galleries)
        record["seconds"] = round(time.monotonic() - began, 2)
        if jax.process_index() == 0:
            write_json(path, record)

    def _score(self, query_codes, codes, labels) -> RetrievalScores:
        return evaluate_retrieval(
            query_codes,
            labels,
            codes["database"],
            self.dataset.labels[self.dataset.split.database],
            top_k=self.config.evaluate.top_k,
            threads=self.config.data.threads,
        )

    def _bound(self, attack, references, codes, left: Attacked) -> dict[str, Any]:
        """MAP of a perfect attack's codes; of targeted attacks the t-MAPs as well."""
        attacker, entry = self._attacker, ATTACKS[attack]
        if entry.targeted:
            targets = attacker.targets()
            return {
                "bound": self._score(references, codes, attacker.labels).map,
                "t_map": self._score(left.codes, codes, targets).map,
                "t_map_clean": self._score(
                    codes["query"][: len(targets)], codes, targets
                ).map,
                "t_map_bound": self._score(references, codes, targets).map,
            }
        if entry.references in ("none", "labels"):
            return {}
        return {"bound": self._score(-references, codes, attacker.labels).map}

    def _settings(self, attack: str) -> dict[str, Any]:
        return dataclasses.asdict(budget_of(attack, self.config.evaluate))

    def _describe(self, defense: str, attack: str) -> dict[str, Any]:
        config = self.config
        split, clean = self.dataset.split, attack == "clean"
        text = to_json(config).encode()
        return {
            "dataset": self.dataset.name,
            "split": split.name,
            "split_sha256": split.sha256,
            "num_queries": len(split.query),
            "num_attacked": len(self._attacker.positions),
            "num_database": len(split.database),
            "num_train": len(split.train),
            "backbone": config.model.name,
            "bits": config.model.bits,
            "loss": config.loss.name,
            "defense": defense,
            "attack": attack,
            "attack_settings": {} if clean else self._settings(attack),
            "budget": None if clean else config.evaluate.epsilon,
            "seed": config.seed,
            "t_map": None,
            "perturbation": None,
            "bits_flipped": None,
            "bound": None,
            "config_sha256": hashlib.sha256(text).hexdigest(),
        } | provenance()


def _scores(scores: RetrievalScores) -> dict[str, Any]:
    return {
        "map": scores.map,
        "map_interval": bootstrap_interval(scores.average_precision),
        "map_at": scores.top_k,
        "map_all": scores.map_all,
        "map_expected": scores.map_expected,
        "chance": scores.chance,
        "ceiling": scores.ceiling,
        "num_without_relevant": scores.num_queries_without_relevant,
        "precision_at": {
            "n": scores.precision_cutoffs.tolist(),
            "precision": scores.precision_at.tolist(),
        },
        "pr_curve": {
            "recall": scores.recall_levels.tolist(),
            "precision": scores.pr_curve.tolist(),
        },
    }
