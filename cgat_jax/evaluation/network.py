"""A trained hashing network as a value: images to codes, and a function for attacks."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int8

from cgat_jax import sharding
from cgat_jax.data.crops import center_crops
from cgat_jax.errors import InputError, NonFiniteError
from cgat_jax.evaluation.export import write_export
from cgat_jax.files.ownership import claim_folder, release_folder
from cgat_jax.models.network_file import (
    NETWORK_FILE,
    SUFFIX,
    StoredNetwork,
    check_network_out,
    make_network,
    write_network,
)
from cgat_jax.training.checkpoint import digest_of
from cgat_jax.types import HashModel, Images, Logits, PyTree


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Network:
    """A hashing network with its weights and its card.

    ``cgat_jax.load_network`` reads one from a run or a file; one from elsewhere is made
    of its weights and ``cgat_jax.models.network_file.new_card(...)``.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from cgat_jax.evaluation.network import Network
    >>> from cgat_jax.models.network_file import make_network, new_card
    >>> card = new_card(backbone="small", bits=16, image_size=36, crop_size=32)
    >>> first = jnp.zeros((1, 32, 32, 3))
    >>> weights = jax.jit(make_network(card).init)(jax.random.key(0), first)
    >>> net = Network(*weights, card)
    >>> codes = net.encode(np.zeros((2, 40, 60, 3), np.uint8), batch_size=2)
    >>> codes.shape, codes.dtype, bool((abs(codes) == 1).all())
    ((2, 16), dtype('int8'), True)
    >>> net
    Network(small, 16 bits, images of 32 pixels, defense 'none')

    Attributes:
        params: the network's parameters, as its ``HashModel`` has them.
        stats: its running statistics.
        card: what it is, where it comes from and what was measured, as JSON.
        loss_state: parameters and constants of the hashing loss that it was trained
            with, for a run that goes on from it; empty where they are not known.
    """

    params: PyTree
    stats: PyTree
    card: dict[str, Any]
    loss_state: PyTree = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        make_network(self.card)

    def __repr__(self) -> str:
        card = self.card
        return (
            f"Network({card['backbone']}, {card['bits']} bits, images of "
            f"{card['crop_size']} pixels, defense {card.get('defense', 'none')!r})"
        )

    @property
    def model(self) -> HashModel:
        """The network as two pure functions, which take ``params`` and ``stats``."""
        return make_network(self.card)

    @property
    def bits(self) -> int:
        """Code length K."""
        return self.card["bits"]

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of weights and statistics: codes of another network mean nothing."""
        return digest_of((self.params, self.stats))

    def apply(self, images: Images) -> Logits:
        """The network as a function to attack: pure, differentiable, evaluating.

        >>> net.apply(first).shape
        (1, 16)

        Args:
            images: float32 [B, crop_size, crop_size, 3] in [0, 1].

        Returns:
            Logits [B, K]; their signs are the codes.
        """
        return self.model.apply(self.params, self.stats, images)[0]

    def logits(
        self, images: Sequence[Any] | np.ndarray | jax.Array, *, batch_size: int = 64
    ) -> Float[np.ndarray, "n K"]:
        """Logits of images of any size.

        >>> net.logits([np.zeros((40, 60, 3)), np.ones((50, 36, 3))]).shape
        (2, 16)

        They are resized and cropped as the evaluation does it: the short side becomes
        the card's ``image_size``, and the centered square of ``crop_size`` is what the
        network sees; images of exactly that square are taken as they are. Preparing a
        data set also stores larger images as JPEG of quality 95, which this leaves out.

        Args:
            images: n RGB images [h, w, 3], as an array [n, H, W, 3] or a sequence of
                different sizes; uint8, or floating point in [0, 1].
            batch_size: images at once. There is one compiled program for each batch
                size and kind of pixels, and the last batch is padded.

        Raises:
            InputError: names the first image that cannot be used, and why.
            NonFiniteError: the network gives numbers that are not finite.
        """
        if hasattr(images, "ndim"):
            images = np.asarray(images)
            if images.ndim != 4:
                shape = list(images.shape)
                raise InputError(f"images: expected [n, H, W, 3], got shape {shape}")
        if batch_size < 1:
            raise InputError(f"batch_size: expected 1 or more, got {batch_size}")
        network = self.params, self.stats
        found = np.empty((len(images), self.bits), np.float32)
        sizes = {k: self.card[k] for k in ("image_size", "crop_size", "enlarge")}
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            crops = center_crops(images[rows], **sizes, first=start)
            padded = np.zeros((batch_size, *crops.shape[1:]), crops.dtype)
            padded[: len(crops)] = crops
            made = _program(self.model)(network, padded)
            found[rows] = np.asarray(made)[: len(crops)]
        if not np.isfinite(found).all():
            raise NonFiniteError(f"{self}: logits are not finite")
        return found

    def encode(
        self, images: Sequence[Any] | np.ndarray | jax.Array, *, batch_size: int = 64
    ) -> Int8[np.ndarray, "n K"]:
        """Binary codes of images of any size, in {-1, +1}; arguments as ``logits``.

        >>> net.encode(np.ones((3, 40, 60, 3)), batch_size=2).shape
        (3, 16)

        A bit is 0 where its logit is exactly 0, which no trained network gives but for
        degenerate inputs; Hamming distances count it as half a difference.
        """
        return np.sign(self.logits(images, batch_size=batch_size)).astype(np.int8)

    def save(self, path: str | os.PathLike) -> Path:
        """Writes weights and card; whole or not at all.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(folder).name
        'network.safetensors'

        Args:
            path: a name that ends in ``.safetensors``, or a folder, which is made and
                gets a ``network.safetensors``. A network that was saved there before
                is replaced.

        Returns:
            The file.

        Raises:
            ForeignFilesError: something else is there, which stays.
            InputError: the weights are not those of the network that the card
                describes.
            OSError: it cannot be written.
        """
        path = Path(path)
        if path.suffix == SUFFIX:
            return self._write(path)
        existed = path.is_dir()
        claim_folder(path, "network")
        try:
            return self._write(path / NETWORK_FILE)
        except (OSError, ValueError):
            release_folder(path, keep=existed)
            raise

    def export(self, path: str | os.PathLike) -> Path:
        """Writes the network as a program for other runtimes; whole or not at all.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.export(f"{folder}/net.stablehlo").name
        'net.stablehlo'

        ``cgat_jax.load_exported`` reads both formats back, with the essentials of the
        card; neither needs this package. They take uint8 images
        [b, crop_size, crop_size, 3], as ``cgat_jax.data.crops.center_crops`` makes
        them, b from 1 on, and give packed codes, uint8 [b, ceil(bits / 8)] in the order
        of ``numpy.packbits(codes > 0, axis=1)``, and the logits, float32 [b, bits].

        Args:
            path: a name that ends in ``.stablehlo`` (for ``jax.export.deserialize``, on
                CPUs and NVIDIA's GPUs) or ``.onnx``. A network that was exported there
                before is replaced.

        Returns:
            The file.

        Raises:
            ForeignFilesError: something else is there, which stays.
            InputError: another suffix; a package of the extra ``[export]`` is not
                there; a weight is not finite; the network computes in bfloat16, which
                ONNX does not do.
        """
        weights = self.params, self.stats
        write_export(path := Path(path), self.apply, weights, self._own_card())
        return path

    def _own_card(self) -> dict[str, Any]:
        card, own = dict(self.card), self.sha256
        if records := card.get("records"):  # also of weights that were changed since
            card["records"] = [r for r in records if r.get("network_sha256") == own]
        return card | {"network_sha256": own}

    def _write(self, path: Path) -> Path:
        check_network_out(path)
        stored = StoredNetwork(
            self.params, self.stats, self._own_card(), self.loss_state
        )
        write_network(path, stored)
        return path


@functools.lru_cache(maxsize=16)
def _program(model: HashModel) -> Callable[..., jax.Array]:
    """``((params, stats), pixels) -> logits``, compiled once for all of its kind."""

    def logits(network, pixels):
        if pixels.dtype == jnp.uint8:
            pixels = sharding.to_images(pixels)
        return model.apply(*network, pixels)[0]

    return jax.jit(logits)
