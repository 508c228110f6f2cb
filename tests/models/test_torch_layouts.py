"""Trained hashing networks, whatever their layers are called, with their heads."""

import collections
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

import cgat_jax
from cgat_jax.errors import InputError
from cgat_jax.models import make_model
from cgat_jax.models.torch_import.structure import recognize_network
from cgat_jax.models.torch_import.weights import (
    SOURCES,
    network_shapes,
    torch_names,
    torch_shape,
)
from cgat_jax.models.weights import load_weights
from experiments import convert_weights

BITS = 32


def state_of(name, outputs=BITS):
    """Torchvision's names, each tensor of another number; takes no memory."""
    shapes = network_shapes(make_model(name, outputs=outputs))
    return {
        key: np.broadcast_to(np.float32(i + 1), torch_shape(ours, shapes[ours]))
        for i, (key, ours) in enumerate(torch_names(name).items())
    }


def renamed(state, *rules):
    """Each key by the first rule ``(pattern, replacement)`` that it matches."""
    new = {}
    for key, array in state.items():
        for pattern, replacement in rules:
            if re.match(pattern, key):
                key = re.sub(pattern, replacement, key, count=1)
                break
        new[key] = array
    return new


def twice(state):
    """Features and classifier as such and within ``feature_layers`` once more."""
    state = renamed(state, (r"classifier\.6", "hash_layer"))
    body = {key: array for key, array in state.items() if "hash" not in key}
    inner = renamed(
        body, (r"features", "feature_layers.0"), (r"classifier", "feature_layers.1")
    )
    head = {key: array for key, array in state.items() if "hash" in key}
    return renamed(body, (r"classifier\.", "classifier.classifier")) | inner | head


LAYOUTS = {
    "torchvision": (lambda s: s, "classifier.6"),
    "hash_layer": (
        lambda s: renamed(s, (r"classifier\.6", "hash_layer")),
        "hash_layer",
    ),
    "hash_layer.0": (
        lambda s: renamed(s, (r"classifier\.6", "hash_layer.0")),
        "hash_layer.0",
    ),
    "classifier.9": (
        lambda s: renamed(s, (r"classifier\.6", "classifier.9")),
        "classifier.9",
    ),
    "fc": (
        lambda s: renamed(
            s,
            (r"classifier\.6", "fc.2"),
            (r"classifier\.\d", lambda m: f"fc.{m.group()[-1] in '34'}"),
        ),
        "fc.2",
    ),
    "DataParallel": (
        lambda s: {f"module.{key}": array for key, array in s.items()},
        "module.classifier.6",
    ),
    "DataParallel, encode_layer": (
        lambda s: renamed(
            s, (r"classifier\.6", "module.net.encode_layer"), ("", "module.net.")
        ),
        "module.net.encode_layer",
    ),
    "hash_fc": (
        lambda s: renamed(
            s, (r"classifier\.6", "hash_fc"), (r"features\.", "base.conv")
        ),
        "hash_fc",
    ),
    "twice": (twice, "hash_layer"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, layout",
    [("alexnet", layout) for layout in LAYOUTS]
    + [("vgg11_bn", layout) for layout in LAYOUTS if layout != "twice"],
)
def test_a_network_is_found_under_any_names(name, layout):
    state = state_of(name)
    rename, head = LAYOUTS[layout]
    found = recognize_network(rename(state))
    assert (found.name, found.head, found.outputs) == (name, head, BITS)
    assert found.arrays.keys() == state.keys()
    for key, array in state.items():
        assert found.arrays[key] is array, key


@pytest.mark.parametrize("name", SOURCES)
def test_each_network_is_told_from_the_others_by_its_layers(name):
    """Without a name in common, and with counters of batches between."""
    state, unnamed = state_of(name, 48), {}
    numbers = collections.defaultdict(lambda: len(numbers))
    for key, array in state.items():
        layer, _, part = key.rpartition(".")
        unnamed[f"n{numbers[layer]}.{part}"] = array
        if part == "running_var":
            unnamed[f"n{numbers[layer]}.num_batches_tracked"] = np.array(3)
    found = recognize_network(unnamed)
    assert (found.name, found.outputs) == (name, 48)
    assert all(found.arrays[key] is array for key, array in state.items())
    assert recognize_network(unnamed, name=name).name == name


def hashing(name="alexnet", **more):
    state = renamed(state_of(name), (r"classifier\.6", "hash"))
    state |= {key.replace("__", "."): np.ones(v, "f4") for key, v in more.items()}
    return state


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"class__weight": (10, BITS), "class__bias": (10,)},
            r"the dense layer 'class' \[10, 32\] does not fit: alexnet.*--leave_out it",
        ),
        ({"centers": (10, BITS)}, r"'centers' \[10, 32\] is of no convolution.*leave_"),
        ({"mean": (1, 3, 1, 1)}, r"'mean' \[1, 3, 1, 1\] is of no convolution"),
        ({"hash__mask": (BITS,)}, r"'hash.mask' \[32\] is of no convolution"),
        (
            {"features__3__weight": (64, 64, 5, 5)},
            r"the convolution layer 'features.3' \(weight \[64, 64, 5, 5\]\) does not "
            r"fit: in alexnet, the nearest network, it is 'features.3' \[192, 64, 5, 5",
        ),
        (
            {"hash__weight": (BITS, 4095)},
            r"'hash' \(weight \[32, 4095\]\).*'classifier.6' \[1, 4096\]",
        ),
        ({"hash__bias": (BITS + 1,)}, r"'hash' \(bias \[33\]\) does not fit"),
        (
            {"new__weight": (4,), "new__running_mean": (4,)},
            r"the norm layer 'new' \[4\] does not fit: alexnet.*has no more",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        recognize_network(hashing(**change))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name, head", [("resnet18", "fc"), ("alexnet", "classifier.6")]
)
def test_a_head_without_biases_may_have_torchvisions_name(name, head):
    state = state_of(name)
    del state[f"{head}.bias"]
    found = recognize_network(state)
    assert (found.name, found.head, found.outputs) == (name, head, BITS)


