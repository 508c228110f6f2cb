"""Writes a trained network as a program that runs without this package.

    python -m experiments.export --workdir=runs/quickstart --network=cgat --out=net.onnx
    python -m experiments.export --workdir=mine.safetensors --out=net.stablehlo

--out says the format: .onnx for ONNX runtimes, .stablehlo for JAX (jax.export). Both
take uint8 images [b, crop, crop, 3], one or more, and give "codes", the packed
bits in the order of numpy.packbits, and "logits". Scaling and normalization are inside;
resizing and cropping are what cgat_jax.data.crops.center_crops does.

Before it says done, the file is read back and run on --images photos that come with
this package, and its bits are compared with the network's own. A bit may differ where
the logit is nearly 0 (1e-4 of the largest, or 1e-4). Only then it becomes OUT.

An OUT that this program has written before is replaced; any other file stays. ONNX
needs the packages onnx and onnxruntime, StableHLO flatbuffers: the extra [export].

Exit codes: 0 done, 1 the file gave other bits, 2 refused (a line on what and where), 3
a number was not finite. Others: docs/runs.md.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags, logging

from cgat_jax.data.crops import center_crops
from cgat_jax.data.datasets.quickstart import render_scene
from cgat_jax.evaluation.export import ExportedNetwork, check_export_out, load_exported
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.trained_networks import load_network
from experiments import cli

_REQUIRED = {
    "workdir": "folder of a run, or a network's file",
    "out": "file to write (.onnx or .stablehlo)",
}
_NEAR = {"float32": 1e-4, "bfloat16": 2**-6}
_SIZE = 64


class Comparison(NamedTuple):
    """How an exported network compares with the one that it is of.

    Attributes:
        images: how many were encoded by both.
        largest: difference of two logits.
        differing: bits that are not the same.
        wrong: of those, bits whose logit is not nearly 0.
    """

    images: int
    largest: float
    differing: int
    wrong: int


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    for name, text in _REQUIRED.items():
        flags.DEFINE_string(name, None, text, flag_values=values)
    flags.DEFINE_string(
        "network",
        None,
        "which of a run's networks: none, or its defense; needed if it has both",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "images",
        16,
        "photos on which the file is compared with the network",
        lower_bound=1,
        flag_values=values,
    )


def compare(exported: ExportedNetwork, net: Network, count: int) -> Comparison:
    """Runs both on ``count`` photos that come with the package."""
    photos = [render_scene(0, "query", i, _SIZE)[0] for i in range(count)]
    sizes = {key: net.card[key] for key in ("image_size", "crop_size")}
    crops = center_crops(photos, **sizes)
    wanted = net.logits(crops, batch_size=min(count, 64))
    parts = [exported.encode(crops[i : i + 64]) for i in range(0, count, 64)]
    packed, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
    bits = np.unpackbits(packed, axis=1, count=net.bits).astype(bool)
    near = _NEAR[net.card["dtype"]] * max(1.0, float(abs(wanted).max()))
    differ = bits != (wanted > 0)
    wrong = (differ & (abs(wanted) >= near)).sum()
    largest = float(abs(logits - wanted).max())
    return Comparison(count, largest, int(differ.sum()), int(wrong))


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file for what is to be there once it is compared; it is gone at the end."""
    made = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield made
    except Exception as error:  # whose reader knows no such file
        words = (
            x.replace(str(made), str(path)) if isinstance(x, str) else x
            for x in error.args
        )
        error.args = tuple(words)
        raise
    finally:
        made.unlink(missing_ok=True)


def main(values: flags.FlagValues) -> int:
    """Exports, compares, and prints both."""
    logging.set_verbosity(logging.WARNING)
    for name, text in _REQUIRED.items():
        if not values[name].value:
            return cli.refuse("export", f"--{name} is missing: expected the {text}")
    path = Path(values.out)
    try:
        check_export_out(path)
        net = load_network(values.workdir, values.network)
        with _beside(path) as made:
            net.export(made)
            found = compare(load_exported(made), net, values.images)
            if not found.wrong:
                check_export_out(path)  # once more, minutes later
                os.replace(made, path)
    except (ValueError, OSError) as error:
        return cli.refuse("export", error)
    said = (
        f"{found.images} images, largest difference of a logit {found.largest:.1e}, "
        f"{found.differing} of {found.images * net.bits} bits differ"
    )
    if found.wrong:
        print(f"export: {path}: not written: other codes: {said}", file=sys.stderr)
        return cli.EXIT_FAILED
    print(f"{net}: {said}: {path}")
    return 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("export", lambda: main(flags.FLAGS))
