"""Converts PyTorch's weights of our networks, without PyTorch.

    python -m experiments.convert_weights --torch=alexnet-owt-7be5be79.pth \
        --out=alexnet.safetensors

Takes AlexNet, VGG11/13/16/19 without and with batch normalization, and ResNet-18/34/50:
torchvision's ImageNet weights, and trained hashing networks with any names of layers,
which are recognized by the order and the shapes of their tensors. The file may hold a
state dictionary, a checkpoint with one ("state_dict", "model", "net", ...) or a whole
module. What does not fit is named and nothing is written; what is no part of the
network, such as the classifier of a second loss, is left out with --leave_out=NAME.

The head is kept as the last layer, one output a bit, unless it is torchvision's of 1000
classes; --head=drop leaves it out, --head=keep keeps it in any case. A run starts from
the result with --config.model.weights=OUT, with a head of its own. With its head, the
result is a network that cgat_jax.load_network and --config.pretrained=OUT take; its
card says that images have a short side of 256 and a crop of 224 pixels.

The networks here take images in [0, 1] and normalize them inside, by ImageNet's mean
(0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225). The weights must be
of a network that saw images normalized in this way, wherever that was done. A file does
not tell, and nothing here guesses: weights for pixels of 0 to 255, for other means or
for BGR are converted without a word and give wrong codes. Layers without weights are
taken to be torchvision's. So compare the logits of an image before using the result.

An OUT that this program has written before is replaced; any other file stays. Nothing
in the file is executed: what it names besides tensors is never looked up, and a file
that needs more than its tensors is refused.

Exit codes: 0 done, 2 refused (a line on what and where).
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging
from flax.traverse_util import flatten_dict

from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.models import make_model
from cgat_jax.models.network_file import (
    StoredNetwork,
    new_card,
    read_card,
    write_network,
)
from cgat_jax.models.torch_import.file import read_torch_file
from cgat_jax.models.torch_import.structure import recognize_network
from cgat_jax.models.torch_import.weights import (
    SOURCES,
    from_torch_state,
    network_shapes,
)
from cgat_jax.models.weights import read_metadata, save_weights
from cgat_jax.training.checkpoint import digest_of
from cgat_jax.types import PyTree
from experiments import cli

_SOURCE_DIGEST = "source_sha256"  # in the metadata of the files of this program
_CLASSES = 1000  # of torchvision's heads
_SIZES = {"image_size": 256, "crop_size": 224}  # of the field's trained networks
_REQUIRED = {
    "torch": "file of PyTorch's weights (.pth)",
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
    flags.DEFINE_enum(
        "head",
        "auto",
        ["auto", "keep", "drop"],
        "keep or drop the last layer; auto: keep it unless it has 1000 classes",
        flag_values=values,
    )
    flags.DEFINE_list(
        "leave_out",
        [],
        "layers or tensors of the file that are no part of the network, by name",
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
        line = convert(
            source,
            out,
            values.model,
            head=values.head,
            leave_out=values.leave_out,
        )
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
        own = not out.is_symlink() and (
            _SOURCE_DIGEST in read_metadata(out) or _SOURCE_DIGEST in read_card(out)
        )
    except (InputError, FileNotFoundError):
        own = False
    if not own:
        raise ForeignFilesError(
            f"{out}: exists, and was not written by this program; choose another --out"
        )


def convert(
    source: Path,
    out: Path,
    name: str | None,
    *,
    head: str = "auto",
    leave_out: Sequence[str] = (),
) -> str:
    """Writes the converted weights; returns a line on them.

    Args:
        source: the file of PyTorch.
        out: the file to write.
        name: the network that it must be of; by default any.
        head: ``keep``, ``drop`` or ``auto``.
        leave_out: names of what is no part of the network.

    Raises:
        InputError, FileNotFoundError: the source is not what it should be.
    """
    arrays = read_torch_file(source)
    try:
        found = recognize_network(arrays, name=name, leave_out=leave_out)
        shapes = network_shapes(make_model(found.name, outputs=max(found.outputs, 1)))
        params, stats = from_torch_state(found.name, found.arrays, shapes)
        kept = head == "keep" or (head == "auto" and found.outputs != _CLASSES)
        if kept:
            _check_head(found.head, params["head"], shapes)
    except ValueError as error:
        raise InputError(f"{source} is refused: {error}") from error
    said = f"with the head {found.head!r} of {found.outputs} outputs"
    if not kept:
        del params["head"]
        said = "without the head"
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    metadata = {"model": found.name, "source": source.name, _SOURCE_DIGEST: digest}
    if kept:
        digest = {"network_sha256": digest_of((params, stats))}
        card = new_card(backbone=found.name, bits=found.outputs, **_SIZES, **metadata)
        write_network(out, StoredNetwork(params, stats, card | digest, {}))
    else:
        save_weights(out, params, stats, metadata=metadata)
    sizes = [leaf.size for leaf in flatten_dict(params).values()]
    return (
        f"{found.name}: {sum(sizes):,} weights in {len(sizes)} arrays and "
        f"{len(flatten_dict(stats))} statistics, {said}: {out}"
    )


def _check_head(name: str, head: PyTree, shapes: dict[str, tuple[int, ...]]) -> None:
    """Finds that a head takes the network's features.

    Raises:
        ValueError: it does not.
    """
    for part, array in head.items():
        if array.shape != shapes[f"head/{part}"]:
            got, expected = list(array.shape), list(shapes[f"head/{part}"])
            raise ValueError(
                f"the {part} of its head {name!r} is {got}, not {expected}"
            )


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("convert_weights", lambda: main(flags.FLAGS))
