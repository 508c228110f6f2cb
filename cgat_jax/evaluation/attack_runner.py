"""Attacks on the queries of a network, batch by batch, as compiled programs."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import ArrayLike, Float, Int8

from cgat_jax import progress, sharding
from cgat_jax.attacks import ATTACKS, AttackContext, Budget
from cgat_jax.attacks.pgd import round_to_8_bits
from cgat_jax.attacks.references import GENERATED
from cgat_jax.config import Config
from cgat_jax.errors import NonFiniteError
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.generators import Generators
from cgat_jax.evaluation.passes import budget_passes
from cgat_jax.evaluation.references import AttackInputs, CodesBySplit, References
from cgat_jax.rng import device_stream
from cgat_jax.types import Batch, HashModel, PyTree

Network = tuple[PyTree, PyTree]
Batches = Callable[..., Iterator[Batch]]


class EncodedNetwork(NamedTuple):
    """A network with its own binary codes of ``train``, ``database`` and ``query``.

    ``digest`` is that of its parameters and statistics.
    """

    name: str
    model: HashModel
    network: Network
    codes: CodesBySplit
    digest: str = ""


class AttackResult(NamedTuple):
    """The result of attacking n queries.

    Attributes:
        codes: binary codes, int8 [n, K].
        images: the first of the adversarial images, as many as were to be kept.
        linf: [n] largest change of a pixel.
        mse: [n] mean squared change of the pixels.
        transfer_codes: codes that other networks give the same images, by name.
    """

    codes: np.ndarray
    images: Float[np.ndarray, "shown H W 3"]
    linf: Float[np.ndarray, " n"]
    mse: Float[np.ndarray, " n"]
    transfer_codes: dict[str, np.ndarray]


class Attacker:
    """Compiles each attack once and runs it on networks of the same shape."""

    def __init__(
        self,
        config: Config,
        mesh: Mesh,
        references: References,
        generators: Generators,
        batches: Batches,
    ):
        """Compiles nothing yet.

        Args:
            config: the run's settings.
            mesh: devices that share a batch.
            references: of the queries.
            generators: of the attacks that have one.
            batches: ``batches(positions, title, size)`` yields those images of the data
                set, ``size`` at once or, for 0, as many as the settings say.
        """
        self.config, self.mesh, self.batches = config, mesh, batches
        self.references, self.generators = references, generators
        self._programs: dict[tuple, Callable] = {}

    def small_size(self, queries: int) -> int:
        """Images at once where there are few: a multiple of 8 a device; 0: as usual.

        A batch costs the same however few of its images are no padding.
        """
        step = 8 * self.mesh.size
        size = -(-queries // step) * step
        return size if size < self.config.evaluate.batch_size else 0

    def given(self, name: str, encoded: EncodedNetwork) -> AttackInputs:
        """What an attack on a network is given; a generator is trained if need be."""
        if ATTACKS[name].references != GENERATED:
            return self.references.of(name, encoded.codes)
        bank = self.references.bank(encoded.codes)
        trained = self.generators.of(
            encoded.name, encoded.model, encoded.network, bank, encoded.digest
        )
        rows = self.generators.rows(trained, self.references.targets())
        return AttackInputs(rows, trained.generator)

    def run(
        self,
        name: str,
        encoded: EncodedNetwork,
        *,
        given: AttackInputs | None = None,
        rows: np.ndarray | None = None,
        budget: Budget | None = None,
        restart: int = 0,
        keep: int = 0,
        size: int = 0,
        others: Mapping[str, EncodedNetwork] | None = None,
    ) -> AttackResult:
        """Attacks queries; each one's result is the same in any batch.

        Args:
            name: of the attack.
            encoded: the network under attack.
            given: by default what ``given`` gives.
            rows: the queries to attack, ascending; by default all.
            budget: by default that of the settings.
            restart: a later one starts at random, with randomness of its own.
            keep: how many adversarial images to return.
            size: images at once; 0: as the settings say.
            others: networks that encode the adversarial images as well.
        """
        positions = self.references.positions
        rows = np.arange(len(positions)) if rows is None else rows
        given = given or self.given(name, encoded)
        budget = budget or budget_of(name, self.config.evaluate)
        if restart:
            budget = dataclasses.replace(budget, random_start=True)
        program = self._program(name, budget, encoded.model)
        purpose = f"{name}/restart {restart}" if restart else name
        title = f"{name}, restart {restart}" if restart else name
        key = device_stream(self.config.seed, purpose)
        bank = self.references.bank(encoded.codes)
        padded = np.concatenate([given.rows[rows], np.zeros_like(given.rows[:1])])
        gathered = _Gathered(title, keep, list(others or {}))
        numbers = np.append(rows, len(positions)).astype(np.int32)
        settings = key, np.float32(budget.epsilon)
        network = (*encoded.network, bank, given.generator)
        with progress.part(cost=len(rows) * budget_passes(name, budget)):
            for batch in self.batches(positions[rows], title, size):
                own = padded[batch.indices], numbers[batch.indices]
                split = sharding.by_row(self.mesh)
                inputs = batch.images, *sharding.put_whole(self.mesh, own, split)
                signs, adversarial, perturbation = program(network, inputs, settings)
                transfer_codes = [
                    self._signs(other, adversarial) for other in (others or {}).values()
                ]
                gathered.add(
                    batch.mask, signs, adversarial, perturbation, transfer_codes
                )
        return gathered.whole()

    def _program(self, name: str, budget: Budget, model: HashModel) -> Callable:
        """The attack on one batch as one program; one for all sizes of the ball."""
        kind = name, dataclasses.replace(budget, epsilon=0.0), model
        if kind in self._programs:
            return self._programs[kind]

        def attack_rows(network, rows, settings):
            params, stats, bank, generator = network
            known = AttackContext(bank, generator, self.config.evaluate.prosgan_width)
            (pixels, references, indices), (key, epsilon) = rows, settings
            sized = dataclasses.replace(budget, epsilon=epsilon)

            def encode(images, iteration):
                return model.apply(params, stats, images)[0]

            images = sharding.to_images(pixels)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
            adversarial = ATTACKS[name].make(sized, known)(
                encode, images, references, keys
            )
            if self.config.evaluate.round_images:
                radius = epsilon if ATTACKS[name].bounded else None
                adversarial = round_to_8_bits(adversarial, images, radius)
            return jnp.sign(encode(adversarial, 0)), adversarial, adversarial - images

        rows, whole = sharding.by_row(self.mesh), sharding.replicated(self.mesh)
        self._programs[kind] = jax.jit(
            attack_rows, in_shardings=(whole, rows, whole), out_shardings=whole
        )
        return self._programs[kind]

    def _signs(self, encoded: EncodedNetwork, images: jax.Array) -> jax.Array:
        """Binary codes that another network gives adversarial images."""
        kind = "encode", encoded.model
        if kind not in self._programs:

            def encode(network, images):
                return jnp.sign(encoded.model.apply(*network, images)[0])

            self._programs[kind] = jax.jit(encode)
        return self._programs[kind](encoded.network, images)


def as_codes(
    signs: ArrayLike, real: np.ndarray | slice, what: str
) -> Int8[np.ndarray, "n K"]:
    """Signs of logits as codes; those of padded rows are left out.

    Raises:
        NonFiniteError: a logit is not a number, whose code would pass for a weak one.
    """
    found = np.asarray(signs)[real]
    if not np.isfinite(found).all():
        raise NonFiniteError(f"{what}: logits are not finite")
    return found.astype(np.int8)


class _Gathered:
    """The results of the batches of an attack so far."""

    def __init__(self, title: str, keep: int, others: Sequence[str]):
        self.title, self.keep, self.seen, self.others = title, keep, 0, others
        self.parts: dict[str, list[np.ndarray]] = {
            name: [] for name in ("codes", "images", "linf", "mse")
        }
        self.transfer_codes: list[list[np.ndarray]] = [[] for _ in others]

    def add(self, real, signs, adversarial, perturbation, transfer_codes) -> None:
        perturbation = np.asarray(perturbation, np.float64)[real]
        if not np.isfinite(perturbation).all():
            raise NonFiniteError(f"{self.title}: attacked images are not finite")
        self.parts["codes"].append(as_codes(signs, real, self.title))
        self.parts["linf"].append(np.abs(perturbation).max(axis=(1, 2, 3)))
        self.parts["mse"].append((perturbation**2).mean(axis=(1, 2, 3)))
        if self.seen < self.keep or not self.seen:
            images = np.asarray(adversarial)[real]
            self.parts["images"].append(images[: max(self.keep - self.seen, 0)])
        for found, codes in zip(self.transfer_codes, transfer_codes, strict=True):
            found.append(as_codes(codes, real, self.title))
        self.seen += int(real.sum())

    def whole(self) -> AttackResult:
        parts = {name: np.concatenate(found) for name, found in self.parts.items()}
        codes = map(np.concatenate, self.transfer_codes)
        return AttackResult(
            **parts, transfer_codes=dict(zip(self.others, codes, strict=True))
        )
