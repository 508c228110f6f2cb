"""Networks of PyTorch's files as networks of this package."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.files.io import file_digest
from cgat_jax.models import make_model
from cgat_jax.models.network_file import (
    SUFFIX,
    StoredNetwork,
    new_card,
    read_card,
    write_network,
)
from cgat_jax.models.torch_import.file import read_torch_file
from cgat_jax.models.torch_import.structure import Recognized, recognize_network
from cgat_jax.models.torch_import.weights import from_torch_state, network_shapes
from cgat_jax.models.weights import read_metadata, save_weights
from cgat_jax.training.checkpoint import digest_of
from cgat_jax.types import PyTree

HEADS = ("auto", "keep", "drop")
_SOURCE_DIGEST = "source_sha256"  # in the metadata of the files that are written here
_CLASSES = 1000  # of torchvision's heads


class ConvertedNetwork(NamedTuple):
    """What ``convert_weights`` wrote.

    ``head`` is the file's name of the last layer and ``bits`` its outputs; None and 0
    where it was left out. ``num_weights`` are in ``num_arrays`` arrays, beside
    ``num_statistics`` arrays of batch normalization.
    """

    path: Path
    backbone: str
    head: str | None
    bits: int
    num_weights: int
    num_arrays: int
    num_statistics: int


def convert_weights(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    backbone: str | None = None,
    head: str = "auto",
    leave_out: Sequence[str] = (),
    image_size: int = 256,
    crop_size: int = 224,
) -> ConvertedNetwork:
    """Writes the network of a PyTorch file as one of ours; PyTorch is not needed.

    The networks are those of ``cgat_jax.models`` that torchvision has, with its
    names or any others, as state dictionaries, checkpoints or whole modules. With its
    head it is a network that ``load_network`` reads and a run defends (``pretrained``),
    else weights that a run starts from (``model.weights``). Images have to be
    normalized as torchvision does it, which no file tells.

    >>> import tempfile, torch
    >>> from cgat_jax import convert_weights, load_network
    >>> from cgat_jax.models import make_model
    >>> from cgat_jax.models.torch_import import weights
    >>> shapes = weights.network_shapes(make_model("resnet18", outputs=16))
    >>> state = {  # as a training of someone else leaves it
    ...     theirs: torch.zeros(weights.torch_shape(ours, shapes[ours]))
    ...     for theirs, ours in weights.torch_names("resnet18").items()
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(state, f"{folder}/hashnet.pth")
    ...     out = f"{folder}/hashnet.safetensors"
    ...     found = convert_weights(f"{folder}/hashnet.pth", out)
    ...     load_network(out)
    Network(resnet18, 16 bits, images of 224 pixels, defense 'none')
    >>> found.head, found.bits
    ('fc', 16)

    Args:
        source: the file of PyTorch.
        out: the file to write, ``.safetensors``; one that was converted is replaced.
        backbone: the network that it must be of; by default any.
        head: ``keep``, ``drop`` or ``auto``, which keeps it unless it has torchvision's
            1000 classes.
        leave_out: names of layers or tensors, or beginnings of them up to a dot, that
            are no part of the network.
        image_size: short side in pixels to which its images are resized, for the card.
        crop_size: side in pixels of the centered square that it sees, for the card.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is refused, or an argument cannot be; nothing is written.
        ForeignFilesError: something else is at ``out``, which stays.
    """
    source, out = Path(source), Path(out)
    if head not in HEADS:
        raise InputError(f"head: expected one of {', '.join(HEADS)}; got {head!r}")
    _check_out(out)
    found, params, stats = _read(source, backbone, leave_out)
    kept = head == "keep" or (head == "auto" and found.outputs != _CLASSES)
    if kept:
        _check_head(source, found, params["head"])
    else:
        del params["head"]
    digest = file_digest(source)
    metadata = {"model": found.name, "source": source.name, _SOURCE_DIGEST: digest}
    if kept:
        sizes = {"image_size": image_size, "crop_size": crop_size}
        metadata["network_sha256"] = digest_of((params, stats))
        card = new_card(backbone=found.name, bits=found.outputs, **sizes, **metadata)
        write_network(out, StoredNetwork(params, stats, card, {}))
    else:
        save_weights(out, params, stats, metadata=metadata)
    arrays = flatten_dict(params)
    return ConvertedNetwork(
        path=out,
        backbone=found.name,
        head=found.head if kept else None,
        bits=found.outputs if kept else 0,
        num_weights=sum(array.size for array in arrays.values()),
        num_arrays=len(arrays),
        num_statistics=len(flatten_dict(stats)),
    )


def _check_out(out: Path) -> None:
    """Finds that a file is new or was converted.

    Raises:
        InputError: its name does not end in ``.safetensors``.
        ForeignFilesError: it is something else, which is not to be overwritten.
    """
    if out.suffix != SUFFIX:
        raise InputError(f"{out}: expected a name that ends in {SUFFIX}")
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
            f"{out}: exists, and was not written by a conversion; choose another name"
        )


def _read(
    source: Path, backbone: str | None, leave_out: Sequence[str]
) -> tuple[Recognized, PyTree, PyTree]:
    """What a file holds, as parameters and statistics."""
    arrays = read_torch_file(source)
    try:
        found = recognize_network(arrays, name=backbone, leave_out=leave_out)
        return found, *from_torch_state(found.name, found.arrays, _shapes(found))
    except ValueError as error:
        raise InputError(f"{source} is refused: {error}") from error


def _shapes(found: Recognized) -> dict[str, tuple[int, ...]]:
    return network_shapes(make_model(found.name, outputs=max(found.outputs, 1)))


def _check_head(source: Path, found: Recognized, head: dict[str, np.ndarray]) -> None:
    """Finds that a head takes the network's features.

    Raises:
        InputError: it does not.
    """
    shapes = _shapes(found)
    for part, array in head.items():
        if array.shape != shapes[f"head/{part}"]:
            got, expected = list(array.shape), list(shapes[f"head/{part}"])
            raise InputError(
                f"{source} is refused: the {part} of its head {found.head!r} is {got}, "
                f"not {expected}"
            )
