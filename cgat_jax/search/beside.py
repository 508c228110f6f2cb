"""What lies beside the items of an index of a run: for attacks, and its alarm."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int8, UInt8

from cgat_jax.alarm import Alarm, label_set_centers
from cgat_jax.alarm.conformal import check_calibration
from cgat_jax.data.images import decode
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.arrays import load_array, save_array
from cgat_jax.files.io import read_json, read_sealed, write_json, write_sealed
from cgat_jax.search.index import Index

_CODES, _LABELS, _CLASSES = "training_codes.npy", "training_labels.npy", "training.json"
_ALARM = "alarm.json"
FALSE_ALARMS = 0.05


class Training(NamedTuple):
    """What center codes are made of: the training images' codes and labels."""

    codes: Int8[np.ndarray, "n K"]
    labels: UInt8[np.ndarray, "n C"]
    class_names: tuple[str, ...]


def load_training(index: Index) -> Training | None:
    """What center codes are made of, if the index was made of a run's data.

    Raises:
        DamagedFileError: a file is not as it was written.
    """
    if index.path is None or not (index.path / _CLASSES).is_file():
        return None
    names = tuple(read_sealed(index.path / _CLASSES)["classes"])
    of = {"of": index.network.sha256, "sealed": True}
    labels = load_array(
        index.path / _LABELS, shape=(None, len(names)), dtype=np.uint8, high=1, **of
    )
    shape = (len(labels), index.network.bits)
    codes = load_array(
        index.path / _CODES, shape=shape, dtype=np.int8, low=-1, high=1, **of
    )
    return Training(codes, labels, names)


def save_training(index: Index, training: Training) -> None:
    """Keeps them beside an index that lies in a folder."""
    of = index.network.sha256
    save_array(index.path / _CODES, training.codes, of=of)
    save_array(index.path / _LABELS, training.labels, of=of)
    write_sealed(index.path / _CLASSES, {"classes": list(training.class_names)})


def load_alarm(index: Index, training: Training | None) -> Alarm | None:
    """The alarm of an index, for as many clean queries as came with it.

    It is of one database: when items were added or removed, or its file is damaged, it
    is calibrated again and kept.

    Args:
        index: of a run.
        training: for center codes, whose statistic is left out without.

    Returns:
        None where there is no item, or too few clean queries came with the index.
    """
    codes, images = database_codes(index), index.catalogue.clean_queries()
    if not len(codes) or not _are_enough(images):
        return None
    path = index.path and index.path / _ALARM
    if path and path.is_file():
        try:
            found = Alarm.from_json(read_json(path), codes)
            if found.content.network_sha256 == index.network.sha256:
                return found
        except (InputError, DamagedFileError):
            pass  # of another database, or damaged: there is all to make it again
    centers = training and label_set_centers(training.codes, training.labels)
    photos = [decode(image, "a query of the index") for image in images]
    alarm = Alarm.calibrate(
        index.network, photos, codes, centers, false_alarms=FALSE_ALARMS
    )
    if path:
        write_json(path, alarm.to_json())
    return alarm


def database_codes(index: Index) -> Int8[np.ndarray, "n K"]:
    """The codes of all items in {-1, +1}, in order."""
    blocks = [codes for _, codes, _ in index.catalogue.codes()]
    packed = np.concatenate(blocks) if blocks else np.empty((0, 1), np.uint8)
    bits = np.unpackbits(packed, axis=1, count=index.network.bits)
    return bits.astype(np.int8) * 2 - 1


def _are_enough(clean: list[bytes]) -> bool:
    try:
        check_calibration(len(clean), FALSE_ALARMS)
    except InputError:
        return False
    return True
