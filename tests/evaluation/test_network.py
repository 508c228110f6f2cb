"""A network as a value: codes of images of any size, attacks, and its file."""

import errno
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.data.crops import center_crops
from cgat_jax.errors import ForeignFilesError, InputError, NonFiniteError
from cgat_jax.evaluation import network as network_module
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.trained_networks import load_network
from cgat_jax.models import make_model
from cgat_jax.models.network_file import network_shapes, new_card
from tests.data.sources import photo

CARD = new_card(
    backbone="small", bits=8, image_size=24, crop_size=16, defense="cgat", dropout=0.1
)


@pytest.fixture(scope="module")
def net():
    rng = np.random.default_rng(0)
    params, stats = jax.tree.map(
        lambda leaf: jnp.array(rng.normal(0, 0.06, leaf.shape), leaf.dtype),
        network_shapes(CARD),
    )
    return Network(params, stats, CARD, {"constants": {"ties": jnp.ones(8)}})


@pytest.fixture(scope="module")
def photos():
    return [photo(seed, 20 + seed, 40 - seed) for seed in range(11)]


def test_codes_are_those_of_the_network_on_the_centered_crops(net, photos):
    crops = center_crops(photos, image_size=24, crop_size=16)
    model = make_model("small", outputs=8, dropout=0.1)
    logits, _ = jax.jit(model.apply)(net.params, net.stats, jnp.array(crops) / 255)
    np.testing.assert_allclose(net.logits(photos), logits, rtol=1e-4, atol=1e-5)
    codes = net.encode(photos)
    np.testing.assert_array_equal(codes, np.sign(logits))
    assert codes.dtype == np.int8 and len(np.unique(codes, axis=0)) > 1


@pytest.mark.parametrize("batch_size", [1, 4, 11, 64])
def test_batches_change_no_code(net, photos, batch_size):
    codes = net.encode(photos, batch_size=batch_size)
    np.testing.assert_array_equal(codes, net.encode(photos))


def test_one_program_serves_any_number_of_images(net, photos, monkeypatch):
    traces, model = [], net.model

    def counted(*arguments):
        traces.append(1)
        return model.apply(*arguments)

    counting = model._replace(apply=counted)
    monkeypatch.setattr(network_module, "make_network", lambda card: counting)
    for count in (1, 3, 4, 5, 11):
        assert net.encode(photos[:count], batch_size=4).shape == (count, 8)
    assert len(traces) == 1


def test_kinds_of_images_give_the_same_codes(net, rng):
    pixels = rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    codes = net.encode(pixels)
    for images in (pixels / 255, list(pixels), jnp.asarray(pixels), pixels / 255.0):
        np.testing.assert_array_equal(net.encode(images), codes)


def test_no_images_have_no_codes(net):
    assert net.encode([]).shape == (0, 8)
    assert net.logits(np.zeros((0, 30, 30, 3), np.uint8)).shape == (0, 8)


def test_wrong_images_are_named_by_their_place(net, photos):
    with pytest.raises(
        InputError, match=r"expected \[n, H, W, 3\], got shape \[20, 40"
    ):
        net.encode(photos[0])
    with pytest.raises(InputError, match="image 9: expected RGB"):
        net.encode([*photos[:9], photos[9][..., 0]], batch_size=4)
    with pytest.raises(InputError, match="batch_size: expected 1 or more, got 0"):
        net.encode(photos, batch_size=0)


def test_a_network_that_overflows_is_an_error(net, photos):
    params = {
        **net.params,
        "head": {**net.params["head"], "bias": jnp.full(8, jnp.nan)},
    }
    with pytest.raises(NonFiniteError, match="logits are not finite"):
        Network(params, net.stats, CARD).encode(photos)


@pytest.mark.slow
def test_it_can_be_attacked(net, rng):
    images = jnp.array(rng.random((3, 16, 16, 3)), jnp.float32)
    goal = jnp.array(net.encode(np.asarray(images)), jnp.float32)

    @jax.jit
    def agreement(x):
        return (jnp.tanh(net.apply(x)) * goal).mean()

    gradient = jax.grad(agreement)(images)
    assert gradient.shape == images.shape and bool((gradient != 0).any())
    assert agreement(jnp.clip(images - 0.03 * jnp.sign(gradient), 0, 1)) < agreement(
        images
    )
    np.testing.assert_allclose(net.apply(images), net.logits(images), rtol=1e-4)


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("name", ["saved", "deep/er", "file.safetensors"])
def test_what_is_saved_is_loaded(net, photos, tmp_path, name):
    path = net.save(tmp_path / name)
    assert path.suffix == ".safetensors"
    for place in (tmp_path / name, path, str(path)):
        found = load_network(place)
        same(
            (found.params, found.stats, found.loss_state),
            (net.params, net.stats, net.loss_state),
        )
        np.testing.assert_array_equal(found.encode(photos), net.encode(photos))
    assert (
        found.card.items()
        >= {**CARD, "network_sha256": found.card["network_sha256"]}.items()
    )
    assert repr(found) == (
        "Network(small, 8 bits, images of 16 pixels, defense 'cgat')"
    )
    content = path.read_bytes()
    found.save(tmp_path / name)
    assert path.read_bytes() == content


def test_records_stay_with_the_weights_that_they_are_of(net, tmp_path):
    """A network that was trained on had those of the one before."""
    record = {"attack": "clean", "map": 0.5, "network_sha256": net.sha256}
    card = net.card | {"records": [record]}
    same = Network(net.params, net.stats, card).save(tmp_path / "same.safetensors")
    assert load_network(same).card["records"] == [record]
    tuned = jax.tree.map(lambda array: array + 0.125, net.params)
    other = Network(tuned, net.stats, card).save(tmp_path / "other.safetensors")
    assert load_network(other).card["records"] == []


def test_nothing_foreign_is_overwritten(net, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ForeignFilesError, match="not empty, and not a saved network"):
        net.save(tmp_path)
    (tmp_path / "w.safetensors").write_text("mine")
    with pytest.raises(ForeignFilesError, match="no network of this package"):
        net.save(tmp_path / "w.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "w.safetensors"]
    assert (tmp_path / "w.safetensors").read_text() == "mine"


def test_a_network_is_written_whole_or_not_at_all(net, tmp_path, monkeypatch):
    path = net.save(tmp_path / "n.safetensors")
    content = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cgat_jax.models.weights.write_bytes", full)
    for place in (path, tmp_path / "new"):
        with pytest.raises(OSError, match="No space left"):
            Network(net.params, net.stats, CARD | {"loss": "dpsh"}).save(place)
    assert os.listdir(tmp_path) == ["n.safetensors"] and path.read_bytes() == content


def test_a_card_of_no_network_makes_none(net):
    with pytest.raises(InputError, match="unknown model 'vgg'"):
        Network(net.params, net.stats, CARD | {"backbone": "vgg"})
    with pytest.raises(InputError, match="card: crop_size is None"):
        Network(net.params, net.stats, CARD | {"crop_size": None})


def test_another_defense_than_the_files_is_refused(net, tmp_path):
    path = net.save(tmp_path / "n.safetensors")
    assert load_network(path, "cgat").card["defense"] == "cgat"
    with pytest.raises(InputError, match="is of defense 'cgat', not 'none'"):
        load_network(path, defense="none")


def test_what_holds_no_network_is_refused_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_network(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        load_network(tmp_path / "nowhere.safetensors")
    with pytest.raises(InputError, match="holds no network; expected a run's workdir"):
        load_network(tmp_path)
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(InputError, match="x.txt is not a safetensors file"):
        load_network(tmp_path / "x.txt")
