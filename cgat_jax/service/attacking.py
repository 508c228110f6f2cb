"""Attacks on single queries while somebody looks: what they change, and what they find.

They are those of ``cgat_jax.attacks`` with the budgets of the preset ``fast``, as
compiled programs that are told the size of the ball; images are rounded to 8 bits as in
the evaluation, and codes are those of the very pixels that are shown.
"""

import base64
import dataclasses
import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cgat_jax import sharding
from cgat_jax.attacks import ATTACKS, AttackContext, resolve_budget
from cgat_jax.attacks.pgd import round_to_8_bits
from cgat_jax.attacks.references import CENTER
from cgat_jax.centers import center_codes
from cgat_jax.errors import NonFiniteError
from cgat_jax.report import names
from cgat_jax.rng import device_stream
from cgat_jax.search.items import packed_codes
from cgat_jax.search.pictures import png
from cgat_jax.service.answers import Found
from cgat_jax.service.served import Served
from cgat_jax.service.streams import Gone
from cgat_jax.types import Bank, HashModel

MOST_LEVELS = 16
WORST = "worst"
_SINGLE = ("noise", "cgat", "hag")
_AMONG = ("noise", "cgat", "hag", "apgd")
_NEAREST = 10  # answers that say what an unknown photo shows
Told = Callable[[int], None]


class Attacked(NamedTuple):
    """A query after an attack: its pixels, how many bits flipped, what it finds."""

    name: str
    image: np.ndarray
    flipped: int
    found: Found


class Attacks:
    """The programs of a service's attacks."""

    def __init__(self, served: Sequence[Served]):
        """Compiles them for all networks."""
        logging.getLogger("jax._src.debugging").addFilter(_is_news)
        self.served = list(served)
        self._told: Told = lambda step: None
        self._programs: dict[tuple[HashModel, str], Callable[..., jax.Array]] = {}
        self._lock = threading.Lock()  # one runs at a time
        self._centers = jax.jit(functools.partial(center_codes, binary=True))
        for one in self.served:
            side = one.network.card["crop_size"]
            black = np.zeros((side, side, 3), np.uint8)
            for name in self.names(WORST, one):
                self._attack(one, name, black, (), 0)

    def choices(self) -> dict[str, str]:
        """What can be chosen, with its title; center codes need training codes."""
        known = [one.training is not None for one in self.served]
        single = [n for n in _SINGLE if n != "cgat" or all(known)]
        titles = {name: names.ATTACKS[name] for name in single}
        among = [names.ATTACKS[name] for name in self.names(WORST, self.served[0])]
        return titles | {WORST: f"the worst of {', '.join(among)}"}

    def names(self, choice: str, served: Served) -> list[str]:
        """The attacks that a choice means on a network."""
        among = _AMONG if choice == WORST else (choice,)
        center = served.training is not None
        return [n for n in among if center or ATTACKS[n].references != CENTER]

    def steps(self, choice: str) -> int:
        """Iterations on all networks together."""
        every = [name for one in self.served for name in self.names(choice, one)]
        return sum(_steps(name) for name in every)

    def crops(self, image: np.ndarray) -> list[np.ndarray]:
        """What each network sees of an image, RGB uint8 of any size."""
        return [one.crop(image) for one in self.served]

    def run(
        self,
        crops: Sequence[np.ndarray],
        labels: Sequence[str],
        choice: str,
        *,
        levels: int,
        k: int,
        told: Told,
    ) -> Iterator[dict[str, Any]]:
        """Attacks an image on each network; yields what came of it.

        Args:
            crops: of the image, one for each network.
            labels: its classes; empty where they are not known.
            choice: a key of ``choices``.
            levels: the size of the ball, of 255.
            k: answers to show.
            told: how many iterations are done; what it raises ends the attack.
        """
        done = 0
        with self._lock:
            told(done)  # who waited here may be gone
            for one, crop in zip(self.served, crops, strict=True):
                before = self._code(one, crop)
                wanted = labels or _assumed(one, before)
                tries = []
                for name in self.names(choice, one):
                    self._told = lambda step, start=done: told(start + step)
                    changed = self._attack(one, name, crop, wanted, levels)
                    done += _steps(name)
                    code = self._code(one, changed)
                    found = one.search_now(code, k, "", wanted)
                    flipped = int(np.bitwise_count(code ^ before).sum())
                    tries.append(Attacked(name, changed, flipped, found))
                clean = one.search_now(before, k, "", wanted)
                clean.alarm = one.verdict(crop)
                worst = min(tries, key=_left)
                worst.found.alarm = one.verdict(worst.image)
                yield _told_of(one, crop, clean, worst) | {
                    "labels": list(wanted),
                    "assumed": not labels,
                }

    def _code(self, served: Served, image: np.ndarray) -> np.ndarray:
        return packed_codes(served.network, image[None])[0]

    def _attack(
        self,
        served: Served,
        name: str,
        crop: np.ndarray,
        labels: Sequence[str],
        levels: int,
    ) -> np.ndarray:
        """The attacked image, uint8.

        Raises:
            NonFiniteError: it is not finite, as where the network's gradient is NaN.
        """
        network, model = served.network, served.network.model
        if (model, name) not in self._programs:
            self._programs[model, name] = self._program(model, name)
        references = jnp.zeros((1, network.bits), jnp.float32)
        if ATTACKS[name].references == CENTER:
            references = self._center(served, labels)
        made = self._programs[model, name](
            (network.params, network.stats),
            (crop[None], references),
            (device_stream(0, name), np.float32(levels / 255)),
        )
        jax.effects_barrier()
        if not np.isfinite(made).all():
            raise NonFiniteError(f"{name}: the attacked image is not finite")
        return np.rint(np.asarray(made[0]) * 255).astype(np.uint8)

    def _center(self, served: Served, labels: Sequence[str]) -> jax.Array:
        """The center code of a query with these labels."""
        codes, known, classes = served.training
        hot = np.array([[name in labels for name in classes]], np.float32)
        bank = Bank(codes.astype(np.float32), known.astype(np.float32))
        return self._centers(hot, bank)

    def _program(self, model: HashModel, name: str) -> Callable[..., jax.Array]:
        """The attack on one image; a network of the same shape needs no other."""
        budget, entry = resolve_budget(name, preset="fast"), ATTACKS[name]

        def attack(network, rows, settings):
            (pixels, references), (key, epsilon) = rows, settings
            sized = dataclasses.replace(budget, epsilon=epsilon)

            def encode(images, iteration):
                jax.debug.callback(self._hear, iteration)
                return model.apply(*network, images)[0]

            images = sharding.to_images(pixels)
            bits = references.shape[1]
            nothing = Bank(jnp.zeros((0, bits)), jnp.zeros((0, 1)))
            make = entry.make(sized, AttackContext(nothing))
            keys = jax.random.fold_in(key, 0)[None]
            made = make(encode, images, references, keys)
            return round_to_8_bits(made, images, epsilon)

        return jax.jit(attack)

    def _hear(self, iteration: Any) -> None:
        self._told(int(iteration))


