"""Quickstart data: multi-label scenes made of real product photos.

A scene shows one to three garments of different classes on a colored background; its
labels are their classes. Scene i of a split is a pure function of (seed, split, i), so
that any number of scenes can be asked for and nothing needs to be stored. Photos of
database scenes and of query scenes are disjoint.

The photos are 12,000 of Fashion-MNIST (Xiao et al., 2017, MIT licence), see
``assets/README.md``.
"""

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset, make_split
from cgat_jax.data.digest import digest_contents, digest_data
from cgat_jax.data.prepare.arrays import load_arrays

CLASS_NAMES = (
    *("T-shirt", "trousers", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
PHOTOS = Path(__file__).parents[1] / "assets" / "fashion_photos.npz"
SPLITS = {"database": 0, "query": 1}
SIZES = range(40, 65)
NUM_GARMENTS = (0.35, 0.45, 0.20)
"""Probability of one, two and three garments."""
DEFAULT_DATABASE = 8_000
RENDERER = 1
"""Raised with each change of the pixels of a scene."""


class Garment(NamedTuple):
    """A class, its photo, and the square that it is drawn in, pixels of the canvas."""

    label: int
    photo: int
    top: int
    left: int
    side: int


def scene_labels(seed: int, split: str, index: int) -> UInt8[np.ndarray, "10"]:
    """Multi-hot labels of a scene, without rendering it."""
    labels = np.zeros(len(CLASS_NAMES), np.uint8)
    labels[_draw_classes(_generator(seed, split, index))] = 1
    return labels


def place_garments(
    generator: np.random.Generator, size: int, num_photos: int
) -> list[Garment]:
    """Garments of a scene: each in its own quarter of the canvas, none overlapping.

    Args:
        generator: of the scene, fresh.
        size: side of the canvas, pixels.
        num_photos: photos of a class to choose from.
    """
    classes = _draw_classes(generator)
    cells = generator.permutation(4)[: len(classes)]
    half, garments = size // 2, []
    for label, cell in zip(classes, cells, strict=True):
        side = int(generator.integers(round(0.74 * half), half + 1))
        corner = generator.integers(0, half - side + 1, size=2)
        top, left = (corner + half * np.array(divmod(cell, 2))).tolist()
        photo = int(generator.integers(num_photos))
        garments.append(Garment(int(label), photo, top, left, side))
    return garments


def render_scene(
    seed: int, split: str, index: int, size: int
) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "10"]]:
    """Draws scene ``index`` of a split, and its labels.

    Args:
        seed: of all scenes.
        split: ``database`` or ``query``.
        index: of the scene in its split, 0 or more.
        size: side of the canvas, 40 to 64 pixels.

    Raises:
        DataError: the size or the split is not one of these.
    """
    if size not in SIZES:
        low, high = SIZES[0], SIZES[-1]
        raise DataError(f"quickstart: expected image_size {low}..{high}, got {size}")
    generator = _generator(seed, split, index)
    photos = _photos()[split]
    garments = place_garments(generator, size, photos.shape[1])
    canvas = _background(generator, size)
    labels = np.zeros(len(CLASS_NAMES), np.uint8)
    for garment in garments:
        labels[garment.label] = 1
        _draw_garment(canvas, photos[garment.label, garment.photo], garment, generator)
    canvas += generator.normal(0, 0.03, canvas.shape).astype(np.float32)
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8), labels


