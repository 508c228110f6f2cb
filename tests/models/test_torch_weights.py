import numpy as np
import pytest

from cgat_jax.models.torch_weights import from_torch_state

# torchvision.models.vgg16: output channels of the convolutions by position.
VGG16 = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
VGG16 |= {17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512}


def vgg16_state():
    """VGG16's names and ranks, with small layers where the sizes do not matter."""
    state = {}
    for position in VGG16:
        state[f"features.{position}.weight"] = np.full((2, 3, 3, 3), position)
        state[f"features.{position}.bias"] = np.zeros(2)
    for position in (0, 3, 6):
        inputs = 512 * 49 if position == 0 else 5
        state[f"classifier.{position}.weight"] = np.ones((4, inputs))
        state[f"classifier.{position}.bias"] = np.zeros(4)
    return state


def test_layers_of_vgg16_are_found_by_position():
    params = from_torch_state("vgg16", vgg16_state())
    for number, position in enumerate(VGG16, start=1):
        assert params[f"conv{number}"]["kernel"][0, 0, 0, 0] == position
    assert len(params) == 16 and params["head"]["kernel"].shape == (5, 4)


def test_layouts_by_hand():
    state = vgg16_state()
    state["features.0.weight"] = np.arange(54.0).reshape(2, 3, 3, 3)  # O I H W
    row = np.arange(512 * 49.0).reshape(512, 7, 7)  # C H W
    state["classifier.0.weight"] = np.stack([row.ravel()] * 4)
    params = from_torch_state("vgg16", state)

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
        ({"features.0.weight": np.ones((2, 3))}, "expected rank 4, got 2"),
        ({"classifier.0.weight": np.ones((4, 7))}, "expected 25088 inputs, got 7"),
    ],
)
def test_other_states_are_refused(change, message):
    state = vgg16_state() | change
    state = {key: value for key, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        from_torch_state("vgg16", state)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="'small'; known: .*alexnet"):
        from_torch_state("small", {})
