"""Clean and attacked retrieval of each network, as records that are kept."""

import functools
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from cgat_jax import devices
from cgat_jax.attacks import ATTACKS, Budget, parse_attacks
from cgat_jax.centers import center_codes
from cgat_jax.config import Config, to_json
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.loader import eval_batches
from cgat_jax.gallery import write_gallery
from cgat_jax.provenance import provenance
from cgat_jax.retrieval import RetrievalScores, evaluate_retrieval
from cgat_jax.types import Bank, HashModel, PyTree
from cgat_jax.workdir import write_json

PARTS = ("train", "database", "query")
Network = tuple[PyTree, PyTree]


class Attacked(NamedTuple):
    """What an attack left of the queries: codes, the first images, the movement."""

    codes: np.ndarray
    images: np.ndarray
    linf: float
    rmse: float


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
        rows, whole = devices.by_row(mesh), devices.replicated(mesh)
        self._shardings = {"in_shardings": (whole, rows), "out_shardings": whole}

        def encode(network, pixels):
            params, stats = network
            return jnp.sign(model.apply(params, stats, devices.to_images(pixels))[0])

        self._encode = jax.jit(encode, **self._shardings)
        self._attacks = {name: self._compile(model, name) for name in self.names()}

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
        _save_array(path, codes)
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

    def _compile(self, model: HashModel, name: str) -> Callable:
        settings = self.config.evaluate
        attack = ATTACKS[name].make(
            Budget(
                epsilon=settings.epsilon,
                step_size=settings.step_size,
                steps=settings.steps,
            )
        )
        key = _attack_key(self.config.seed, name)

        def run(network, rows):
            params, stats = network
            pixels, references, indices = rows

            def encode(images, iteration):
                return model.apply(params, stats, images)[0]

            images = devices.to_images(pixels)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
            moved = attack(encode, images, references, keys)
            return jnp.sign(encode(moved, 0)), moved, moved - images

        return jax.jit(run, **self._shardings)

    def _references(self, name: str, labels, codes) -> np.ndarray:
        if ATTACKS[name].references == "none":
            return np.zeros((len(labels), self.config.model.bits), np.float32)
        train = self.dataset.labels[self.dataset.split.train]
        bank = Bank(jnp.asarray(codes["train"], jnp.float32), _float(train))
        centers = jax.jit(functools.partial(center_codes, binary=True))
        blocks = np.array_split(labels, -(-len(labels) // 512))
        return np.concatenate([centers(_float(block), bank) for block in blocks])

    def _attack(self, name, network, references, positions) -> Attacked:
        gallery, codes, shown = self.config.evaluate.gallery, [], []
        largest, squares, seen = 0.0, 0.0, 0
        padding = np.zeros((self.config.evaluate.batch_size, references.shape[1]))
        padded = np.concatenate([references, padding]).astype(np.float32)
        for batch in self._batches(positions, f"attack {name}"):
            rows = (batch.images, padded[np.asarray(batch.indices)], batch.indices)
            signs, moved, change = self._attacks[name](network, rows)
            real = np.asarray(batch.mask)
            codes.append(np.asarray(signs)[real])
            change = np.asarray(change)[real]
            largest = max(largest, float(np.abs(change).max()))
            squares += float(
                (change.astype(np.float64) ** 2).mean(axis=(1, 2, 3)).sum()
            )
            if seen < gallery:
                shown.append(np.asarray(moved)[real][: gallery - seen])
            seen += int(real.sum())
        images = np.concatenate(shown) if shown else np.zeros((0, 1, 1, 3))
        rmse = (squares / seen) ** 0.5
        return Attacked(np.concatenate(codes).astype(np.int8), images, largest, rmse)

    def _measure(self, path, defense, attack, network, codes) -> None:
        began = time.monotonic()
        dataset, split = self.dataset, self.dataset.split
        limit = self.config.evaluate.num_queries or len(split.query)
        positions = split.query[:limit]
        labels, clean = dataset.labels[positions], codes["query"][:limit]
        score = functools.partial(
            evaluate_retrieval,
            query_labels=labels,
            database_codes=codes["database"],
            database_labels=dataset.labels[split.database],
            top_k=self.config.evaluate.top_k,
            threads=self.config.data.threads,
        )
        before = score(clean)
        record = self._describe(defense, attack)
        if attack == "clean":
            record |= _scores(before)
        else:
            references = self._references(attack, labels, codes)
            left = self._attack(attack, network, references, positions)
            after = score(left.codes)
            record |= _scores(after) | {
                "perturbation": {"linf": left.linf, "rmse": left.rmse},
                "bits_flipped": float((left.codes != clean).mean()),
            }
            if references.any():
                record["bound"] = score(-references).map
            _save_array(path.with_name("codes.npy"), left.codes)
            galleries = (clean, left, before, after)
            write_gallery(path.parent, self.config, dataset, codes, *galleries)
        record["seconds"] = round(time.monotonic() - began, 2)
        if jax.process_index() == 0:
            write_json(path, record)

    def _describe(self, defense: str, attack: str) -> dict[str, Any]:
        config, settings = self.config, self.config.evaluate
        split, clean = self.dataset.split, attack == "clean"
        budget = {k: getattr(settings, k) for k in ("epsilon", "step_size", "steps")}
        text = to_json(config).encode()
        return {
            "dataset": self.dataset.name,
            "split": split.name,
            "split_sha256": split.sha256,
            "num_queries": len(split.query),
            "num_attacked": settings.num_queries or len(split.query),
            "num_database": len(split.database),
            "num_train": len(split.train),
            "backbone": config.model.name,
            "bits": config.model.bits,
            "loss": config.loss.name,
            "defense": defense,
            "attack": attack,
            "attack_settings": {} if clean else budget,
            "budget": None if clean else settings.epsilon,
            "seed": config.seed,
            "t_map": None,
            "perturbation": None,
            "bits_flipped": None,
            "bound": None,
            "config_sha256": hashlib.sha256(text).hexdigest(),
        } | provenance()


def _attack_key(seed: int, name: str) -> jax.Array:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return jax.random.fold_in(jax.random.key(seed), number)


def _float(table: np.ndarray) -> jax.Array:
    return jnp.asarray(table, jnp.float32)


def _save_array(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial.npy")
    np.save(partial, array, allow_pickle=False)
    partial.replace(path)


def _scores(scores: RetrievalScores) -> dict[str, Any]:
    return {
        "map": scores.map,
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
