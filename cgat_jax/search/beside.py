"""What lies beside the items of an index of a run: for attacks, and its alarm."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int8, UInt8

from cgat_jax.alarm import Alarm, label_set_centers
from cgat_jax.alarm.conformal import check_calibration
from cgat_jax.data.images import decode
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.arrays import load_array, save_array
from cgat_jax.files.io import SEAL, read_json, read_sealed, write_sealed
from cgat_jax.search.index import Index

_CODES, _LABELS, _CLASSES = "training_codes.npy", "training_labels.npy", "training.json"
_ALARM, _CLEAN = "alarm.json", "clean_images_sha256"
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

    It is of one database and of these queries: when items were added or removed, other
    queries came, or its file is damaged, it is calibrated again and kept.

    Args:
        index: of a run.
        training: for center codes, whose statistic is left out without.

    Returns:
        None where there is no item, or too few clean queries came with the index.
    """
    codes, images = database_codes(index), index.catalogue.clean_queries()
    if not len(codes) or not _are_enough(images):
        return None
    path, clean = index.path and index.path / _ALARM, _digest_of(images)
    if path and path.is_file():
        try:
            found = Alarm.from_json(content := read_json(path), codes)
            own = found.content.network_sha256, content.get(_CLEAN)
            if own == (index.network.sha256, clean):
                return found
        except (InputError, DamagedFileError):
            pass  # of another database, or damaged: there is all to make it again
    centers = None
    if training and training.labels.any():
        centers = label_set_centers(training.codes, training.labels)
    photos = [decode(image, "a query of the index") for image in images]
    alarm = Alarm.calibrate(
        index.network, photos, codes, centers, false_alarms=FALSE_ALARMS
    )
    if path:
        content = {key: value for key, value in alarm.to_json().items() if key != SEAL}
        write_sealed(path, content | {_CLEAN: clean})
    return alarm


def database_codes(index: Index) -> Int8[np.ndarray, "n K"]:
    """The codes of all items in {-1, +1}, in order."""
    blocks = [codes for _, codes, _ in index.catalogue.codes()]
    packed = np.concatenate(blocks) if blocks else np.empty((0, 1), np.uint8)
    bits = np.unpackbits(packed, axis=1, count=index.network.bits)
    return bits.astype(np.int8) * 2 - 1


def _digest_of(images: Sequence[bytes]) -> str:
    each = (hashlib.sha256(image).digest() for image in images)
    return hashlib.sha256(b"".join(each)).hexdigest()


def _are_enough(clean: list[bytes]) -> bool:
    try:
        check_calibration(len(clean), FALSE_ALARMS)
    except InputError:
        return False
    return True
