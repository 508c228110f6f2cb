"""How far stored images are from the released pipeline's, in pixels and code bits.

    python -m benchmarks.stored_images --images=PHOTOS \
        --out=docs/benchmarks/stored_images.md

The released pipeline decodes a photo, scales its short side to 256 (Pillow, bilinear)
and cuts the center out, 224 x 224, without compressing it again. A prepared data set
keeps the scaled photo as JPEG of quality 95, so that its pixels differ a little; the
crops of both are compared, with full chroma (4:4:4, as images are stored) and with half
of it (4:2:0, as versions before format 2 stored them).

Code bits are those of a network for this purpose: the packed weights of ``small`` up to
its last hidden layer, and as hash head the photos' own principal components, turned by
a random rotation (seed 0) and cut at their medians, so that each bit is 1 for half of
the photos. It was not trained for retrieval; the share of bits that change says how
sensitive binary codes are, not what any MAP loses.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from benchmarks.out_file import out_file, write_out
from cgat_jax.data import images
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.models import make_model
from cgat_jax.models.weights import load_weights, packed_weights
from cgat_jax.report.tables import markdown_table

TITLE = "# Stored images against the released pipeline"
SIZE, CROP, FEATURES = 256, 224, 256
RELEASED, FULL, HALF = "released", "4:4:4", "4:2:0"
ENDINGS = (".jpg", ".jpeg", ".png")


class Photo(NamedTuple):
    """Crops and bytes on disk by the way that a photo is kept."""

    crops: dict[str, np.ndarray]
    sizes: dict[str, int]


def photos_below(folder: Path) -> Iterator[bytes]:
    """The contents of the photos that are large enough to be scaled, in name order."""
    paths = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in ENDINGS)
    for path in paths:
        data = path.read_bytes()
        if min(images.decode(data, path.name).shape[:2]) > SIZE:
            yield data


def keep(data: bytes) -> Photo:
    """A photo as released, as it is stored, and as it was stored before."""
    scaled = images.resize_short_side(images.decode(data, "photo"), SIZE)
    before = io.BytesIO()
    Image.fromarray(scaled).save(before, "JPEG", quality=95, subsampling="4:2:0")
    stored = {FULL: images.store(data, "photo", SIZE), HALF: before.getvalue()}
    pixels = {RELEASED: scaled}
    pixels |= {name: images.decode(kept, name) for name, kept in stored.items()}
    crops = {name: images.center_crop(image, CROP) for name, image in pixels.items()}
    sizes = {RELEASED: len(data)} | {name: len(kept) for name, kept in stored.items()}
    return Photo(crops, sizes)


def features_of(crops: np.ndarray) -> np.ndarray:
    """[n, 256], the last hidden layer of ``small`` with its packed weights."""
    model = make_model("small", outputs=FEATURES, dropout=0.0)
    batch = jnp.zeros((1, CROP, CROP, 3))
    params, stats = model.init(jax.random.key(0), batch)
    params, stats = load_weights(packed_weights("small"), params, stats)
    params["head"] = {
        "kernel": np.eye(FEATURES, dtype=np.float32),
        "bias": np.zeros(FEATURES, np.float32),
    }
    apply = jax.jit(lambda batch: model.apply(params, stats, batch)[0])
    batches = np.split(crops, range(32, len(crops), 32))
    found = [np.asarray(apply(jnp.float32(each) / 255)) for each in batches]
    return np.concatenate(found).astype(np.float64)


def codes_of(crops: dict[str, np.ndarray], bits: int) -> dict[str, np.ndarray]:
    """Boolean codes [n, bits]; the head is fitted on the released crops."""
    found = {name: features_of(stack) for name, stack in crops.items()}
    base = found[RELEASED]
    center = base.mean(axis=0)
    components = np.linalg.svd(base - center, full_matrices=False)[2][:bits]
    normal = np.random.default_rng(0).normal(size=(bits, bits))
    head = components.T @ np.linalg.qr(normal)[0]
    values = {name: (each - center) @ head for name, each in found.items()}
    cut = np.median(values[RELEASED], axis=0)
    return {name: each > cut for name, each in values.items()}


def measure(folder: Path, bits: int) -> tuple[int, list[list[str]]]:
    """The number of photos, and a row for each way to store them.

    Raises:
        SystemExit: there are fewer photos than the head has bits.
    """
    kept = [keep(data) for data in tqdm(photos_below(folder), unit="img", disable=None)]
    if len(kept) <= bits:
        raise SystemExit(
            f"{folder}: {len(kept)} photos with a short side over {SIZE} pixels; "
            f"expected more than {bits}"
        )
    names = (RELEASED, FULL, HALF)
    crops = {name: np.stack([photo.crops[name] for photo in kept]) for name in names}
    codes, rows = codes_of(crops, bits), []
    for name in (FULL, HALF):
        gaps = np.abs(crops[name].astype(np.int16) - crops[RELEASED])
        turned = codes[name] != codes[RELEASED]
        size = np.mean([photo.sizes[name] for photo in kept]) / 1000
        numbers = [f"{gaps.mean():.2f}", str(gaps.max()), f"{size:.1f}"]
        shares = [f"{100 * turned.mean():.2f}", f"{100 * turned.any(1).mean():.1f}"]
        rows.append([name, *numbers, *shares])
    return len(kept), rows


def report(count: int, bits: int, rows: list[list[str]]) -> str:
    """The table as Markdown, with where it comes from."""
    origin = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in origin["versions"].items())
    header = ["chroma", "mean", "largest", "kB an image", "bits, %", "codes, %"]
    table = markdown_table(pd.DataFrame(rows, columns=header))
    return (
        f"{TITLE}\n\n"
        f"{origin['device']}; {versions}; commit {origin['commit']}.\n\n"
        f"{count} photos with a short side over {SIZE} pixels. Released: scaled to "
        f"{SIZE} (Pillow, bilinear), the center {CROP} x {CROP}, not compressed again. "
        "Stored: the same with a JPEG of quality 95 between the two. Mean and largest "
        "difference of pixel values, of 255; the size of a stored image on disk; the "
        f"share of {bits}-bit codes' bits that change, and of codes with one bit or "
        f"more that changes.\n\n{table}\n"
        "The codes: packed weights of the network `small` up to its last hidden layer, "
        f"then a head fitted on these photos without labels ({bits} principal "
        "components, a random rotation, the medians as thresholds). It was not trained "
        "for retrieval: the shares say how many bits lie so near to their threshold, "
        "not what a MAP loses. Format 2 of prepared data stores 4:4:4, format 1 stored "
        "4:2:0; photos that need no scaling are stored without loss in both.\n"
    )


def main() -> None:
    """Parses the options, measures, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of photos")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--out", type=out_file(TITLE), help="Markdown file to write")
    options = parser.parse_args()
    count, rows = measure(options.images, options.bits)
    text = report(count, options.bits, rows)
    print(text)
    write_out(options.out, text)


if __name__ == "__main__":
    main()