def _is_news(record: logging.LogRecord) -> bool:
    """Whether JAX should log that a callback failed: not because a client has left."""
    return not (record.exc_info and isinstance(record.exc_info[1], Gone))


def _steps(name: str) -> int:
    return 1 if name == "noise" else resolve_budget(name, preset="fast").steps


def _left(attacked: Attacked) -> tuple[int, int]:
    """What the worst attack has least of: correct answers, then bits that stay."""
    correct = sum(bool(row.correct) for row in attacked.found.answers)
    return correct, -attacked.flipped


def _assumed(served: Served, packed: np.ndarray) -> list[str]:
    """The classes that most of the nearest images have, or the nearest's own."""
    near = served.search_now(packed, _NEAREST).answers
    counts = Counter(name for row in near for name in row.labels)
    most = [name for name, count in counts.items() if 2 * count > len(near)]
    return most or (near[0].labels if near else [])


def _told_of(
    served: Served, crop: np.ndarray, clean: Found, attacked: Attacked
) -> dict[str, Any]:
    """What the page shows of an attack on a network."""
    change = attacked.image.astype(np.int16) - crop
    most = int(abs(change).max())
    shown = np.rint(128 + change * (127 / max(most, 1))).astype(np.uint8)
    return {
        "index": served.name,
        "attack": names.ATTACKS[attacked.name],
        "levels": most,
        "pictures": [_url(crop), _url(attacked.image), _url(shown)],
        "before": clean.model_dump(),
        "after": attacked.found.model_dump(),
    }


def _url(image: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"
