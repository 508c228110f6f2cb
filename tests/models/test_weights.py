import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.models import make_model, weights
from cgat_jax.models.weights import load_weights, packed_weights, save_weights


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
    with pytest.raises(ValueError, match="w is not a safetensors file"):
        load_weights(tmp_path / "w", small_params(0), {})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    save_weights(tmp_path / "w", small_params(0), {})
    before = (tmp_path / "w").read_bytes()

    def full_disk(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(weights.safetensors, "save_file", full_disk)
    with pytest.raises(OSError, match="disk full"):
        save_weights(tmp_path / "w", small_params(1), {})
    assert (tmp_path / "w").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_packed_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match=r"'vgg11'; known: \['small'\]"):
        packed_weights("vgg11")
    with pytest.raises(FileNotFoundError, match="small.safetensors"):
        packed_weights("small")
    save_weights(tmp_path / "small.safetensors", small_params(0), {})
    assert packed_weights("small") == tmp_path / "small.safetensors"
