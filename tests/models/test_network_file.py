"""A network's file: read as it was written, or refused in one line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from cgat_jax.errors import DamagedFileError, ForeignFilesError, InputError
from cgat_jax.files.io import SEAL, seal_of
from cgat_jax.models.network_file import (
    StoredNetwork,
    check_network_out,
    make_network,
    network_shapes,
    new_card,
    read_card,
    read_network,
    write_network,
)
from cgat_jax.models.weights import load_weights, read_metadata, save_weights

LOSS_STATE = {"loss": {"classifier": jnp.eye(3)}, "constants": {"ties": jnp.ones(8)}}


def card_of(name="small", size=32, **known):
    return new_card(backbone=name, bits=8, image_size=40, crop_size=size, **known)


def drawn(card, seed=0):
    """Random values in the tree of the card's network."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.array(rng.normal(size=leaf.shape), leaf.dtype),
        network_shapes(card),
    )


@pytest.fixture
def stored():
    card = card_of(records=[{"map": 0.25}], defense="cgat")
    return StoredNetwork(*drawn(card), card, LOSS_STATE)


@pytest.fixture
def path(stored, tmp_path):
    write_network(tmp_path / "n.safetensors", stored)
    return tmp_path / "n.safetensors"


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_network_is_read_as_it_was_written(stored, path):
    found = read_network(path)
    same(found.params, stored.params)
    same(found.stats, stored.stats)
    same(found.loss_state, stored.loss_state)
    assert stored.card.items() <= found.card.items() and read_card(path) == found.card
    content = path.read_bytes()
    write_network(path, found)
    assert path.read_bytes() == content


@pytest.mark.slow
def test_running_statistics_are_kept(tmp_path):
    card = card_of("resnet18")
    params, stats = drawn(card)
    write_network(tmp_path / "n.safetensors", StoredNetwork(params, stats, card, {}))
    found = read_network(tmp_path / "n.safetensors")
    same((found.params, found.stats), (params, stats))
    assert stats and found.loss_state == {}


def test_a_network_is_a_start_for_another_one(stored, path):
    """As ``model.weights``: all layers but the head, and nothing of the loss."""
    other = drawn(stored.card, seed=1)
    params, _ = load_weights(path, *other)
    same(params["conv1"], stored.params["conv1"])
    same(params["head"], other[0]["head"])


def test_no_flipped_bit_makes_another_network(path, stored):
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    places = [*rng.integers(8 + header, size=60), *rng.integers(len(content), size=20)]
    for place in places:
        hurt = bytearray(content)
        hurt[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(hurt)
        with pytest.raises(InputError, match=path.name) as caught:
            read_network(path)
        assert "\n" not in str(caught.value)


def test_a_card_of_other_weights_is_damage(path, stored, tmp_path):
    other = tmp_path / "other.safetensors"
    write_network(other, stored._replace(params=drawn(stored.card, seed=1)[0]))
    arrays = safetensors.load(other.read_bytes())
    said = read_metadata(other) | {"card": read_metadata(path)["card"]}
    other.write_bytes(safetensors.save(arrays, said))
    with pytest.raises(DamagedFileError, match="its card is of other weights"):
        read_network(other)


def test_an_edited_card_is_damage(path):
    arrays, said = safetensors.load(path.read_bytes()), read_metadata(path)
    card = json.loads(said["card"])
    for seal in (card[SEAL], None):
        edited = {**card, "records": [{"map": 0.75}], SEAL: seal}
        edited = {key: value for key, value in edited.items() if value is not None}
        content = safetensors.save(arrays, said | {"card": json.dumps(edited)})
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match="its card"):
            read_network(path)


def test_what_is_no_network_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        read_network(tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("a text")
    with pytest.raises(DamagedFileError, match="text.safetensors is not a safetensors"):
        read_network(tmp_path / "text.safetensors")
    save_weights(tmp_path / "w.safetensors", drawn(card_of())[0], {})
    with pytest.raises(InputError, match="w.safetensors: weights without a card"):
        read_network(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "smal"}, "unknown model 'smal'.*did you mean 'small'"),
        ({"bits": "8"}, "card: bits is '8'"),
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"crop_size": 41}, "crop_size is 41 of 40 pixels"),
        ({"backbone": "alexnet"}, "alexnet expects images of 224"),
        ({"format": 2}, "format 2 is of another version"),
        ({"dropout": 2.0}, "dropout must be in"),
    ],
)
def test_a_card_of_no_network_is_refused(stored, tmp_path, wrong, message):
    card = stored.card | wrong
    with pytest.raises(InputError, match=message):
        write_network(tmp_path / "n.safetensors", stored._replace(card=card))
    assert not list(tmp_path.iterdir())


def test_a_later_card_is_refused_with_its_file(path):
    arrays, said = safetensors.load(path.read_bytes()), read_metadata(path)
    card = json.loads(said["card"]) | {"format": 2}
    card[SEAL] = seal_of(card)
    path.write_bytes(safetensors.save(arrays, said | {"card": json.dumps(card)}))
    with pytest.raises(InputError, match=r"n.safetensors: card: format 2"):
        read_network(path)


def test_weights_of_another_network_are_not_written(stored, tmp_path):
    with pytest.raises(InputError, match=r"'head/bias' is \(16,\).*\(8,\)"):
        write_network(
            tmp_path / "n.safetensors",
            stored._replace(card=stored.card | {"bits": 16}),
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_card_makes_the_network_it_describes():
    card = card_of(dropout=0.1)
    network = make_network(card)
    logits, _ = network.apply(*drawn(card), jnp.zeros((2, 32, 32, 3)))
    assert logits.shape == (2, 8) and make_network(card) is network


def test_only_networks_are_overwritten(path, tmp_path):
    check_network_out(path)
    check_network_out(tmp_path / "new" / "m.safetensors")
    weights, text = tmp_path / "w.safetensors", tmp_path / "t.safetensors"
    save_weights(weights, {"head": {"bias": jnp.ones(2)}}, {})
    text.write_text("mine")
    link = tmp_path / "l.safetensors"
    link.symlink_to(path)
    (tmp_path / "d.safetensors").mkdir()
    for foreign in (weights, text, link, tmp_path / "d.safetensors"):
        with pytest.raises(ForeignFilesError, match="no network of this package"):
            check_network_out(foreign)
    with pytest.raises(ForeignFilesError, match="t.safetensors is a file"):
        check_network_out(text / "n.safetensors")
    with pytest.raises(InputError, match="ends in .safetensors"):
        check_network_out(tmp_path / "n.npz")
