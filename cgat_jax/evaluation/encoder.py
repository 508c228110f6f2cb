"""Networks with their binary codes, made once and kept, and whose codes they are."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cgat_jax import progress, sharding
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.loader import eval_batches
from cgat_jax.evaluation.attack_runner import EncodedNetwork, Network, as_codes
from cgat_jax.evaluation.behavior import behavior_digest
from cgat_jax.files.arrays import save_array
from cgat_jax.files.kept import belongs, read_kept_array
from cgat_jax.processes import array_from_first, from_first, is_first
from cgat_jax.training import checkpoint
from cgat_jax.types import Batch, HashModel
from cgat_jax.workdir import STREAMS, streams_of

PARTS = ("train", "database", "query")


class Encoder:
    """Encodes the images of a data set by networks."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        mesh: Mesh,
        workdir: Path,
        check_stop: Callable[[], None],
    ):
        """Compiles nothing yet; ``check_stop`` is called between batches."""
        self.config, self.dataset, self.mesh = config, dataset, mesh
        self.workdir, self.check_stop = workdir, check_stop
        self._programs: dict[HashModel, Callable] = {}

    def encoded(
        self, name: str, model: HashModel, network: Network, foreign: bool = False
    ) -> EncodedNetwork:
        """A network with its codes, which are made once and kept under its name.

        It is known by its arrays; one that has none, or is ``foreign``, whose arrays do
        not say what is done with them, by its outputs and gradients as well.

        Raises:
            InputError: codes of another network or other data are kept there.
        """
        folder = self.workdir / "codes" / name
        own = self._digest(model, network, foreign=foreign)
        digest = from_first(lambda: own)  # of a function, by its sums on one machine
        origin = {"network": digest, "data": self.dataset.digest.whole}
        by_arrays = jax.tree.leaves(network) and not foreign
        earlier = self._earlier_digest(network) if by_arrays else ""
        from_first(lambda: belongs(folder, origin, earlier=earlier))
        network = sharding.put_whole(self.mesh, network)
        encode_one = functools.partial(self._program(model), network)
        bits = self._bits(model, network)
        codes = {
            part: self._codes(folder, part, encode_one, bits, digest) for part in PARTS
        }
        return EncodedNetwork(name, model, network, codes, digest)

    def _program(self, model: HashModel) -> Callable:
        """``(network, pixels) -> binary codes``, compiled once for all of its kind."""
        if model not in self._programs:
            rows, whole = sharding.by_row(self.mesh), sharding.replicated(self.mesh)

            def encode(network, pixels):
                return jnp.sign(model.apply(*network, sharding.to_images(pixels))[0])

            self._programs[model] = jax.jit(
                encode, in_shardings=(whole, rows), out_shardings=whole
            )
        return self._programs[model]

    def batches(
        self, positions: np.ndarray, title: str, size: int = 0
    ) -> Iterator[Batch]:
        """Those images, ``size`` at once or, for 0, as many as the settings say.

        Batches are padded to what the devices can share. The images lie on all devices;
        indices and mask are of all rows, on the host.
        """
        size = sharding.shared_rows(size or self.config.evaluate.batch_size)
        batches = eval_batches(
            self.dataset,
            positions,
            crop_size=self.config.data.crop_size,
            batch_size=size,
            threads=self.config.data.threads,
            rows=sharding.process_rows(size),
        )
        count = len(positions)
        with progress.bar(title, count, unit="img", shown=is_first()) as bar:
            for number, batch in enumerate(batches):
                self.check_stop()
                rows = np.arange(number * size, (number + 1) * size)
                yield batch._replace(
                    images=sharding.put_rows(self.mesh, batch.images),
                    indices=np.minimum(rows, count),
                    mask=rows < count,
                )
                bar.update(min(size, count - number * size))

    def _digest(self, model: HashModel, network: Network, *, foreign: bool) -> str:
        arrays = checkpoint.digest_of(network) if jax.tree.leaves(network) else ""
        if arrays and not foreign:
            return arrays
        size = self.config.evaluate.batch_size  # as many on any number of devices
        positions = self.dataset.split.query[:size]
        (batch,) = self.batches(positions, "look at the network")
        pixels = sharding.whole_array(self.mesh, batch.images)[:size]
        images = sharding.to_images(jnp.asarray(pixels))
        found = behavior_digest(lambda x: model.apply(*network, x)[0], images)
        return hashlib.sha256(f"{arrays} {found}".encode()).hexdigest()

    def _earlier_digest(self, network: Network) -> str:
        """What earlier versions noted beside a network's codes."""
        digest = hashlib.sha256(self.dataset.split.sha256.encode())
        for array in jax.tree.leaves(network):
            digest.update(np.asarray(array).tobytes())
        return digest.hexdigest()

    def _bits(self, model: HashModel, network: Network) -> int:
        """Code length of a network; another run's may differ from this one's."""
        side = self.config.data.crop_size
        images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
        outputs = jax.eval_shape(lambda n, x: model.apply(*n, x)[0], network, images)
        return outputs.shape[1]

    def _codes(
        self, folder: Path, part: str, encode: Callable, bits: int, digest: str
    ) -> np.ndarray:
        """Binary codes of a part, int8 [n, K]; encoded once and kept."""
        positions = getattr(self.dataset.split, part)

        def make() -> np.ndarray:
            title = f"encode {part}"
            codes = [
                as_codes(encode(batch.images), batch.mask, title)
                for batch in self.batches(positions, title)
            ]
            return np.concatenate(codes)

        path, shape = folder / f"{part}.npy", (len(positions), bits)
        with progress.part(cost=len(positions)):
            return self.kept_codes(path, shape, make, f"{part} {digest}")

    def kept_codes(
        self, path: Path, shape: tuple[int, int], make: Callable, of: str
    ) -> np.ndarray:
        """Codes in a file, int8 ``shape``; made where they are missing or damaged."""
        check = {"shape": shape, "dtype": np.int8, "low": -1, "high": 1}
        check["of"] = f"{of} {self.dataset.digest.whole}"
        check["sealed"] = streams_of(self.workdir) >= STREAMS
        codes = array_from_first(lambda: read_kept_array(path, **check))
        if codes is None:
            codes = make()
            from_first(lambda: self.save_codes(path, codes, of))
        return codes

    def save_codes(self, path: Path, codes: np.ndarray, of: str) -> None:
        """Writes what ``kept_codes`` reads; for the first process."""
        save_array(path, codes, of=f"{of} {self.dataset.digest.whole}")
