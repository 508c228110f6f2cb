"""What is kept of an alarm, and the sealed JSON object that holds it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int8

from cgat_jax.alarm.unusual import NAMES
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.io import SEAL, seal_of, unsealed

FORMAT = 1
_SIGNS = "-0+"


class AlarmContent(NamedTuple):
    """An alarm without the database codes.

    Attributes:
        network_sha256: of the network's weights.
        database_sha256: of the database codes.
        false_alarms: the rate that is asked for.
        centers: center codes of label sets, if known.
        clean: statistics of the clean queries, in an order of their own.
    """

    network_sha256: str
    database_sha256: str
    false_alarms: float
    centers: Int8[np.ndarray, "S K"] | None
    clean: Float64[np.ndarray, "n S"]


def alarm_content(alarm: AlarmContent, names: tuple[str, ...]) -> dict[str, Any]:
    """As a sealed JSON object; center codes are texts of ``-``, ``0`` and ``+``."""
    columns = zip(names, alarm.clean.T.tolist(), strict=True)
    centers = None
    if alarm.centers is not None:
        centers = ["".join(_SIGNS[bit + 1] for bit in row) for row in alarm.centers]
    content = alarm._asdict() | {"clean": dict(columns), "centers": centers}
    content = {"format": FORMAT} | content
    return content | {SEAL: seal_of(content)}


def read_content(content: Mapping[str, Any]) -> AlarmContent:
    """What ``alarm_content`` made.

    Raises:
        DamagedFileError: it is not as it was made.
        InputError: another version made it.
    """
    content = dict(content)
    if SEAL not in content:
        raise DamagedFileError("alarm: damaged, it has no digest")
    content = unsealed(content, "alarm")
    if content.get("format") != FORMAT:
        raise InputError(
            f"alarm: format {content.get('format')!r} is of another version of this "
            "package; calibrate it again"
        )
    try:
        return _parsed(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFileError(f"alarm: damaged, {error!r}") from error


def _parsed(content: dict[str, Any]) -> AlarmContent:
    columns, centers = content["clean"], content["centers"]
    names = [name for name in NAMES if name != "center" or centers is not None]
    clean = np.array([columns[name] for name in names], np.float64).T
    if list(columns) != names or clean.ndim != 2 or not np.isfinite(clean).all():
        raise ValueError("its statistics are no table of numbers")
    if centers is not None:
        rows = [[_SIGNS.index(bit) - 1 for bit in row] for row in centers]
        centers = np.array(rows, np.int8)
    digests = content["network_sha256"], content["database_sha256"]
    if not all(isinstance(digest, str) for digest in digests):
        raise TypeError("its digests are no texts")
    rate = float(content["false_alarms"])
    if not 0 < rate < 1:
        raise ValueError(f"its rate of false alarms is {rate:g}")
    return AlarmContent(*digests, rate, centers, np.ascontiguousarray(clean))
