import errno

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.models import make_model, weights
from cgat_jax.models.weights import (
    load_weights,
    packed_weights,
    read_metadata,
    save_weights,
    weights_digest,
)


def small_params(seed, outputs=8):
    """Random values in the tree of the small network."""
    model = make_model("small", outputs=outputs)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.array(rng.normal(size=leaf.shape), leaf.dtype), shapes
    )


def test_all_but_the_head_round_trips(tmp_path):
    """A classifier's weights go into a hashing network of another width."""
    classifier, network = small_params(0, outputs=5), small_params(1, outputs=8)
    save_weights(tmp_path / "w.safetensors", classifier, {})
    loaded, stats = load_weights(tmp_path / "w.safetensors", network, {})

    assert jax.tree.structure(loaded) == jax.tree.structure(network) and stats == {}
    for layer, values in loaded.items():
        source = network if layer == "head" else classifier
        jax.tree.map(np.testing.assert_array_equal, values, source[layer])
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_nothing_skipped_restores_everything(tmp_path):
    params = small_params(0)
    save_weights(tmp_path / "w", params, {})
    loaded, _ = load_weights(tmp_path / "w", small_params(1), {}, skip=())
    jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_a_file_without_a_head_will_do(tmp_path):
    params = small_params(0)
    head = params.pop("head")
    save_weights(tmp_path / "w", params, {})
    loaded, _ = load_weights(tmp_path / "w", {**small_params(1), "head": head}, {})
    jax.tree.map(np.testing.assert_array_equal, loaded, {**params, "head": head})


def test_statistics_lie_beside_the_parameters(tmp_path):
    network = {"bn1": {"scale": jnp.ones(2)}}, {"bn1": {"mean": jnp.array([3.0, 4.0])}}
    save_weights(tmp_path / "w", *network, metadata={"model": "none"})
    other = jax.tree.map(jnp.zeros_like, network)
    params, stats = load_weights(tmp_path / "w", *other)
    np.testing.assert_array_equal(params["bn1"]["scale"], [1.0, 1.0])
    np.testing.assert_array_equal(stats["bn1"]["mean"], [3.0, 4.0])
    with pytest.raises(ValueError, match="'bn1/mean' is missing in the network"):
        load_weights(tmp_path / "w", other[0], {})


def test_another_shape_is_refused(tmp_path):
    params = small_params(0)
    params["conv2"]["kernel"] = jnp.zeros((5, 5, 32, 48))
    save_weights(tmp_path / "w", params, {})
    message = r"'conv2/kernel' is \(3, 3, 32, 48\) .* \(5, 5, 32, 48\) in the file"
    with pytest.raises(ValueError, match=message):
        load_weights(tmp_path / "w", small_params(1), {})


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p: p.pop("conv3"), "'conv3/bias' .* missing in the file"),
        (
            lambda p: p.update(conv9={"bias": jnp.zeros(3)}),
            r"'conv9/bias' is missing in the network and \(3,\) in the file",
        ),
    ],
)
def test_another_architecture_is_refused(change, message, tmp_path):
    params = small_params(0)
    change(params)
    save_weights(tmp_path / "w", params, {})
    with pytest.raises(ValueError, match=message):
        load_weights(tmp_path / "w", small_params(1), {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.safetensors"):
        load_weights(tmp_path / "absent.safetensors", small_params(0), {})


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "w").write_bytes(b"no safetensors at all")
    with pytest.raises(DamagedFileError, match="w is not a safetensors file"):
        load_weights(tmp_path / "w", small_params(0), {})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    save_weights(tmp_path / "w", small_params(0), {})
    before = (tmp_path / "w").read_bytes()

    def full_disk(descriptor):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr("cgat_jax.files.io.os.fsync", full_disk)
    with pytest.raises(OSError, match="disk full: .*w"):
        save_weights(tmp_path / "w", small_params(1), {})
    assert (tmp_path / "w").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


TINY = (
    {"conv1": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(2)}},
    {"bn1": {"mean": jnp.array([3.0, -4.0])}},
)


def _same(network, other):
    return jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), network, other))


def test_a_flipped_bit_anywhere_is_found_or_changes_no_number(tmp_path):
    """In any byte of a small file; only padding and the digest's name may differ."""
    path = tmp_path / "w.safetensors"
    save_weights(path, *TINY)
    whole, unharmed = path.read_bytes(), []
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            assert _same(load_weights(path, *TINY), TINY)
        except DamagedFileError as error:
            assert str(path) in str(error) and len(str(error).splitlines()) == 1
        else:
            unharmed.append(position)
    assert unharmed
    name = whole.index(b"sha256")
    padding = set(range(len(whole) - 10 * 4 - 8, len(whole) - 10 * 4))
    assert set(unharmed) <= set(range(name, name + 6)) | padding