def test_a_head_that_is_one_number_has_no_outputs():
    state = state_of("resnet18") | {"fc.weight": np.float32(1)}
    assert recognize_network(state, name="resnet18").outputs == 0


def test_what_is_missing_is_named():
    state = hashing()
    del state["hash.weight"], state["hash.bias"]
    with pytest.raises(ValueError, match="alexnet has 'classifier.6.bias', the file"):
        recognize_network(state)
    state = {f"net.{key}": array for key, array in state.items()}
    with pytest.raises(
        ValueError, match=r"lacks the dense layer 'classifier.6' \[1, 4"
    ):
        recognize_network(state)
    state = hashing()
    del state["classifier.4.bias"]
    with pytest.raises(
        ValueError, match=r"'classifier.4' \(without its bias\) does not"
    ):
        recognize_network(state)
    with pytest.raises(ValueError, match="no torchvision network 'small'"):
        recognize_network(state, name="small")
    with pytest.raises(ValueError, match="does not fit: in resnet18, the nearest"):
        recognize_network(hashing(), name="resnet18")


def test_what_is_left_out_is_no_part_of_it():
    more = {"class__fc__weight": (10, BITS), "class__fc__bias": (10,), "mean": (3,)}
    found = recognize_network(hashing(**more), leave_out=["class", "mean"])
    assert (found.name, found.head) == ("alexnet", "hash")
    with pytest.raises(ValueError, match="no 'clas' to leave out"):
        recognize_network(hashing(**more), leave_out=["clas"])


def test_a_head_without_biases_has_zeros():
    state = hashing()
    del state["hash.bias"]
    found = recognize_network(state)
    np.testing.assert_array_equal(found.arrays["classifier.6.bias"], np.zeros(BITS))


def run(source, out, **given):
    values = flags.FlagValues()
    convert_weights.define_flags(values)
    given = {"torch": source, "out": out} | given
    values(["convert_weights", *(f"--{key}={value}" for key, value in given.items())])
    return convert_weights.main(values)


