"""What a few attacked queries retrieve before and after: pictures for the report."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.images import center_crop
from cgat_jax.evaluation.attack_runner import AttackResult
from cgat_jax.files.io import replace_file, write_sealed
from cgat_jax.retrieval import RetrievalScores, hamming_distances

SHOWN = 8
MAGNIFIED = 16


class Shown(NamedTuple):
    """What a gallery shows of an attack.

    Attributes:
        codes: the network's binary codes of ``database``.
        clean: codes of the clean queries.
        result: codes and first images of the attacked ones.
        before: scores of the clean queries.
        after: scores of the attacked queries.
        goals: the code that the attack moves each query's towards, if it has one.
    """

    codes: dict[str, np.ndarray]
    clean: np.ndarray
    result: AttackResult
    before: RetrievalScores
    after: RetrievalScores
    goals: np.ndarray | None = None


def write_gallery(
    folder: Path,
    config: Config,
    dataset: Dataset,
    positions: np.ndarray,
    shown: Shown,
) -> None:
    """Writes ``gallery.json`` and its pictures for the first attacked queries.

    Args:
        folder: of the attack.
        config: gives the crop and the number of queries.
        dataset: the images.
        positions: of the attacked queries in it.
        shown: codes, images and scores.
    """
    crop, entries = config.data.crop_size, []
    codes, clean, result, before, after, goals = shown
    for row, adversarial in enumerate(result.images):
        position = int(positions[row])
        original = center_crop(dataset.read(int(position)), crop)
        lists = {"before": clean[row], "after": result.codes[row]}
        strips = {"clean": clean[row], "adversarial": result.codes[row]}
        if goals is not None:
            strips["aim"] = goals[row]
        entries.append(
            {
                "id": str(dataset.image_ids[position]),
                "labels": _labels(dataset, position),
                "magnified": MAGNIFIED,
                "average_precision_before": float(before.average_precision[row]),
                "average_precision_after": float(after.average_precision[row]),
                "codes": {name: _bits(code) for name, code in strips.items()},
            }
            | _pictures(folder, row, original, np.asarray(adversarial))
            | {
                moment: _retrieved(
                    folder,
                    f"q{row}_{moment}",
                    dataset,
                    hamming_distances(code[None], codes["database"])[0],
                    position,
                    crop,
                )
                for moment, code in lists.items()
            }
        )
    names = sorted(path.name for path in folder.glob("q*.png"))
    digests = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
    write_sealed(folder / "gallery.json", {"queries": entries, "pictures": digests})


def _pictures(folder: Path, row: int, original, adversarial) -> dict[str, str]:
    """The query, its adversarial image and the magnified difference, as files."""
    perturbation = (adversarial - original / 255) * MAGNIFIED
    pictures = {
        "clean": original,
        "adversarial": np.round(adversarial * 255).astype(np.uint8),
        "difference": np.round(np.clip(0.5 + perturbation / 2, 0, 1) * 255),
    }
    return {
        kind: _picture(folder, f"q{row}_{kind}.png", pixels)
        for kind, pixels in pictures.items()
    }


def _retrieved(folder, prefix, dataset, distances, query, crop) -> list[dict]:
    nearest = np.argsort(distances, kind="stable")[:SHOWN]
    found = []
    for rank, row in enumerate(nearest):
        position = int(dataset.split.database[row])
        image = center_crop(dataset.read(int(position)), crop)
        shared = dataset.labels[query] & dataset.labels[position]
        found.append(
            {
                "image": _picture(folder, f"{prefix}{rank}.png", image),
                "id": str(dataset.image_ids[position]),
                "labels": _labels(dataset, position),
                "distance": float(distances[row]),
                "relevant": bool(shared.any()),
            }
        )
    return found


def _bits(code: np.ndarray) -> str:
    """A code as text: + and -, and 0 for a bit that ties."""
    return "".join("0+-"[int(np.sign(bit))] for bit in code)


def _labels(dataset: Dataset, position: int) -> list[str]:
    return [dataset.class_names[i] for i in np.flatnonzero(dataset.labels[position])]


def _picture(folder: Path, name: str, pixels: np.ndarray) -> str:
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    replace_file(folder / name, lambda file: image.save(file, "PNG"))
    return name
