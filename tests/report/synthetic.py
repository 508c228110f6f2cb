"""A plausible workdir, made up: records, training curves and tiny galleries."""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from cgat_jax.files.io import write_sealed
from cgat_jax.files.metrics_log import line_check

MAPS = {
    ("none", "clean"): 0.7123,
    ("none", "noise"): 0.7034,
    ("none", "cgat"): 0.1187,
    ("cgat", "clean"): 0.6541,
    ("cgat", "noise"): 0.6502,
    ("cgat", "cgat"): 0.4102,
}
CHANCE = 0.3591
LABELS = ["Bag", "Coat", "Shirt", "Sneaker", "Trouser", "Dress"]


def write_workdir(path: Path, *, seed=0, gallery=True, side=48, **subject) -> Path:
    """Writes a complete workdir; ``subject`` overrides keys of the records."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    config = {
        "data": {"name": subject.get("dataset", "quickstart"), "root": f"{path}/data"},
        "model": {"name": "small", "bits": 32},
        "loss": {"name": "dpsh", "eta": 0.001},
        "backbone": {"epochs": 0},
        "pretrain": {"epochs": 12},
        "defense": {"name": "cgat", "epochs": 6, "weight": 1.0},
        "evaluate": {"attacks": "noise,cgat", "epsilon": 8 / 255, "gallery": 2},
        "seed": seed,
    }
    (path / "config.json").write_text(json.dumps(config, indent=2))
    for stage, parts in (("pretrain", ()), ("defend", ("clean", "robust"))):
        write_metrics(path / stage, parts, rng)
    records = [
        make_record(defense, attack, seed, rng, **subject) for defense, attack in MAPS
    ]
    (path / "results.json").write_text(json.dumps({"records": records}))
    for record in records:
        folder = path / "evaluate" / f"{record['defense']}-{record['attack']}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
        if gallery and record["attack"] == "cgat":
            write_gallery(folder, rng, side, wrong_after=record["defense"] == "none")
    return path


def make_record(defense, attack, seed, rng, **subject):
    level = MAPS[defense, attack] + (0.004 * rng.standard_normal() if seed else 0.0)
    clean = attack == "clean"
    n = [100, *range(500, 5001, 500)]
    recall = np.linspace(0.02, 1, 40)
    fall = np.linspace(1.0, 0.0, len(n)) if level > CHANCE else -np.linspace(0.6, 0, 11)
    return {
        "dataset": "quickstart",
        "split": "quickstart-500q-4000t-seed0",
        "split_sha256": "5f" * 32,
        "num_queries": 500,
        "num_attacked": 500,
        "num_database": 8000,
        "num_train": 4000,
        "backbone": "small",
        "bits": 32,
        "loss": "dpsh",
        "defense": defense,
        "attack": attack,
        "attack_settings": {} if clean else {"steps": 100, "step_size": 1 / 255},
        "budget": None if clean else 8 / 255,
        "seed": seed,
        "map": level,
        "map_at": 5000,
        "map_all": level - 0.01,
        "map_expected": level + 0.001,
        "t_map": None,
        "chance": CHANCE,
        "ceiling": 1.0,
        "num_without_relevant": 0,
        "precision_at": {"n": n, "precision": list(level + 0.12 * fall)},
        "pr_curve": {
            "recall": list(recall),
            "precision": list(CHANCE + (level - CHANCE) * (1 - recall**2)),
        },
        "perturbation": None if clean else {"linf": 8 / 255, "rmse": 0.0213},
        "bits_flipped": None if clean else 0.81 if attack == "cgat" else 0.02,
        "bound": 0.031,
        "seconds": 12.3,
        "device": "cpu x1",
        "versions": {"cgat_jax": "0.1.0", "jax": "0.10.2"},
        "commit": None,
        "config_sha256": "ab" * 32,
        **subject,
    }


def write_metrics(folder: Path, parts, rng):
    folder.mkdir()
    with open(folder / "metrics.jsonl", "w") as file:
        for step in range(20, 1520, 20):
            clean = 0.69 * np.exp(-step / 500) + 0.1 + 0.02 * rng.random()
            losses = {f"loss/{part}": clean * (1 + i) for i, part in enumerate(parts)}
            entry = {
                "step": step,
                "epoch": step / 125,
                "loss": sum(losses.values()) or clean,
                "learning_rate": 0.01,
            }
            file.write(json.dumps(entry | losses) + "\n")


def write_gallery(folder: Path, rng, side=48, wrong_after=True, label=None):
    def save(name, pixels):
        Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8)).save(
            folder / name
        )
        return name

    def answers(query, when):
        hits = []
        for i in range(8):
            right = i != 6 if when == "before" else (i % 4 == 1 and not wrong_after)
            hits.append(
                {
                    "image": save(f"q{query}_{when}{i}.png", sketch(rng, side)),
                    "id": f"database/{int(rng.integers(9999)):06d}",
                    "labels": [LABELS[query] if right else LABELS[3]],
                    "distance": i // 2,
                    "relevant": right,
                }
            )
        return hits

    queries = []
    for query in range(2):
        clean = sketch(rng, side)
        noise = (8 / 255) * np.sign(rng.standard_normal(clean.shape))
        queries.append(
            {
                "id": f"query/{query:06d}",
                "labels": [label or LABELS[query], "Shirt"],
                "clean": save(f"q{query}_clean.png", clean),
                "adversarial": save(f"q{query}_adversarial.png", clean + noise),
                "difference": save(f"q{query}_difference.png", 0.5 + 16 * noise),
                "magnified": 16,
                "codes": {
                    "clean": "+-" * 16,
                    "adversarial": "++--" * 8,
                    "aim": "-+" * 16,
                },
                "average_precision_before": 0.8123,
                "average_precision_after": 0.0456,
                "before": answers(query, "before"),
                "after": answers(query, "after"),
            }
        )
    (folder / "gallery.json").write_text(json.dumps({"queries": queries}))


def sketch(rng, side):
    """A picture of a shape on a gradient, so that a gallery looks like one."""
    y, x = np.mgrid[0:side, 0:side] / side
    image = np.stack([x * rng.random(), y * rng.random(), 0.3 + 0 * x], axis=-1)
    inside = (abs(x - 0.5) < 0.15 + 0.2 * rng.random()) & (abs(y - 0.5) < 0.35)
    image[inside] = rng.random(3)
    return image


def seal(path: Path) -> Path:
    """Seals a workdir as the programs do: digests of files, lines and pictures."""
    for file in [path / "config.json", *path.rglob("*.json")]:
        content = json.loads(file.read_text())
        if file.name == "gallery.json":
            names = sorted(p.name for p in file.parent.glob("*.png"))
            content["pictures"] = {
                name: hashlib.sha256((file.parent / name).read_bytes()).hexdigest()
                for name in names
            }
        write_sealed(file, content)
    for file in path.rglob("metrics.jsonl"):
        entries = map(json.loads, file.read_text().splitlines())
        lines = [json.dumps(e | {"check": line_check(e)}) for e in entries]
        file.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_sanity(path: Path, defense="cgat", **more) -> None:
    """Writes the sanity checks of a network."""
    check = {"name": "ball", "passed": True, "value": 0.0, "threshold": 0.01}
    entry = {
        "defense": defense,
        "seed": 0,
        "num_queries": 64,
        "checks": [check | {"meaning": "pixels outside of the ball"}],
        "curve": {"epsilon": [0.0, 0.1], "map": [0.6, 0.2], "bits_flipped": [0.0, 0.8]},
    }
    folder = path / "evaluate" / f"{defense}-sanity"
    folder.mkdir(parents=True)
    (folder / "sanity.json").write_text(json.dumps(entry | more))


def make_first(defense, count=40, half=0.05, **subject):
    """A worst case on the first queries."""
    level = MAPS[defense, "cgat"] - 0.1
    same = {attack: MAPS[defense, attack] for attack in ("clean", "noise", "cgat")}
    made = make_record(defense, "cgat", 0, np.random.default_rng(0)) | {
        "attack": "worst_case",
        "num_attacked": count,
        "map": level,
        "map_interval": [max(level - half, 0.0), level + half],
        "components": [{"attack": "apgd", "map": level, "share": 1.0}],
        "same_queries": same,
    }
    return made | subject
