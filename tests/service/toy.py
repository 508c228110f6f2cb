"""A small index with everything that a service uses, and requests to it."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from cgat_jax.data.dataset import Dataset, make_split
from cgat_jax.evaluation.network import Network
from cgat_jax.models.network_file import make_network, new_card
from cgat_jax.search import Index
from cgat_jax.search.building import add_dataset

CLASSES = ("cat", "dog", "<b>'x'</b>")
NUM_DATABASE, NUM_TRAIN, NUM_QUERIES, NUM_CLEAN = 24, 12, 4, 19
URL = "http://127.0.0.1:8000"
TOKEN = "a-token-of-tests"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


def photo(seed: int, size: tuple[int, int] = (44, 40)) -> np.ndarray:
    """Waves of a class's color and noise, so that codes differ."""
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(smooth).resize(size, Image.Resampling.BILINEAR))


def dataset() -> Dataset:
    first = NUM_DATABASE + NUM_TRAIN  # of the queries
    count = first + NUM_QUERIES + NUM_CLEAN
    labels = np.zeros((count, len(CLASSES)), np.uint8)
    labels[np.arange(count), np.arange(count) % 3] = 1
    ids = [f"{i:03}.jpg" for i in range(count)]
    numbers = np.arange(count)
    split = make_split(
        "toy",
        ids,
        database=numbers[:NUM_DATABASE],
        train=numbers[NUM_DATABASE:first],
        query=numbers[first:],
    )
    return Dataset(
        name="toy",
        class_names=CLASSES,
        labels=labels,
        image_ids=ids,
        read=photo,
        split=split,
    )


def network(seed: int = 0, defense: str = "cgat") -> Network:
    card = new_card(backbone="small", bits=16, image_size=36, crop_size=32)
    first = jnp.zeros((1, 32, 32, 3))
    weights = jax.jit(make_network(card).init)(jax.random.key(seed), first)
    return Network(*weights, card | {"defense": defense})


def make_index(folder: Path, seed: int = 0, defense: str = "cgat") -> Path:
    """The folder of an index of the toy's database, with queries and training codes."""
    empty = Index.build(network(seed, defense), [], engine="numpy")
    empty.save(folder)
    index = Index.load(folder)
    add_dataset(index, dataset(), queries=NUM_QUERIES)
    index.close()
    return folder


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def bomb(side: int = 7000) -> bytes:
    """A PNG of a few kilobytes that is many megapixels."""
    stream = io.BytesIO()
    Image.new("1", (side, side)).save(stream, "PNG")
    return stream.getvalue()


def scans(total: int) -> bytes:
    """A progressive JPEG of so many scans: its first is there again and again."""
    stream = io.BytesIO()
    Image.fromarray(photo(1000)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    start = content.index(b"\xff\xda")
    end = content.index(b"\xff\xc4", start)  # tables of the second scan
    again = total - content.count(b"\xff\xda")
    return content[:end] + again * content[start:end] + content[end:]


def upload(content: bytes, name: str = "a.png") -> dict:
    return {"image": (name, content, "image/png")}