def loaded(path, name, outputs, side):
    """The network of a converted file, head included."""
    model = make_model(name, outputs=outputs)
    images = jnp.zeros((1, side, side, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    params, stats = load_weights(path, *shapes, skip=())
    return jax.jit(lambda images: model.apply(params, stats, images)[0])


def checkpoint(layout):
    """A state in a layout, within a checkpoint, as a training writes it."""
    return lambda state: {"epoch": 3, "state_dict": LAYOUTS[layout][0](state)}


SLOW = pytest.mark.long


@pytest.mark.long
@pytest.mark.parametrize(
    "name, side, wrap",
    [
        ("resnet18", 64, lambda s: {"net": renamed(s, ("fc", "hash_layer.0"))}),
        ("alexnet", 224, checkpoint("hash_layer.0")),
        pytest.param("alexnet", 224, checkpoint("twice"), marks=SLOW),
        pytest.param("vgg11", 224, checkpoint("DataParallel"), marks=SLOW),
        pytest.param("vgg11", 224, None, marks=SLOW),
    ],
)
def test_the_converted_network_gives_torchs_logits(
    name, side, wrap, tmp_path, rng, capsys
):
    """Reference: the PyTorch network that was saved, itself where ``wrap`` is None."""
    torch = pytest.importorskip("torch")
    from tests.reference import torch_models

    torch.manual_seed(0)
    module = getattr(torch_models, name)(BITS)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    saved = module if wrap is None else wrap(module.state_dict())
    torch.save(saved, tmp_path / "w.pth")
    assert run(tmp_path / "w.pth", tmp_path / "w.safetensors") == 0
    assert f"of {BITS} outputs: " in capsys.readouterr().out
    pixels = rng.random((1, side, side, 3), dtype=np.float32)
    with torch.no_grad():
        theirs = module(torch.tensor(pixels.transpose(0, 3, 1, 2))).numpy()
    ours = loaded(tmp_path / "w.safetensors", name, BITS, side)(pixels)
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


@pytest.mark.long
@pytest.mark.parametrize("outputs", [BITS, 1000])
@pytest.mark.parametrize("head", ["auto", "keep", "drop"])
def test_the_head_is_kept_or_dropped(head, outputs, tmp_path, capsys):
    from tests.models import torch_files

    state, out = state_of("resnet18", outputs), tmp_path / "w.safetensors"
    torch_files.write_zip(tmp_path / "w.pth", torch_files.state_of(state))
    assert run(tmp_path / "w.pth", out, head=head) == 0
    printed = capsys.readouterr().out
    if head == "drop" or (head == "auto" and outputs == 1000):
        assert "statistics, without the head: " in printed
        with pytest.raises(InputError, match="without a card"):
            cgat_jax.load_network(out)
    else:
        assert f"statistics, with the head 'fc' of {outputs} outputs: " in printed
        network = cgat_jax.load_network(out)
        assert network.bits == outputs and network.card["source"] == "w.pth"
        loaded(out, "resnet18", outputs, 64)
    sizes = {"image_size": 40, "crop_size": 32}
    assert run(tmp_path / "w.pth", out, head="keep", **sizes) == 0  # over its own file
    card = cgat_jax.load_network(out).card
    assert {key: card[key] for key in sizes} == sizes


@pytest.mark.slow
def test_sizes_that_cannot_be_are_refused(tmp_path, capsys):
    from tests.models import torch_files

    out = tmp_path / "w.safetensors"
    torch_files.write_zip(tmp_path / "w.pth", torch_files.state_of(hashing()))
    assert run(tmp_path / "w.pth", out, crop_size=300) == 2
    assert "crop_size is 300 of 256 pixels" in capsys.readouterr().err
    assert run(tmp_path / "w.pth", out, crop_size=32) == 2  # AlexNet's is 224
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "224" in error and not out.exists()


def test_a_head_of_other_features_is_refused(tmp_path, capsys):
    from tests.models import torch_files

    state = state_of("resnet18") | {"fc.weight": np.ones((BITS, 99), np.float32)}
    torch_files.write_zip(tmp_path / "w.pth", torch_files.state_of(state))
    assert run(tmp_path / "w.pth", tmp_path / "w.safetensors") == 2
    error = capsys.readouterr().err
    assert "kernel of its head 'fc' is [99, 32], not [512, 32]" in error
    assert len(error.splitlines()) == 1 and not (tmp_path / "w.safetensors").exists()


def test_the_program_leaves_out_what_it_is_told_to(tmp_path, capsys):
    from tests.models import torch_files

    state = state_of("resnet18") | {"cls.weight": np.ones((10, BITS), np.float32)}
    torch_files.write_zip(tmp_path / "w.pth", torch_files.state_of(state))
    assert run(tmp_path / "w.pth", tmp_path / "w.safetensors") == 2
    assert "'cls' [10, 32] does not fit: resnet18" in capsys.readouterr().err
    assert run(tmp_path / "w.pth", tmp_path / "w.safetensors", leave_out="cls") == 0
    assert "head 'fc' of 32 outputs" in capsys.readouterr().out