def _header(text, arrays=b"\0" * 8):
    return len(text).to_bytes(8, "little") + text + arrays


_ONE = b'{"conv1/kernel":{"dtype":"%s","shape":[2],"data_offsets":[0,8]}}'
CORPUS = {
    "empty": b"",
    "half a length": b"\x10\0\0",
    "a huge length": b"\xff" * 7 + b"\x7f{}",
    "a length beyond the end": (1 << 20).to_bytes(8, "little") + b"{}",
    "no JSON": _header(b"no JSON"),
    "a list": _header(b"[]"),
    "null": _header(b"null"),
    "nested deep": _header(b"[" * 100_000 + b"]" * 100_000),
    "metadata nested deep": _header(
        b'{"__metadata__":' + b'{"a":' * 10_000 + b"0" + b"}" * 10_001
    ),
    "an unknown type": _header(_ONE % b"F33"),
    "a type of another size": _header(_ONE % b"F64"),
    "arrays cut": _header(_ONE % b"F32", b"\0" * 7),
    "more than its arrays": _header(_ONE % b"F32", b"\0" * 9),
    "another file": b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_no_safetensors_file_is_refused_in_a_line(name, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(CORPUS[name])
    for read in (lambda: load_weights(path, *TINY), lambda: read_metadata(path)):
        with pytest.raises(DamagedFileError) as caught:
            read()
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "w"
    save_weights(path, *TINY)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=str(path)):
            load_weights(path, *TINY)


@pytest.mark.parametrize("kind", [np.int32, np.bool_])
def test_whole_numbers_are_no_weights(kind, tmp_path):
    network = {"conv1": {"kernel": np.ones((2, 3), kind), "bias": jnp.ones(2)}}, TINY[1]
    save_weights(tmp_path / "w", *network)
    with pytest.raises(InputError, match="w does not fit .*kernel' is float32"):
        load_weights(tmp_path / "w", *TINY)


def test_other_floats_become_the_networks_and_a_folder_is_no_file(tmp_path):
    halves = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), TINY)
    save_weights(tmp_path / "w", *halves)
    assert _same(load_weights(tmp_path / "w", *TINY), TINY)
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match="folder"):
        load_weights(tmp_path / "folder", *TINY)


def test_a_file_without_a_digest_is_taken(tmp_path):
    """Of an earlier version, or from elsewhere."""
    arrays = {"conv1/kernel": np.ones((2, 3), np.float32)}
    arrays |= {"conv1/bias": np.ones(2, np.float32)}
    arrays |= {"bn1/mean": np.ones(2, np.float32)}
    safetensors.save_file(arrays, tmp_path / "w", {"model": "none"})
    assert _same(load_weights(tmp_path / "w", *TINY), jax.tree.map(jnp.ones_like, TINY))
    assert read_metadata(tmp_path / "w") == {"model": "none"}


def test_the_digest_is_that_of_names_types_shapes_and_values(tmp_path):
    save_weights(tmp_path / "w", *TINY, metadata={"model": "tiny"})
    digest = weights_digest(*TINY)
    assert read_metadata(tmp_path / "w") == {"model": "tiny", "sha256": digest}
    assert weights_digest(*load_weights(tmp_path / "w", *TINY)) == digest
    conv1, bn1 = TINY[0]["conv1"], TINY[1]
    others = [
        ({"conv2": conv1}, bn1),
        ({"conv1": conv1 | {"bias": jnp.ones(3)}}, bn1),
        ({"conv1": conv1 | {"bias": jnp.ones(2, jnp.float16)}}, bn1),
        ({"conv1": conv1 | {"kernel": conv1["kernel"].reshape(3, 2)}}, bn1),
        ({"conv1": conv1}, {"bn1": {"mean": jnp.array([3.0, 4.0])}}),
    ]
    assert len({digest, *(weights_digest(*other) for other in others)}) == 6


def test_packed_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match=r"'vgg11'; known: \['small'\]"):
        packed_weights("vgg11")
    with pytest.raises(FileNotFoundError, match="small.safetensors"):
        packed_weights("small")
    save_weights(tmp_path / "small.safetensors", small_params(0), {})
    assert packed_weights("small") == tmp_path / "small.safetensors"
