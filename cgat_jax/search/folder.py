"""The folder of an index: its files, and which network and engine it is of."""

import contextlib
from pathlib import Path

from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.trained_networks import load_network
from cgat_jax.files.io import read_sealed, set_aside, write_sealed
from cgat_jax.files.locks import locked
from cgat_jax.files.ownership import check_folder, claim_folder, kind_of
from cgat_jax.models.network_file import NETWORK_FILE
from cgat_jax.search.catalogue import Catalogue
from cgat_jax.search.engines import EngineSettings, make_engine, new_collection

INDEX_FILE, CATALOGUE_FILE = "index.json", "catalogue.sqlite"
FORMAT = 1
"""Version of an index's folder."""


def create_folder(
    path: Path,
    network: Network,
    settings: EngineSettings,
    catalogue: Catalogue | None = None,
) -> Path:
    """Makes the folder of an index.

    The file that makes it an index is written last: what an attempt left that was cut
    off is none, and makes room for the next; a catalogue with images is set aside.

    Args:
        path: of the folder.
        network: that made the codes.
        settings: of the engine; of a server's, a collection of this folder's own.
        catalogue: is copied; by default there is no image yet.

    Raises:
        ForeignFilesError: something else is there.
        InputError: an index is there, or the engine cannot be had.
        InUseError: another process makes one there.
        OSError: it cannot be written.
    """
    check_folder(path, "index")
    _check_no_index(path)
    if settings.uri:  # two indexes of one collection would mix
        settings = settings._replace(collection=new_collection())
    make_engine(network.bits, settings).close()  # what is missing is said now
    claim_folder(path, "index")
    engine = settings._replace(folder=None)._asdict()
    content = {"format": FORMAT, "engine": {k: v for k, v in engine.items() if v}}
    content["network_sha256"] = network.sha256
    with locked(path):
        _check_no_index(path)
        network.save(path / NETWORK_FILE)
        _make_room(path / CATALOGUE_FILE)
        with contextlib.closing(Catalogue(path / CATALOGUE_FILE)) as own:
            if catalogue is not None:
                catalogue.copy_to(own)
        write_sealed(path / INDEX_FILE, content)
    return path


def _make_room(file: Path) -> None:
    """Removes the empty catalogue of an attempt that was cut off; keeps any other.

    That one is set aside: it may be of an index whose other file is lost.
    """
    try:
        with contextlib.closing(Catalogue(file, is_made=True)) as old:
            is_kept = len(old) > 0
    except (DamagedFileError, OSError):
        is_kept = file.exists() and file.stat().st_size > 0
    for part in (file, file.with_name(f"{file.name}-wal")):
        if is_kept and part.exists():
            set_aside(part, f"{INDEX_FILE} is missing beside it")
    for suffix in ("", "-wal", "-shm"):  # SQLite's own
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)


def _check_no_index(path: Path) -> None:
    if (path / INDEX_FILE).exists():
        raise InputError(f"{path}: holds an index already; choose another folder")


def is_index(path: Path) -> bool:
    """Whether a folder holds an index of this program."""
    return kind_of(path) == "index" and (path / INDEX_FILE).is_file()


def open_folder(path: Path) -> tuple[Network, EngineSettings]:
    """The network of an index, and the engine it was made for.

    Raises:
        FileNotFoundError: there is nothing at the path.
        InputError: it holds no index, or one of another version.
        DamagedFileError: a file is not as it was written.
    """
    if not path.exists():
        raise FileNotFoundError(f"no index: {path} does not exist")
    if not is_index(path):
        raise InputError(f"{path}: holds no index; make one: experiments.index")
    known = read_sealed(path / INDEX_FILE)
    if known.get("format") != FORMAT:
        raise InputError(f"{path}: an index of another version; build it again")
    network = load_network(path)
    if network.sha256 != known["network_sha256"]:
        raise DamagedFileError(f"{path}: its network is not the one it was made of")
    return network, EngineSettings(**known["engine"])


def check_engine(path: Path, asked: EngineSettings) -> None:
    """Finds that an index searches with the engine that is asked for by name.

    Args:
        path: folder of an index.
        asked: settings; ``auto`` and an empty address ask for nothing.

    Raises:
        InputError: it was made for another one.
        DamagedFileError: a file is not as it was written.
    """
    _, made = open_folder(path)
    for what, wanted, nothing, there in (
        ("engine", asked.name, "auto", made.name),
        ("engine's address", asked.uri, "", made.uri),
    ):
        if wanted not in (nothing, there):
            raise InputError(
                f"{path}: its {what} is {there or 'none'}, not {wanted}; ask for no "
                "other, or build another index"
            )
