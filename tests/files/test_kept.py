"""What an evaluation keeps is read as it was written, or made again."""

import hashlib

import numpy as np
import pytest

from cgat_jax.errors import InputError
from cgat_jax.files.arrays import save_array
from cgat_jax.files.io import write_sealed
from cgat_jax.files.kept import belongs, kept_array, read_kept


def test_a_damaged_record_is_set_aside(tmp_path):
    path = tmp_path / "record.json"
    assert read_kept(path) is None
    write_sealed(path, {"map": 0.5})
    assert read_kept(path) == {"map": 0.5}
    path.write_text(path.read_text().replace("0.5", "0.6"))
    assert read_kept(path) is None
    assert (tmp_path / "record.json.damaged-1").is_file() and not path.exists()


@pytest.mark.parametrize("damage", [b"", b"junk", "flip", "shape", "value"])
def test_a_damaged_array_is_made_again_once(tmp_path, damage):
    path, made = tmp_path / "a.npy", []

    def make():
        made.append(1)
        return np.array([[1, -1, 0]], np.int8)

    def get():
        return kept_array(path, make, shape=(1, 3), dtype=np.int8, low=-1, high=1)

    assert get().tolist() == get().tolist() == [[1, -1, 0]] and len(made) == 1
    if damage == "flip":
        content = bytearray(path.read_bytes())
        content[-75] ^= 2
        path.write_bytes(content)
    elif damage == "shape":
        save_array(path, np.zeros((2, 3), np.int8))
    elif damage == "value":
        save_array(path, np.full((1, 3), -2, np.int8))
    else:
        path.write_bytes(damage)
    assert get().tolist() == [[1, -1, 0]] and len(made) == 2
    assert (tmp_path / "a.npy.damaged-1").is_file()
    assert get().tolist() == [[1, -1, 0]] and len(made) == 2


def test_a_folder_belongs_to_one_network_and_one_data_set(tmp_path):
    folder, origin = tmp_path / "none", {"network": "n", "data": "d"}
    belongs(folder, origin)
    belongs(folder, origin)
    with pytest.raises(InputError, match="none belongs to another network: move it"):
        belongs(folder, origin | {"network": "m"})
    with pytest.raises(InputError, match="another data"):
        belongs(folder, origin | {"data": "e"})


def test_a_folder_whose_note_is_damaged_is_set_aside_whole(tmp_path):
    folder = tmp_path / "none"
    belongs(folder, {"network": "n"})
    (folder / "query.npy").write_bytes(b"codes of whom?")
    (folder / "origin.json").write_text("null")
    belongs(folder, {"network": "n"})
    assert [p.name for p in folder.iterdir()] == ["origin.json"]
    assert (tmp_path / "none.damaged-1" / "query.npy").is_file()


def test_notes_of_earlier_versions_are_read(tmp_path):
    folder, old = tmp_path / "none", hashlib.sha256(b"network").hexdigest()
    folder.mkdir()
    (folder / "origin.json").write_text(f'{{\n "sha256": "{old}"\n}}\n')
    (folder / "query.npy").write_bytes(b"its codes")
    with pytest.raises(InputError, match="another network"):
        belongs(folder, {"network": "n"}, earlier="f" * 64)
    belongs(folder, {"network": "n"}, earlier=old)
    assert (folder / "query.npy").read_bytes() == b"its codes"
    belongs(folder, {"network": "n"})