def load_quickstart(settings: Data, root: Path) -> Dataset:
    """The quickstart data of the sizes in the settings; nothing is read from ``root``.

    Positions count the database scenes, then the query scenes. The training images are
    the first of the database.

    Raises:
        DataError: more training images than database images, or a size out of range.
    """
    del root
    num_database = settings.num_database or DEFAULT_DATABASE
    num_queries, num_train = settings.num_queries, settings.num_train
    if num_train > num_database:
        raise DataError(
            f"data.num_train={num_train} exceeds data.num_database={num_database}: "
            "training images are part of the database"
        )
    seed, size = settings.split_seed, settings.image_size
    scenes = [("database", i) for i in range(num_database)]
    scenes += [("query", i) for i in range(num_queries)]
    ids = [f"{split}/{index:06d}" for split, index in scenes]
    labels = np.array([scene_labels(seed, *scene) for scene in scenes])
    positions = np.arange(len(scenes))
    name = f"quickstart-{num_queries}q-{num_database}d-{num_train}t-seed{seed}"
    render_scene(seed, *scenes[0], size)  # a size out of range fails here, not later
    split = make_split(
        name,
        ids,
        train=positions[:num_train],
        query=positions[num_database:],
        database=positions[:num_database],
    )
    made_of = {"photos": _photos_digest(), "renderer": RENDERER, "seed": seed}
    how = digest_contents(None, **made_of, image_size=size)
    return Dataset(
        name="quickstart",
        class_names=CLASS_NAMES,
        labels=labels,
        image_ids=ids,
        read=lambda position: render_scene(seed, *scenes[position], size)[0],
        split=split,
        sizes=lambda: np.full((len(scenes), 2), size),
        digest=digest_data(labels, ids, split.sha256, how),
    )


@functools.cache
def _photos() -> dict[str, UInt8[np.ndarray, "10 n 28 28"]]:
    archive = load_arrays(PHOTOS)
    return {split: archive[split] for split in SPLITS}


@functools.cache
def _photos_digest() -> str:
    return hashlib.sha256(PHOTOS.read_bytes()).hexdigest()


def _generator(seed: int, split: str, index: int) -> np.random.Generator:
    if split not in SPLITS:
        raise DataError(f"quickstart: expected a split of {[*SPLITS]}, got {split!r}")
    return np.random.default_rng([seed, SPLITS[split], index])


def _draw_classes(generator: np.random.Generator) -> np.ndarray:
    bounds = np.cumsum(NUM_GARMENTS[:-1])
    count = 1 + np.searchsorted(bounds, generator.random(), "right")
    return generator.permutation(len(CLASS_NAMES))[:count]


def _background(
    generator: np.random.Generator, size: int
) -> Float32[np.ndarray, "size size 3"]:
    """A color that drifts across the canvas, with soft blobs of other colors."""
    corners = 0.28 + 0.2 * (generator.random((2, 2, 3)) - 0.5)
    corners += 0.3 * (generator.random(3) - 0.5)
    blobs = 0.16 * (generator.random((5, 5, 3)) - 0.5)
    coarse = _resample(corners, size) + _resample(blobs, size)
    return np.clip(coarse, 0, 1).astype(np.float32)


def _draw_garment(canvas, photo, garment: Garment, generator) -> None:
    """Blends a tinted photo onto the canvas; its darkness is its transparency."""
    pixels = _resample((photo / np.float32(255))[..., None], garment.side)
    if generator.random() < 0.5:
        pixels = pixels[:, ::-1]
    tint = 0.35 + 0.65 * generator.random(3).astype(np.float32)
    opacity = np.clip(pixels * 4, 0, 1) * generator.uniform(0.75, 1.0)
    color = tint * (0.25 + 0.85 * pixels)
    _, _, top, left, side = garment
    place = canvas[top : top + side, left : left + side]
    place += opacity.astype(np.float32) * (color - place)


@functools.cache
def _weights(length: int, size: int) -> Float32[np.ndarray, "size length"]:
    """Linear interpolation from ``length`` samples to ``size``, ends on ends."""
    where = np.linspace(0, length - 1, size)
    distance = np.abs(where[:, None] - np.arange(length)[None])
    return np.clip(1 - distance, 0, None).astype(np.float32)


def _resample(pixels: np.ndarray, size: int) -> Float32[np.ndarray, "size size c"]:
    rows, columns = (_weights(length, size) for length in pixels.shape[:2])
    pixels = pixels.astype(np.float32)
    across = np.matmul(columns, pixels)
    height, width, channels = across.shape
    return (rows @ across.reshape(height, -1)).reshape(size, width, channels)
