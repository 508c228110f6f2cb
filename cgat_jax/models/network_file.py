"""Trained hashing networks as files: weights, a card, and the loss's own state.

The file is one of ``cgat_jax.models.weights``, with a card in its metadata: a JSON
object that says what the network is, what it was trained on and how, and what was
measured. The card carries a digest of itself and that of the arrays, so that neither
passes for another one's.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from cgat_jax.errors import DamagedFileError, ForeignFilesError, InputError
from cgat_jax.files.io import SEAL, parse_json, seal_of, unsealed
from cgat_jax.files.ownership import check_out_file
from cgat_jax.models import make_model
from cgat_jax.models.weights import (
    LOSS_STATE,
    fit_arrays,
    read_arrays,
    read_metadata,
    save_weights,
    weights_digest,
)
from cgat_jax.types import HashModel, PyTree

NETWORK_FILE = "network.safetensors"
SUFFIX = ".safetensors"
FORMAT = 1
"""Version of the card."""
_CARD, _ARRAYS = "card", "arrays_sha256"
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "backbone": str,
    "bits": int,
    "dtype": str,
    "dropout": (int, float),
    "image_size": int,
    "crop_size": int,
    "enlarge": bool,
}
_REST: dict[str, Any] = {
    **{"format": FORMAT, "dtype": "float32", "dropout": 0.5, "enlarge": True},
    **{"defense": "none", "loss": "", "stage": "", "dataset": "", "classes": []},
    **{"data_sha256": "", "split": "", "split_sha256": "", "config": {}, "records": []},
    **{"network_sha256": "", "device": "", "versions": {}, "commit": None},
}


class StoredNetwork(NamedTuple):
    """A network as a file holds it.

    Attributes:
        params: the network's parameters.
        stats: its running statistics.
        card: as ``new_card`` makes it.
        loss_state: {"loss": ..., "constants": ...}, the parameters and the constants of
            the hashing loss; empty where the file has none.
    """

    params: PyTree
    stats: PyTree
    card: dict[str, Any]
    loss_state: PyTree


def new_card(
    *, backbone: str, bits: int, image_size: int, crop_size: int, **known: Any
) -> dict[str, Any]:
    """The card of a network: what is known of it, and defaults for the rest.

    >>> from cgat_jax.models.network_file import new_card
    >>> card = new_card(backbone="vgg11", bits=32, image_size=256, crop_size=224)
    >>> card["bits"], card["dtype"], card["defense"]
    (32, 'float32', 'none')

    Args:
        backbone: name of the network, a key of ``cgat_jax.models.BACKBONES``.
        bits: code length K.
        image_size: short side in pixels to which images are resized.
        crop_size: side in pixels of the centered square that the network sees.
        **known: other entries, as JSON; ``dtype`` (float32), ``dropout`` (0.5) and
            ``enlarge`` (True: smaller images are enlarged to ``image_size``) say what
            the network is, ``defense`` ("none"), ``loss``, ``dataset``, ``classes``,
            ``config`` and others where it comes from, ``records`` what was measured.
    """
    own = {"backbone": backbone, "bits": bits}
    sizes = {"image_size": image_size, "crop_size": crop_size}
    return _REST | own | sizes | known


def make_network(card: dict[str, Any]) -> HashModel:
    """The network that a card describes.

    Raises:
        InputError: the card lacks an entry, or has one that cannot be.
    """
    if card.get("format", FORMAT) != FORMAT:
        raise InputError(
            f"card: format {card['format']!r} is of another version of this package"
        )
    for key, kind in _NEEDED.items():
        if not isinstance(card.get(key), kind):
            raise InputError(f"card: {key} is {card.get(key)!r}")
    if not 1 <= card["crop_size"] <= card["image_size"]:
        sizes = f"{card['crop_size']} of {card['image_size']}"
        raise InputError(f"card: crop_size is {sizes} pixels")
    try:
        return make_model(
            card["backbone"],
            outputs=card["bits"],
            dtype=card["dtype"],
            dropout=card["dropout"],
        )
    except ValueError as error:
        raise InputError(f"card: {error}") from error


def network_shapes(card: dict[str, Any]) -> tuple[PyTree, PyTree]:
    """Shapes and types of the parameters and statistics that a card's network has.

    Raises:
        InputError: the card describes no network.
    """
    model, size = make_network(card), card["crop_size"]
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    try:
        return jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)
    except ValueError as error:
        raise InputError(f"card: {error}") from error


def write_network(path: str | os.PathLike, network: StoredNetwork) -> None:
    """Writes a network with its card; whole or not at all.

    The caller makes sure that the file may be written: ``check_network_out``.

    Raises:
        InputError: the arrays are not those of the network that the card describes.
        OSError: it cannot be written; names the path. What was there stays.
    """
    path, (params, stats, card, loss_state) = Path(path), network
    arrays = flatten_dict(params, sep="/") | flatten_dict(stats, sep="/")
    fit_arrays(path, arrays, *network_shapes(card))
    rest = {**stats, **{key: loss_state.get(key, {}) for key in LOSS_STATE}}
    card = {key: value for key, value in card.items() if key != SEAL}
    card[_ARRAYS] = weights_digest(params, rest)
    text = json.dumps(card | {SEAL: seal_of(card)}, sort_keys=True, allow_nan=False)
    save_weights(path, params, rest, metadata={_CARD: text})


def read_network(path: str | os.PathLike) -> StoredNetwork:
    """A network that ``write_network`` wrote, checked.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no safetensors file, or not as it was written.
        InputError: it has no card, or the card describes no network of these arrays.
    """
    path = Path(path)
    arrays, metadata = read_arrays(path)
    card = _card(path, metadata)
    try:
        shapes = network_shapes(card)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    params, stats = fit_arrays(path, arrays, *shapes)
    of_loss = {k: v for k, v in arrays.items() if k.split("/")[0] in LOSS_STATE}
    return StoredNetwork(params, stats, card, unflatten_dict(of_loss, sep="/"))


def read_card(path: str | os.PathLike) -> dict[str, Any]:
    """The card of a network's file; its arrays are neither read nor checked.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no safetensors file, or its card not as it was written.
        InputError: it has no card.
    """
    return _card(Path(path), read_metadata(path))


def check_network_out(path: Path) -> None:
    """Finds that a network may be written to a file: it is new, or a network's.

    Raises:
        InputError: its name does not end in ``.safetensors``.
        ForeignFilesError: something else is there, which stays.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"{path}: expected a name that ends in {SUFFIX}")
    if not os.path.lexists(path):
        check_out_file(path)
        return
    try:
        own = not path.is_symlink() and bool(read_card(path))
    except (InputError, FileNotFoundError):
        own = False
    if not own:
        raise ForeignFilesError(
            f"{path}: exists, and is no network of this package; choose another name"
        )


def _card(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if _CARD not in metadata:
        raise InputError(
            f"{path}: weights without a card, so no trained hashing network; a run "
            "starts from them with --config.model.weights"
        )
    sealed = parse_json(metadata[_CARD], f"{path}: its card")
    card = unsealed(sealed, f"{path}: its card")
    if SEAL not in sealed or card.get(_ARRAYS) != metadata.get(SEAL, ""):
        raise DamagedFileError(f"{path}: damaged, its card is of other weights")
    return card
