"""The alarm of a network and a database: calibrated once, asked for each query."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int8

from cgat_jax.alarm.conformal import check_calibration, conformal_p_values
from cgat_jax.alarm.encoding import encoded_views
from cgat_jax.alarm.stored import AlarmContent, alarm_content, read_content
from cgat_jax.alarm.unusual import NAMES, statistics
from cgat_jax.errors import InputError
from cgat_jax.evaluation.network import Network
from cgat_jax.files.arrays import digest_of
from cgat_jax.retrieval.hamming import PackedCodes, check_equal, pack_codes

BATCH = 16


class AlarmReport(NamedTuple):
    """What the alarm says of n images.

    Attributes:
        raised: whether an image raises the alarm: its p-value is at most the rate of
            false alarms.
        p_value: of all statistics together; uniform or larger for clean queries.
        names: of the statistics.
        statistics: how unusual each image is, see ``cgat_jax.alarm.unusual``.
        p_values: of each statistic alone; the smallest says what is odd.
        codes: of the images, as ``Network.encode`` gives them.
    """

    raised: Bool[np.ndarray, " n"]
    p_value: Float64[np.ndarray, " n"]
    names: tuple[str, ...]
    statistics: Float64[np.ndarray, "n S"]
    p_values: Float64[np.ndarray, "n S"]
    codes: Int8[np.ndarray, "n K"]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Alarm:
    """An alarm for queries that are unusual for a network and a database.

    It is raised by at most a share ``false_alarms`` of queries like the clean ones it
    was calibrated on. It is no defense: who knows it can evade it, at a price that
    docs/search_alarm.md measures. Several threads may ask it at once.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from cgat_jax import Network
    >>> from cgat_jax.alarm import Alarm
    >>> from cgat_jax.models.network_file import make_network, new_card
    >>> card = new_card(backbone="small", bits=16, image_size=36, crop_size=32)
    >>> init = jax.jit(make_network(card).init)
    >>> net = Network(*init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))), card)
    >>> images = np.random.default_rng(0).random((60, 32, 32, 3), np.float32)
    >>> database = net.encode(images[20:])
    >>> alarm = Alarm.calibrate(net, images[:19], database)
    >>> alarm
    Alarm(5% false alarms, 19 clean queries, 40 database codes of 16 bits)
    >>> report = alarm(net, images[19:20])
    >>> report.names, report.raised.shape, report.codes.shape
    (('neighbors', 'moved', 'filtered'), (1,), (1, 16))

    Attributes:
        content: what is stored of it.
        database: the codes that are searched.
        centers: center codes of label sets, if known.
    """

    content: AlarmContent
    database: PackedCodes
    centers: PackedCodes | None

    @classmethod
    def calibrate(
        cls,
        network: Network,
        clean_images: Sequence[Any] | np.ndarray,
        database_codes: np.ndarray,
        centers: np.ndarray | None = None,
        *,
        false_alarms: float = 0.05,
        batch_size: int = BATCH,
    ) -> "Alarm":
        """An alarm that clean queries raise at a rate of ``false_alarms`` at most.

        Args:
            network: whose codes are searched.
            clean_images: queries like those to come, as ``Network.logits`` takes them,
                none of them in the database or seen in training; 19 or more for 5 %,
                hundreds for a rate that is near to what is asked.
            database_codes: [M, K] in {-1, 0, +1}. Another database needs another
                calibration.
            centers: center codes [S, K] of ``label_set_centers``; None leaves their
                statistic out.
            false_alarms: between 0 and 1.
            batch_size: images at once; their 8 views come on top.

        Raises:
            InputError: what is given does not fit together, or the clean images are
                too few.
            NonFiniteError: the network gives numbers that are not finite.
        """
        check_calibration(len(clean_images), false_alarms)
        packed = _packed("database_codes", database_codes, network.bits)
        packed_centers = centers
        if centers is not None:
            packed_centers = _packed("centers", centers, network.bits)
        logits = encoded_views(network, clean_images, batch_size)
        found = statistics(logits, packed, packed_centers)
        content = AlarmContent(
            network_sha256=network.sha256,
            database_sha256=_codes_digest(database_codes),
            false_alarms=float(false_alarms),
            centers=None if centers is None else np.asarray(centers).astype(np.int8),
            clean=found[np.lexsort(found.T)],
        )
        return cls(content, packed, packed_centers)

    def __repr__(self) -> str:
        return (
            f"Alarm({100 * self.content.false_alarms:.3g}% false alarms, "
            f"{len(self.content.clean)} clean queries, {self.database.num_items} "
            f"database codes of {self.database.num_bits} bits)"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the statistics."""
        return tuple(x for x in NAMES if x != "center" or self.centers is not None)

    def __call__(
        self,
        network: Network,
        images: Sequence[Any] | np.ndarray,
        *,
        batch_size: int = BATCH,
    ) -> AlarmReport:
        """Looks at images; each one's report does not depend on the others.

        There is one compiled program for each batch size; a service that answers one
        query at a time takes 1.

        Raises:
            InputError: this is not the network of the calibration, or an image cannot
                be used.
            NonFiniteError: the network gives numbers that are not finite.
        """
        if network.sha256 != self.content.network_sha256:
            raise InputError(
                f"{network}: not the network that the alarm was calibrated on; "
                "calibrate one for it"
            )
        logits = encoded_views(network, images, batch_size)
        found = statistics(logits, self.database, self.centers)
        each, together = conformal_p_values(self.content.clean, found)
        raised = together <= self.content.false_alarms
        codes = np.sign(logits[0]).astype(np.int8)
        return AlarmReport(raised, together, self.names, found, each, codes)

    def to_json(self) -> dict[str, Any]:
        """All but the database codes, as a sealed JSON object."""
        return alarm_content(self.content, self.names)

    @classmethod
    def from_json(
        cls, content: Mapping[str, Any], database_codes: np.ndarray
    ) -> "Alarm":
        """The alarm that ``to_json`` gave.

        Args:
            content: that object.
            database_codes: those of the calibration.

        Raises:
            DamagedFileError: the object is not as it was made.
            InputError: the codes are others, or another version made the object.
        """
        found = read_content(content)
        if _codes_digest(database_codes) != found.database_sha256:
            raise InputError(
                "alarm: calibrated on other database codes; calibrate it again"
            )
        packed, centers = pack_codes(database_codes, "database_codes"), None
        if found.centers is not None:
            centers = _packed("centers", found.centers, packed.num_bits)
        return cls(found, packed, centers)


def _packed(name: str, codes: np.ndarray, bits: int) -> PackedCodes:
    try:
        packed = pack_codes(codes, name)
        check_equal(name, "columns", bits, packed.num_bits)
    except ValueError as error:
        raise InputError(str(error)) from error
    return packed


def _codes_digest(codes: np.ndarray) -> str:
    return digest_of(np.asarray(codes).astype(np.int8))
