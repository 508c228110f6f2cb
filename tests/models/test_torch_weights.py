import numpy as np
import pytest

from cgat_jax.models import BACKBONES, make_model
from cgat_jax.models.torch_import.weights import (
    SOURCES,
    from_torch_state,
    network_shapes,
    recognize,
    torch_names,
    torch_shape,
)

# torchvision.models.vgg16: output channels of the convolutions by position.
VGG16 = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
VGG16 |= {17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512}


def vgg16_state():
    """VGG16's names and ranks, with small layers where the sizes do not matter."""
    state = {}
    for position in VGG16:
        state[f"features.{position}.weight"] = np.full((2, 3, 3, 3), float(position))
        state[f"features.{position}.bias"] = np.zeros(2)
    for position in (0, 3, 6):
        inputs = 512 * 49 if position == 0 else 5
        state[f"classifier.{position}.weight"] = np.ones((4, inputs))
        state[f"classifier.{position}.bias"] = np.zeros(4)
    return state


def small_shapes():
    """Shapes of the network that ``vgg16_state`` is of."""
    shapes = {f"conv{n}/kernel": (3, 3, 3, 2) for n in range(1, 14)}
    shapes |= {f"conv{n}/bias": (2,) for n in range(1, 14)}
    for layer in ("fc1", "fc2", "head"):
        inputs = 512 * 49 if layer == "fc1" else 5
        shapes |= {f"{layer}/kernel": (inputs, 4), f"{layer}/bias": (4,)}
    return shapes


def test_layers_of_vgg16_are_found_by_position():
    params, stats = from_torch_state("vgg16", vgg16_state(), small_shapes())
    assert stats == {}
    for number, position in enumerate(VGG16, start=1):
        assert params[f"conv{number}"]["kernel"][0, 0, 0, 0] == position
    assert len(params) == 16 and params["head"]["kernel"].shape == (5, 4)


def test_layouts_by_hand():
    state = vgg16_state()
    state["features.0.weight"] = np.arange(54.0).reshape(2, 3, 3, 3)  # O I H W
    row = np.arange(512 * 49.0).reshape(512, 7, 7)  # C H W
    state["classifier.0.weight"] = np.stack([row.ravel()] * 4)
    params, _ = from_torch_state("vgg16", state, small_shapes())

    kernel = params["conv1"]["kernel"]
    assert kernel.shape == (3, 3, 3, 2) and kernel.dtype == np.float32
    assert kernel[1, 2, 0, 1] == state["features.0.weight"][1, 0, 1, 2]
    dense = params["fc1"]["kernel"].reshape(7, 7, 512, 4)
    assert dense[3, 5, 100, 2] == row[100, 3, 5]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"features.0.bias": None}, "'features.0.bias' is missing"),
        ({"features.1.weight": np.ones(3)}, "'features.1.weight' is unexpected"),
        (
            {"features.0.weight": np.ones((2, 3))},
            r"'features.0.weight' is \(2, 3, 3, 3\) in the network, got \(2, 3\)",
        ),
        ({"classifier.0.weight": np.ones((4, 7))}, r"\(4, 25088\).*got \(4, 7\)"),
        ({"features.0.bias": np.array([0, np.nan])}, "'features.0.bias'.*not finite"),
        ({"features.0.bias": np.array([0, 1e300])}, "'features.0.bias'.*not finite"),
        ({"features.0.bias": np.zeros(2, int)}, "of type int64, no floating point"),
    ],
)
def test_other_states_are_refused(change, message):
    state = vgg16_state() | change
    state = {key: value for key, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        from_torch_state("vgg16", state, small_shapes())


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="'small'; known: .*alexnet"):
        from_torch_state("small", {}, {})


def empty_state(name):
    """A state of the right names and shapes that takes no memory."""
    shapes = network_shapes(make_model(name, outputs=1000))
    return {
        key: np.broadcast_to(np.float32(0), torch_shape(ours, shapes[ours]))
        for key, ours in torch_names(name).items()
    }


@pytest.mark.parametrize("name", SOURCES)
def test_every_array_of_a_network_has_a_name_in_torch(name):
    shapes = network_shapes(make_model(name, outputs=1000))
    names = torch_names(name)
    assert sorted(names.values()) == sorted(shapes)
    assert recognize(empty_state(name)) == name
    assert name in BACKBONES and SOURCES[name].split("/")[-1].startswith(name)


def test_names_of_resnet50_by_hand():
    names = torch_names("resnet50")
    assert names["layer2.0.downsample.0.weight"] == "layer2_0/downsample_conv/kernel"
    assert names["layer2.0.downsample.1.running_var"] == "layer2_0/downsample_bn/var"
    assert names["layer4.2.conv3.weight"] == "layer4_2/conv3/kernel"
    assert names["layer1.1.bn2.weight"] == "layer1_1/bn2/scale"
    assert names["fc.bias"] == "head/bias" and "conv1.bias" not in names
    assert "layer1.1.downsample.0.weight" not in names


def test_statistics_of_resnet18():
    state = empty_state("resnet18") | {"bn1.num_batches_tracked": np.array(7)}
    state["bn1.running_var"] = np.arange(64.0)
    shapes = network_shapes(make_model("resnet18", outputs=8))
    params, stats = from_torch_state("resnet18", state, shapes)
    np.testing.assert_array_equal(stats["bn1"]["var"], np.arange(64))
    assert set(params["bn1"]) == {"scale", "bias"}
    assert set(stats["layer2_0"]["downsample_bn"]) == {"mean", "var"}
    state["bn1.running_var"] = np.full(64, -1.0)
    with pytest.raises(ValueError, match="'bn1.running_var' holds negative variances"):
        from_torch_state("resnet18", state, shapes)


def test_an_unknown_network_is_compared_with_the_nearest():
    state = empty_state("resnet18") | {"layer1.2.conv1.weight": np.zeros(3)}
    message = "nearest is resnet18: the file has 'layer1.2.conv1.weight', resnet18 has"
    with pytest.raises(ValueError, match=message):
        recognize(state)
