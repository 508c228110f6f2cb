"""Converts torchvision's ImageNet weights, without PyTorch.

    python -m experiments.convert_weights --torch=alexnet-owt-7be5be79.pth \
        --out=alexnet.safetensors

Takes the state dictionaries of AlexNet, VGG11/13/16/19 without and with batch
normalization, and ResNet-18/34/50; the network is found from the file. The head of 1000
classes is left out. A run starts from the result with --config.model.weights=OUT.
An OUT that this program has written before is replaced; any other file stays.

Nothing in the file is executed: a file that names anything but tensors is refused.

Exit codes: 0 done, 2 refused (a line on what and where).
"""

import hashlib
import os
from pathlib import Path

from absl import flags, logging
from flax.traverse_util import flatten_dict

from cgat_jax.errors import DamagedFileError, ForeignFilesError, InputError
from cgat_jax.models import make_model
from cgat_jax.models.torch_import.file import read_torch_file
from cgat_jax.models.torch_import.weights import (
    SOURCES,
    from_torch_state,
    network_shapes,
    recognize,
)
from cgat_jax.models.weights import read_metadata, save_weights
from experiments import cli

_SOURCE_DIGEST = "source_sha256"  # in the metadata of the files of this program
_REQUIRED = {
    "torch": "file of torchvision's weights (.pth)",
    "out": "file to write (.safetensors)",
}


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    for name, text in _REQUIRED.items():
        flags.DEFINE_string(name, None, text, flag_values=values)
    flags.DEFINE_enum(
        "model",
        None,
        sorted(SOURCES),
        "network that the file must be of; found from the file if left out",
        flag_values=values,
    )


def main(values: flags.FlagValues) -> int:
    """Converts, and prints what the file holds."""
    logging.set_verbosity(logging.WARNING)
    for name, text in _REQUIRED.items():
        if not values[name].value:
            return cli.refuse(
                "convert_weights", f"--{name} is missing: expected the {text}"
            )
    source, out = Path(values.torch), Path(values.out)
    try:
        if out.suffix != ".safetensors":
            raise InputError(f"--out={out}: expected a name that ends in .safetensors")
        check_out(out)
        line = convert(source, out, values.model)
    except (ValueError, OSError) as error:
        return cli.refuse("convert_weights", error)
    print(line)
    return 0


def check_out(out: Path) -> None:
    """Finds that a file is new or was written by this program.

    Raises:
        ForeignFilesError: it is something else, which is not to be overwritten.
    """
    if not os.path.lexists(out):
        return
    try:
        own = not out.is_symlink() and _SOURCE_DIGEST in read_metadata(out)
    except (DamagedFileError, FileNotFoundError):
        own = False
    if not own:
        raise ForeignFilesError(
            f"{out}: exists, and was not written by this program; choose another --out"
        )


def convert(source: Path, out: Path, name: str | None) -> str:
    """Writes the converted weights; returns a line on them.

    Raises:
        InputError, FileNotFoundError: the source is not what it should be.
    """
    arrays = read_torch_file(source)
    try:
        name = name or recognize(arrays)
        shapes = network_shapes(make_model(name, outputs=1))
        params, stats = from_torch_state(name, arrays, shapes)
    except ValueError as error:
        raise InputError(f"{source} is refused: {error}") from error
    del params["head"]
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    metadata = {"model": name, "source": source.name, _SOURCE_DIGEST: digest}
    save_weights(out, params, stats, metadata=metadata)
    sizes = [leaf.size for leaf in flatten_dict(params).values()]
    return (
        f"{name}: {sum(sizes):,} weights in {len(sizes)} arrays and "
        f"{len(flatten_dict(stats))} statistics, without the head: {out}"
    )


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("convert_weights", lambda: main(flags.FLAGS))
