"""Images a second on their way in: prepared, decoded and cropped, encoded.

    python -m benchmarks.input [--source PHOTOS] [--images 64] [--out FILE]

Without ``--source`` (a folder of JPEG files) the images are smooth random ones with
grain, 640 x 427, JPEG of quality 95. Preparing is what ``experiments.prepare``
does to an image: decode, scale to short side 256, encode. Then the crops of 224 that
training and evaluation take of a prepared image, and of an original without preparing;
and the codes of a network. Last, a loop that does both, the loader's threads ahead of
the network, and which share of it waits for data.

The first lines are of one thread. Counted is CPU time, in which neighbors on the
machine matter least, and in the last lines what passes, as waiting takes no CPU time.
"""

import argparse
import datetime
import io
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.evaluation import best_times
from benchmarks.out_file import out_file, write_out
from benchmarks.step_report import processor
from cgat_jax import sharding
from cgat_jax.data import images
from cgat_jax.data.dataset import Dataset, make_split
from cgat_jax.data.loader import train_batches
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.models import make_model
from cgat_jax.report.tables import markdown_table
from cgat_jax.training.clock import StepClock
from experiments.xla import prefer_fast_cpu_convolutions

TITLE = "# Images a second on their way in"
SIZE, CROP, BATCH, BITS = 256, 224, 16, 32
NETWORKS = "small", "alexnet"


def synthetic_photo(rng: np.random.Generator) -> bytes:
    """A JPEG file of 640 x 427 smooth random colors with grain."""
    coarse = rng.integers(0, 256, (14, 20, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((640, 427), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (427, 640, 3))
    pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def photos(folder: Path | None, count: int) -> list[bytes]:
    """Files of the folder, or synthetic ones.

    Raises:
        SystemExit: the folder has none with a short side of 256 pixels or more.
    """
    if folder is None:
        rng = np.random.default_rng(0)
        return [synthetic_photo(rng) for _ in range(count)]
    paths = [
        p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".jpg", ".jpeg")
    ]
    files = (path.read_bytes() for path in paths)
    large = (data for data in files if min(images.size_of(data, "photo")) >= SIZE)
    found = [*itertools.islice(large, count)]
    if not found:
        raise SystemExit(f"{folder}: no .jpg file with a short side of {SIZE} or more")
    return found


def host_jobs(originals: list[bytes], kept: list[bytes]) -> dict[str, Callable]:
    """What one thread of the host does to all images."""
    draw = np.full(3, 0.3)

    def released(data):
        scaled = images.resize_short_side(images.decode(data, "photo"), SIZE)
        return images.center_crop(scaled, CROP).copy()

    def each(act, files):
        return lambda: [act(data) for data in files]

    def random_crop(data):
        return images.random_crop(images.decode(data, "photo"), CROP, draw).copy()

    def center_crop(data):
        return images.center_crop(images.decode(data, "photo"), CROP).copy()

    return {
        "prepare: decode, scale, encode": each(
            lambda data: images.store(data, "photo", SIZE), originals
        ),
        "original: decode, scale, center crop": each(released, originals),
        "prepared: decode, center crop": each(center_crop, kept),
        "prepared: decode, random crop": each(random_crop, kept),
    }


def encoder(network: str) -> Callable:
    """``encode(pixels)``, jitted, of a network with random weights."""
    model = make_model(network, outputs=BITS)
    blank = jnp.zeros((1, CROP, CROP, 3))
    params, stats = model.init(jax.random.key(0), blank)

    def encode(pixels):
        return jnp.sign(model.apply(params, stats, sharding.to_images(pixels))[0])

    return jax.jit(encode)


def loop_row(network: str, kept: list[bytes], threads: int) -> list[str]:
    """Batches of random crops through a network: images a second and the waiting."""
    rows = np.arange(len(kept))
    names = [f"photo {row}" for row in rows]
    split = make_split("all", names, train=rows, query=rows, database=rows)
    dataset = Dataset(
        name="photos",
        class_names=("one",),
        labels=np.ones((len(kept), 1), np.uint8),
        image_ids=names,
        read=lambda position: images.decode(kept[position], names[position]),
        split=split,
    )
    encode, clock = encoder(network), StepClock()
    batches = train_batches(
        dataset,
        crop_size=CROP,
        batch_size=BATCH,
        seed=0,
        stage="input",
        num_steps=2 + 3 * len(kept) // BATCH,
        threads=threads,
    )
    for step, batch in enumerate(clock.timed(batches)):
        jax.block_until_ready(encode(batch.images))
        if step == 1:
            clock.read(BATCH)  # compiled, and the first batches made
    times = clock.read(BATCH)
    share = times["seconds/data"] / times["seconds/step"]
    return [network, f"{times['images_per_second']:.1f}", f"{100 * share:.1f}"]


def report(options: argparse.Namespace) -> str:
    """Both tables, with where they come from."""
    originals = photos(options.source, options.images)
    kept = [images.store(data, "photo", SIZE) for data in originals]
    jobs, counts = host_jobs(originals, kept), {}
    counts |= dict.fromkeys(jobs, len(originals))
    pixels = np.zeros((BATCH, CROP, CROP, 3), np.uint8)
    for network in NETWORKS:
        name, encode = f"encode: {network}, batch {BATCH}, all cores", encoder(network)
        jax.block_until_ready(encode(pixels))
        jobs[name] = lambda encode=encode: jax.block_until_ready(encode(pixels))
        counts[name] = BATCH
    times = best_times(jobs, options.rounds, time.process_time)
    rates = [[name, f"{counts[name] / seconds:.1f}"] for name, seconds in times.items()]
    loops = [loop_row(network, kept, options.threads) for network in NETWORKS]
    about, what = provenance(), "photos" if options.source else "synthetic images"
    before, after = (np.mean([*map(len, x)]) / 1000 for x in (originals, kept))
    return (
        f"{TITLE}\n\n{datetime.date.today()}, {processor()}, {about['device']}; "
        f"jax {about['versions']['jax']}, pillow {about['versions']['pillow']}; "
        f"commit {about['commit']}.\n\n{len(originals)} {what}, {before:.0f} kB each "
        f"on average, {after:.0f} kB once they are prepared (short side {SIZE}). Crops "
        f"of {CROP}. Best of {options.rounds} rounds.\n\n"
        + markdown_table(
            pd.DataFrame(rates, columns=["", "images a second of CPU time"])
        )
        + f"\nThe loader with {options.threads} threads ahead of a network that "
        f"encodes batches of {BATCH} on the same cores; time that passes.\n\n"
        + markdown_table(
            pd.DataFrame(loops, columns=["", "images a second", "waiting for data, %"])
        )
    )


def main() -> None:
    """Parses the options, measures, prints and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="folder of JPEG files")
    parser.add_argument("--images", type=int, default=64, help="default: 64")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--out", type=out_file(TITLE), help="Markdown file to write")
    options = parser.parse_args()
    prefer_fast_cpu_convolutions()
    text = report(options)
    print(text)
    write_out(options.out, text)


if __name__ == "__main__":
    main()
